"""Bounds that no Gaussian may pass while it is trained: how large it is, and how many tiles it fills."""

import math

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import TILE, Splats

__all__ = ["LARGEST", "clamp_scales_", "runaways"]

LARGEST = 100.0  # of the extent: a sky's Gaussians are tens of extents wide; more is a step gone wrong
SMALLEST = 1e-9  # of the extent: far below any pixel, and its square is still a float32
SLACK = 0.01  # pixels; tile lists may hold a splat that misses the tile by less


def clamp_scales_(gaussians: Gaussians, extent: float) -> None:
    """Hold every log_scale between SMALLEST and LARGEST times the extent, in place; NaN stays NaN."""
    with torch.no_grad():
        gaussians.log_scales.clamp_(math.log(SMALLEST * extent), math.log(LARGEST * extent))


def runaways(splats: Splats, width: int, height: int, most_pairs: int) -> Tensor:
    """(N,) bool, True for the fewest splats, largest first, without which the tile lists surely fit.

    A splat counts as all tiles of its box, at least as many as list it. Of equal ones the later rows go first.
    """
    tiles = _tiles(splats, width, height)
    order = tiles.argsort(stable=True)  # the smallest stay
    kept = tiles[order].cumsum(0) <= most_pairs
    gone = torch.zeros(len(tiles), dtype=torch.bool, device=tiles.device)
    gone[order[~kept]] = True
    return gone


def _tiles(splats: Splats, width: int, height: int) -> Tensor:
    """(N,) int64 tiles that each splat's box touches; 0 where it is not seen."""
    counts = torch.tensor([-(-width // TILE), -(-height // TILE)], device=splats.radii.device)
    low, high = (
        ((splats.means2d.detach() + reach) / TILE).clamp(min=0).minimum(counts - 1).long()
        for reach in (-splats.radii - SLACK, splats.radii + SLACK)
    )
    return torch.where(splats.seen, (high - low + 1).prod(dim=1), 0)
