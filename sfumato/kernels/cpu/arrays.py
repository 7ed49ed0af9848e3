"""Tensors to the arrays that kernels take: float32, on the CPU, contiguous."""

from typing import Any

import torch
from torch import Tensor

from sfumato.core.errors import BackendError

__all__ = ["image_planes", "numbers"]


def numbers(*tensors: Tensor) -> tuple[Any, ...]:
    """Each tensor as a contiguous array, sharing its memory where it can; BackendError unless float32 on the CPU."""
    return tuple(_array(tensor) for tensor in tensors)


def _array(tensor: Tensor) -> Any:
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise BackendError(
            f"the cpu backend works on float32 tensors on the CPU; got {tensor.dtype} on {tensor.device}"
            " (backend='reference' takes any)"
        )
    return tensor.detach().contiguous().numpy()


def image_planes(image: Tensor) -> Any:
    """(H, W, C) of float32 or uint8 as a contiguous array (C, H, W), without a copy if it is laid out that way."""
    planes = image.detach().permute(2, 0, 1).contiguous()
    return planes.numpy() if planes.dtype == torch.uint8 else _array(planes)
