"""`sfumato train`: photos, a video or a dataset to a folder with a splat, its scores and its pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from sfumato.cli.flags import LINE, Backend, Count, Input, Output, Seconds, command_line, parse
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from sfumato.cli.live import Onlooker
    from sfumato.cli.resume import Earlier
    from sfumato.core.gaussians import Gaussians
    from sfumato.core.scene import Scene

__all__ = ["Train", "main"]

# flags that say what the numbers of a run are: a run that is gone on with keeps its own
_FIXED = (
    *("downscale", "holdout", "masks", "invert_masks", "frames"),
    *("steps", "seconds", "quality", "strategy", "max_gaussians", "seed", "deterministic", "init"),
)

# flags that say how this process works, not what a run is
_OF_NOW = ("force", "resume", "extend", "view", "port", "host", "no_open")

_USED = "downscale_used"  # in config.json, what the photos were divided by in the end


@dataclass(frozen=True)
class Train:
    """Train a splat on photos and score it on photos that were held out."""

    input: Input
    """Photos, a video, a dataset with cameras (COLMAP, transforms.json and many others), or an archive of these."""
    output: Output
    """Folder for splat.ply, report.html (and .json, .md), compare/, log.jsonl, config.json, checkpoints/, views/ ..."""
    steps: Count = None
    """Training steps; as many as suit the scene when neither this nor --seconds is given."""
    seconds: Seconds = None
    """Measure the first steps, then take as many as fit into S seconds of training."""
    quality: bool = False
    """Take longer, up to ten times, for better pictures."""
    downscale: Annotated[float, arg(metavar="D")] = 1.0
    """Divide the sides of all photos by D."""
    holdout: Annotated[int, arg(metavar="N")] = 8
    """Hold every Nth photo out for the scores (0: none), unless the dataset says which."""
    masks: Literal["ignore", "empty", "off"] = "ignore"
    """What the black pixels of masks/ mean: nothing is known there, nothing is there, or nothing at all."""
    invert_masks: bool = False
    """The white pixels of masks mean that instead."""
    frames: Count = None
    """Take N frames of a video, instead of as many as its motion asks for."""
    strategy: Literal["adaptive", "mcmc"] = "adaptive"
    """How Gaussians multiply: Kerbl et al. 2023 or Kheradmand et al. 2024."""
    max_gaussians: Count = None
    """Never more Gaussians than this."""
    memory: Annotated[str | None, arg(metavar="SIZE", help_behavior_hint="(default: most of what is free)")] = None
    """Take no more memory than this, such as 4GB."""
    gpu_memory: Annotated[
        str | None, arg(metavar="SIZE", help_behavior_hint="(default: most of what is free there)")
    ] = None
    """Take no more of the GPU's own memory than this, such as 6GB."""
    init: Annotated[Path | None, arg(metavar="FILE")] = None
    """Start from this splat instead of from points, and refine it."""
    resume: bool = False
    """Go on with the run that OUT holds, from its newest checkpoint."""
    extend: Count = None
    """Train the complete run that OUT holds for N steps more."""
    checkpoint_seconds: Annotated[float, arg(metavar="S")] = 30.0
    """Write a checkpoint every S seconds, and at the end (0: never)."""
    checkpoint_steps: Count = None
    """Write a checkpoint every N steps, too."""
    tensorboard: Annotated[Path | None, arg(metavar="DIR")] = None
    """Also log to TensorBoard's files in DIR."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Same seed, same machine: same result, bit for bit on the CPU; on a GPU, too, with --deterministic."""
    deterministic: bool = False
    """Make a GPU repeat a run bit for bit, as the CPU always does: slower, and it takes more of the GPU's memory."""
    backend: Backend = "auto"
    """What computes; auto: the GPU where one can, else the CPU. reference is slow, for checking."""
    force: bool = False
    """Replace the run that OUT holds."""
    view: bool = False
    """Watch it in the browser while it trains; the page stays as a viewer until Ctrl-C."""
    port: Annotated[int, arg(metavar="P")] = 7007
    """Port of that page, or the next free one."""
    host: Annotated[str, arg(metavar="H")] = "127.0.0.1"
    """Address that page is served at; 0.0.0.0 lets other machines in."""
    no_open: bool = False
    """Say the page's address, but do not open it in the browser."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Train, words)
    _check(flags)
    from sfumato.cli.output import check_output, locked

    check_output(flags.output, flags.force or flags.resume or flags.extend is not None, flags.input)
    from sfumato.cli.live import Onlooker, Viewing
    from sfumato.cli.run import say

    viewing = Viewing(flags.host, flags.port, not flags.no_open) if flags.view else None
    with Onlooker(viewing, say) as onlooker:
        with locked(flags.output):  # from now on: what is read of an earlier run must be so when it is gone on with
            code = _run(flags, onlooker)
        onlooker.stay()
    return code


def _run(flags: Train, onlooker: "Onlooker") -> int:
    from sfumato.cli.board import check_board
    from sfumato.cli.budget import Budget
    from sfumato.cli.keeper import Saving
    from sfumato.cli.reading import Reading
    from sfumato.cli.resume import read_run
    from sfumato.cli.run import in_frame_of, load, train_and_report
    from sfumato.cli.splat import read_splat
    from sfumato.kernels.backends import choose
    from sfumato.train import TrainConfig

    earlier = read_run(flags.output) if flags.resume or flags.extend is not None else None
    if earlier:
        flags = _as_before(flags, earlier)
    backend, _ = choose(flags.backend)
    config = TrainConfig.make(flags.strategy, flags.quality, flags.steps, flags.max_gaussians, flags.seed)
    config = earlier.config if earlier else replace(config, deterministic=flags.deterministic)
    refined = None
    if flags.init and not (earlier and earlier.checkpoint):  # a checkpoint holds all that came of it
        refined = read_splat(flags.init)  # before the photos: it is sooner said what is wrong
    if flags.tensorboard:
        check_board(flags.tensorboard)
    at_least = len(refined) if refined else 0
    resumed = earlier is not None
    budget = Budget(flags.memory, config, backend, flags.downscale, at_least, resumed, flags.view, flags.gpu_memory)
    reading = Reading(flags.downscale, flags.holdout, flags.masks, flags.invert_masks, flags.frames)
    scene = load(flags.input, reading, budget.fit_photos)
    start: Any = None
    seconds = flags.seconds
    if earlier:
        config, start = earlier.continued(scene, flags.extend)
        seconds = None
    if flags.init and refined is not None and start is None:
        from sfumato.formats.points import NAME as CLOUD

        start = in_frame_of(scene, refined)
        config = config if earlier else _going_on(config, scene, start, refined.format == CLOUD)
    asked = {key: value for key, value in asdict(flags).items() if key not in _OF_NOW}
    asked["downscale"] = earlier.command.get("downscale", 1.0) if earlier else flags.downscale
    asked[LINE] = command_line(replace(flags, downscale=asked["downscale"]), without=_OF_NOW)
    asked[_USED] = scene.protocol.get("downscale", flags.downscale)  # memory may have asked for more
    saving = Saving(flags.checkpoint_seconds, flags.checkpoint_steps)
    done = train_and_report(
        scene,
        flags.output,
        config,
        backend,
        seconds,
        asked,
        saving,
        start,
        budget,
        flags.tensorboard,
        resumed=resumed,
        onlooker=onlooker,
    )
    return 130 if done.interrupted else 0


def _check(flags: Train) -> None:
    if flags.steps is not None and flags.seconds is not None:
        raise InputError("give --steps or --seconds, not both: seconds are turned into steps")
    if flags.seconds is not None and not flags.seconds > 0:
        raise InputError(f"--seconds must be above 0; got {flags.seconds:g}")
    if not 0 <= flags.port < 2**16:
        raise InputError(f"--port must be from 0 (any that is free) to 65535; got {flags.port}")
    if not -(2**63) <= flags.seed < 2**63:
        raise InputError(f"--seed must be a whole number of at most 18 digits; got {flags.seed}")
    if not flags.view and (flags.port, flags.host, flags.no_open) != (Train.port, Train.host, Train.no_open):
        raise InputError("--port, --host and --no-open are for the page of --view; give --view too")
    if flags.force and (flags.resume or flags.extend is not None):
        raise InputError("give --force to start again or --resume or --extend to go on, not both")
    if flags.extend is not None and flags.extend < 1:
        raise InputError(f"--extend must be at least 1; got {flags.extend}")
    if not flags.checkpoint_seconds >= 0:
        raise InputError(f"--checkpoint-seconds must be 0 (none) or more; got {flags.checkpoint_seconds:g}")
    if flags.checkpoint_steps is not None and flags.checkpoint_steps < 1:
        raise InputError(f"--checkpoint-steps must be at least 1; got {flags.checkpoint_steps}")
    if flags.checkpoint_steps is not None and not flags.checkpoint_seconds:
        raise InputError("give --checkpoint-steps, or --checkpoint-seconds 0 for no checkpoints at all, not both")
    if flags.init and flags.init.resolve() == (flags.output / "splat.ply").resolve():
        raise InputError(f"{flags.init} would be replaced by this run; choose another folder for results, or copy it")


def _as_before(flags: Train, earlier: "Earlier") -> Train:
    """The flags with those of the earlier run; one that says otherwise now is refused."""
    changed: dict[str, Any] = {}
    if flags.backend == "auto":  # another one may be asked for, and then the bits are its own
        changed["backend"] = earlier.command.get("backend", "auto")
    for field in fields(Train):
        if field.name not in _FIXED or field.name not in earlier.command:
            continue
        now, before = getattr(flags, field.name), earlier.command[field.name]
        before = Path(before) if field.name == "init" and before else before
        if now not in (field.default, before):
            flag = "--" + field.name.replace("_", "-")
            raise InputError(
                f"{earlier.folder} was begun with {flag} {before}, and now {flag} is {now}; leave {flag} out, or start "
                "again with --force"
            )
        changed[field.name] = before
    changed["downscale"] = earlier.command.get(_USED, changed.get("downscale", flags.downscale))
    return replace(flags, **changed)


def _going_on(config: Any, scene: "Scene", gaussians: "Gaussians", is_cloud: bool) -> Any:
    """The config for a splat that is good already, or for points, with room for all unless somebody said how many."""
    refining = config if is_cloud else config.refining()
    if config.max_gaussians is not None:
        return refining
    return replace(refining, max_gaussians=max(len(gaussians), refining.gaussians_for(scene)))
