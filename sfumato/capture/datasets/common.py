"""What readers of datasets share: JSON and numbers from files nobody checked, poses in conventions of others."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sfumato.capture.shot import LARGEST
from sfumato.core.errors import InputError

__all__ = ["OPENCV_FROM_OPENGL", "finite", "load_object", "number", "read_bytes", "size_of", "viewmat_of"]

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, z back to x right, y down, z forward
_LARGEST_FILE = 512 << 20  # bytes; the cameras of a hundred thousand photos need less


def read_bytes(path: Path) -> bytes:
    """The bytes of a file of cameras. Raises InputError when it cannot be read, is empty or absurdly large."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} must be a list of cameras; got {path.stat().st_size >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if not data.strip():
        raise InputError(f"{path} is empty; export or copy it again")
    return data


def load_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError when it is damaged or holds something else."""
    try:
        content = json.loads(read_bytes(path).decode("utf-8-sig"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON ({error}); export or copy it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold an object; got {type(content).__name__}")
    return content


def finite(named: str, value: object) -> float:
    """A JSON value as a finite number; `named` says whose value it is. Raises InputError when it is not one."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # JSON's whole numbers have no end
        pass
    raise InputError(f"{named} must be a finite number; got {str(value)[:40]}")


def number(named: str, values: Mapping[str, Any], key: str) -> float:
    """The finite number under `key`. Raises InputError when it is missing or something else."""
    if key not in values:
        raise InputError(f"{named} has no {key}; export it again")
    return finite(f"{named}: {key}", values[key])


def size_of(named: str, width: object, height: object) -> tuple[int, int]:
    """(width, height) in whole pixels. Raises InputError when those are not sizes of a photo."""
    sides = finite(f"{named}: width", width), finite(f"{named}: height", height)
    if not all(1 <= side <= 1_000_000 for side in sides):
        raise InputError(f"{named} must have a width and height in pixels; got {sides[0]:g} x {sides[1]:g}")
    return round(sides[0]), round(sides[1])


def viewmat_of(named: str, rows: ArrayLike | Sequence[object], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) camera <- world with OpenCV axes, of a camera's pose in the world.

    rows: (3, 4) or (4, 4) world <- camera, whose last row is not looked at.
    axes: (4, 4) their camera <- OpenCV camera.

    The rotation becomes the nearest one, for numbers are often rounded. Raises InputError when it is none: not
    finite, singular, mirrored or scaled unevenly.
    """
    try:
        pose = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{named}: the pose must be 3 x 4 or 4 x 4 numbers") from None
    if pose.shape not in ((3, 4), (4, 4)) or not (np.abs(pose) < LARGEST).all():
        raise InputError(f"{named}: the pose must be 3 x 4 or 4 x 4 finite numbers; got {pose.shape}")
    world_from_camera = np.vstack([pose[:3], [0, 0, 0, 1]]) @ axes
    u, scales, v = np.linalg.svd(world_from_camera[:3, :3])
    if scales[2] < 0.5 * scales[0] or scales[0] < 1e-6 or np.linalg.det(u @ v) < 0:
        raise InputError(f"{named}: the pose must be a rotation and a position; its scales are {scales.round(3)}")
    viewmat = np.eye(4)
    viewmat[:3, :3] = (u @ v).T
    viewmat[:3, 3] = -viewmat[:3, :3] @ world_from_camera[:3, 3]
    return viewmat
