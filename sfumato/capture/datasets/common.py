"""What readers of datasets share: numbers from files nobody checked, poses in conventions of others, clouds."""

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sfumato.capture.shot import LARGEST, Shot
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.point_cloud import read_point_cloud
from sfumato.core.scene import Points

__all__ = [
    "OPENCV_FROM_OPENGL",
    "file_named",
    "files_ending",
    "finite",
    "head_of",
    "load_object",
    "number",
    "points_beside",
    "read_bytes",
    "size_of",
    "viewmat_of",
]

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, z back to x right, y down, z forward
_MOST_POINTS = 500_000  # of a cloud; more do not help the start of training
_LARGEST_FILE = 512 << 20  # bytes; the cameras of a hundred thousand photos need less


def file_named(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder, as it is or else in another case, as some programs and disks write it."""
    if (folder / name).is_file():
        return folder / name
    return next((path for path in files_ending(folder, "") if path.name.lower() == name.lower()), None)


def files_ending(folder: Path, suffix: str) -> list[Path]:
    """The files in a folder whose names end so, in any case, sorted; none when it is no folder."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if path.name.lower().endswith(suffix) and path.is_file())


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


def head_of(path: Path, length: int = 1 << 16) -> bytes:
    """The first bytes of a file, to see what it is; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return b""


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
        raise InputError(f"{named}: the pose must be 3 x 4 or 4 x 4 numbers; export it again") from None
    if pose.shape not in ((3, 4), (4, 4)) or not (np.abs(pose) < LARGEST).all():
        got = " x ".join(map(str, pose.shape)) or "one number"
        got = "some that are not" if pose.shape in ((3, 4), (4, 4)) else got
        raise InputError(f"{named}: the pose must be 3 x 4 or 4 x 4 finite numbers; got {got}: export it again")
    world_from_camera = np.vstack([pose[:3], [0, 0, 0, 1]]) @ axes
    u, scales, v = np.linalg.svd(world_from_camera[:3, :3])
    if scales[2] < 0.5 * scales[0] or scales[0] < 1e-6 or np.linalg.det(u @ v) < 0:
        wrong = "it is mirrored" if np.linalg.det(u @ v) < 0 else f"its scales are {scales.round(3)}"
        raise InputError(f"{named}: the pose must be a rotation and a position; {wrong}: export it again")
    viewmat = np.eye(4)
    viewmat[:3, :3] = (u @ v).T
    viewmat[:3, 3] = -viewmat[:3, :3] @ world_from_camera[:3, 3]
    return viewmat


def points_beside(source: Path, shots: Sequence[Shot]) -> Points | None:
    """The points of the one PLY cloud in a dataset's folder; None when there are none, or several.

    Splats and meshes are passed over. A cloud that the cameras do not see, for it was exported in another system of
    coordinates, is passed over with a warning (SfumatoWarning). Raises InputError when the file is damaged.
    """
    clouds = [path for path in files_ending(source, ".ply") if _is_cloud(path)]
    if len(clouds) != 1:
        return None
    points = read_point_cloud(clouds[0])
    step = max(1, math.ceil(len(points) / _MOST_POINTS))
    points = Points(points.xyz[::step], points.rgb[::step])
    if not _seen(points, shots):
        told = f"the cameras do not see the points of {clouds[0]}; export it in the cameras' system of coordinates"
        warnings.warn(told, SfumatoWarning, stacklevel=3)
        return None
    return points


def _is_cloud(path: Path) -> bool:
    header = head_of(path).partition(b"end_header")[0]
    return b"f_dc_0" not in header and re.search(rb"element face [1-9]", header) is None


def _seen(points: Points, shots: Sequence[Shot]) -> bool:
    """True when half of some points are in the picture of some shot, distortion left aside."""
    some = points.xyz.numpy()[:: max(1, len(points) // 500)]
    seen = np.zeros(len(some), dtype=np.bool_)
    for shot in shots[:: max(1, len(shots) // 50)]:
        x, y, z = (some @ shot.viewmat[:3, :3].T + shot.viewmat[:3, 3]).T
        (fx, fy), (cx, cy) = shot.lens.focals, shot.lens.center
        across, down = fx * x + cx * z, fy * y + cy * z  # times the depth, which may be 0
        seen |= (z > 0) & (across > 0) & (across < shot.lens.width * z) & (down > 0) & (down < shot.lens.height * z)
    return bool(seen.any() and seen.mean() > 0.5)
