"""OpenSfM and OpenDroneMap: projections by their own formulas, poses, choice of reconstruction, places, damage."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import NONSENSE, SIZE, colmap_pixels, photos, points, same_poses, survives, truncations, viewmats

from sfumato.capture.datasets.opensfm import find, read
from sfumato.capture.shot import Capture
from sfumato.core.errors import InputError, SfumatoWarning

NAMES = [f"IMG_{i}.JPG" for i in range(6)]
PERSPECTIVE = {"projection_type": "perspective", "width": 48, "height": 36, "focal": 0.9, "k1": -0.1, "k2": 0.02}
TWO_FOCALS = {"width": 48, "height": 36, "focal_x": 0.9, "focal_y": 0.92, "c_x": 0.01, "c_y": -0.02}
BROWN = {**TWO_FOCALS, "projection_type": "brown", "k1": -0.1, "k2": 0.02, "k3": 0.01, "p1": 0.003, "p2": -0.002}
LLA = {"latitude": 47.5, "longitude": 8.25, "altitude": 410.5}


def axis_times_angle(rotation: np.ndarray) -> list[float]:
    """The logarithm of a rotation, by its eigenvector: another way than the one that is tested."""
    values, vectors = np.linalg.eig(rotation)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    angle = math.acos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return (axis * angle * (1 if axis @ skew >= 0 else -1)).tolist()


def reconstruction(camera: dict[str, Any] = PERSPECTIVE, names: list[str] = NAMES) -> dict[str, Any]:
    shots = {
        name: {"rotation": axis_times_angle(v[:3, :3]), "translation": v[:3, 3].tolist(), "camera": "v2 cam"}
        for name, v in zip(names, viewmats(), strict=False)
    }
    cloud = {str(i): {"coordinates": p.tolist(), "color": [i, 255.0, 17.4]} for i, p in enumerate(points())}
    return {"cameras": {"v2 cam": camera}, "shots": shots, "points": cloud}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(entries) or [reconstruction()]), encoding="utf-8")
    return path


def read_folder(folder: Path) -> Capture:
    found = find(folder)
    assert found is not None
    return read(found, folder)


@pytest.mark.parametrize("place", [".", "opensfm"])
def test_poses_and_points(tmp_path: Path, place: str) -> None:
    """OpenSfM's folder, and OpenDroneMap's project around it."""
    write(tmp_path / place / "reconstruction.json")
    photos(tmp_path / "images", NAMES)
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats(), atol=1e-9)
    assert [shot.name for shot in capture.shots] == NAMES
    assert capture.points is not None
    np.testing.assert_allclose(capture.points.xyz.numpy(), points(), atol=1e-12)
    np.testing.assert_array_equal(capture.points.rgb.numpy(), [[i, 255, 17] for i in range(len(points()))])
    assert capture.protocol == {"registered": 6, "missing_files": 0, "frame": "local (OpenSfM)"}


def test_no_rotation_is_the_identity(tmp_path: Path) -> None:
    entry = reconstruction()
    entry["shots"][NAMES[0]] |= {"rotation": [0, 0, 0], "translation": [1, 2, 3]}
    entry["shots"][NAMES[1]] |= {"rotation": [0, 0, math.pi / 2], "translation": [0, 0, 0]}
    write(tmp_path / "reconstruction.json", entry)
    photos(tmp_path / "images", NAMES)
    shots = read_folder(tmp_path).shots
    np.testing.assert_allclose(shots[0].viewmat, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    np.testing.assert_allclose(shots[1].viewmat[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-15)  # x to y about z


def theirs(camera: dict[str, Any], local: np.ndarray) -> np.ndarray:
    """Pixels by OpenSfM's documentation: projection, distortion, then shares of the longer side from the middle."""
    kind = camera["projection_type"]
    k1, k2, k3, k4, p1, p2 = (camera.get(key, 0.0) for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    x, y = (local[:, :2] / local[:, 2:]).T
    if "fisheye" in kind:
        length = np.hypot(x, y)
        angle = np.arctan(length)
        x, y = x * angle / length, y * angle / length
    r2 = x * x + y * y
    bend = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
    dx, dy = 2 * p1 * x * y + p2 * (r2 + 2 * x * x), 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    fx, fy = (camera.get(key, camera.get("focal")) for key in ("focal_x", "focal_y"))
    u, v = fx * (x * bend + dx) + camera.get("c_x", 0.0), fy * (y * bend + dy) + camera.get("c_y", 0.0)
    longer = max(camera["width"], camera["height"])
    return np.stack([u * longer + camera["width"] / 2, v * longer + camera["height"] / 2], axis=1)


@pytest.mark.parametrize(
    ("camera", "model"),
    [
        (PERSPECTIVE, "RADIAL"),
        ({**PERSPECTIVE, "width": 36, "height": 48}, "RADIAL"),  # portrait: the height counts
        ({**PERSPECTIVE, "projection_type": "fisheye"}, "RADIAL_FISHEYE"),
        (BROWN, "FULL_OPENCV"),
        ({**BROWN, "k3": 0.0}, "OPENCV"),
        ({**TWO_FOCALS, "projection_type": "radial", "k1": 0.1, "k2": -0.05}, "OPENCV"),
        ({**TWO_FOCALS, "projection_type": "simple_radial", "k1": 0.1}, "OPENCV"),
        ({**TWO_FOCALS, "projection_type": "simple_radial"}, "PINHOLE"),
        ({**BROWN, "projection_type": "fisheye_opencv", "p1": 0, "p2": 0, "k4": 0.004}, "OPENCV_FISHEYE"),
    ],
)
def test_projections(tmp_path: Path, camera: dict[str, Any], model: str) -> None:
    write(tmp_path / "reconstruction.json", reconstruction(camera))
    photos(tmp_path / "images", NAMES, (camera["width"], camera["height"]))
    for shot, viewmat in zip(read_folder(tmp_path).shots, viewmats(), strict=True):
        assert shot.lens.model == model
        local = points() @ viewmat[:3, :3].T + viewmat[:3, 3]
        np.testing.assert_allclose(colmap_pixels(shot, points()), theirs(camera, local), atol=1e-6)


@pytest.mark.parametrize("kind", ["spherical", "equirectangular", "fisheye624", "dual", "lensbaby"])
def test_what_is_no_lens_says_what_to_do(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "reconstruction.json", reconstruction({**PERSPECTIVE, "projection_type": kind}))
    photos(tmp_path / "images", NAMES)
    with pytest.raises(InputError, match=r"camera 'v2 cam' .*run `opensfm undistort` and give the folder undistorted"):
        read_folder(tmp_path)


def test_panoramas_are_read_as_their_perspective_views(tmp_path: Path) -> None:
    """`opensfm undistort` cuts them; its views are named after the photo, and stored with one more extension."""
    write(tmp_path / "reconstruction.json", reconstruction({**PERSPECTIVE, "projection_type": "spherical"}))
    names = [f"{name}_perspective_view_front" for name in NAMES]
    straight = {**PERSPECTIVE, "k1": 0.0, "k2": 0.0}
    write(tmp_path / "undistorted" / "reconstruction.json", reconstruction(straight, names))
    photos(tmp_path / "undistorted" / "images", [f"{name}.png" for name in names])
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats())
    assert all(shot.lens.is_pinhole for shot in capture.shots)


def test_the_undistorted_folder_itself(tmp_path: Path) -> None:
    folder = tmp_path / "undistorted"
    write(folder / "reconstruction.json")
    photos(folder / "images", [f"{name}.tif" for name in NAMES])
    (tmp_path / "reference_lla.json").write_text(json.dumps(LLA), encoding="utf-8")
    capture = read_folder(folder)
    same_poses(capture, viewmats())
    assert capture.protocol["geo_reference"] == LLA


def test_the_largest_reconstruction(tmp_path: Path) -> None:
    write(tmp_path / "reconstruction.json", reconstruction(names=NAMES[:2]), reconstruction(), reconstruction(names=[]))
    photos(tmp_path / "images", NAMES)
    assert len(read_folder(tmp_path).shots) == 6


@pytest.mark.parametrize("inside", [True, False])
def test_the_place_on_earth(tmp_path: Path, inside: bool) -> None:
    write(tmp_path / "reconstruction.json", {**reconstruction(), **({"reference_lla": LLA} if inside else {})})
    if not inside:
        (tmp_path / "reference_lla.json").write_text(json.dumps(LLA), encoding="utf-8")
    photos(tmp_path / "images", NAMES)
    protocol = read_folder(tmp_path).protocol
    assert protocol["geo_reference"] == LLA
    assert "east north up" in str(protocol["frame"])


def test_sizes_that_old_files_do_not_say(tmp_path: Path) -> None:
    write(tmp_path / "reconstruction.json", reconstruction({"focal": 0.9, "width": 0, "height": 0}))
    photos(tmp_path / "images", NAMES)
    lens = read_folder(tmp_path).shots[0].lens
    assert (lens.width, lens.height) == SIZE
    assert lens.focals == pytest.approx((0.9 * 48,) * 2)
    assert lens.is_pinhole


def test_missing_photos(tmp_path: Path) -> None:
    write(tmp_path / "reconstruction.json")
    photos(tmp_path / "images", NAMES[:4])
    with pytest.warns(SfumatoWarning, match="lists 6 photos, of which 2 are not in"):
        assert len(read_folder(tmp_path).shots) == 4


def report(folder: Path, name_the_camera: bool = True) -> Path:
    """OpenDroneMap's report: rotation is camera <- world, translation the camera's place, both in UTM coordinates."""
    features = []
    for name, viewmat in zip(NAMES, viewmats(), strict=True):
        place = -viewmat[:3, :3].T @ viewmat[:3, 3] + (465_000.25, 5_260_000.5, 400)
        values = {"filename": name, "width": 48, "height": 36, "focal": 0.9, "translation": place.tolist()}
        values["rotation"] = axis_times_angle(viewmat[:3, :3])
        if name_the_camera:
            values["camera"] = "v2 cam"
        features.append({"type": "Feature", "properties": values, "geometry": {"coordinates": [8, 47, 400]}})
    cameras = {"v2 cam": BROWN, "v2 other": {**BROWN, "width": 640}}
    (folder / "cameras.json").write_text(json.dumps(cameras), encoding="utf-8")
    path = folder / "odm_report" / "shots.geojson"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


@pytest.mark.parametrize("name_the_camera", [True, False])
def test_a_report_of_opendronemap(tmp_path: Path, name_the_camera: bool) -> None:
    report(tmp_path, name_the_camera)
    photos(tmp_path / "images", NAMES)
    same_poses(read_folder(tmp_path / "odm_report"), np.stack([shot.viewmat for shot in read_folder(tmp_path).shots]))
    capture = read_folder(tmp_path)
    assert capture.points is None
    assert "UTM" in str(capture.protocol["frame"])
    for shot, viewmat in zip(capture.shots, viewmats(), strict=True):
        local = points() @ viewmat[:3, :3].T + viewmat[:3, 3]
        far = points() + np.array([465_000.25, 5_260_000.5, 400])
        np.testing.assert_allclose(colmap_pixels(shot, far), theirs(BROWN, local), atol=1e-5)


def test_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "reconstruction.json")
    photos(tmp_path / "images", NAMES)
    assert not any(survives(lambda: read(path, tmp_path)) for _ in truncations(path))
    path = report(tmp_path)
    assert not any(survives(lambda: read(path, tmp_path)) for _ in truncations(path))
    assert not any(survives(lambda: read(path, tmp_path)) for _ in truncations(tmp_path / "cameras.json"))


def test_other_files_are_not_claimed(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    (tmp_path / "reconstruction.json").write_text('{"shots": {}}', encoding="utf-8")
    assert find(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda e: e["cameras"]["v2 cam"].update(focal=0), "focal length above 0"),
        (lambda e: e["cameras"]["v2 cam"].pop("focal"), "has no focal"),
        (lambda e: e["cameras"]["v2 cam"].update(focal=float("nan")), "focal must be a finite number"),
        (lambda e: e["cameras"]["v2 cam"].update(k1="x"), "k1 must be a finite number"),
        (lambda e: e["cameras"]["v2 cam"].update(width=-48), "must have a width and height"),
        (lambda e: e["shots"][NAMES[0]].update(camera="v9"), "has camera 'v9', which is not among"),
        (lambda e: e["shots"][NAMES[0]].update(rotation=[1e9, 0, 0]), "axis times radians"),
        (lambda e: e["shots"][NAMES[0]].update(rotation=[float("nan"), 0, 0]), "three finite numbers"),
        (lambda e: e["shots"][NAMES[0]].pop("translation"), "translation of IMG_0.JPG must be three"),
        (lambda e: e["points"]["3"].pop("coordinates"), "three coordinates"),
        (lambda e: e["points"]["3"].update(coordinates=[1, 2]), "three coordinates"),
        (lambda e: e["shots"].clear(), "lists no photos"),
        (lambda e: e.pop("cameras"), "cameras must be an object"),
        (lambda e: e.update(reference_lla={"latitude": 3}), "has no longitude"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, change: Any, sentence: str) -> None:
    entry = reconstruction(dict(PERSPECTIVE))
    change(entry)
    write(tmp_path / "reconstruction.json", entry)
    photos(tmp_path / "images", NAMES)
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every way down into a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, child in inner for place in places(child, (*way, key)))]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_anything_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "opensfm_any"
    if not folder.exists():
        photos(folder / "images", NAMES)
    content: Any = [{**reconstruction(dict(BROWN)), "reference_lla": dict(LLA)}]
    *way, last = data.draw(st.sampled_from(places(content)[1:]))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(st.sampled_from(NONSENSE))
    path = folder / "reconstruction.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    survives(lambda: read(path, folder))


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")  # of a photo whose name is nonsense
@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_anything_anywhere_in_a_report(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "opendronemap_any"
    if not folder.exists():
        photos(folder / "images", NAMES)
    path = report(folder, data.draw(st.booleans()))
    path = data.draw(st.sampled_from([path, folder / "cameras.json"]))
    content = json.loads(path.read_text(encoding="utf-8"))
    *way, last = data.draw(st.sampled_from(places(content)[1:]))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(st.sampled_from(NONSENSE))
    path.write_text(json.dumps(content), encoding="utf-8")
    survives(lambda: read(folder / "odm_report" / "shots.geojson", folder))
