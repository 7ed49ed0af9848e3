"""A backend's name to its module, imported when asked for."""

import importlib
from typing import cast

import torch

from sfumato.core.errors import BackendError
from sfumato.kernels.stages import Backend

__all__ = ["NAMES", "load"]

NAMES = ("reference", "cpu")


def load(name: str, device: torch.device | str = "cpu") -> Backend:
    """The backend `name` ("auto": the fastest one for tensors on `device`).

    Raises BackendError when the name is unknown, or what it needs is missing, saying what to install.
    """
    device = torch.device(device)
    if name == "auto":
        if device.type != "cpu":
            raise BackendError(f"no backend renders tensors on {device.type} yet; move them with .to('cpu')")
        name = "cpu"
    if name not in NAMES:
        raise BackendError(f"no backend named {name!r} (known: auto {' '.join(NAMES)})")
    try:
        module = importlib.import_module(f"sfumato.kernels.{name}")
    except ImportError as error:
        raise BackendError(f"backend {name!r} cannot be imported: {error}; try `pip install numba`") from error
    return cast(Backend, module)
