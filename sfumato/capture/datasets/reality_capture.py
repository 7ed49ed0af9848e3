"""RealityScan's (formerly RealityCapture's) list of cameras, a .csv or an .xmp beside each photo, to shots."""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.brown import brown_lens
from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import (
    OPENCV_FROM_OPENGL,
    files_ending,
    head_of,
    points_beside,
    read_bytes,
    viewmat_of,
)
from sfumato.capture.photos import Header, PhotoIndex, read_headers
from sfumato.capture.shot import Capture, Shot
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent

__all__ = ["find", "read"]

_FILM = 36.0  # mm: the longer side of the film that its focal lengths are given for
_NEEDED = {"name", "x", "y", "alt", "heading", "pitch", "roll", "f"}
_OPTIONAL = ("px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
_STRAIGHTEN = "export undistorted photos, or a COLMAP model, from RealityScan"
_TRIED = 100  # .xmp files: those of photos that were not aligned have no pose
_FRAME = "as exported; x east, y north, z up where it is georeferenced (RealityScan)"


@dataclass(frozen=True)
class _Camera:
    viewmat: NDArray[np.float64]  # (4, 4) camera <- world
    focal: float  # mm on film 36 mm wide
    offset: tuple[float, float]  # of the principal point from the middle, in shares of the photo's longer side
    radial: tuple[float, ...]  # k1 to k4 of Brown
    tangential: tuple[float, float]  # t1, t2


def find(source: Path) -> Path | None:
    """The .csv "Internal/External camera parameters" of a dataset, else its first .xmp with a pose, or None."""
    for path in files_ending(source, ".csv"):
        if _header(head_of(path).decode("utf-8-sig", errors="replace").splitlines()[:5]) is not None:
            return path
    for folder in (source, source / "images"):
        for path in files_ending(folder, ".xmp")[:_TRIED]:
            head = head_of(path)
            if b"xcr:Rotation" in head and b"xcr:Position" in head:
                return path
    return None


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots of a .csv of camera parameters, or of the .xmp files in the folder of `found`.

    Sizes are those of the photos; the world is the one that was chosen at the export. Points come from the one .ply
    beside it, if there is one. Raises InputError when a file is damaged, a camera is impossible, or most photos are
    missing.
    """
    cameras = _table(found) if found.suffix.lower() == ".csv" else _sidecars(found.parent)
    index = PhotoIndex([found.parent, source / "images", source])
    paths = index.find_all(list(cameras))
    report_missing([name for name in cameras if name not in paths], len(cameras), found, index)
    headers = read_headers(list(paths.values()), progress)
    shots = []
    for name, path in paths.items():
        if header := headers.get(path):
            shots.append(_shot(f"{found}: {name}", name, path, header, cameras[name]))
    protocol: dict[str, object] = {"registered": len(cameras), "missing_files": len(cameras) - len(paths)}
    return Capture("realityscan", shots, points_beside(source, shots), {**protocol, "frame": _FRAME})


def _shot(named: str, name: str, path: Path, header: Header, camera: _Camera) -> Shot:
    longer = max(header.width, header.height)
    focal = camera.focal * longer / _FILM
    center = (header.width / 2 + camera.offset[0] * longer, header.height / 2 + camera.offset[1] * longer)
    size = (header.width, header.height)
    try:
        # AliceVision and Camorph agree that its t1 is the second of OpenCV's tangential terms, and t2 the first
        lens = brown_lens((focal, focal), center, camera.radial, camera.tangential[::-1], size)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    return Shot(name, path, lens, camera.viewmat)


def _header(lines: list[str]) -> tuple[int, str, list[str]] | None:
    """Which of the first lines is the header, its separator, and the names of the columns."""
    for place, line in enumerate(lines):
        separator = max(";\t,", key=line.count)
        names = [name.strip().strip('"').lstrip("#").strip().lower() for name in line.split(separator)]
        if set(names) >= _NEEDED:
            return place, separator, names
    return None


def _table(path: Path) -> dict[str, _Camera]:
    """The camera of each photo in a .csv; its columns are a template that users may change."""
    lines = read_bytes(path).decode("utf-8-sig", errors="surrogateescape").splitlines()
    header = _header(lines[:5])
    if header is None:
        raise InputError(f"{path} must have the columns {' '.join(sorted(_NEEDED))}; export the cameras again")
    place, separator, names = header
    cameras = {}
    for cells in csv.reader(lines[place + 1 :], delimiter=separator, quoting=csv.QUOTE_NONE):
        if len(cells) == len(names):
            row = dict(zip(names, (cell.strip().strip('"') for cell in cells), strict=True))
            cameras[row["name"]] = _camera_of_row(f"{path}: {row['name']}", row)
        elif any(cells):
            told = f"{path}: the line of {cells[0][:60]!r} has {len(cells)} columns, but the header {len(names)}"
            raise InputError(f"{told}; it is cut, or its decimal commas separate: export with semicolons or points")
    return cameras


def _number(named: str, row: Mapping[str, str], key: str, default: str | None = None) -> float:
    text = row.get(key, default)
    try:
        value = float((text or "").replace(",", "."))  # of countries where the comma is the decimal point
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{named}: {key} must be a finite number; got {str(text)[:40]!r}")
    return value


def _camera_of_row(named: str, row: Mapping[str, str]) -> _Camera:
    """Position, and the turns -heading about z, pitch about x, roll about y; an unturned camera looks down."""
    heading, pitch, roll = (math.radians(_number(named, row, key)) for key in ("heading", "pitch", "roll"))
    pose = np.eye(4)
    pose[:3, :3] = _turn(2, -heading) @ _turn(0, pitch) @ _turn(1, roll)
    pose[:3, 3] = [_number(named, row, key) for key in ("x", "y", "alt")]
    px, py, k1, k2, k3, k4, t1, t2 = (_number(named, row, key, "0") for key in _OPTIONAL)
    viewmat = viewmat_of(named, pose, OPENCV_FROM_OPENGL)
    return _Camera(viewmat, _number(named, row, "f"), (px, py), (k1, k2, k3, k4), (t1, t2))


def _turn(axis: int, angle: float) -> NDArray[np.float64]:
    """(3, 3) rotation about the x, y or z axis, counterclockwise as seen against it."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[one, one] = matrix[two, two] = math.cos(angle)
    matrix[two, one], matrix[one, two] = math.sin(angle), -math.sin(angle)
    return matrix


def _sidecars(folder: Path) -> dict[str, _Camera]:
    """The cameras in the .xmp files of a folder, by the photos' names without extension; those without pose are not."""
    cameras = {}
    for path in files_ending(folder, ".xmp"):
        camera = _camera_of_xmp(path, read_bytes(path).decode("utf-8-sig", errors="replace"))
        if camera is not None:
            cameras[path.stem] = camera
    return cameras


def _camera_of_xmp(path: Path, text: str) -> _Camera | None:
    """World to camera, with OpenCV's axes, and the camera's position; None for photos that were not aligned."""
    rotation, position = _numbers(path, text, "Rotation", 9), _numbers(path, text, "Position", 3)
    if rotation is None or position is None:
        return None
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.reshape(rotation, (3, 3)).T, position
    (focal,) = _numbers(path, text, "FocalLength35mm", 1) or (0.0,)
    offset = [(_numbers(path, text, f"PrincipalPoint{axis}", 1) or [0.0])[0] for axis in "UV"]
    bends = _numbers(path, text, "DistortionCoeficients", 6) or [0.0] * 6  # sic
    model = (_field(text, "DistortionModel") or "perspective").lower()
    skew, aspect = (_numbers(path, text, key, 1) or [usual] for key, usual in (("Skew", 0.0), ("AspectRatio", 1.0)))
    if (any(bends) and not model.startswith("brown")) or abs(skew[0]) > 1e-6 or abs(aspect[0] - 1) > 1e-6:
        told = f"{path} must have distortion model brown, skew 0 and aspect ratio 1"
        raise InputError(f"{told}; got {model}, {skew[0]:g}, {aspect[0]:g}: {_STRAIGHTEN}")
    viewmat = viewmat_of(str(path), pose, np.eye(4))
    return _Camera(viewmat, focal, (offset[0], offset[1]), tuple(bends[:4]), (bends[4], bends[5]))


def _field(text: str, key: str) -> str | None:
    """What an .xmp says under a name, as attribute or as element."""
    found = re.search(rf"xcr:{key}\s*(?:=\s*[\"']([^\"'<]*)[\"']|>([^<]*)</)", text)
    return None if found is None else found[1] if found[1] is not None else found[2]


def _numbers(path: Path, text: str, key: str, count: int) -> list[float] | None:
    found = _field(text, key)
    if found is None:
        return None
    try:
        values = [float(word) for word in found.split()]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError(f"{path}: xcr:{key} must be {count} finite numbers; got {found[:60]!r}")
    return values
