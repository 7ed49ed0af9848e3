"""Directions, angles and quaternions to rotation matrices."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.core.axes import CANONICAL, matrix_between
from sfumato.core.check import check_shape
from sfumato.core.errors import InputError
from sfumato.core.rotation import matrix_from_quaternion

__all__ = ["direction", "rotation_about", "rotation_between", "rotation_of", "up_in", "upright_rotation", "vector_of"]

_UP = (0.0, -1.0, 0.0)  # in the canonical frame
_OPPOSITE = 1e-6  # length of the sum of two directions


def upright_rotation(up: Tensor | Sequence[float], axes: str = CANONICAL) -> Tensor:
    """Find the smallest rotation that turns `up` to where a frame has it.

    Parameters
    ----------
    up : Tensor or sequence, (3,)
        A direction of any length above 0.
    axes : str
        The frame of the numbers, as in `core.axes`.

    Returns
    -------
    Tensor, (3, 3), float64
        A rotation.

    Raises
    ------
    InputError
        When `up` is no direction, or `axes` no frame.
    """
    return rotation_between(direction("up", up), up_in(axes))


def rotation_about(axis: Tensor | Sequence[float], degrees: float) -> Tensor:
    """Make the rotation about an axis.

    Parameters
    ----------
    axis : Tensor or sequence, (3,)
        Of any length above 0.
    degrees : float
        Counterclockwise when the axis points at the viewer.

    Returns
    -------
    Tensor, (3, 3), float64
        A rotation.

    Raises
    ------
    InputError
        When the axis has no direction, or the angle is not finite.

    Examples
    --------
    >>> (edit.rotation_about((0, 0, 1), 90) @ torch.tensor([1.0, 0, 0]).double()).round().tolist()
    [0.0, 1.0, 0.0]
    """
    if not math.isfinite(degrees):
        raise InputError(f"degrees must be a finite number; got {degrees:g}")
    half = math.radians(degrees) / 2
    return matrix_from_quaternion(
        torch.cat([torch.tensor([math.cos(half)], dtype=torch.float64), direction("axis", axis) * math.sin(half)])
    )


def rotation_of(quaternion: Tensor | Sequence[float]) -> Tensor:
    """Make the rotation of a quaternion.

    Parameters
    ----------
    quaternion : Tensor or sequence, (4,)
        wxyz, of any length above 0.

    Returns
    -------
    Tensor, (3, 3), float64
        A rotation.

    Raises
    ------
    InputError
        When the quaternion is zero or not finite.
    """
    quat = torch.as_tensor(quaternion).detach().to("cpu", torch.float64)
    check_shape("quaternion", quat, (4,))
    if not quat.isfinite().all() or not quat.any():
        raise InputError(f"quaternion must be four finite numbers w x y z, not all zero; got {_spaced(quat)}")
    return matrix_from_quaternion(quat / quat.abs().amax())


def rotation_between(source: Tensor, target: Tensor) -> Tensor:
    """Find the smallest rotation that turns one direction into another.

    Parameters
    ----------
    source : Tensor, (3,), float64
        Of length 1.
    target : Tensor, (3,), float64
        Of length 1.

    Returns
    -------
    Tensor, (3, 3), float64
        A rotation; half a turn about anything across when they are opposite.
    """
    between = source + target
    if between.norm() < _OPPOSITE:  # opposite: half a turn about anything across
        across = torch.linalg.cross(source, torch.eye(3, dtype=torch.float64)[source.abs().argmin()])
        return rotation_about(across, 180)
    halfway = torch.nn.functional.normalize(between, dim=0)
    quat = torch.cat([(source @ halfway)[None], torch.linalg.cross(source, halfway)])
    return matrix_from_quaternion(quat)


def direction(name: str, vector: Tensor | Sequence[float]) -> Tensor:
    """(3,) float64, of length 1. Raises InputError, with the name, when the vector (3,) has no direction."""
    exact = vector_of(name, vector)
    if not exact.any():
        raise InputError(f"{name} must be a direction; got {_spaced(exact)}")
    return torch.nn.functional.normalize(exact / exact.abs().amax(), dim=0)


def up_in(axes: str) -> Tensor:
    """(3,) float64, the direction that is up where nothing else is said, in a frame as in `core.axes`."""
    return matrix_between(CANONICAL, axes) @ torch.tensor(_UP, dtype=torch.float64)


def vector_of(name: str, vector: Tensor | Sequence[float]) -> Tensor:
    """(3,) float64 on the CPU. Raises InputError, with the name, when it is not three finite numbers."""
    exact = torch.as_tensor(vector).detach().to("cpu", torch.float64)
    check_shape(name, exact, (3,))
    if not exact.isfinite().all():
        raise InputError(f"{name} must be three finite numbers; got {_spaced(exact)}")
    return exact


def _spaced(vector: Tensor) -> str:
    return " ".join(f"{value:g}" for value in vector.tolist())
