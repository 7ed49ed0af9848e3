"""Gaussians along a camera path to frames, and frames to an MP4 film or a folder of pictures."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8, write_image
from sfumato.core.threads import one_torch_thread
from sfumato.kernels.stages import RenderSettings
from sfumato.render.colormap import colorize
from sfumato.render.render import Render, render

__all__ = ["PICTURE_SUFFIXES", "VIDEO_SUFFIXES", "depth_range", "fly_through", "write_frames", "write_video"]

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
BT709 = 1  # the number of ITU-T H.273 for the primaries, transfer and matrix of HD video


@torch.no_grad()
def fly_through(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    picture: Literal["color", "depth"] = "color",
    settings: RenderSettings | None = None,
    backend: str = "auto",
) -> Iterator[Tensor]:
    """Yield one (H, W, 3) uint8 frame per camera.

    Depth is shown bright where near, over the range of `depth_range`, black where nothing is.
    """
    behind = torch.tensor(background).to(gaussians.means)
    low, high = depth_range(gaussians, cameras, settings, backend) if picture == "depth" else (0.0, 1.0)
    for camera in cameras:
        with one_torch_thread():
            seen = render(gaussians, camera, settings, behind, backend)
            frame = to_uint8(seen.image) if picture == "color" else _shaded(seen, low, high)
        yield frame.cpu()


def _shaded(seen: Render, low: float, high: float) -> Tensor:
    """(H, W, 3) uint8, the nearness of what is seen."""
    if seen.depth is None:
        raise InputError("depth pictures need RenderSettings(depth=True)")
    nearness = (1 / seen.depth.clamp(min=1e-9) - 1 / high) / (1 / low - 1 / high)
    shade = 0.06 + 0.94 * nearness.clamp(0, 1)  # what is far is not quite black, as nothing is
    return to_uint8(colorize(shade) / 255 * seen.alpha[..., None])


@torch.no_grad()
def depth_range(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    settings: RenderSettings | None = None,
    backend: str = "auto",
) -> tuple[float, float]:
    """The 2nd and 98th percentile of depth, world units, where something opaque is, over a few of the cameras.

    One range for the whole film, so that it does not flicker.
    """
    depths = []
    for camera in cameras[:: max(1, len(cameras) // 8)]:
        scale = min(1.0, 200 / max(camera.width, camera.height))  # a small picture has the same percentiles
        small = camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
        with one_torch_thread():
            seen = render(gaussians, small, settings, backend=backend)
        if seen.depth is not None:
            depths.append(seen.depth[seen.alpha > 0.5].flatten())
    values = torch.cat(depths).double() if depths else torch.zeros(0)
    if not len(values):
        return 1.0, 2.0
    low, high = (values.sort().values[int(share * (len(values) - 1))].item() for share in (0.02, 0.98))
    return low, max(high, 1.001 * low)


def write_video(path: Path, frames: Iterable[Tensor], fps: float = 30, quality: int = 18) -> None:
    """Encode (H, W, 3) uint8 frames of one size as H.264, 4:2:0; the file appears whole or not at all.

    quality is x264's constant rate factor, 0 best to 51; an odd side is widened by repeating its edge, since 4:2:0
    has none. Raises InputError when the suffix is no film's, OSError when the file cannot be written.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"cannot write {path}: no film format for {path.suffix!r} (known: {' '.join(VIDEO_SUFFIXES)})")
    if fps <= 0:
        raise InputError(f"fps must be above 0; got {fps}")
    import av

    kind = {".mkv": "matroska"}.get(path.suffix.lower(), path.suffix.lower()[1:])
    with replacing(path) as file, av.open(file, "w", format=kind) as film:
        stream: Any = None
        for frame in frames:
            even = _even(frame)
            if stream is None:
                options = {"crf": str(quality), "preset": "medium"}
                stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"
                context = stream.codec_context  # without these tags, players guess the colors by the size
                context.colorspace = context.color_primaries = context.color_trc = BT709
            picture = av.VideoFrame.from_ndarray(even.cpu().contiguous().numpy(), format="rgb24")
            film.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=BT709)))
        if stream is None:
            raise InputError(f"cannot write {path}: there are no frames")
        film.mux(stream.encode())


def write_frames(folder: Path, frames: Iterable[Tensor], names: Iterable[str] | None = None) -> int:
    """Write each frame as a picture; returns how many.

    names are file names with suffix, 00000.png and so on by default.
    """
    count = 0
    named = iter(names) if names is not None else (f"{index:05d}.png" for index in range(1 << 30))
    for frame, name in zip(frames, named, strict=False):
        path = folder / name
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            known = " ".join(PICTURE_SUFFIXES)
            raise InputError(f"cannot write {path}: no picture format for {path.suffix!r} (known: {known})")
        write_image(path, frame)
        count += 1
    return count


def _even(frame: Tensor) -> Tensor:
    """The frame with both sides even."""
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    planes = pad(frame.permute(2, 0, 1)[None].float(), (0, width % 2, 0, height % 2), mode="replicate")
    return planes[0].permute(1, 2, 0).to(torch.uint8)
