"""A machine whose GPU is pretended, for everything around training: its backend "gpu" is the CPU's kernels."""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from sfumato.kernels import backends

import pretend_backend
from pretend import BYTES, PretendGPU, pretended

__all__ = ["machine_with_gpu"]


@contextmanager
def machine_with_gpu() -> Iterator[PretendGPU]:
    """Inside, `choose` takes the GPU, and what it computes is right."""
    pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: triton is not installed here")
    for module in ("ready", "launch"):
        importlib.import_module(f"sfumato.kernels.gpu.{module}")
    with pretended() as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "NAMES", tuple(dict.fromkeys((*backends.NAMES, "gpu"))))
        patch.setitem(sys.modules, "sfumato.kernels.gpu", pretend_backend)
        properties = types.SimpleNamespace(total_memory=BYTES, gcnArchName="")
        patch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
        pretend_backend.calls.clear()
        yield gpu
