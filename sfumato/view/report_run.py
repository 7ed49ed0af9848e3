"""What is known of a run, for its report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from sfumato.core.gaussians import Gaussians
from sfumato.view.page import PageCamera

__all__ = ["Pictures", "Run", "Score", "curve_of", "number_of"]

SMOOTH = 0.02  # of the lines of a log, on each side, that a curve's point is the mean of


@dataclass(frozen=True)
class Score:
    """How well one held-out photo is reproduced; None where there is no number."""

    KEYS: ClassVar = ("psnr", "ssim", "lpips", "excluded")

    name: str
    psnr: float | None
    ssim: float | None
    lpips: float | None = None
    excluded: float | None = None


@dataclass(frozen=True)
class Pictures:
    """A photo and its render, as data URIs."""

    photo: str
    render: str
    width: int  # pixels
    height: int


@dataclass(frozen=True, eq=False)
class Run:
    """What a run's folder holds."""

    name: str
    written: datetime
    report: Mapping[str, Any]  # report.json
    scores: Sequence[Score]  # worst first
    pictures: Mapping[str, Pictures]  # by the name of the view, worst first
    log: Sequence[Mapping[str, Any]]  # lines of log.jsonl
    settings: Mapping[str, Any]  # config.json; empty where nothing was trained
    cameras: Sequence[PageCamera]
    gaussians: Gaussians | None

    @property
    def training(self) -> Mapping[str, Any]:
        """What report.json says of the training."""
        found = self.report["train"]
        return found if isinstance(found, Mapping) else {}

    @property
    def protocol(self) -> Mapping[str, Any]:
        """What another person must repeat to get the same numbers."""
        found = self.report.get("protocol")
        return found if isinstance(found, Mapping) else {}


def number_of(value: object) -> float | None:
    """A finite number as it is; None for anything else: JSON of other programs knows NaN, and a page's does not."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def curve_of(run: Run, key: str) -> list[float | None]:
    """A number of the log line by line; what belongs to single photos is smoothed."""
    values = [number_of(entry.get(key)) for entry in run.log]
    return values if key == "gaussians" else _smoothed(values)


def _smoothed(values: Sequence[float | None]) -> list[float | None]:
    """Each number as the mean of it and its neighbours, where there are any; None stays None."""
    reach = int(SMOOTH * len(values))
    found: list[float | None] = []
    for index, value in enumerate(values):
        near = [v for v in values[max(0, index - reach) : index + reach + 1] if v is not None]
        found.append(sum(near) / len(near) if value is not None else None)
    return found
