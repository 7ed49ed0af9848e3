"""Parts of a large splat, as a reader decodes them, to Gaussians that are allocated once."""

from collections.abc import Iterable

import torch

from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree

__all__ = ["gathered", "logit"]

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


def logit(opacities: torch.Tensor) -> torch.Tensor:
    """Logits of opacities in [0, 1], at most 13.8 either way: those of 0 and 1 themselves are infinite."""
    return opacities.clamp(_CERTAIN, 1 - _CERTAIN).logit()
