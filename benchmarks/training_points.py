"""What trainings reached, several repeats of each, to rows of a table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

__all__ = ["HEAD", "Point", "row"]

HEAD = "| scene | training | seconds | PSNR | SSIM | steps | Gaussians |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Point:
    """What a training had reached after some time."""

    seconds: float
    psnr: float
    ssim: float
    steps: int
    gaussians: int


def row(scene: str, training: str, points: Sequence[Point]) -> str:
    """Means over the repeats; of seconds and PSNR also how far the farthest lies from the mean."""
    seconds, psnr, ssim, steps, gaussians = zip(*map(astuple, points), strict=True)
    cells = [
        scene,
        training,
        _spread(seconds, 1),
        _spread(psnr, 2),
        f"{statistics.fmean(ssim):.4f}",
        f"{statistics.fmean(steps):,.0f}",
        f"{statistics.fmean(gaussians):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _spread(values: Iterable[float], digits: int) -> str:
    values = list(values)
    mean = statistics.fmean(values)
    text = f"{mean:.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {max(abs(value - mean) for value in values):.{digits}f}"
