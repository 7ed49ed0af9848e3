"""Films and pictures of a path: sizes, colors that survive the encoder, depth, and refusals."""

from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.render.colormap import colorize
from sfumato.render.video import depth_range, fly_through, write_frames, write_video


def wall(depths: list[float]) -> Gaussians:
    """Flat, opaque, gray Gaussians side by side at these depths before a camera at the origin."""
    count = len(depths)
    means = torch.tensor([[2.0 * index - count + 1, 0.0, depth] for index, depth in enumerate(depths)])
    means[:, :2] *= means[:, 2:] / 4
    scales = torch.stack([torch.tensor([0.5, 2.0, 0.001]) * depth / 4 for depth in depths])
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1)
    opacities, sh0 = torch.full((count,), 9.0), torch.zeros(count, 1, 3)
    return Gaussians(means, quats, scales.log(), opacities, sh0, torch.zeros(count, 0, 3))


def camera(width: int = 40, height: int = 20) -> Camera:
    K = torch.tensor([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]])
    return Camera(torch.eye(4), K, width, height)


def decoded(path: Path) -> list[Tensor]:
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"
        return [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


def smooth_frame(height: int, width: int, shift: float) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return (255 * torch.stack([x, y, (x + y + shift) / 3], dim=2)).to(torch.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".MOV"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_film_keeps_its_colors(tmp_path: Path, suffix: str, height: int, width: int) -> None:
    frames = [smooth_frame(height, width, index / 10) for index in range(6)]
    path = tmp_path / f"film{suffix}"
    write_video(path, iter(frames), fps=29.97)
    back = decoded(path)
    assert len(back) == 6
    assert back[0].shape == (48, 64, 3)
    for frame, again in zip(frames, back, strict=True):
        assert (frame.float() - again[:height, :width].float()).abs().mean() < 2.5
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_films_are_tagged_with_their_colors(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", [smooth_frame(48, 64, 0)])
    with av.open(str(tmp_path / "film.mp4")) as film:
        context = film.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


def test_smallest_film(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", [torch.full((1, 1, 3), 200, dtype=torch.uint8)])
    assert decoded(tmp_path / "film.mp4")[0].shape == (2, 2, 3)


def test_refused_films_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no film format for '\.gif'"):
        write_video(tmp_path / "film.gif", [smooth_frame(4, 4, 0)])
    with pytest.raises(InputError, match="there are no frames"):
        write_video(tmp_path / "film.mp4", [])
    with pytest.raises(InputError, match="fps must be above 0"):
        write_video(tmp_path / "film.mp4", [], fps=0)
    assert not list(tmp_path.iterdir())


def test_pictures(tmp_path: Path) -> None:
    frames = [smooth_frame(5, 7, 0), smooth_frame(9, 3, 0)]
    assert write_frames(tmp_path / "out", frames) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png"]
    with Image.open(tmp_path / "out" / "00001.png") as picture:
        assert picture.size == (3, 9)
        assert picture.getpixel((0, 0)) == tuple(frames[1][0, 0].tolist())
    assert write_frames(tmp_path / "named", frames, ["a.jpg", "deep/b.jpeg"]) == 2
    assert (tmp_path / "named" / "deep" / "b.jpeg").exists()
    with pytest.raises(InputError, match=r"no picture format for '\.bmp'"):
        write_frames(tmp_path, frames, ["a.bmp"])


def test_fly_through_in_color(backend: str) -> None:
    frames = list(fly_through(wall([4.0]), [camera(), camera(30, 10)], (1.0, 1.0, 1.0), backend=backend))
    assert [tuple(frame.shape) for frame in frames] == [(20, 40, 3), (10, 30, 3)]
    assert frames[0].dtype == torch.uint8
    assert frames[0][10, 20].tolist() == pytest.approx([128] * 3, abs=3)  # the gray Gaussian
    assert frames[0][10, 0].tolist() == [255, 255, 255]  # the background


def test_depth_is_bright_where_near_and_black_where_nothing_is(backend: str) -> None:
    gaussians = wall([4.0, 8.0, 16.0])
    low, high = depth_range(gaussians, [camera()], backend=backend)
    assert (low, high) == (pytest.approx(4, rel=0.05), pytest.approx(16, rel=0.05))
    (frame,) = fly_through(gaussians, [camera()], picture="depth", backend=backend)
    row = frame[10].float().sum(dim=1)
    near, middle, far = row[10], row[20], row[30]
    assert near > middle > far > 0
    assert frame[10, 10].float().tolist() == pytest.approx(colorize(torch.tensor(1.0)).float().tolist(), abs=8)
    assert row[0] < 3


def test_depth_of_nothing(backend: str) -> None:
    (frame,) = fly_through(Gaussians.empty(), [camera()], picture="depth", backend=backend)
    assert frame.max() == 0
