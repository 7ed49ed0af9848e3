"""From tensors to a kernel's launch: which memory kernels take, on which device they run, how they are compiled."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.core.errors import BackendError
from sfumato.kernels.backends import interpreted

__all__ = ["check", "checked", "cover", "inline_ptx", "launch", "recorders"]

# what wants to know of every launch: benchmarks/gpu_static.py compiles exactly what was launched
recorders: list[Callable[[Any, Sequence[Any], dict[str, Any]], None]] = []

INTERPRETED = interpreted()  # Triton, too, settles it when it is imported
HERE = nullcontext()  # nothing to change


def check(*tensors: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """BackendError unless all are `dtype` and on one GPU."""
    home = tensors[0].device
    for tensor in tensors:
        device = tensor.device
        if tensor.dtype == dtype and device == home and _reachable(device):
            continue
        if tensor.dtype != dtype or not _reachable(device):
            wanted = str(dtype).removeprefix("torch.")
            raise BackendError(
                f"the gpu backend works on {wanted} tensors on a GPU; got {tensor.dtype} on {device}"
                " (.to('cuda') moves them; backend='reference' takes any)"
            )
        raise BackendError(f"the gpu backend works on tensors of one GPU; got {home} and {device}")


def checked(*tensors: Tensor, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Each tensor, contiguous; BackendError unless `dtype`, all on one GPU."""
    check(*tensors, dtype=dtype)
    return [tensor.contiguous() for tensor in tensors]


def _reachable(device: torch.device) -> bool:
    return device.type == ("cpu" if INTERPRETED else "cuda")


def cover(count: int, block: int) -> int:
    """How many blocks of `block` cover `count`; at least one, for a grid must not be empty."""
    return max(1, -(-count // block))


def inline_ptx() -> bool:
    """True where kernels may hold lines of NVIDIA's assembly: on its cards, not on AMD's and not when interpreted."""
    return torch.version.hip is None and not INTERPRETED


def launch(kernel: Any, grid: Sequence[int], *arguments: Any, warps: int = 4, **constants: Any) -> None:
    """Run `grid` programs of a kernel on the device of its first tensor, `warps` warps each.

    A kernel whose parameters include PTX is told there whether it may use inline assembly. Products and sums are fused:
    newer versions of Triton do that only when asked.
    """
    if "PTX" in kernel.arg_names:
        constants["PTX"] = inline_ptx()
    for record in recorders:
        record(kernel, arguments, {**constants, "warps": warps})
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    with _current(device):
        _run(kernel, tuple(grid), arguments, {**constants, "num_warps": warps, "enable_fp_fusion": True})


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Where Triton launches kernels on this device: only there does it look for their tensors."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return HERE
    return torch.cuda.device(device)


def _run(kernel: Any, grid: tuple[int, ...], arguments: Sequence[Any], options: dict[str, Any]) -> None:
    # a GPU does not complain of infinities, and the interpreter is numpy
    with np.errstate(all="ignore") if INTERPRETED else HERE:
        kernel[grid](*arguments, **options)
