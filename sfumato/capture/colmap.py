"""COLMAP models, binary or text, of any version, to shots and points."""

import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.capture.photos import PhotoIndex
from sfumato.capture.shot import LENS_MODELS, Capture, Lens, Shot, points_from_arrays
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.rotation import matrix_from_quaternion

__all__ = ["Model", "Pose", "find_model", "read_colmap", "read_model", "report_missing"]

_PLACES = ("sparse", "colmap/sparse", "distorted/sparse", "colmap", ".")
_PHOTO_PLACES = ("images", "input", "rgb", "photos", ".", "images_2", "images_4", "images_8")


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


def find_model(source: Path) -> Path | None:
    """The folder of the COLMAP model in a dataset, or None; of several sub-models, the one with the most photos."""
    for place in _PLACES:
        folder = source / place
        if not folder.is_dir():
            continue
        numbered = (path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
        models = [path for path in (folder, *sorted(numbered)) if _suffix(path)]
        if models:
            return max(models, key=_count_images)
    return None


def read_colmap(source: Path, model_folder: Path, photos: Path | None = None) -> Capture:
    """The shots and points of a model whose photos are in `photos`, or where datasets keep them.

    Photos that are missing are left out with one warning. Raises InputError when most of them are missing, or when
    a file of the model is truncated or contradicts another one.
    """
    model = read_model(model_folder)
    index = PhotoIndex([*([photos] if photos else []), *_photo_folders(source, model_folder)])
    shots, missing = [], []
    for pose in model.poses:
        path = index.find(pose.name)
        if path is None:
            missing.append(pose.name)
        else:
            shots.append(Shot(pose.name, path, model.lenses[pose.camera_id], pose.viewmat))
    report_missing(missing, len(model.poses), model_folder, index)
    known = model.errors[model.errors >= 0]
    protocol: dict[str, object] = {
        "registered": len(model.poses),
        "missing_files": len(missing),
        "reprojection_error": round(float(known.mean()), 4) if len(known) else None,
    }
    return Capture("colmap", shots, points_from_arrays(model.xyz, model.rgb), protocol)


def report_missing(missing: list[str], total: int, listed_in: Path, index: PhotoIndex) -> None:
    """One warning for missing photos; InputError when most of them are missing and the rest are few."""
    if total == 0:
        raise InputError(f"{listed_in} lists no photos")
    if not missing:
        return
    places = ", ".join(str(folder) for folder in index.folders) or "any folder of photos"
    told = f"{listed_in} lists {total} photos, of which {len(missing)} are not in {places} (first: {missing[0]})"
    if 2 * len(missing) > total and total - len(missing) < 20:
        raise InputError(f"{told}; put the photos beside the model, in a folder named images")
    warnings.warn(f"{told}; they are left out", SfumatoWarning, stacklevel=2)


def read_model(folder: Path) -> Model:
    """The cameras, images and points3D files of a folder, .bin before .txt. Raises InputError when one is damaged."""
    suffix = _suffix(folder)
    if suffix is None:
        raise InputError(f"{folder} holds no COLMAP model: cameras, images and points3D, all .bin or all .txt")
    readers = (_lenses_bin, _poses_bin, _points_bin) if suffix == ".bin" else (_lenses_txt, _poses_txt, _points_txt)
    lenses = dict(_guarded(folder / f"cameras{suffix}", readers[0]))
    poses = list(_guarded(folder / f"images{suffix}", readers[1]))
    rows = list(_guarded(folder / f"points3D{suffix}", readers[2]))
    for pose in poses:
        if pose.camera_id not in lenses:
            raise InputError(f"{folder / f'images{suffix}'}: {pose.name} has camera {pose.camera_id}, not in cameras")
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    poses.sort(key=lambda pose: pose.name)
    return Model(lenses, poses, table[:, :3], table[:, 3:6].astype(np.uint8), table[:, 6])


def _suffix(folder: Path) -> str | None:
    for suffix in (".bin", ".txt"):
        if all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
            return suffix
    return None


def _count_images(folder: Path) -> int:
    if _suffix(folder) == ".bin":
        with (folder / "images.bin").open("rb") as file:
            head = file.read(8)
        return int.from_bytes(head, "little") if len(head) == 8 else 0
    return sum(1 for _ in _guarded(folder / "images.txt", _poses_txt))


def _photo_folders(source: Path, model_folder: Path) -> list[Path]:
    """Where the photos of a model may be: the usual names beside every folder from the source down to the model."""
    roots = [source, *(source / place for place in ("colmap", "distorted"))]
    if model_folder == source:  # the model itself was given: its dataset is around it
        roots += [source.parent, source.parent.parent]
    return [root / place for place in _PHOTO_PLACES for root in roots if place != "." or root == source]


def _guarded(path: Path, read: Callable[[bytes], Iterator]) -> Iterator:  # type: ignore[type-arg]
    """What `read` yields of a file's bytes; damage becomes one sentence."""
    if not path.is_file():  # a model may have no points
        if path.stem == "points3D":
            return
        raise InputError(f"{path} is not there")
    try:
        yield from read(path.read_bytes())
    except (struct.error, IndexError, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}); copy or export the model again") from None


def _unpack(layout: str, data: bytes, at: int) -> tuple[tuple, int]:  # type: ignore[type-arg]
    values = struct.unpack_from("<" + layout, data, at)
    return values, at + struct.calcsize("<" + layout)


def _lenses_bin(data: bytes) -> Iterator[tuple[int, Lens]]:
    names = list(LENS_MODELS)
    (count,), at = _unpack("Q", data, 0)
    for _ in range(count):
        (camera_id, model, width, height), at = _unpack("IiQQ", data, at)
        if not 0 <= model < len(names):
            raise ValueError(f"camera {camera_id} has model number {model}, which is not known")
        params, at = _unpack(f"{LENS_MODELS[names[model]]}d", data, at)
        yield camera_id, Lens(names[model], params, width, height)


def _poses_bin(data: bytes) -> Iterator[Pose]:
    (count,), at = _unpack("Q", data, 0)
    for _ in range(count):
        values, at = _unpack("I7dI", data, at)
        end = data.index(b"\0", at)
        name = data[at:end].decode("utf-8", errors="surrogateescape")
        (observations,), at = _unpack("Q", data, end + 1)
        at += 24 * observations  # x, y, point: not needed here
        if at > len(data):
            raise ValueError(f"the observations of {name} end behind the file")
        yield Pose(name, values[8], _viewmat(values[1:8]))


def _points_bin(data: bytes) -> Iterator[tuple[float, ...]]:
    (count,), at = _unpack("Q", data, 0)
    for _ in range(count):
        (_, *row, length), at = _unpack("Q3d3BdQ", data, at)
        at += 8 * length  # the track: not needed here
        if at > len(data):
            raise ValueError("a point's track ends behind the file")
        yield tuple(row)


def _lines(data: bytes) -> Iterator[str]:
    """Lines without comments; empty lines stay, since an image without observations has one."""
    for line in data.decode("utf-8", errors="surrogateescape").split("\n"):
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
        yield Pose(words[9], int(words[8]), _viewmat(tuple(float(word) for word in words[1:8])))
        next(lines, None)  # the observations: not needed here


def _points_txt(data: bytes) -> Iterator[tuple[float, ...]]:
    for line in filter(None, _lines(data)):
        words = line.split()
        if len(words) < 8:
            raise ValueError(f"a point has {len(words)} numbers")
        yield tuple(float(word) for word in words[1:8])


def _viewmat(pose: tuple[float, ...]) -> NDArray[np.float64]:
    """(4, 4) camera <- world of qw qx qy qz tx ty tz."""
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quaternion(torch.tensor(pose[:4], dtype=torch.float64)).numpy()
    matrix[:3, 3] = pose[4:]
    if not np.isfinite(matrix).all():
        raise ValueError(f"a pose is not finite: {pose}")
    return matrix
