"""Agisoft Metashape's cameras, exported as Agisoft XML, to shots."""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import files_ending, finite, head_of, points_beside, read_bytes, viewmat_of
from sfumato.capture.datasets.metashape_lens import lens_of
from sfumato.capture.photos import PhotoIndex
from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.progress import Progress, silent

__all__ = ["find", "read"]

_PHOTO_PLACES = ("images", "photos", "input", "rgb", ".")
_SHARED = "shared"  # the world that every transform leads to


@dataclass(frozen=True, eq=False)
class _Camera:
    """An aligned camera."""

    label: str
    names: tuple[str, ...]  # of its photo, the most telling first
    sensor: Element
    pose: NDArray[np.float64]  # (4, 4) world <- camera, OpenCV axes
    world: str  # cameras with the same one can be used together
    crs: str  # the chunk's reference system, as WKT


def find(source: Path) -> Path | None:
    """The XML file of cameras in a folder, or None; cameras.xml before other names."""
    files = sorted(files_ending(source, ".xml"), key=lambda path: (path.name.lower() != "cameras.xml", path.name))
    return next((path for path in files if _is_export(path)), None)


def _is_export(path: Path) -> bool:
    head = head_of(path)
    return all(tag in head for tag in (b"<document", b"<chunk", b"<sensors"))


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots of an export: all sensors, all enabled chunks, all components; disabled cameras are passed over.

    Points come from the one .ply beside it, if there is one that the cameras see.

    A camera is 4 x 4 numbers, row by row: chunk <- camera with OpenCV's axes; its component or its chunk has a
    rotation, a translation and a scale from there to the world. Cameras without a pose, or whose photos are missing
    or cannot be told apart, are left out with a warning. Raises InputError when the file is damaged, nothing is
    aligned, a lens cannot be represented (spherical, strongly skewed), or most of the photos are missing.
    """
    left_out: Counter[str] = Counter()
    chunks = [chunk for chunk in _parse(found).iter("chunk") if _enabled(chunk)]
    aligned = [camera for number, chunk in enumerate(chunks) for camera in _cameras(found, chunk, number, left_out)]
    cameras = _one_world(aligned, left_out)
    told = ", ".join(f"{count} {why}" for why, count in left_out.items())
    if not cameras:
        raise InputError(f"{found} has no aligned cameras ({told or 'none'}); align the photos, then export again")
    if set(left_out) - {"disabled"}:
        warnings.warn(f"{found}: cameras are left out: {told}", SfumatoWarning, stacklevel=2)
    shots, missing = _shots(found, source, cameras, progress)
    protocol: dict[str, object] = {"registered": len(cameras), "missing_files": len(missing), **_frame(cameras[0])}
    points = points_beside(source, shots)
    if points is not None:
        protocol["points"] = "point cloud of the dataset"
    return Capture("metashape", shots, points, protocol)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document types before what they define is read: entities can grow without end, or fetch files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"it defines a document type, {name}, which no export has")


def _parse(path: Path) -> Element:
    data = read_bytes(path)
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_NoDoctype()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is not readable XML ({error}); export the cameras again") from None
    if root.tag != "document":
        raise InputError(f"{path} must hold a document of Metashape; got {root.tag}")
    return root


def _enabled(element: Element) -> bool:
    return element.get("enabled", "true").strip().lower() not in ("false", "0")


def _cameras(path: Path, chunk: Element, number: int, left_out: Counter[str]) -> Iterator[_Camera]:
    """The aligned, enabled cameras of a chunk; counts the others."""
    sensors = {sensor.get("id"): sensor for sensor in chunk.iterfind("sensors/sensor")}
    worlds = {item.get("id"): _world(path, item) for item in chunk.iterfind("components/component")}
    own_world = _world(path, chunk)
    folders = {id(item): group.get("label") for group in chunk.iterfind("cameras/group") for item in group}
    files = {item.get("camera_id"): photo.get("path") for item in chunk.iter("camera") for photo in item.iter("photo")}
    crs = (chunk.findtext("reference") or "").strip()
    for camera in chunk.iterfind("cameras//camera"):
        label, transform, component = camera.get("label") or "", camera.find("transform"), camera.get("component_id")
        named = f"{path}: camera {label}"
        if not _enabled(camera):
            left_out["disabled"] += 1
        elif transform is None:
            left_out["of a rig whose pose is not in the file" if camera.get("master_id") else "not aligned"] += 1
        elif (sensor := sensors.get(camera.get("sensor_id"))) is None:
            raise InputError(f"{named} has sensor {camera.get('sensor_id')}, which is not in sensors")
        else:
            world = worlds.get(component) or own_world
            pose = _numbers(named, transform, 16).reshape(4, 4)
            if world is not None:
                scale, rotation, translation = world
                pose[:3, 3] = scale * rotation @ pose[:3, 3] + translation
                pose[:3, :3] = rotation @ pose[:3, :3]
            folder = folders.get(id(camera))
            names = (files.get(camera.get("id")), f"{folder}/{label}" if folder else None, label)
            place = f"chunk {number} component {component}" if world is None else _SHARED
            yield _Camera(label, tuple(filter(None, names)), sensor, pose, place, crs)


def _world(path: Path, element: Element) -> tuple[float, NDArray[np.float64], NDArray[np.float64]] | None:
    """(scale, (3, 3) rotation, (3,) translation) to the world of a chunk or component; None when it has none."""
    transform = element.find("transform")
    if transform is None or not len(transform):
        return None
    named = f"{path}: transform of {element.get('label') or element.tag}"
    rotation, translation, scale = (transform.find(name) for name in ("rotation", "translation", "scale"))
    turn = np.eye(3) if rotation is None else _numbers(named, rotation, 9).reshape(3, 3)
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
        raise InputError(f"{named} must have a rotation; export the cameras again")
    size = 1.0 if scale is None else float(_numbers(named, scale, 1)[0])
    if not size > 0:
        raise InputError(f"{named} must have a scale above 0; got {size:g}")
    return size, turn, np.zeros(3) if translation is None else _numbers(named, translation, 3)


def _numbers(named: str, element: Element, count: int) -> NDArray[np.float64]:
    words = (element.text or "").split()
    try:
        values = [finite(f"{named}: {element.tag}", float(word)) for word in words]
    except ValueError:  # InputError is one, too
        values = []
    if len(values) != count:
        raise InputError(f"{named}: {element.tag} must be {count} finite numbers; export the cameras again")
    return np.array(values)


def _one_world(cameras: list[_Camera], left_out: Counter[str]) -> list[_Camera]:
    """The cameras of the world with the most of them: others' places relative to these are not known."""
    worlds = Counter(camera.world for camera in cameras)
    kept = [camera for camera in cameras if camera.world == worlds.most_common(1)[0][0]]
    if len(kept) < len(cameras):
        left_out["in other chunks or components, which were not aligned with this one"] += len(cameras) - len(kept)
    return kept


def _shots(path: Path, source: Path, cameras: list[_Camera], progress: Progress) -> tuple[list[Shot], list[str]]:
    """The shots of the cameras that have a photo of their own, and the labels of the others."""
    index = PhotoIndex([source / place for place in _PHOTO_PLACES])
    photos = [next(filter(None, map(index.find, camera.names)), None) for camera in cameras]
    owners = Counter(photo for photo in photos if photo)
    lenses: dict[int, Lens] = {}  # by sensor
    shots, missing, unclear = [], [], []
    for done, (camera, photo) in enumerate(zip(cameras, photos, strict=True), start=1):
        progress("reading cameras", done, len(cameras))
        if photo is None:
            missing.append(camera.label)
        elif owners[photo] > 1:
            unclear.append(camera.label)
        else:
            key = id(camera.sensor)
            lenses[key] = lenses.get(key) or lens_of(path, camera.sensor)
            viewmat = viewmat_of(f"{path}: camera {camera.label}", camera.pose, np.eye(4))
            name = photo.relative_to(source).as_posix() if source in photo.parents else photo.name
            shots.append(Shot(name, photo, lenses[key], viewmat))
    report_missing(missing, len(cameras), path, index)
    if unclear:
        told = f"{path} has {len(unclear)} cameras that share names (first: {unclear[0]}); give each photo its own name"
        if not shots:
            raise InputError(told)
        warnings.warn(f"{told}; they are left out", SfumatoWarning, stacklevel=3)
    return shots, missing


def _frame(camera: _Camera) -> dict[str, object]:
    """What the file says about the world: Metashape's own is geocentric wherever a geographic reference is set."""
    if camera.world != _SHARED:
        return {"frame": "local, arbitrary scale (Metashape)"}
    if not camera.crs or camera.crs.startswith("LOCAL_CS"):
        return {"frame": "local, metric if the chunk was scaled (Metashape)"}
    return {"frame": "metric, geocentric (Metashape)", "crs": camera.crs}
