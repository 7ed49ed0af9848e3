"""Bundler's bundle.out v0.3 (Snavely et al. 2006) and its list of photos, to shots and points."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import (
    OPENCV_FROM_OPENGL,
    file_named,
    files_ending,
    head_of,
    read_bytes,
    viewmat_of,
)
from sfumato.capture.photos import PhotoIndex, list_photos, read_headers
from sfumato.capture.shot import LARGEST, Capture, Lens, Shot, points_from_arrays
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent

__all__ = ["find", "read"]

_PLACES = (".", "bundle", "bundler")
_CAMERA = 3 + 9 + 3  # f k1 k2, rotation, translation
_HEADER = "# Bundle file v0.3"
_KIND = b"# Bundle file"


def find(source: Path) -> Path | None:
    """The bundle.out of a dataset (or NAME.bundle.out, in the folder or in its folder bundle), or None."""
    for place in _PLACES:
        for path in files_ending(source / place, "bundle.out"):
            if path.name.lower().removesuffix("bundle.out")[-1:] in ("", ".") and head_of(path, len(_KIND)) == _KIND:
                return path
    return None


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots and points of a bundle.out; photos are named by the list beside it, in the order of its cameras.

    Cameras look along -z with y up, world to camera; those with focal length 0 were not registered. Without a list
    the photos are taken in name order, when there are as many. Raises InputError when the file is cut or forged, a
    camera is impossible, or photos and cameras do not match.
    """
    numbers, cameras, points = _parse(found)
    names = _names(found, source, len(cameras))
    known = [i for i in range(len(cameras)) if cameras[i, 0] != 0]
    if not known:
        raise InputError(f"{found} has {len(cameras)} cameras, none of them with a focal length; export it again")
    index = PhotoIndex([found.parent, source, source / "images", found.parent.parent])
    by_name = index.find_all([names[i] for i in known])
    paths = {i: by_name[names[i]] for i in known if names[i] in by_name}
    report_missing([names[i] for i in known if i not in paths], len(known), found, index)
    headers = read_headers(list(paths.values()), progress)
    shots = []
    for i, path in paths.items():
        if header := headers.get(path):
            shots.append(_shot(f"{found}: {names[i]}", names[i], path, cameras[i], (header.width, header.height)))
    xyz, rgb = _points(found, numbers, points)
    protocol: dict[str, object] = {
        "registered": len(known),
        "photos_given": len(cameras),
        "missing_files": len(known) - len(paths),
        "frame": "local, arbitrary scale (Bundler)",
    }
    return Capture("bundler", shots, points_from_arrays(xyz, rgb), protocol)


def _parse(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """All numbers behind the cameras, the (C, 15) cameras, and how many points there are."""
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    header, _, body = text.partition("\n")
    if header.strip() != _HEADER:
        raise InputError(f"{path} must begin with {_HEADER!r}; got {header.strip()[:40]!r}")
    try:
        numbers = np.array(body.split(), dtype=np.float64)
        cameras, points = int(numbers[0]), int(numbers[1])
    except (ValueError, OverflowError, IndexError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}); export it again") from None
    least = 2 + _CAMERA * cameras + 7 * points  # a point has at least the length of its list of views
    if cameras < 1 or points < 0 or least > len(numbers):
        told = f"claims {cameras} cameras and {points} points, but holds {len(numbers)} numbers"
        raise InputError(f"{path} {told}; it is damaged or truncated, export it again")
    behind = 2 + _CAMERA * cameras
    return numbers[behind:], numbers[2:behind].reshape(-1, _CAMERA), points


def _names(path: Path, source: Path, cameras: int) -> list[str]:
    """The photos of the list beside a bundle.out (each line: name, then maybe 0 and a focal length)."""
    stem = path.name[: -len("bundle.out")]  # "" or "NAME."
    lists = (file_named(folder, name) for folder in (path.parent, source) for name in (f"{stem}list.txt", "list.txt"))
    listed = next(filter(None, lists), None)
    if listed is None:
        photos = source / "images" if (source / "images").is_dir() else source
        names, where = list_photos(photos), str(photos)
    else:
        lines = read_bytes(listed).decode("utf-8-sig", errors="surrogateescape").splitlines()
        names, where = [_without_focal(line.strip()) for line in lines if line.strip()], str(listed)
    if len(names) != cameras:
        told = f"{path} has {cameras} cameras, but {where} {len(names)} photos"
        raise InputError(f"{told}; put the list.txt it was made with beside it")
    return names


def _without_focal(line: str) -> str:
    """The name of a line that may end in "0 1234.5"; names may hold spaces."""
    words = line.rsplit(maxsplit=2)
    try:
        return words[0] if len(words) == 3 and int(words[1]) == 0 and float(words[2]) > 0 else line
    except ValueError:
        return line


def _shot(named: str, name: str, path: Path, row: NDArray[np.float64], size: tuple[int, int]) -> Shot:
    focal, k1, k2 = (float(value) for value in row[:3])
    center = (size[0] / 2, size[1] / 2)
    if not focal > 0:
        raise InputError(f"{named} must have a focal length above 0, or 0 when not registered; got {focal}")
    try:
        lens = Lens("RADIAL", (focal, *center, k1, k2), *size)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3], camera_from_world[:3, 3] = row[3:12].reshape(3, 3), row[12:15]
    return Shot(name, path, lens, _inverted(named, camera_from_world))


def _inverted(named: str, camera_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) OpenCV camera <- world of theirs; a rotation that is none is refused."""
    rotation = camera_from_world[:3, :3]
    if not (np.abs(camera_from_world) < LARGEST).all():
        raise InputError(f"{named}: the pose must be finite numbers")
    pose = np.eye(4)  # world <- camera; the transpose is the inverse of what must be a rotation
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ camera_from_world[:3, 3]
    return viewmat_of(named, pose, OPENCV_FROM_OPENGL)


def _points(path: Path, numbers: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """(M, 3) positions and colors; each point ends in a list of views, four numbers each, of any length."""
    starts = list(_starts(path, numbers, count))
    rows = numbers[np.array(starts, dtype=np.int64)[:, None] + np.arange(6)] if starts else np.zeros((0, 6))
    rgb = np.nan_to_num(rows[:, 3:]).clip(0, 255).round().astype(np.uint8)
    return rows[:, :3], rgb


def _starts(path: Path, numbers: NDArray[np.float64], count: int) -> Iterator[int]:
    at = 0
    for _ in range(count):
        views = float(numbers[at + 6]) if at + 6 < len(numbers) else -1.0
        if not (views >= 0 and at + 7 + 4 * views <= len(numbers)):  # false for NaN, too
            raise InputError(f"{path} ends within its points; it is damaged or truncated, export it again")
        yield at
        at += 7 + 4 * int(views)
