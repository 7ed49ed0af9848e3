"""OpenSfM's reconstruction.json, alone or in an OpenDroneMap project, to shots and points."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import file_named, head_of, load_object, number, size_of
from sfumato.capture.datasets.opensfm_lens import PANORAMAS, lens_of
from sfumato.capture.photos import PhotoIndex, read_header
from sfumato.capture.shot import LARGEST, Capture, Lens, Shot, points_from_arrays
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import Points

__all__ = ["find", "read"]

# photos as they were taken come first: they are larger, and lenses are straightened here anyway
_PLACES = (".", "opensfm", "undistorted", "opensfm/undistorted")


@dataclass(frozen=True)
class _Pose:
    name: str  # of the photo
    camera: str
    viewmat: NDArray[np.float64]  # (4, 4) camera <- world


def find(source: Path) -> Path | None:
    """The reconstruction.json of a dataset; or, of an OpenDroneMap result without one, its shots.geojson; or None."""
    for place in _PLACES:
        path = file_named(source / place, "reconstruction.json")
        if path and head_of(path, 64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            return path
    for path in (file_named(source / "odm_report", "shots.geojson"), file_named(source, "shots.geojson")):
        if path and _cameras_of(path).is_file():
            return path
    return None


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots and points of the reconstruction with the most shots, or the shots of a shots.geojson.

    A reconstruction stays in its own axes: meters, east north up around the place of reference_lla.json when that is
    there; shots.geojson has UTM coordinates. Panoramas are replaced by the perspective views that `opensfm undistort`
    cut out of them. Raises InputError when a file is damaged, a camera cannot be used, or most photos are missing.
    """
    progress("reading cameras", 0, 1)
    if found.suffix.lower() == ".geojson":
        return _read_report(found, source)
    best = _largest(found)
    undistorted = found.parent / "undistorted" / "reconstruction.json"
    if _has_panoramas(best) and undistorted.is_file():
        found, best = undistorted, _largest(undistorted)
    cameras, listed = _object(f"{found}: cameras", best.get("cameras")), _object(f"{found}: shots", best.get("shots"))
    poses = []
    for name, values in listed.items():
        shot = _object(f"{found}: {name}", values)
        rotation = _rotation(f"{found}: rotation of {name}", shot.get("rotation"))
        translation = _three(f"{found}: translation of {name}", shot.get("translation"))
        poses.append(_Pose(name, str(shot.get("camera")), _viewmat(rotation, translation)))
    shots = _with_photos(found, source, cameras, poses)
    protocol = {"registered": len(poses), "missing_files": len(poses) - len(shots), **_place(found, best)}
    progress("reading cameras", 1, 1)
    return Capture("opensfm", shots, _points(found, best), protocol)


def _read_report(found: Path, source: Path) -> Capture:
    """The shots of an OpenDroneMap report: camera <- world rotations, and positions, in UTM coordinates."""
    features = load_object(found).get("features")
    if not isinstance(features, list) or not features:
        raise InputError(f"{found} must hold a list of features, one for each photo; export it again")
    cameras = load_object(_cameras_of(found))
    poses = []
    for place, feature in enumerate(features):
        values = _object(f"{found}: photo {place}", _object(f"{found}: photo {place}", feature).get("properties"))
        name = str(values.get("filename"))
        rotation = _rotation(f"{found}: rotation of {name}", values.get("rotation"))
        position = _three(f"{found}: translation of {name}", values.get("translation"))
        camera = _camera_of(f"{found}: {name}", values, cameras)
        poses.append(_Pose(name, camera, _viewmat(rotation, -rotation @ position)))
    shots = _with_photos(found, source, cameras, poses)
    protocol: dict[str, object] = {"registered": len(poses), "missing_files": len(poses) - len(shots)}
    return Capture("opendronemap", shots, None, protocol | {"frame": "metric, UTM: east north up (OpenDroneMap)"})


def _cameras_of(report: Path) -> Path:
    """The cameras of a project, above the folder of its report."""
    folder = report.parent.parent
    return file_named(folder, "cameras.json") or folder / "cameras.json"


def _camera_of(named: str, values: Mapping[str, Any], cameras: Mapping[str, Any]) -> str:
    """The camera of a photo in the report: by name, else the only one whose photos have its size."""
    if (camera := str(values.get("camera"))) in cameras:
        return camera
    size = (values.get("width"), values.get("height"))
    sizes = {key: _object(f"camera {key!r} of cameras.json", value) for key, value in cameras.items()}
    same = [key for key, value in sizes.items() if (value.get("width"), value.get("height")) == size]
    if len(same) != 1:
        raise InputError(f"{named} must have one of the {len(cameras)} cameras of cameras.json; {len(same)} fit it")
    return same[0]


def _with_photos(found: Path, source: Path, cameras: Mapping[str, Any], poses: Sequence[_Pose]) -> list[Shot]:
    """The shots whose photos are there; the others are reported."""
    above = found.parent.parent  # of opensfm/reconstruction.json and odm_report/shots.geojson: the project
    index = PhotoIndex([found.parent / "images", source / "images", above / "images", found.parent, source])
    paths = index.find_all([pose.name for pose in poses])
    report_missing([pose.name for pose in poses if pose.name not in paths], len(poses), found, index)
    lenses: dict[str, Lens] = {}
    shots = []
    for pose in sorted(poses, key=lambda pose: pose.name):
        path = paths.get(pose.name)
        if pose.camera not in cameras:
            raise InputError(f"{found}: {pose.name} has camera {pose.camera[:60]!r}, which is not among the cameras")
        if path is None:
            continue
        if pose.camera not in lenses:
            named = f"{found}: camera {pose.camera!r}"
            camera = _object(named, cameras[pose.camera])
            lenses[pose.camera] = lens_of(named, camera, _size(named, camera, path))
        shots.append(Shot(pose.name, path, lenses[pose.camera], pose.viewmat))
    return shots


def _size(named: str, camera: Mapping[str, Any], photo: Path) -> tuple[int, int]:
    """What a camera says of its photos' size, or that of one of them: old files say 0, or nothing."""
    if camera.get("width") and camera.get("height"):
        return size_of(named, camera["width"], camera["height"])
    header = read_header(photo)
    return header.width, header.height


def _largest(path: Path) -> dict[str, Any]:
    """The reconstruction with the most shots: photos that do not connect become several."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not readable JSON ({error}); export or copy it again") from None
    if not isinstance(content, list) or not content:
        raise InputError(f"{path} must hold a list of reconstructions; got {type(content).__name__}")
    entries = [_object(f"{path}: reconstruction {i}", entry) for i, entry in enumerate(content)]
    return max(entries, key=lambda entry: len(_object(f"{path}: shots", entry.get("shots"))))


def _object(named: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{named} must be an object; got {str(value)[:40]}")
    return value


def _has_panoramas(reconstruction: Mapping[str, Any]) -> bool:
    cameras = reconstruction.get("cameras")
    values = cameras.values() if isinstance(cameras, dict) else ()
    return any(isinstance(value, dict) and value.get("projection_type") in PANORAMAS for value in values)


def _three(named: str, value: object) -> NDArray[np.float64]:
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        vector = np.zeros(0)
    if vector.shape != (3,) or not (np.abs(vector) < LARGEST).all():
        raise InputError(f"{named} must be three finite numbers; got {str(value)[:60]}")
    return vector


def _rotation(named: str, value: object) -> NDArray[np.float64]:
    """(3, 3) of an axis times an angle in radians (Rodrigues 1840)."""
    vector = _three(named, value)
    angle = float(np.linalg.norm(vector))
    if not angle < 1e6:  # turns are not counted that far: the number is broken
        raise InputError(f"{named} must be an axis times radians; got {vector}")
    x, y, z = vector / (angle or 1.0)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def _viewmat(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, translation
    return viewmat


def _points(path: Path, reconstruction: Mapping[str, Any]) -> Points | None:
    listed = reconstruction.get("points")
    if not listed:
        return None
    try:
        values = list(listed.values())
        xyz = np.array([value["coordinates"] for value in values], dtype=np.float64)
        rgb = np.array([value.get("color", (128, 128, 128)) for value in values], dtype=np.float64)
        if xyz.shape != (len(values), 3) or rgb.shape != (len(values), 3):
            raise ValueError(f"their shapes are {xyz.shape} and {rgb.shape}")
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: points must have three coordinates and colors ({error}); export it again") from None
    return points_from_arrays(xyz, np.nan_to_num(rgb).clip(0, 255).round().astype(np.uint8))


def _place(found: Path, reconstruction: Mapping[str, Any]) -> dict[str, object]:
    """What is known of where the reconstruction is on Earth."""
    reference = reconstruction.get("reference_lla")
    for folder in (found.parent, found.parent.parent):  # the latter: of undistorted
        path = file_named(folder, "reference_lla.json")
        if reference is None and path:
            reference = load_object(path)
    if reference is None:
        return {"frame": "local (OpenSfM)"}
    values = _object(f"{found}: reference_lla", reference)
    named = f"{found}: reference_lla"
    place = {key: number(named, values, key) for key in ("latitude", "longitude", "altitude")}
    return {"frame": "metric, east north up around geo_reference (OpenSfM)", "geo_reference": place}
