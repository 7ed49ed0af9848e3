"""`sfumato render` without a dataset: films, folders and single pictures of a splat."""

from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from sfumato import formats
from sfumato.cli.main import main
from sfumato.cli.render import Render, _cameras
from sfumato.core.camera import Camera
from sfumato.core.scene import Points, Scene, View

from scenes import crowd


@pytest.fixture
def splat(tmp_path: Path, seed: int) -> Path:
    formats.write(tmp_path / "splat.ply", crowd(40, degree=1))
    return tmp_path / "splat.ply"


SMALL = ["--size", "33", "25", "--frames", "3", "--backend", "reference"]


def test_film(splat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(splat), "-o", str(tmp_path / "a.mp4"), *SMALL, "--orbit"]) == 0
    assert f"3 frames in {tmp_path / 'a.mp4'}" in capsys.readouterr().out
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [frame.shape for frame in frames] == [(26, 34, 3)] * 3
    assert all(frame.max() > 60 for frame in frames)  # the splat is in the picture


@pytest.mark.parametrize("more", [[], ["--depth"], ["--format", "jpg"], ["--background", "1", "1", "1"]])
def test_folder(splat: Path, tmp_path: Path, more: list[str]) -> None:
    out = tmp_path / "out"
    assert main(["render", str(splat), "--output", str(out), *SMALL, *more]) == 0
    suffix = ".jpg" if "jpg" in more else ".png"
    assert sorted(path.name for path in out.iterdir()) == [f"{index:05d}{suffix}" for index in range(3)]
    with Image.open(out / f"00000{suffix}") as picture:
        assert picture.size == (33, 25)
        corner = torch.tensor(picture.convert("RGB").getpixel((0, 0)))
    assert (corner > 250).all() if "--background" in more else (corner < 20).all()


def test_one_picture(splat: Path, tmp_path: Path) -> None:
    assert main(["render", str(splat), "-o", str(tmp_path / "deep" / "a.jpg"), *SMALL]) == 0
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.jpg"]


def test_nothing_is_overwritten_without_force(splat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mp4", "out/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine", encoding="utf-8")
    for out in ("a.mp4", "out"):
        assert main(["render", str(splat), "-o", str(tmp_path / out), *SMALL]) == 2
        assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "a.mp4").read_text(encoding="utf-8") == "mine"
    assert main(["render", str(splat), "-o", str(tmp_path / "out"), *SMALL, "--force"]) == 0
    assert (tmp_path / "out" / "b.txt").exists()


def test_pictures_stay_in_their_folder(splat: Path, tmp_path: Path) -> None:
    """Datasets of other machines may have absolute names."""
    camera = Camera(torch.eye(4), torch.eye(3), 4, 3)
    names = ["/home/me/a.jpg", "C:\\scan\\b.jpg", "../c.jpg", "r_0.5.png"]
    views = [View(name, camera, torch.zeros(3, 4, 3, dtype=torch.uint8)) for name in names]
    scene = Scene(views, Points(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.uint8)))
    _, pictures = _cameras(Render(splat, tmp_path / "out"), formats.read(splat), scene)
    assert pictures is not None
    assert all((tmp_path / "out" / name).resolve().parent == tmp_path / "out" for name in pictures)
    assert set(pictures) >= {"home-me-a.png", "c.png", "r_0.5.png"}
