"""Means to the buckets of a .ksplat: at most 256 Gaussians in the same cube, about whose center they are stored."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "SIZE", "Buckets", "into_buckets"]

SIZE = 256  # Gaussians in a full bucket, as the generator of GaussianSplats3D has it
BLOCK = 5.0  # world units, edge of a cube there
_LARGEST = 1 << 62  # number of a cube, which must fit into an int64
_STRAY = 1 << 20  # cubes from one end to the other: more are the doing of stray points
_MOST = 1 << 52  # cubes along an axis: more of them than float64 can tell apart


@dataclass(frozen=True, eq=False)
class Buckets:
    """The order of the Gaussians in the file, full buckets first, and the cubes they are in."""

    order: NDArray[np.int64]  # (N,) which Gaussian is where
    centers: NDArray[np.float32]  # (full + partial, 3) world units
    full: int
    partial: NDArray[np.uint32]  # lengths of the buckets that are not full
    block: float  # world units, edge of a cube; a float32

    def center_of(self, start: int, length: int) -> NDArray[np.float32]:
        """(length, 3) the bucket's center of each row from `start` on."""
        return self.centers[np.searchsorted(self._ends, np.arange(start, start + length), side="right")]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """(full + partial,) the first row after each bucket."""
        lengths = np.concatenate([np.full(self.full, SIZE, np.int64), self.partial.astype(np.int64)])
        return lengths.cumsum()


def into_buckets(means: NDArray[np.float32]) -> Buckets:
    """Buckets for finite means (N, 3) in cubes of BLOCK, or of the scene where it is smaller: finer steps, for free."""
    N = len(means)
    low = means.min(axis=0, initial=np.inf).astype(np.float64) if N else np.zeros(3)
    extent = float((means.max(axis=0) - low).max()) if N else 0.0
    block = _edge(extent)
    low = low if extent < _STRAY * block else np.zeros(3)  # a far one would take digits from the others
    cubes = np.zeros(N, np.int64)
    for axis in range(3):
        cell = np.floor((means[:, axis] - low[axis]) / block).astype(np.int64)
        cubes = _numbered(cubes, cell - cell.min(initial=0))
    order = cubes.argsort(kind="stable")
    cubes = cubes[order]
    starts = np.flatnonzero(np.diff(cubes, prepend=-1))
    lengths = np.diff(starts, append=N)
    centers = low + (np.floor((means[order[starts]] - low) / block) + 0.5) * block
    whole, rest = np.divmod(lengths, SIZE)
    in_full = np.arange(N) - np.repeat(starts, lengths) < np.repeat(whole * SIZE, lengths)
    return Buckets(
        order=np.concatenate([order[in_full], order[~in_full]]),
        centers=np.concatenate([np.repeat(centers, whole, axis=0), centers[rest > 0]]).astype("<f4"),
        full=int(whole.sum()),
        partial=rest[rest > 0].astype("<u4"),
        block=block,
    )


def _numbered(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) numbers >= 0 that are equal where both (N,) are, and grow with the first, then with the second."""
    span = int(second.max(initial=0)) + 1
    if (int(first.max(initial=0)) + 1) * span > _LARGEST:  # a stray point, far from all others
        first, second = (np.unique(numbers, return_inverse=True)[1] for numbers in (first, second))
        span = int(second.max(initial=0)) + 1
    return first * span + second


def _edge(extent: float) -> float:
    """Edge of the cubes of a scene whose longest side is given, so that they can be numbered; world units."""
    if not extent > 0:
        return BLOCK
    edge = max(min(BLOCK, extent * (1 + 1e-6)), extent / _MOST, 1e-30)  # a bit more: the last point is inside
    return float(np.float32(edge))
