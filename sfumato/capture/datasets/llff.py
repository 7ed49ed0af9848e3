"""LLFF's poses_bounds.npy (Mildenhall et al. 2019) beside a folder of photos, to shots."""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.datasets.common import file_named, read_bytes, viewmat_of
from sfumato.capture.photos import list_photos
from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent

__all__ = ["find", "read"]

_PHOTO_PLACES = ("images", "images_2", "images_4", "images_8")  # the full size first
# columns of theirs: down, right, back
_THEIRS_FROM_OPENCV = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])


def find(source: Path) -> Path | None:
    """The poses_bounds.npy of a dataset, or None."""
    return file_named(source, "poses_bounds.npy")


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots of a poses_bounds.npy: its rows are those of the photos in name order.

    A row is 3 x 5, row by row (world <- camera with the axes down, right, back; then height, width, focal length of
    the full size), and the nearest and farthest depth seen. Raises InputError when the file is damaged, or no folder
    of photos has as many photos as there are rows.
    """
    rows = _load(found)
    folder, names = _photos(source, len(rows))
    shots = [_shot(f"{found}: {name}", folder / name, source, row) for name, row in zip(names, rows, strict=True)]
    bounds = rows[:, 15:]
    protocol: dict[str, object] = {"registered": len(rows), "frame": "local, arbitrary scale (LLFF)"}
    if bounds.size and np.isfinite(bounds).all():
        protocol |= {"near": float(bounds[:, 0].min()), "far": float(bounds[:, 1].max())}
    return Capture("llff", shots, None, protocol)


def _load(path: Path) -> NDArray[np.float64]:
    """(N, 17) rows, or (N, 15) where nobody wrote the bounds."""
    data = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files of Python 2, among them the first datasets, are noisy to read
            table = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # its header is parsed as Python: it fails in more ways than can be listed
        raise InputError(f"{path} is damaged or no .npy file of numbers ({error}); copy it again") from None
    if table.ndim != 2 or table.shape[1] not in (15, 17) or not len(table) or table.dtype.kind not in "fiu":
        raise InputError(f"{path} must hold (photos, 17) numbers; got {table.shape} of {table.dtype}")
    return table.astype(np.float64)


def _photos(source: Path, wanted: int) -> tuple[Path, list[str]]:
    """The folder whose photos are as many as the rows, the full size first, and its photos in name order."""
    folders = [source / place for place in _PHOTO_PLACES if (source / place).is_dir()] or [source]
    counts = {}
    for folder in folders:
        names = list_photos(folder)
        if len(names) == wanted:
            return folder, names
        counts[folder] = len(names)
    told = ", ".join(f"{folder} holds {count} photos" for folder, count in counts.items())
    raise InputError(f"poses_bounds.npy has {wanted} cameras, but {told}; give the photos it was made from, no others")


def _shot(named: str, path: Path, source: Path, row: NDArray[np.float64]) -> Shot:
    pose = row[:15].reshape(3, 5)
    height, width, focal = (float(value) for value in pose[:, 4])
    if not (1 <= height <= 1e6 and 1 <= width <= 1e6 and 0 < focal < 1e9):  # false for NaN, too
        raise InputError(f"{named} must hold height, width and focal length; got {height:g}, {width:g}, {focal:g}")
    lens = Lens("PINHOLE", (focal, focal, width / 2, height / 2), round(width), round(height))
    return Shot(path.relative_to(source).as_posix(), path, lens, viewmat_of(named, pose[:, :4], _THEIRS_FROM_OPENCV))
