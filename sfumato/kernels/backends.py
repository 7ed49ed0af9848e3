"""A backend's name to its module, and to the device where its tensors live."""

import importlib
import os
import sys
import warnings
from typing import cast

import torch

from sfumato.core.errors import BackendError, SfumatoWarning
from sfumato.kernels.stages import Backend

__all__ = ["NAMES", "choose", "interpreted", "load"]

NAMES = ("reference", "cpu", "gpu")
TRITON = "triton-windows" if sys.platform == "win32" else "triton"
ADVICE = {"cpu": "pip install numba", "gpu": f"pip install {TRITON}", "reference": "pip install torch"}


def load(name: str, device: torch.device | str = "cpu") -> Backend:
    """The backend `name` ("auto": the fastest one for tensors on `device`).

    Raises BackendError when the name is unknown, or what it needs is missing, saying what to install.
    """
    device = torch.device(device)
    if name == "auto":
        if device.type not in ("cpu", "cuda"):
            raise BackendError(f"no backend renders tensors on {device.type} yet; move them with .to('cpu')")
        name = "gpu" if device.type == "cuda" else "cpu"
    if name not in NAMES:
        raise BackendError(f"no backend named {name!r} (known: auto {' '.join(NAMES)})")
    try:
        module = importlib.import_module(f"sfumato.kernels.{name}")
    except ImportError as error:
        raise BackendError(f"backend {name!r} cannot be imported: {error}; try `{ADVICE[name]}`") from error
    return cast(Backend, module)


def choose(name: str = "auto") -> tuple[str, torch.device]:
    """The backend that `name` means on this machine, and the device its tensors live on.

    "auto" is "gpu" where torch sees one, else "cpu". Where kernels are interpreted, "gpu" works on the CPU's tensors,
    and "auto" is never "gpu". Raises BackendError when the name is unknown, or "gpu" is asked for and there is none.
    Warns (SfumatoWarning) when "auto" must leave a GPU idle.
    """
    if name == "gpu" and interpreted():
        load(name)
        return name, torch.device("cpu")
    if name == "gpu" or (name == "auto" and torch.cuda.is_available()):
        try:
            return "gpu", _gpu()
        except BackendError as error:
            if name == "gpu":
                raise
            warnings.warn(f"there is a GPU, but the CPU is used: {error}", SfumatoWarning, stacklevel=2)
            return "cpu", torch.device("cpu")
    if name == "auto":
        return "cpu", torch.device("cpu")
    load(name)
    return name, torch.device("cpu")


def _gpu() -> torch.device:
    """Where tensors of the gpu backend live. Raises BackendError where it cannot run."""
    if not torch.cuda.is_available():
        raise BackendError("backend 'gpu' needs a GPU that torch sees, and it sees none; `sfumato doctor` says more")
    load("gpu")
    device = torch.device("cuda", torch.cuda.current_device())
    if interpreted():
        why = "TRITON_INTERPRET=1 is set, which is for tests; unset it"
    else:
        why = importlib.import_module("sfumato.kernels.gpu.ready").unusable(device)
    if why is not None:
        raise BackendError(f"backend 'gpu' cannot use {torch.cuda.get_device_name(device)}: {why}")
    return device


def interpreted() -> bool:
    """True when Triton runs kernels in its interpreter, on CPU tensors: for tests, a thousand times slower."""
    return os.environ.get("TRITON_INTERPRET", "") == "1"
