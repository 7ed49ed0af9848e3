"""Torch in the caller's thread only, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_torch_thread"]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, torch works in the caller's thread only.

    Its own threads spin on the cores that the kernels' threads need, which makes a frame five times slower on a busy
    machine, and their number shows in the last bits of vectorised functions, whose remainders are computed otherwise.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
