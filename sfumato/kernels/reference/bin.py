"""Splats to tile lists: for each 16x16 tile, the splats that reach alpha_min somewhere in it, nearest first."""

import torch
from torch import Tensor

from sfumato.core.errors import TileListError
from sfumato.kernels.stages import TILE, RenderSettings, Splats, TileLists

__all__ = ["bin", "smallest_exponent"]


def bin(splats: Splats, width: int, height: int, settings: RenderSettings) -> TileLists:
    """See `stages.Backend.bin`. Equal depths keep the order of their rows."""
    order = torch.argsort(splats.depths.detach(), stable=True)
    order = order[splats.seen[order]]
    means, conics = splats.means2d.detach()[order], splats.conics.detach()[order]
    reach = 2 * torch.log(splats.opacities.detach()[order] / settings.alpha_min)
    lists, pairs = [], 0
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            corner = means.new_tensor([x + 0.5, y + 0.5])  # the tile's first and last pixel centers
            touching = smallest_exponent(means, conics, corner, corner + TILE - 1) <= reach
            pairs += int(touching.sum())
            if pairs > settings.most_pairs:
                raise TileListError(pairs, settings.most_pairs)
            lists.append(order[touching])
    counts = torch.tensor([0] + [len(ids) for ids in lists])
    return TileLists(counts.cumsum(0), torch.cat(lists).to(torch.int32), width, height)


def smallest_exponent(means: Tensor, conics: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(M,) the least d^T conic d over the rectangle from low to high (2,), d = point - mean.

    The form is convex: 0 if the mean is inside, else the least is on one of the four sides.
    """
    a, b, c = conics.unbind(1)
    (left, top), (right, bottom) = (low - means).unbind(1), (high - means).unbind(1)
    inside = (left <= 0) & (right >= 0) & (top <= 0) & (bottom >= 0)
    best = torch.where(inside, 0.0, torch.inf).to(means)
    for x in (left, right):
        y = torch.clamp(-b * x / c, top, bottom)
        best = torch.minimum(best, a * x * x + 2 * b * x * y + c * y * y)
    for y in (top, bottom):
        x = torch.clamp(-b * y / a, left, right)
        best = torch.minimum(best, a * x * x + 2 * b * x * y + c * y * y)
    return best
