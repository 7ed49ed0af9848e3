"""Many numbers to the 256 that stand for them best, and each number to the nearest of these: 8 bits each."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "codebook", "nearest_level"]

LEVELS = 256
ROUNDS = 100  # of Lloyd's; the error no longer falls by a thousandth in one of them after some 30
GAPS = 4096  # between the quantiles that show how densely the numbers lie


def codebook(values: NDArray[np.float32], weights: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """(256,) ascending levels whose squared distance to finite (N,) values, weighted, is about the least there is.

    No more than 256 different values are their own levels, the last repeated. Else Lloyd 1982 from the spacing that
    is the best one where levels are dense: that of the values' density to the power of a third (Panter and Dite 1951).
    """
    points, counts = _distinct(values, weights)
    if len(points) <= LEVELS:
        filled = points if len(points) else np.zeros(1)
        return np.append(filled, np.full(LEVELS - len(filled), filled[-1])).astype(np.float32)
    sums = [np.append(0.0, np.cumsum(counts * points**power)) for power in range(3)]
    levels = _dense_levels(points, sums[0])
    for _ in range(ROUNDS):
        levels = _lloyd(points, sums, levels)
    return levels.astype(np.float32)


def nearest_level(values: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The index of the ascending level that is nearest to each value, in the values' shape."""
    exact = levels.astype(np.float64)
    return np.searchsorted((exact[1:] + exact[:-1]) / 2, values, side="left").astype(np.uint8)


def _distinct(
    values: NDArray[np.float32], weights: NDArray[np.float32] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The different values, ascending, and the weight of each."""
    if weights is None:
        points, counts = np.unique(values, return_counts=True)
        return points.astype(np.float64), counts.astype(np.float64)
    points, which = np.unique(values, return_inverse=True)
    totals = np.asarray(np.bincount(which.reshape(-1), weights.reshape(-1), len(points)), dtype=np.float64)
    return points.astype(np.float64), totals


def _dense_levels(points: NDArray[np.float64], ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between quantiles a gap of width d has density 1/d, and d * (1/d)^(1/3) of the levels."""
    places = np.searchsorted(ranks[1:], np.linspace(0, ranks[-1], GAPS + 1), side="left")
    quantiles = points[np.minimum(places, len(points) - 1)]
    shares = np.append(0.0, np.cumsum(np.diff(quantiles) ** (2 / 3)))
    levels: NDArray[np.float64] = np.interp((np.arange(LEVELS) + 0.5) / LEVELS * shares[-1], shares, quantiles)
    return levels


def _lloyd(
    points: NDArray[np.float64], sums: list[NDArray[np.float64]], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each level to the mean of what is nearest to it; those of nothing into the cells that cost the most."""
    edges = np.searchsorted(points, (levels[1:] + levels[:-1]) / 2)
    edges = np.concatenate([[0], edges, [len(points)]])
    weight, first, second = (np.diff(total[edges]) for total in sums)
    idle = weight <= 0
    means = np.where(idle, levels, first / np.where(idle, 1, weight))
    if idle.any():
        costs = np.where(idle, 0, second - first * means)
        worst = np.argsort(-costs, kind="stable")[: int(idle.sum())]
        means[idle] = (means[worst] + points[edges[worst + 1] - 1]) / 2
    return np.sort(means)
