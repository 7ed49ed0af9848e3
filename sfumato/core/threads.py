"""Torch in the caller's thread only, for a while."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_torch_thread"]

_lock = threading.Lock()
_here = threading.local()  # `inside`: whether this thread is
_inside = 0  # threads that are
_before = 1  # what they go back to


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, torch works in the caller's thread only, as in threads that begin meanwhile.

    Its own threads spin on the cores that the kernels' threads need, which makes a frame five times slower on a busy
    machine, and their number shows in the last bits of vectorised functions, whose remainders are computed otherwise.
    """
    global _inside, _before
    if getattr(_here, "inside", False):
        yield
        return
    with _lock:  # one that begins inside another's sees 1, which is not what either shall leave behind
        _before = _before if _inside else torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False
        with _lock:
            _inside -= 1
            torch.set_num_threads(_before)
