"""`sfumato render`: a splat to a film or to pictures, from a dataset's cameras, a way through them, or an orbit."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from sfumato.cli.flags import Backend, Count, Output, parse
from sfumato.core.errors import InputError
from sfumato.core.limits import available_memory
from sfumato.core.units import say_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.core.camera import Camera
    from sfumato.core.gaussians import Gaussians
    from sfumato.core.scene import Scene

__all__ = ["Render", "main"]

KEYS = 24  # cameras of the dataset that a film passes through: photos taken by hand do not stand on a smooth way
PIXEL = 50  # bytes of memory that a pixel takes at least while it is rendered and written
SECONDS = 8  # of a film, when nobody says


@dataclass(frozen=True)
class Render:
    """Render a splat to a film or to pictures."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The splat's file."""
    output: Output
    """A film (.mp4, .mov, .mkv), one picture (.png, .jpg), or a folder of pictures."""
    scene: Annotated[Path | None, arg(metavar="INPUT")] = None
    """A dataset: a folder gets the view of each of its cameras, a film flies smoothly through them."""
    orbit: bool = False
    """Circle around what the cameras of --scene look at, or around the splat's middle without --scene."""
    frames: Annotated[Count, arg(metavar="N", help_behavior_hint="(default: 8 seconds)")] = None
    """Frames of a film or an orbit."""
    fps: Annotated[float, arg(metavar="F")] = 30.0
    """Frames per second."""
    depth: bool = False
    """Depth instead of color: bright is near."""
    format: Literal["png", "jpg"] = "png"
    """Format of the pictures in a folder."""
    size: Annotated[
        tuple[int, int] | None, arg(metavar="W H", help_behavior_hint="(default: the dataset's, or 1280 720)")
    ] = None
    """Width and height in pixels."""
    up: Annotated[tuple[float, float, float], arg(metavar="X Y Z")] = (0.0, -1.0, 0.0)
    """Which way is up when no --scene tells; the default is that of most COLMAP scenes."""
    background: Annotated[
        tuple[float, float, float] | None,
        arg(metavar="R G B", help_behavior_hint="(default: the dataset's, or black)"),
    ] = None
    """Color behind everything, in [0, 1]."""
    backend: Backend = "auto"
    """What computes; auto: the GPU where one can, else the CPU. reference is slow, for checking."""
    force: bool = False
    """Replace OUT."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Render, words)
    _check(flags)
    from sfumato.cli.console import Stages
    from sfumato.cli.output import check_writable
    from sfumato.cli.run import in_frame_of, load, prepare
    from sfumato.cli.splat import read_splat
    from sfumato.kernels.backends import choose
    from sfumato.kernels.stages import RenderSettings
    from sfumato.render.video import PICTURE_SUFFIXES, VIDEO_SUFFIXES, fly_through

    known = ("", *VIDEO_SUFFIXES, *PICTURE_SUFFIXES)
    if flags.output.suffix.lower() not in known:
        raise InputError(f"cannot write {flags.output}: wanted a folder, or a file that ends in {' '.join(known[1:])}")
    backend, device = choose(flags.backend)
    asset = read_splat(flags.splat)
    gaussians = asset.gaussians
    check_writable(flags.output)
    scene = load(flags.scene) if flags.scene else None
    if scene is not None:
        gaussians = in_frame_of(scene, asset)
    cameras, names = _cameras(flags, gaussians, scene)
    background = flags.background or (scene.background if scene else (0.0, 0.0, 0.0))
    picture: Literal["color", "depth"] = "depth" if flags.depth else "color"
    settings = RenderSettings(near=scene.near if scene else _near(gaussians), antialiased=asset.antialiased is True)
    prepare(backend)
    with Stages() as progress:

        def counted(frames: Iterable["Tensor"]) -> Iterator["Tensor"]:
            for index, frame in enumerate(frames, start=1):
                yield frame
                progress("rendering", index, len(cameras))

        frames = fly_through(gaussians.to(device), cameras, background, picture, settings, backend)
        _write(flags, counted(frames), names)
    print(f"{len(cameras)} frame{'s' if len(cameras) > 1 else ''} in {flags.output}")
    return 0


def _check(flags: Render) -> None:
    if flags.frames is not None and flags.frames < 1:
        raise InputError(f"--frames must be at least 1; got {flags.frames}")
    if not 0 < flags.fps <= 1000:
        raise InputError(f"--fps must be above 0 and at most 1000; got {flags.fps:g}")
    if flags.size and min(flags.size) < 1:
        raise InputError(f"--size must be at least 1 1; got {flags.size[0]} {flags.size[1]}")
    if flags.size and flags.size[0] * flags.size[1] * PIXEL > (free := available_memory()):
        needed = say_bytes(flags.size[0] * flags.size[1] * PIXEL)
        raise InputError(f"--size {_spaced(flags.size)} takes {needed} of memory, and {say_bytes(free)} are free")
    if not any(flags.up) or not all(math.isfinite(value) for value in flags.up):
        raise InputError(f"--up must be a direction; got {_spaced(flags.up)}")
    if flags.background and not all(0 <= value <= 1 for value in flags.background):
        raise InputError(f"--background must be three numbers from 0 to 1; got {_spaced(flags.background)}")
    output, folder = flags.output, not flags.output.suffix
    if output.is_dir() and not folder:
        raise InputError(f"{output} must be a file; it is a folder")
    if folder and output.exists() and not output.is_dir():
        raise InputError(f"{output} must be a folder for pictures, or end in .mp4, .png or .jpg; it is a file")
    if not flags.force and (output.is_file() or (folder and output.is_dir() and any(output.iterdir()))):
        raise InputError(f"{output} is there already; choose another name or add --force to replace it")


def _spaced(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)


def _cameras(flags: Render, gaussians: "Gaussians", scene: "Scene | None") -> tuple[list["Camera"], list[str] | None]:
    """The frames' cameras and, where each is a dataset's camera, the pictures' names."""
    import torch

    from sfumato.evaluate.compare import picture_name
    from sfumato.render.path import orbit, orbit_around, smooth_path

    one = flags.output.suffix.lower() in (".png", ".jpg", ".jpeg")
    count = 1 if one else flags.frames or max(1, round(SECONDS * flags.fps))
    if scene is None:
        width, height = flags.size or (1280, 720)
        return orbit_around(_middle(gaussians), count, torch.tensor(flags.up), width, height), None
    views = sorted(scene.views, key=lambda view: view.name)
    cameras = [view.camera.resized(*flags.size) if flags.size else view.camera for view in views]
    if flags.orbit:
        return orbit(cameras, count, scene.points.xyz), None
    if one:
        return [cameras[len(cameras) // 2]], None
    if flags.output.suffix or flags.frames:
        chosen = torch.linspace(0, len(cameras) - 1, min(KEYS, len(cameras))).round().long().tolist()
        return smooth_path([cameras[index] for index in chosen], count), None
    names = [picture_name(view.name) for view in views]  # a dataset may call its photos /home/somebody/a.jpg
    return cameras, [f"{name.removesuffix('.png')}.{flags.format}" for name in names]


def _middle(gaussians: "Gaussians") -> "Tensor":
    """Means of what is well seen, or of everything when nothing is."""
    solid = (gaussians.opacities > 0.3) & gaussians.finite
    return gaussians.means[solid.nonzero()[:, 0]] if solid.any() else gaussians.means


def _near(gaussians: "Gaussians") -> float:
    """As Scene.near, where no scene tells the extent: half of what is well seen lies within it."""
    means = _middle(gaussians)
    extent = (means - means.median(dim=0).values).norm(dim=1).median().item() if len(means) else 0.0
    return min(0.2, extent / 25) or 0.2


def _write(flags: Render, frames: Iterator["Tensor"], names: list[str] | None) -> None:
    from sfumato.render.video import PICTURE_SUFFIXES, write_frames, write_video

    output = flags.output
    if output.suffix.lower() in PICTURE_SUFFIXES:
        write_frames(output.parent, frames, [output.name])
    elif output.suffix:
        write_video(output, frames, flags.fps)
    else:
        write_frames(output, frames, names or (f"{index:05d}.{flags.format}" for index in range(1 << 30)))
