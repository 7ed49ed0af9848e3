"""Errors of shape and kind in one sentence: the argument, what was wanted, what came."""

import torch
from torch import Tensor

from sfumato.core.errors import InputError, ShapeError

__all__ = ["check_rotation", "check_shape"]


def check_shape(name: str, tensor: Tensor, shape: tuple[int | str, ...], **known: int) -> None:
    """Raise ShapeError unless `tensor` has `shape`, whose letters stand for sizes given in `known`.

    A letter that is not in `known` matches any size: `check_shape("means", means, ("N", 3))`.
    """
    wanted = [known.get(size, size) if isinstance(size, str) else size for size in shape]
    fits = tensor.ndim == len(wanted) and all(
        isinstance(want, str) or want == have for want, have in zip(wanted, tensor.shape, strict=True)
    )
    if fits:
        return
    letters = ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "")
    sizes = ", ".join(f"{letter}={size}" for letter, size in known.items() if letter in shape)
    given = f" with {sizes}" if sizes else ""
    raise ShapeError(f"{name} must be ({letters}){given}; got {tuple(tensor.shape)}")


def check_rotation(name: str, matrix: Tensor) -> None:
    """Raise InputError unless `matrix` is (3, 3), orthonormal to 1e-3 and right-handed."""
    check_shape(name, matrix, (3, 3))
    exact = matrix.detach().to(device="cpu", dtype=torch.float64)
    skew = (exact @ exact.T - torch.eye(3, dtype=torch.float64)).abs().max().item()
    determinant = torch.linalg.det(exact).item()
    if not (skew < 1e-3 and determinant > 0):  # NaN fails as well
        raise InputError(
            f"{name} must be a rotation matrix (orthonormal rows, determinant 1); "
            f"its rows are off by {skew:.2g} and its determinant is {determinant:.3g}"
        )
