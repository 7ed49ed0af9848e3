"""The composition behind `train`, `eval` and `demo`: a scene to a folder with splat, scores, pictures and protocol."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from torch import Tensor

from sfumato import formats
from sfumato.cli.board import Board
from sfumato.cli.console import Stages, TrainingLine, duration, patient
from sfumato.cli.interrupt import Stopped, gentle
from sfumato.cli.journal import Journal
from sfumato.cli.keeper import Keeper, Saving
from sfumato.cli.live import Onlooker
from sfumato.cli.output import CHECKPOINTS, REPORT, check_room, clear, locked, taken_disk
from sfumato.cli.reading import Reading
from sfumato.cli.resume import write_run
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.errors import InputError, SfumatoError
from sfumato.core.files import sweep
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress
from sfumato.core.scene import Scene, View
from sfumato.evaluate import Evaluation, ViewScore, evaluate, write_report
from sfumato.evaluate.compare import picture_name, write_comparison
from sfumato.evaluate.report import protocol_of
from sfumato.kernels.backends import choose
from sfumato.kernels.backends import load as load_backend
from sfumato.kernels.stages import RenderSettings
from sfumato.view.report import write_render
from sfumato.view.views import CAMERAS, read_cameras, write_views

if TYPE_CHECKING:
    from sfumato.capture.load import Fit
    from sfumato.cli.budget import Budget
    from sfumato.evaluate.lpips import Lpips
    from sfumato.train import Progressed, TrainConfig, TrainingState

__all__ = [
    "Trained",
    "in_frame_of",
    "left_out",
    "load",
    "prepare",
    "say",
    "score",
    "train_and_report",
    "write_page",
]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run leaves behind."""

    gaussians: Gaussians
    evaluation: Evaluation | None  # None: nothing was held out, or there was no time for it
    folder: Path
    seconds: float  # of training
    interrupted: bool


def load(source: Path, reading: Reading | None = None, fit: "Fit | None" = None) -> Scene:
    """The scene in a folder, with progress shown. fit: see `load_scene`. Raises InputError when it cannot be read."""
    reading = reading or Reading()
    if not reading.downscale >= 1:
        raise InputError(f"--downscale must be at least 1; got {reading.downscale:g}")
    if reading.holdout < 0 or reading.holdout == 1:
        raise InputError(f"--holdout must be 0 (none) or at least 2; got {reading.holdout}")
    if reading.frames is not None and reading.frames < 3:
        raise InputError(f"--frames must be at least 3; got {reading.frames}")
    from sfumato.capture import load_scene

    with Stages() as progress:
        scene = load_scene(source, **asdict(reading), fit=fit, progress=progress, note=progress.note)
    if "photos_given" in scene.protocol:  # the cameras were found here
        solved = scene.protocol
        say(f"{solved['registered']} of {solved['photos_given']} photos registered, ", end="")
        say(f"reprojection error {solved['reprojection_error']:.2f} pixels")
    size = scene.views[0].camera
    photos = f"{len(scene.train)} photos to train on, {len(scene.test)} held out"
    photos = photos if scene.test else f"{len(scene.views)} photo{'s' if len(scene.views) > 1 else ''}, none held out"
    say(f"{photos}, {size.width} x {size.height} pixels, {len(scene.points):,} points")
    return scene


def left_out(names: object) -> str:
    """The end of a sentence that says which photos have no camera; nothing when all have one."""
    names = list(names) if isinstance(names, list) else []
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"; left out: {', '.join(map(str, names[:10]))}{more}" if names else ""


def in_frame_of(scene: Scene, asset: Asset) -> Gaussians:
    """The Gaussians of a file, which has a frame and an origin, in the coordinates of the scene, which has its own."""
    gaussians = reframe(asset.gaussians, asset.axes, CANONICAL)
    origin, zero = (torch.tensor(place, dtype=torch.float64) for place in (asset.origin, scene.origin))
    apart = matrix_between(asset.axes, CANONICAL) @ origin - zero
    return replace(gaussians, means=gaussians.means + apart.to(gaussians.means)) if apart.any() else gaussians


def prepare(backend: str) -> None:
    """Compile what the backend needs, showing progress when that takes more than a moment."""
    function: Callable[[Progress], None] | None = getattr(load_backend(choose(backend)[0]), "prepare", None)
    if function is None:
        return
    with patient() as progress:
        function(progress)


def train_and_report(
    scene: Scene,
    folder: Path,
    config: "TrainConfig",
    backend: str = "auto",
    seconds: float | None = None,
    asked: Mapping[str, object] | None = None,
    saving: Saving | None = None,
    start: "Gaussians | TrainingState | None" = None,
    budget: "Budget | None" = None,
    board: Path | None = None,
    resumed: bool = False,
    onlooker: Onlooker | None = None,
) -> Trained:
    """Train, save the splat, score it on the held-out photos, and write everything to `folder`.

    seconds: fix the number of steps so that training takes so long. asked: the command line, for config.json. saving:
    when checkpoints are written. start: see `train`; what the folder holds of an earlier run is removed first, but
    not when that run is gone on with, from its state. budget: of memory. board: folder for TensorBoard's files.
    resumed: the config is that of the run that is gone on with, and fits or is refused. onlooker: who watches it in
    the browser, where it may be paused and stopped.
    An interruption saves a checkpoint and the splat so far, without scores. Raises KeyboardInterrupt when interrupted
    before there is anything to save, InputError when there is no room on the disk or in memory, or another run uses
    the folder.
    """
    from sfumato.train import Checkpoints, TrainingState, check_start, plan_steps, scene_digest

    backend, device = choose(backend)
    saving, onlooker = saving or Saving(), onlooker or Onlooker(None, say)
    with locked(folder):
        prepare(backend)
        began = perf_counter()
        if seconds is not None:
            refined = start if isinstance(start, Gaussians) else None
            config = budget.rehearsed(config) if budget else config
            keep, most = (budget.keep, budget.most) if budget else (None, None)
            on_device = budget.on_device if budget else None
            config = plan_steps(scene, config, seconds, backend, refined, keep, most, on_device)
            say(f"{seconds:g} seconds are enough for {config.steps} steps; --steps {config.steps} repeats this run")
        planning = perf_counter() - began
        config = config.fixed(scene)
        if budget is not None:
            config = _within(budget, scene, config, resumed)
        check_room(folder, _disk(config, scene, saving) - taken_disk(folder / CHECKPOINTS))
        if isinstance(start, Gaussians):
            check_start(scene, config, start)
        onlooker.begin(folder, scene, config, backend)
        if not isinstance(start, TrainingState):  # only now: whatever was refused has not cost the earlier run
            clear(folder)
        sweep(folder)
        sweep(folder / CHECKPOINTS)
        earlier = start.earlier if isinstance(start, TrainingState) else 0
        write_run(folder, asked or {}, config, earlier, _usual(scene, config))
        if not (folder / CAMERAS).is_file():
            with patient() as progress:
                write_views(folder, scene, say, progress)

        keeper = Keeper(Checkpoints(folder / CHECKPOINTS), config, scene_digest(scene), saving, say)
        gaussians, last, interrupted = _train(scene, config, backend, folder, keeper, start, budget, board, onlooker)
        clear(folder, REPORT)  # of the run before it was gone on with: scores never lie beside another splat
        formats.write(folder / "splat.ply", Asset(gaussians, origin=scene.origin))
        onlooker.trained(gaussians, interrupted)  # only now: its renders take a while
        training = {
            "seconds": last.seconds,
            "planning_seconds": planning,
            "steps": last.earlier + last.step,
            "gaussians": len(gaussians),
            "interrupted": interrupted,
            "memory": budget.to_report() if budget else None,
            "config": asdict(config),
        }
        evaluation = None
        if interrupted:  # scores take time, and whoever interrupts has none
            write_report(folder, None, training, protocol_of(scene, RenderSettings(near=scene.near), backend))
        else:
            try:
                evaluation = score(gaussians.to(device), scene, folder, backend, training=training)
            except KeyboardInterrupt:
                say(f"{folder / 'splat.ply'} is written, but not scored; `sfumato eval` scores it")
                raise
            except (SfumatoError, OSError) as error:  # the splat is worth more than its scores
                write_report(folder, None, training, protocol_of(scene, RenderSettings(near=scene.near), backend))
                say(f"{folder / 'splat.ply'} is written, but could not be scored: {error}")
        write_page(folder, gaussians)
        say(f"{len(gaussians):,} Gaussians in {duration(last.seconds)} of training, written to {folder / 'splat.ply'}")
        resumable = interrupted and keeper.saved == last.step
        if resumable:
            say(f"stopped after step {last.step} of {last.steps}; the same command with --resume goes on from there")
        onlooker.finished(folder, evaluation, resumable)
    return Trained(gaussians, evaluation, folder, last.seconds, interrupted)


def _within(budget: "Budget", scene: Scene, config: "TrainConfig", resumed: bool) -> "TrainConfig":
    """The config with what fits into memory; a run that is gone on with keeps its own, or is refused."""
    fitted = budget.fit_training(scene, config)
    if not resumed:
        return fitted
    if fitted.gaussians_for(scene) < config.gaussians_for(scene):
        raise budget.too_small(f"up to {config.gaussians_for(scene):,} Gaussians")
    return config


def _disk(config: "TrainConfig", scene: Scene, saving: Saving) -> int:
    """Bytes that the splat and its checkpoints can take on the disk."""
    from sfumato.train.checkpoint import KEPT

    row = 4 * (14 + 3 * (config.sh_degree + 1) ** 2)
    copies = 1 + (3 * (KEPT + 1) if saving.seconds else 0)  # a checkpoint has two moments too; one is being written
    return copies * row * config.gaussians_for(scene)


def score(
    gaussians: Gaussians,
    scene: Scene,
    folder: Path | None,
    backend: str = "auto",
    lpips: "Lpips | None" = None,
    training: Mapping[str, object] | None = None,
    antialiased: bool = False,
) -> Evaluation | None:
    """Score on the held-out photos, show the means, and write report and comparisons when there is a folder.

    None when nothing was held out.
    """
    settings = RenderSettings(near=scene.near, depth=False, antialiased=antialiased)
    pictures: dict[str, Path] = {}
    views = scene.test
    photos = _photos(folder, scene) if folder else {}
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
                    if view.name in photos:
                        write_render(folder, photos[view.name], image)
                counted.append(view.name)
                progress("evaluating", len(counted), len(views))

            counted: list[str] = []
            evaluation = evaluate(gaussians, views, settings, scene.background, backend, lpips, compared)
        distance = "" if evaluation.lpips is None else f", LPIPS {evaluation.lpips:.4f}"
        say(f"held out {len(views)}: PSNR {evaluation.psnr:.2f} dB, SSIM {evaluation.ssim:.4f}{distance}", result=True)
    else:
        say("nothing was held out, so there are no scores; --holdout 8 holds out every 8th photo")
    if folder:
        protocol = protocol_of(scene, settings, backend)
        write_report(folder, evaluation, training or {"gaussians": len(gaussians)}, protocol, pictures)
    return evaluation


def _photos(folder: Path, scene: Scene) -> dict[str, str]:
    """Where in the folder the small copies of the held-out photos are, by the names of the views."""
    if not (folder / "config.json").is_file():  # an evaluation by itself
        clear(folder, (CAMERAS,))  # of the one before it
        with patient() as progress:
            write_views(folder, replace(scene, views=scene.test), say, progress)
    sizes = {view.name: (view.camera.width, view.camera.height) for view in scene.test}
    try:
        found = {camera.name: camera for camera in read_cameras(folder)}
    except InputError:  # damaged since
        return {}
    same = [camera for name, camera in found.items() if (camera.width, camera.height) == sizes.get(name)]
    return {camera.name: camera.photo for camera in same if camera.photo}


def write_page(folder: Path, gaussians: Gaussians) -> None:
    """Write report.html of what else the folder holds; whatever goes wrong, that is complete without it."""
    from sfumato.view import report

    try:
        report.write(folder, gaussians)
    except Exception as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        say(f"{folder / report.NAME} could not be written ({why}); everything else is complete")


def _usual(scene: Scene, config: "TrainConfig") -> "TrainConfig":
    """What this scene would get by itself, for the settings that differ."""
    from sfumato.train import TrainConfig

    usual = TrainConfig().fixed(scene)
    with suppress(TypeError):  # a strategy of somebody's own may need to be told something
        usual = replace(usual, density=type(config.density)())
    return usual


def _train(
    scene: Scene,
    config: "TrainConfig",
    backend: str,
    folder: Path,
    keeper: Keeper,
    start: "Gaussians | TrainingState | None",
    budget: "Budget | None",
    board: Path | None,
    onlooker: Onlooker,
) -> tuple[Gaussians, "Progressed", bool]:
    """The trained Gaussians, the last step, and whether somebody stopped it early."""
    from sfumato.train import Progressed, TrainingState, train

    earlier = start if isinstance(start, TrainingState) else None
    last: Progressed | None = None
    onlooker.resumed(folder / "log.jsonl", earlier.total if earlier else 0)
    with (
        gentle() as request,
        TrainingLine() as line,
        Journal(folder / "log.jsonl", earlier.total if earlier else 0) as journal,
        Board(board, earlier.total if earlier else 0) as tensorboard,
    ):

        def on_step(progressed: "Progressed") -> None:
            nonlocal last
            last = progressed
            if journal.wants(progressed):
                psnr = progressed.psnr
                journal.write(progressed, psnr)
                tensorboard.write(progressed, psnr)
                line.measured(psnr)
                onlooker.measured(progressed, psnr)
            line(progressed)
            onlooker.step(progressed, request, line.note)
            if request.made or keeper.wants(progressed):
                keeper.save(progressed)
            request.check()

        try:
            keep, on_device = (budget.keep, budget.on_device) if budget else (None, None)
            gaussians = train(scene, config, backend, on_step, start, keep, on_device)
        except Stopped:  # anything else is in a hurry
            if last is None:
                raise
            stopped = last.gaussians.detach()
            return stopped[stopped.finite.nonzero()[:, 0]], last, True
    if last is None:  # a run that was complete, but for its scores
        if earlier is None:
            raise RuntimeError("training ended without a step")
        nothing = torch.zeros(1, 1, 3)
        last = Progressed(
            earlier.step, config.steps_for(scene), 0.0, nothing, nothing, gaussians, earlier.seconds,
            earlier=earlier.earlier,
        )  # fmt: skip
    return gaussians, last, False


def say(sentence: str, result: bool = False, end: str = "\n") -> None:
    """Results go to the standard output, the rest to the standard error."""
    Console(stderr=not result, highlight=False, soft_wrap=True).print(sentence, markup=False, end=end)
