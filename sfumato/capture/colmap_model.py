"""The files of a COLMAP model, binary or text, of any version, to lenses, poses and points."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.capture.shot import LARGEST, LENS_MODELS, Lens
from sfumato.core.errors import InputError
from sfumato.core.rotation import matrix_from_quaternion

__all__ = ["Model", "Pose", "count_images", "model_files", "read_model"]

_PARTS = ("cameras", "images", "points3D")
_POINT = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track", "<u8")])
# the fewest bytes an entry can have: what a count is checked against before anything is read or reserved
_SMALLEST = {"cameras": 4 + 4 + 16 + 2 * 8, "images": 4 + 56 + 4 + 1 + 8, "points3D": _POINT.itemsize}
_T = TypeVar("_T")
_Table = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """A registered photo of a model."""

    name: str
    camera_id: int
    viewmat: NDArray[np.float64]  # (4, 4) camera <- world


@dataclass(frozen=True)
class Model:
    """A COLMAP model without its observations. Rigs and frames are not needed: every image has its own pose."""

    lenses: dict[int, Lens]
    poses: list[Pose]
    xyz: NDArray[np.float64]  # (M, 3)
    rgb: NDArray[np.uint8]  # (M, 3)
    errors: NDArray[np.float64]  # (M,) mean reprojection error of the point, pixels; negative when unknown


def model_files(folder: Path) -> dict[str, Path]:
    """The files of the model in a folder by the names cameras, images and points3D; empty when there is no model.

    .bin comes before .txt, capitals do not matter (other programs write points3d.txt), and points may be missing.
    """
    present = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True)} if folder.is_dir() else {}
    for suffix in (".bin", ".txt"):
        paths = {part: present.get(f"{part.lower()}{suffix}") for part in _PARTS}
        found = {part: path for part, path in paths.items() if path is not None and path.is_file()}
        if "cameras" in found and "images" in found:
            return found
    return {}


def count_images(files: dict[str, Path]) -> int:
    """How many photos the model of `model_files` says it has."""
    path = files["images"]
    if path.suffix.lower() == ".bin":
        with path.open("rb") as file:
            head = file.read(8)
        return int.from_bytes(head, "little") if len(head) == 8 else 0
    return len(_guarded(path, lambda data: list(_poses_txt(data))))


def read_model(folder: Path) -> Model:
    """The cameras, images and points3D files of a folder, .bin before .txt. Raises InputError when one is damaged."""
    files = model_files(folder)
    if not files:
        raise InputError(f"{folder} holds no COLMAP model: cameras, images and points3D, all .bin or all .txt")
    binary = files["cameras"].suffix.lower() == ".bin"
    lenses = dict(_guarded(files["cameras"], lambda data: list((_lenses_bin if binary else _lenses_txt)(data))))
    poses = _guarded(files["images"], lambda data: list((_poses_bin if binary else _poses_txt)(data)))
    table = np.zeros((0, 7))
    if "points3D" in files:
        table = _guarded(files["points3D"], _points_bin if binary else _points_txt)
    for pose in poses:
        if pose.camera_id not in lenses:
            raise InputError(f"{files['images']}: {pose.name} has camera {pose.camera_id}, not in cameras")
    poses.sort(key=lambda pose: pose.name)
    return Model(lenses, poses, table[:, :3], table[:, 3:6].astype(np.uint8), table[:, 6])


def _guarded(path: Path, read: Callable[[bytes], _T]) -> _T:
    """What `read` makes of a file's bytes; damage becomes one sentence."""
    try:
        return read(path.read_bytes())
    except InputError as error:  # of Lens: the file is whole, but says what cannot be
        raise InputError(f"{path}: {error}; correct it, or export the model again") from None
    except (struct.error, IndexError, ValueError, OverflowError, OSError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}); copy or export the model again") from None


def _unpack(layout: str, data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    values = struct.unpack_from("<" + layout, data, at)
    return values, at + struct.calcsize("<" + layout)


def _count(data: bytes, part: str) -> int:
    """How many entries a binary file has, after a look at whether so many fit."""
    (count,), at = _unpack("Q", data, 0)
    if count > (len(data) - at) // _SMALLEST[part]:
        raise ValueError(f"it claims {count} entries, too many for its {len(data)} bytes")
    return int(count)


def _lenses_bin(data: bytes) -> Iterator[tuple[int, Lens]]:
    names, at = list(LENS_MODELS), 8
    for _ in range(_count(data, "cameras")):
        (camera_id, model, width, height), at = _unpack("IiQQ", data, at)
        if not 0 <= model < len(names):
            raise InputError(f"camera {camera_id} has model number {model}, which is not known")
        params, at = _unpack(f"{LENS_MODELS[names[model]]}d", data, at)
        yield camera_id, Lens(names[model], params, width, height)


def _poses_bin(data: bytes) -> Iterator[Pose]:
    at = 8
    for _ in range(_count(data, "images")):
        values, at = _unpack("I7dI", data, at)
        end = data.index(b"\0", at)
        name = data[at:end].decode("utf-8", errors="surrogateescape")
        (observations,), at = _unpack("Q", data, end + 1)
        at += 24 * observations  # x, y, point: not needed here
        if at > len(data):
            raise ValueError(f"the observations of {name} end behind the file")
        yield Pose(name, values[8], _viewmat(name, values[1:8]))


def _points_bin(data: bytes) -> _Table:
    """(M, 7) xyz rgb error; entries differ in length, so only where each begins is found one by one."""
    length, to_length = struct.Struct("<Q").unpack_from, _POINT.itemsize - 8
    starts, at = [], 8
    for _ in range(_count(data, "points3D")):
        starts.append(at)
        at += _POINT.itemsize + 8 * length(data, at + to_length)[0]  # the track: not needed here
    if at > len(data):
        raise ValueError("a point's track ends behind the file")
    if not starts:
        return np.zeros((0, 7))
    anywhere: NDArray[Any] = np.ndarray((len(data) - _POINT.itemsize + 1,), _POINT, buffer=data, strides=(1,))
    points = anywhere[np.array(starts)]
    return np.column_stack([points["xyz"], points["rgb"], points["error"]])


def _lines(data: bytes) -> Iterator[str]:
    """Lines without comments; empty lines stay, since an image without observations has one."""
    for line in data.decode("utf-8-sig", errors="surrogateescape").split("\n"):
        if not line.lstrip().startswith("#"):
            yield line.strip()


def _lenses_txt(data: bytes) -> Iterator[tuple[int, Lens]]:
    for line in filter(None, _lines(data)):
        camera_id, model, width, height, *params = line.split()
        yield int(camera_id), Lens(model, tuple(float(value) for value in params), int(width), int(height))


def _poses_txt(data: bytes) -> Iterator[Pose]:
    lines = _lines(data)
    for line in lines:
        if not line:
            continue
        words = line.split(maxsplit=9)  # a name may contain spaces
        if len(words) < 10:
            raise ValueError(f"an image has {len(words)} words, not 10: {line[:60]}")
        yield Pose(words[9], int(words[8]), _viewmat(words[9], tuple(float(word) for word in words[1:8])))
        if len(next(lines, "").split()) % 3:  # the observations, x y point each: not needed here
            raise ValueError(f"{words[9]} must be followed by a line of its observations, which may be empty")


def _points_txt(data: bytes) -> _Table:
    rows: list[float] = []
    for line in filter(None, _lines(data)):
        words = line.split(maxsplit=8)
        if len(words) < 8:
            raise ValueError(f"a point has {len(words)} numbers, not 8 or more")
        rows += map(float, words[1:8])
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    if not ((table[:, 3:6] >= 0) & (table[:, 3:6] <= 255)).all():
        raise ValueError("a point's color is not within 0 and 255")
    return table


def _viewmat(name: str, pose: tuple[float, ...]) -> NDArray[np.float64]:
    """(4, 4) camera <- world of qw qx qy qz tx ty tz."""
    if not all(abs(value) < LARGEST for value in pose):  # false for NaN, too
        raise InputError(f"the pose of {name} is not finite: {pose}")
    if np.linalg.norm(pose[:4]) < 1e-6:
        raise InputError(f"the pose of {name} has no rotation: its quaternion is {pose[:4]}")
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quaternion(torch.tensor(pose[:4], dtype=torch.float64)).numpy()
    matrix[:3, 3] = pose[4:]
    return matrix
