"""Places to their order along a space-filling curve (Morton 1966): neighbours in space become neighbours in memory."""

import torch
from torch import Tensor

__all__ = ["interleaved", "morton_order"]

CELLS = 1 << 19  # to half the width that most places have; twice as many to the end of space, four times in all
LAST = 2**63 - 1  # the code of what is nowhere
SAMPLE = 1 << 18  # places that say where most are: sorting all of many millions would take longer than the rest
# how far bits move apart, and which ones stay: afterwards there are two zeros between any two of 21
SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def morton_order(means: Tensor) -> Tensor:
    """(N,) int64: the rows of (N, 3) places in the order of a Morton curve through all of space.

    Space is drawn together so that far outliers leave cells to the others. Places with a NaN come last, equal ones
    stay in order. On a GPU nothing waits for it.
    """
    if not len(means):
        return torch.empty(0, dtype=torch.int64, device=means.device)
    middle, reach = _where_most_are(means)
    code = torch.zeros(len(means), dtype=torch.int64, device=means.device)
    nowhere = torch.zeros(len(means), dtype=torch.bool, device=means.device)
    for axis in range(3):  # one by one: of 20 million places, three columns of codes are half a gigabyte
        t = (means[:, axis].detach() - middle[axis]) / reach
        t = torch.where(t.abs() <= 1, t, t.sign() * (2 - 1 / t.abs().clamp(min=1)))  # in [-2, 2]
        nowhere |= t.isnan()
        code |= _spread(((t + 2) * (CELLS - 1)).nan_to_num().long()) << axis
    return torch.argsort(code.masked_fill_(nowhere, LAST), stable=True)


def interleaved(cells: Tensor) -> Tensor:
    """(N,) int64 codes whose bits are those of x, y, z, int64 of 21 bits at most (N, 3), in turn."""
    x, y, z = cells.unbind(dim=1)
    return _spread(x) | _spread(y) << 1 | _spread(z) << 2


def _spread(bits: Tensor) -> Tensor:
    for shift, mask in SPREAD:
        bits = (bits | bits << shift) & mask
    return bits


def _where_most_are(means: Tensor) -> tuple[Tensor, Tensor]:
    """The middle (3,) and half the largest width () of the box from the first to the last percent of each axis."""
    sample = means.detach()[:: -(-len(means) // SAMPLE)].T.contiguous()
    finite = sample.isfinite()
    ranks, _ = sample.where(finite, torch.nan).sort(dim=1)  # NaN is last
    last = finite.sum(dim=1, keepdim=True) - 1
    picks = torch.cat([last * 0.01, last * 0.99], dim=1).round().long().clamp(min=0)
    low, high = ranks.gather(1, picks).mul(0.5).unbind(dim=1)  # halves: their sums stay finite
    return low + high, (high - low).amax().clamp(min=1e-30)
