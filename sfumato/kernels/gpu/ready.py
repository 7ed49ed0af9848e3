"""A GPU that torch sees to why kernels cannot run on it, or to nothing where they can."""

import functools

import torch
import triton

from sfumato.kernels.backends import interpreted

__all__ = ["OLDEST", "unusable"]

OLDEST = (7, 5)  # compute capability, of Turing: what newer versions of CUDA and Triton still compile for
OLDEST_TRITON = (3, 6)  # that tests run on


def unusable(device: torch.device) -> str | None:
    """Why kernels cannot run on this GPU, as the end of a sentence; None where nothing speaks against it.

    Triton's own piece of C is compiled here, once in the life of its cache: the first launch would do it, too.
    """
    return None if interpreted() else _unusable(device)


@functools.cache
def _unusable(device: torch.device) -> str | None:
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < OLDEST:
        has = "{}.{}".format(*torch.cuda.get_device_capability(device))
        return f"it has compute capability {has}, and {OLDEST[0]}.{OLDEST[1]} or newer is needed"
    if tuple(int(part) for part in triton.__version__.split(".")[:2]) < OLDEST_TRITON:
        wanted = "{}.{}".format(*OLDEST_TRITON)
        return f"Triton {triton.__version__} is here, and {wanted} or newer is needed; torch 2.10 or newer brings it"
    try:
        triton.runtime.driver.active.get_current_target()
    except Exception as error:  # of many kinds, from many libraries
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    """What Triton's error means."""
    said = " ".join(str(error).split()) or type(error).__name__
    if "compiler" in said or "gcc" in said or "clang" in said or "cc1" in said:
        return (
            "Triton compiles a small piece of C once, and no C compiler with Python's headers is here; install them, as"
            f" by `apt install gcc python3-dev`, or name one in CC ({said[:200]})"
        )
    return f"Triton cannot talk to it ({said[:200]})"
