"""The composition behind `train`, `eval` and `demo`: a scene to a folder with splat, scores, pictures and protocol."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from torch import Tensor

from sfumato import formats
from sfumato.cli.console import Stages, TrainingLine, duration
from sfumato.cli.interrupt import gentle
from sfumato.cli.journal import Journal
from sfumato.core.errors import InputError
from sfumato.core.files import write_text
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress
from sfumato.core.scene import Scene, View
from sfumato.evaluate import Evaluation, ViewScore, evaluate, write_report
from sfumato.evaluate.compare import picture_name, write_comparison
from sfumato.evaluate.report import plain, protocol_of
from sfumato.kernels import backends
from sfumato.kernels.stages import RenderSettings

if TYPE_CHECKING:
    from sfumato.evaluate.lpips import Lpips
    from sfumato.train import Progressed, TrainConfig

__all__ = [
    "REPORT",
    "RUN",
    "Trained",
    "check_output",
    "clear",
    "left_out",
    "load",
    "prepare",
    "score",
    "train_and_report",
]

REPORT = ("report.json", "report.md", "compare")
RUN = ("splat.ply", *REPORT, "log.jsonl", "config.json")
MOMENT = 1.5  # seconds
SPARE = 200 * 2**20  # bytes on the disk, besides the splat, for pictures and the log


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run leaves behind."""

    gaussians: Gaussians
    evaluation: Evaluation | None  # None: nothing was held out, or there was no time for it
    folder: Path
    seconds: float  # of training
    interrupted: bool


def check_output(folder: Path, force: bool, source: Path, files: Sequence[str] = RUN) -> None:
    """Refuse a folder that holds any of `files`, or cannot be written, or is the source; changes nothing.

    Raises InputError in one sentence.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} must be a folder for results; it is a file, choose another name")
    if folder.resolve() == source.resolve():
        raise InputError(f"{folder} is where the photos are; choose another folder for results")
    held = [name for name in files if (folder / name).exists()]
    if held and not force:
        raise InputError(
            f"{folder} already holds a run or its report ({', '.join(held)}); choose another or add --force"
        )
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; choose another place") from None
    free = shutil.disk_usage(parent).free
    if free < SPARE:
        raise InputError(f"{folder} has {free / 2**20:.0f} MiB free on its disk; {SPARE / 2**20:.0f} MiB are needed")


def clear(folder: Path, files: Sequence[str] = RUN) -> None:
    """Make the folder and remove `files` of an earlier run, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (folder / name).is_dir():
            for picture in (folder / name).glob("*.png"):
                picture.unlink()
        else:
            (folder / name).unlink(missing_ok=True)


def load(source: Path, downscale: float = 1.0, holdout: int = 8) -> Scene:
    """The scene in a folder, with progress shown. Raises InputError when it cannot be read."""
    if not downscale >= 1:
        raise InputError(f"--downscale must be at least 1; got {downscale:g}")
    if holdout < 0 or holdout == 1:
        raise InputError(f"--holdout must be 0 (none) or at least 2; got {holdout}")
    from sfumato.capture import load_scene

    with Stages() as progress:
        scene = load_scene(source, downscale=downscale, holdout=holdout, progress=progress)
    if "photos_given" in scene.protocol:  # the cameras were found here
        solved = scene.protocol
        _say(f"{solved['registered']} of {solved['photos_given']} photos registered" + left_out(solved["left_out"]))
        _say(f"reprojection error {solved['reprojection_error']:.2f} pixels")
    size = scene.views[0].camera
    _say(
        f"{len(scene.train)} photos to train on, {len(scene.test)} held out, "
        f"{size.width} x {size.height} pixels, {len(scene.points):,} points"
    )
    return scene


def left_out(names: object) -> str:
    """The end of a sentence that says which photos have no camera; nothing when all have one."""
    names = list(names) if isinstance(names, list) else []
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"; left out: {', '.join(map(str, names[:10]))}{more}" if names else ""


def prepare(backend: str) -> None:
    """Compile what the backend needs, showing progress when that takes more than a moment."""
    function: Callable[[Progress], None] | None = getattr(backends.load(backend), "prepare", None)
    if function is None:
        return
    began = perf_counter()
    with Stages() as stages:

        def patient(stage: str, done: int, total: int) -> None:
            if perf_counter() - began > MOMENT:
                stages(stage, done, total)

        function(patient)


def train_and_report(
    scene: Scene,
    folder: Path,
    config: "TrainConfig",
    backend: str = "auto",
    seconds: float | None = None,
    asked: Mapping[str, object] | None = None,
) -> Trained:
    """Train, save the splat, score it on the held-out photos, and write everything to `folder`.

    seconds: fix the number of steps so that training takes so long. asked: the command line, for config.json.
    What the folder holds of an earlier run is removed first. An interruption saves what was trained so far.
    Raises KeyboardInterrupt when interrupted before there is anything to save.
    """
    prepare(backend)
    clear(folder)
    began = perf_counter()
    if seconds is not None:
        from sfumato.train import plan_steps

        config = plan_steps(scene, config, seconds, backend)
        _say(f"{seconds:g} seconds are enough for {config.steps} steps; --steps {config.steps} repeats this run")
    planning = perf_counter() - began
    config = config.fixed(scene)
    settings = {"command": dict(asked or {}), "train": asdict(config)}
    write_text(folder / "config.json", json.dumps(plain(settings), indent=2) + "\n")

    gaussians, last, interrupted = _train(scene, config, backend, folder)
    formats.write(folder / "splat.ply", gaussians)
    training = {
        "seconds": last.seconds,
        "planning_seconds": planning,
        "steps": last.step,
        "gaussians": len(gaussians),
        "interrupted": interrupted,
        "config": asdict(config),
    }
    evaluation = None
    if interrupted:  # first without scores, which take time: whoever interrupts may do so again
        write_report(folder, None, training, protocol_of(scene, RenderSettings(near=scene.near), backend))
    try:
        evaluation = score(gaussians, scene, folder, backend, training=training)
    except KeyboardInterrupt:
        if not interrupted:
            raise
    _say(f"{len(gaussians):,} Gaussians in {duration(last.seconds)} of training, written to {folder / 'splat.ply'}")
    return Trained(gaussians, evaluation, folder, last.seconds, interrupted)


def score(
    gaussians: Gaussians,
    scene: Scene,
    folder: Path | None,
    backend: str = "auto",
    lpips: "Lpips | None" = None,
    training: Mapping[str, object] | None = None,
) -> Evaluation | None:
    """Score on the held-out photos, show the means, and write report and comparisons when there is a folder.

    None when nothing was held out.
    """
    settings = RenderSettings(near=scene.near, depth=False)
    pictures: dict[str, Path] = {}
    views = scene.test
    evaluation = None
    if views:
        with Stages() as progress:

            def compared(view: View, image: Tensor, found: ViewScore) -> None:
                if folder:
                    path = folder / "compare" / picture_name(view.name)
                    if path in pictures.values():  # a/1.png and a-1.png
                        path = path.with_stem(f"{path.stem}-{len(pictures)}")
                    pictures[view.name] = path
                    write_comparison(pictures[view.name], view, image, found)
                counted.append(view.name)
                progress("evaluating", len(counted), len(views))

            counted: list[str] = []
            evaluation = evaluate(gaussians, views, settings, scene.background, backend, lpips, compared)
        distance = "" if evaluation.lpips is None else f", LPIPS {evaluation.lpips:.4f}"
        _say(f"held out {len(views)}: PSNR {evaluation.psnr:.2f} dB, SSIM {evaluation.ssim:.4f}{distance}", result=True)
    else:
        _say("nothing was held out, so there are no scores; --holdout 8 holds out every 8th photo")
    if folder:
        protocol = protocol_of(scene, settings, backend)
        write_report(folder, evaluation, training or {"gaussians": len(gaussians)}, protocol, pictures)
    return evaluation


def _train(scene: Scene, config: "TrainConfig", backend: str, folder: Path) -> tuple[Gaussians, "Progressed", bool]:
    """The trained Gaussians, the last step, and whether somebody stopped it early."""
    from sfumato.train import train

    last: Progressed | None = None
    with gentle() as request, TrainingLine() as line, Journal(folder / "log.jsonl") as journal:

        def on_step(progressed: "Progressed") -> None:
            nonlocal last
            last = progressed
            if journal.wants(progressed):
                psnr = progressed.psnr
                journal.write(progressed, psnr)
                line.measured(psnr)
            line(progressed)
            request.check()

        try:
            gaussians = train(scene, config, backend, on_step)
        except KeyboardInterrupt:
            if last is None:
                raise
            stopped = last.gaussians.detach()
            return stopped[stopped.finite.nonzero()[:, 0]], last, True
    if last is None:
        raise RuntimeError("training ended without a step")
    return gaussians, last, False


def _say(sentence: str, result: bool = False) -> None:
    """Results go to the standard output, the rest to the standard error."""
    Console(stderr=not result, highlight=False, soft_wrap=True).print(sentence, markup=False)
