"""`sfumato train`: photos, or a dataset with cameras, to a folder with a splat, its scores and its pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from sfumato.cli.flags import Backend, Count, Input, Output, Seconds, parse
from sfumato.core.errors import InputError

__all__ = ["Train", "main"]


@dataclass(frozen=True)
class Train:
    """Train a splat on photos and score it on photos that were held out."""

    input: Input
    """Folder of photos, or of a dataset with cameras (COLMAP, transforms.json)."""
    output: Output
    """Folder for splat.ply, report.json, report.md, compare/, log.jsonl and config.json."""
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
    strategy: Literal["adaptive", "mcmc"] = "adaptive"
    """How Gaussians multiply: Kerbl et al. 2023 or Kheradmand et al. 2024."""
    max_gaussians: Count = None
    """Never more Gaussians than this."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Same seed, same machine: same result, bit for bit."""
    backend: Backend = "auto"
    """What computes."""
    force: bool = False
    """Replace the run that OUT holds."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Train, words)
    if flags.steps is not None and flags.seconds is not None:
        raise InputError("give --steps or --seconds, not both: seconds are turned into steps")
    from sfumato.cli.run import check_output, load, train_and_report
    from sfumato.train import TrainConfig

    config = TrainConfig.make(flags.strategy, flags.quality, flags.steps, flags.max_gaussians, flags.seed)
    check_output(flags.output, flags.force, flags.input)
    scene = load(flags.input, flags.downscale, flags.holdout)
    asked = {key: value for key, value in asdict(flags).items() if key != "force"}
    done = train_and_report(scene, flags.output, config, flags.backend, flags.seconds, asked)
    return 130 if done.interrupted else 0
