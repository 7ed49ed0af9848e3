"""Quaternions to their three smaller components and back: what most packed formats keep of a rotation."""

import torch
from torch import Tensor

__all__ = ["keep_smallest_three", "restore_from_three"]

_OTHERS = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])  # dropped component -> those that stay


def keep_smallest_three(quats: Tensor) -> tuple[Tensor, Tensor]:
    """Which component of (N, 4) quaternions of any length > 0 is the largest, (N,), and the others, (N, 3).

    The others are those of the unit quaternion whose largest component is positive: each in [-sqrt(1/2), sqrt(1/2)],
    in their order. The order of the four is the caller's. A quaternion of length 0 becomes the rotation by nothing
    of its first component.
    """
    units = torch.nn.functional.normalize(quats, dim=1)
    dropped = units.abs().argmax(dim=1)
    sign = units.gather(1, dropped[:, None]).sign()
    return dropped, units.gather(1, _OTHERS[dropped]) * torch.where(sign == 0, 1.0, sign)


def restore_from_three(dropped: Tensor, others: Tensor) -> Tensor:
    """(N, 4) unit quaternions of what `keep_smallest_three` gave, rounded or not."""
    largest = (1 - others.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
    quats = others.new_empty(len(others), 4).scatter_(1, dropped[:, None].long(), largest)
    quats.scatter_(1, _OTHERS[dropped.long()], others)
    return torch.nn.functional.normalize(quats, dim=1)
