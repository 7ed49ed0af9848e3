"""Record3D's "EXR + JPG" export, or an unpacked .r3d recording, to shots."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import (
    OPENCV_FROM_OPENGL,
    file_named,
    finite,
    head_of,
    load_object,
    size_of,
    viewmat_of,
)
from sfumato.capture.photos import PhotoIndex, list_photos, read_header
from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.progress import Progress, silent
from sfumato.core.rotation import matrix_from_quaternion

__all__ = ["find", "read"]

_METADATA = ("metadata.json", "metadata")  # of an export, of a recording
_PHOTO_PLACES = ("rgb", "rgbd")
_NAMES = (b'"poses"', b'"perFrameIntrinsicCoeffs"', b'"frameTimestamps"', b'"initPose"', b'"K"')


def find(source: Path) -> Path | None:
    """The metadata of an export or a recording, or None."""
    for root in (source, source / "EXR_RGBD"):
        for path in (file_named(root, name) for name in _METADATA):
            if path and _photo_folder(path) is not None and _is_metadata(path):
                return path
    return None


def _is_metadata(path: Path) -> bool:
    """True when a file has a name that only this app uses: the order of names is not fixed, and poses may be long."""
    head = head_of(path, 64 << 20)
    return any(name in head for name in _NAMES)


def _photo_folder(metadata: Path) -> Path | None:
    folders = (metadata.parent / place for place in _PHOTO_PLACES)
    return next((folder for folder in folders if folder.is_dir()), None)


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots of an export: photos are named by the number of their frame.

    The metadata has w and h; K, 9 numbers column by column; where it is recent, perFrameIntrinsicCoeffs, fx fy cx cy
    for every frame; and poses, qx qy qz qw tx ty tz for every frame: world <- camera in metres with OpenGL's axes,
    the world's being those of the first camera. Photos that are missing are left out with one warning. Raises
    InputError when the metadata is damaged, or most of the photos are missing.
    """
    values = load_object(found)
    poses = values.get("poses")
    if not isinstance(poses, list) or not poses:
        raise InputError(f"{found} has no poses; record with the LiDAR camera and export EXR + JPG again")
    folder = _photo_folder(found)
    if folder is None:
        raise InputError(f"{found} must have its photos beside it, in a folder named rgb")
    photos = _photos(found, folder, len(poses))
    lenses = _lenses(found, values, len(poses), next(iter(photos.values()), None))
    missing = [f"{folder.name}/{frame}.jpg" for frame in range(len(poses)) if frame not in photos]
    report_missing(missing, len(poses), found, PhotoIndex([folder]))
    shots = []
    for done, (frame, path) in enumerate(sorted(photos.items()), start=1):
        name = path.relative_to(source).as_posix() if source in path.parents else path.name
        shots.append(Shot(name, path, lenses[frame], _viewmat(f"{found}: pose {frame}", poses[frame])))
        progress("reading cameras", done, len(photos))
    protocol: dict[str, object] = {
        "registered": len(poses),
        "missing_files": len(missing),
        "frame": "metric, y up in the first photo (ARKit)",
    }
    return Capture("record3d", shots, None, protocol)


def _photos(metadata: Path, folder: Path, frames: int) -> dict[int, Path]:
    """The photo of each frame: by the number that is its name, or by order when there are as many but other numbers."""
    names = [name for name in list_photos(folder) if Path(name).stem.isdecimal()]
    names.sort(key=lambda name: int(Path(name).stem))
    numbers = [int(Path(name).stem) for name in names]
    if all(number < frames for number in numbers):
        return {number: folder / name for number, name in zip(numbers, names, strict=True)}
    if len(names) != frames:
        raise InputError(f"{metadata} has {frames} poses, but {folder} holds {len(names)} photos; export it again")
    return {number: folder / name for number, name in enumerate(names)}


def _lenses(path: Path, values: dict[str, Any], frames: int, photo: Path | None) -> list[Lens]:
    """The lens of every frame: its own where the metadata has that, for the stabilizer moves the principal point."""
    if "w" in values and "h" in values:
        size = size_of(str(path), values["w"], values["h"])
    elif photo is not None:
        header = read_header(photo)
        size = header.width, header.height
    else:
        raise InputError(f"{path} has no w and h; export it again")
    own = values.get("perFrameIntrinsicCoeffs")
    if isinstance(own, list) and own:
        if len(own) == frames:
            return [_lens(f"{path}: perFrameIntrinsicCoeffs {i}", row, size) for i, row in enumerate(own)]
        told = f"{path} has {frames} poses, but {len(own)} perFrameIntrinsicCoeffs"
        warnings.warn(f"{told}; its K is used for all photos", SfumatoWarning, stacklevel=3)
    return [_lens(f"{path}: K", _from_matrix(path, values.get("K")), size)] * frames


def _from_matrix(path: Path, K: object) -> list[object]:
    """Fx fy cx cy of a 3 x 3 matrix, column by column; programs that imitate the app write it row by row."""
    if not isinstance(K, list) or len(K) != 9:
        raise InputError(f"{path}: K must be 9 numbers, column by column; export it again")
    by_rows = K[6] == 0 and K[7] == 0
    return [K[0], K[4], *(K[2:6:3] if by_rows else K[6:8])]


def _lens(named: str, row: object, size: tuple[int, int]) -> Lens:
    if not isinstance(row, list) or len(row) < 4:
        raise InputError(f"{named} must be fx fy cx cy; export it again")
    fx, fy, cx, cy = (finite(named, value) for value in row[:4])
    if fx <= 0 or fy <= 0:
        raise InputError(f"{named} must have focal lengths above 0; got {fx:g} and {fy:g}")
    return Lens("PINHOLE", (fx, fy, cx, cy), *size)


def _viewmat(named: str, row: object) -> NDArray[np.float64]:
    if not isinstance(row, list) or len(row) != 7:
        raise InputError(f"{named} must be qx qy qz qw tx ty tz; export it again")
    x, y, z, w, *position = (finite(named, value) for value in row)
    length = float(np.linalg.norm([x, y, z, w]))
    if not 0.5 < length < 2:
        raise InputError(f"{named} must begin with a unit quaternion; its length is {length:g}")
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(torch.tensor([w, x, y, z], dtype=torch.float64)).numpy()
    pose[:3, 3] = position
    return viewmat_of(named, pose, OPENCV_FROM_OPENGL)
