"""`sfumato demo`: photographs of an invented scene to a splat, its scores and a film, with the time each took."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from sfumato.cli.browse import open_browser
from sfumato.cli.flags import LINE, Backend, command_line, parse
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.core.gaussians import Gaussians
    from sfumato.core.scene import Scene

__all__ = ["Demo", "main"]

FILM, PHOTOS = "film.mp4", "photos"
FRAMES, FPS, SIZE = 240, 30.0, (720, 540)
KEYS = 16  # cameras that the film passes through: fewer make it smoother


@dataclass(frozen=True)
class Demo:
    """Photograph an invented still life, find cameras, train, score and fly around."""

    output: Annotated[Path, arg(aliases=["-o"], metavar="OUT")] = Path("demo")
    """Folder for everything: photos/, splat.ply, report.html, compare/, film.mp4."""
    seconds: Annotated[float, arg(metavar="S")] = 75.0
    """Seconds of training."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Another seed grows another still life."""
    backend: Backend = "auto"
    """What computes; auto: the GPU where one can, else the CPU. reference is slow, for checking."""
    no_open: bool = False
    """Do not open the report in the browser."""
    force: bool = False
    """Replace the demo that OUT holds."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Demo, words)
    if not flags.seconds > 0:
        raise InputError(f"--seconds must be above 0; got {flags.seconds:g}")
    from sfumato.cli.keeper import Saving
    from sfumato.cli.output import RUN, check_output
    from sfumato.cli.run import load, train_and_report
    from sfumato.kernels.backends import choose
    from sfumato.train import TrainConfig

    backend, device = choose(flags.backend)
    photos, clock = flags.output / PHOTOS, _Clock()
    check_output(flags.output, flags.force, photos, (*RUN, PHOTOS, FILM))
    _shoot(photos, flags.seed)
    clock.stop("photographs", photos)
    scene = load(photos)
    clock.stop("cameras", None)
    config = TrainConfig.make(seed=flags.seed)
    asked = {key: value for key, value in asdict(flags).items() if key not in ("no_open", "force")}
    asked[LINE] = command_line(flags, without=("no_open", "force"))
    nothing = Saving(seconds=0)  # a demo is not gone on with
    done = train_and_report(scene, flags.output, config, backend, flags.seconds, asked, nothing)
    clock.stop("splat and scores", flags.output / "splat.ply")
    if done.interrupted:
        return 130
    _film(flags.output / FILM, done.gaussians.to(device), scene, backend)
    clock.stop("film", flags.output / FILM)
    print(clock.table())
    _show(flags.output / "report.html", flags.no_open)
    print("your own photos:     sfumato train FOLDER -o OUT")
    return 0


def _show(report: Path, no_open: bool) -> None:
    """Open the report in the browser, or say where it is."""
    if not report.is_file():  # it has been said why
        return
    wanted = not no_open and sys.stdout.isatty()  # without a terminal nobody is there to look
    opened = wanted and open_browser(report.resolve().as_uri(), patience=3.0)
    print(f"report:              {report}" + ("    (opened in the browser)" if opened else ""))


class _Clock:
    """How long each stage took and where its result is."""

    def __init__(self) -> None:
        self._began = self._last = perf_counter()
        self._rows: list[tuple[str, float, Path | None]] = []

    def stop(self, stage: str, place: Path | None) -> None:
        """A stage has just ended; the next one begins."""
        now = perf_counter()
        self._rows.append((stage, now - self._last, place))
        self._last = now

    def table(self) -> str:
        """One line for each stage, and their sum."""
        rows = [*self._rows, ("in all", self._last - self._began, None)]
        return "\n".join(f"{stage:20}{seconds:6.1f} s    {place or ''}".rstrip() for stage, seconds, place in rows)


def _shoot(folder: Path, seed: int) -> None:
    """Photograph the still life into `folder`, in place of an earlier demo's photos."""
    from sfumato.capture.studio import phone_walk, shoot
    from sfumato.cli.console import Stages

    for old in folder.glob("photo_*.jpg"):
        old.unlink()
    with Stages() as progress:
        shoot(folder, phone_walk(seed=seed), progress, seed=seed)


def _film(path: Path, gaussians: "Gaussians", scene: "Scene", backend: str) -> None:
    """Fly along the walk, smoothly."""
    import torch

    from sfumato.cli.console import Stages
    from sfumato.kernels.stages import RenderSettings
    from sfumato.render.path import smooth_path
    from sfumato.render.video import fly_through, write_video

    cameras = [view.camera for view in sorted(scene.views, key=lambda view: view.name)]
    first = len(cameras) // 10  # before, the walk goes back a little
    chosen = torch.linspace(first, len(cameras) - 1, min(KEYS, len(cameras))).round().long().tolist()
    flight = [camera.resized(*SIZE) for camera in smooth_path([cameras[index] for index in chosen], FRAMES)]
    with Stages() as progress:

        def counted(frames: Iterable["Tensor"]) -> Iterator["Tensor"]:
            for index, frame in enumerate(frames, start=1):
                yield frame
                progress("film", index, FRAMES)

        settings = RenderSettings(near=scene.near)
        frames = fly_through(gaussians, flight, scene.background, settings=settings, backend=backend)
        write_video(path, counted(frames), FPS)
