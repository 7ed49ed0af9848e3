"""Two splats in one frame to what a person should know about where they meet: what is there twice, and how unlike."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import rgb_from_sh0
from sfumato.edit.merge.icp import FAINT, sample, spacing

__all__ = ["Seam", "seam"]

CELL = 4.0  # spacings of the centers: a cell on a surface holds some sixteen
MIXED = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd: cells that differ get numbers that differ


@dataclass(frozen=True, eq=False)
class Seam:
    """Where a second splat meets a first one; space is looked at in cubes.

    Attributes
    ----------
    cell : float
        Edge of a cube, world units.
    cells : int
        Cubes that the second splat is in.
    shared : int
        Of them, that the first splat is in as well.
    count : int
        Gaussians of the second splat.
    doubles : int
        Of them, in cubes where the first has at least half as much cover.
    color : tuple of float, (3,)
        Mean red, green and blue of the second less those of the first, where shared.
    color_apart : float
        Mean size of that difference, whatever its sign, from 0 to 1.
    density : float
        Gaussians of the second for each one of the first, where shared.
    is_double : Tensor, (N,), bool
        Which Gaussians of the second are doubles.
    """

    cell: float
    cells: int
    shared: int
    count: int
    doubles: int
    color: tuple[float, float, float]
    color_apart: float
    density: float
    is_double: Tensor


def seam(first: Gaussians, second: Gaussians, cell: float | None = None) -> Seam:
    """Look how a second splat meets a first one.

    A splat is in a cube that holds the center of a Gaussian that is not faint (FAINT); its cover there is the sum of
    opacity times area, and its color the mean weighed by that.

    Parameters
    ----------
    first : Gaussians
        Is there already.
    second : Gaussians
        Comes to it, in the same frame.
    cell : float, optional
        Edge of a cube, world units; without it, CELL times the distance of neighbors in the first.

    Returns
    -------
    Seam
        What both have, and how unlike it is.

    Examples
    --------
    >>> met = edit.seam(gaussians, gaussians)
    >>> met.doubles, met.color_apart
    (20, 0.0)
    """
    first, second = first.detach().to("cpu"), second.detach().to("cpu")
    cell = cell or CELL * spacing(sample(first, 50_000).places) or 1.0
    keys = [_keys(splat.means, cell) for splat in (first, second)]
    known, places = torch.unique(torch.cat(keys), return_inverse=True)
    here, there = places.split([len(first), len(second)])
    parts = [_filled(first, here, len(known), cell), _filled(second, there, len(known), cell)]
    (counts, cover, colors), (own_counts, own_cover, own_colors) = parts
    shared = (counts > 0) & (own_counts > 0)
    is_double = ((counts > 0) & (cover >= own_cover / 2))[there] & second.means.isfinite().all(dim=1)
    apart = own_colors[shared] - colors[shared]
    weights = torch.minimum(cover, own_cover)[shared]
    weights = weights / weights.sum().clamp(min=1e-300)
    red, green, blue = (weights @ apart).tolist()
    return Seam(
        cell=cell,
        cells=int((own_counts > 0).sum()),
        shared=int(shared.sum()),
        count=len(second),
        doubles=int(is_double.sum()),
        color=(red, green, blue),
        color_apart=float(weights @ apart.abs().mean(dim=1)),
        density=float(own_counts[shared].sum() / counts[shared].sum().clamp(min=1)),
        is_double=is_double,
    )


def _keys(means: Tensor, cell: float) -> Tensor:
    """(N,) int64 a number for the cube that each place is in."""
    cubes = (means.double().nan_to_num(0, 0, 0) / cell).floor().clamp(-(2.0**62), 2.0**62).long()
    mixed = [number - (1 << 64) if number >= 1 << 63 else number for number in MIXED]
    return sum((cubes[:, axis] * mixed[axis] for axis in range(3)), start=torch.zeros_like(cubes[:, 0]))


def _filled(gaussians: Gaussians, places: Tensor, count: int, cell: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of each of `count` cubes: how many Gaussians that are not faint (C,), their cover (C,) and mean color (C, 3)."""
    rows = (gaussians.finite & (gaussians.opacities >= FAINT)).nonzero()[:, 0]
    some, at = gaussians[rows], places[rows]
    widths = some.scales.double().sort(dim=1).values[:, 1:].clamp(max=cell)  # a sky outweighs nothing
    each = some.opacities.double() * widths.prod(dim=1)
    cover = torch.zeros(count, dtype=torch.float64).index_add_(0, at, each)
    light = rgb_from_sh0(some.sh0[:, 0]).double().clamp(0, 1) * each[:, None]
    colors = torch.zeros(count, 3, dtype=torch.float64).index_add_(0, at, light)
    counts = torch.zeros(count, dtype=torch.float64).index_add_(0, at, torch.ones_like(each))
    return counts, cover, colors / cover.clamp(min=1e-300)[:, None]
