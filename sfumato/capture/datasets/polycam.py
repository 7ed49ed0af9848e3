"""Polycam's raw data (developer mode): photos, a JSON file per camera and LiDAR depth, to shots and points."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import (
    OPENCV_FROM_OPENGL,
    files_ending,
    head_of,
    load_object,
    number,
    size_of,
    viewmat_of,
)
from sfumato.capture.datasets.depth import DepthMap, points_of
from sfumato.capture.photos import PhotoIndex
from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent

__all__ = ["find", "read"]

# (cameras, photos): those of the app's own optimization first; they are missing where it was not run
_PLACES = (("corrected_cameras", "corrected_images"), ("cameras", "images"))


def find(source: Path) -> Path | None:
    """The folder of the cameras in a raw export, or None; the export or its keyframes folder may be given."""
    for root in (source / "keyframes", source):
        for cameras, photos in _PLACES:
            files = files_ending(root / cameras, ".json")
            if (root / photos).is_dir() and any(map(_is_camera, files[:3])):  # one may be damaged
                return root / cameras
    return None


def _is_camera(path: Path) -> bool:
    return b'"t_00"' in head_of(path)


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots of a raw export, and points from its depth maps; a camera, its photo and its depth have the same name.

    A camera is fx fy cx cy in pixels, and t_00 to t_23: world <- camera, row by row, in metres, with ARKit's axes
    (x right, y up, z back; the world's y is up). Photos that are missing are left out with one warning. Raises
    InputError when a camera is damaged, or most of the photos are missing.
    """
    files = files_ending(found, ".json")
    folder = found.parent / dict(_PLACES).get(found.name, "images")
    index = PhotoIndex([folder])
    shots, missing = [], []
    for done, path in enumerate(files, start=1):
        photo = index.find(path.stem)
        if photo is None:
            missing.append(path.stem)
        else:
            name = photo.relative_to(source).as_posix() if source in photo.parents else photo.name
            shots.append(_shot(path, name, photo))
        progress("reading cameras", done, len(files))
    report_missing(missing, len(files), found, index)
    if not shots:
        raise InputError(f"{found} lists no photos that are in {folder}; export the raw data again")
    protocol: dict[str, object] = {
        "registered": len(files),
        "missing_files": len(missing),
        "frame": "metric, y up (ARKit)",
        "poses": "optimized by Polycam" if found.name.startswith("corrected") else "as tracked while capturing",
    }
    points = points_of(list(_depth_maps(found.parent, shots)), progress)
    if points is not None:
        protocol["points"] = "depth maps (LiDAR)"
    return Capture("polycam", shots, points, protocol)


def _depth_maps(root: Path, shots: list[Shot]) -> Iterator[DepthMap]:
    for shot in shots:
        depth, confidence = (root / folder / f"{shot.path.stem}.png" for folder in ("depth", "confidence"))
        if depth.is_file():
            yield DepthMap(shot, depth, confidence if confidence.is_file() else None)


def _shot(path: Path, name: str, photo: Path) -> Shot:
    values: dict[str, Any] = load_object(path)
    named = str(path)
    rows = [[number(named, values, f"t_{row}{column}") for column in range(4)] for row in range(3)]
    params = tuple(number(named, values, key) for key in ("fx", "fy", "cx", "cy"))
    if min(params[:2]) <= 0:
        raise InputError(f"{named} must have focal lengths above 0; got {params[0]:g} and {params[1]:g}")
    lens = Lens("PINHOLE", params, *size_of(named, values.get("width"), values.get("height")))
    return Shot(name, photo, lens, viewmat_of(named, rows, OPENCV_FROM_OPENGL))
