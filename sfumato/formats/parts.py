"""Parts of a large splat, as a reader decodes them, to Gaussians that are allocated once."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree

__all__ = ["LEAST_LOG_SCALE", "gathered", "log_of_scales", "logit", "origin_of"]

LEAST_LOG_SCALE = -20.0  # of a standard deviation of 0, whose log is not finite: 2e-9 units are as invisible
FAR = 100  # times their spread: places farther from zero are too coarse in single precision, as in maps
NOWHERE = 1e30  # units: farther places, as those that are not finite, are mistakes
_CERTAIN = 1e-6  # opacities of 8 bits end at 0 and 1, whose logits are infinite


def gathered(count: int, sh_degree: int, parts: Iterable[Gaussians]) -> Gaussians:
    """All rows of the parts, `count` together, one after the other, float32: never held twice, as by Gaussians.cat."""
    rest = bases_of_degree(sh_degree) - 1
    shapes: list[tuple[int, ...]] = [(3,), (4,), (3,), (), (1, 3), (rest, 3)]
    whole = Gaussians(*(torch.empty(count, *shape) for shape in shapes))
    start = 0
    for part in parts:
        for target, source in zip(whole, part, strict=True):
            target[start : start + len(part)] = source
        start += len(part)
    if start != count:
        raise ValueError(f"parts must have {count} rows together; got {start}")
    return whole


def log_of_scales(scales: torch.Tensor) -> torch.Tensor:
    """Logs of standard deviations >= 0; LEAST_LOG_SCALE for those of 0."""
    return torch.where(scales == 0, LEAST_LOG_SCALE, scales.log())


def logit(opacities: torch.Tensor) -> torch.Tensor:
    """Logits of opacities in [0, 1], at most 13.8 either way: those of 0 and 1 themselves are infinite."""
    return opacities.clamp(_CERTAIN, 1 - _CERTAIN).logit()


def origin_of(places: NDArray[np.float64]) -> tuple[float, float, float]:
    """The middle of (N, 3) places in whole numbers, or zero where they are not FAR from it, or NOWHERE."""
    places = places[(np.abs(places) < NOWHERE).all(axis=1)]
    if not len(places):
        return (0.0, 0.0, 0.0)
    middle = np.median(places, axis=0)
    spread = float(np.percentile(np.abs(places - middle).max(axis=1), 90))  # stray ones do not count
    if np.abs(middle).max() <= FAR * max(spread, 1.0):
        return (0.0, 0.0, 0.0)
    x, y, z = np.round(middle).tolist()
    return (x, y, z)
