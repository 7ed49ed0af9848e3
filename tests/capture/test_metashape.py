"""Metashape's cameras.xml: worlds, sensors, distortion against the manual's formula, what is left out, damage."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import SIZE, colmap_pixels, photos, points, same_poses, survives, truncations, viewmats

from sfumato.capture.datasets.metashape import find, read
from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError, SfumatoWarning

LABELS = [f"DSC{i:03d}" for i in range(6)]
PLAIN = {"f": 50.0}
# the numbers of a real drone's camera, in photos of 5280 x 3956
DRONE = {"f": 3705.4728792737214, "cx": 11.6738523909, "cy": -27.7497969199, "b1": 0.5262024073}
DRONE |= {"k1": -0.0919367147, "k2": -0.0762807468, "k3": 0.1162639394, "k4": -0.0761413904}
DRONE |= {"p1": -0.0003134847, "p2": 0.0001164035}
TURN = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
FAR = np.array([-2499366.429888, -4256836.520906, 4029217.965003])
WORLD = (12.354192447331316, TURN, FAR)


def text(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def sensor(number: int = 0, kind: str = "frame", size: tuple[int, int] = SIZE, **values: float) -> str:
    inside = "".join(f"<{key}>{value!r}</{key}>" for key, value in values.items())
    resolution = f'<resolution width="{size[0]}" height="{size[1]}"/>'
    wrong = f'<calibration type="{kind}" class="initial">{resolution}<f>7</f></calibration>'
    right = f'<calibration type="{kind}" class="adjusted">{resolution}{inside}</calibration>'
    return f'<sensor id="{number}" label="camera {number}" type="{kind}">{resolution}{wrong}{right}</sensor>'


def transform(world: tuple[float, np.ndarray, np.ndarray] | None) -> str:
    if world is None:
        return ""
    scale, turn, shift = world
    return (
        f'<transform><rotation locked="true">{text(turn)}</rotation><translation>{text(shift)}</translation>'
        f"<scale>{scale!r}</scale></transform>"
    )


def camera(number: int, label: str, viewmat: np.ndarray | None, world: object = None, **attributes: object) -> str:
    """A camera as Metashape writes it: the pose in the chunk, which the scaled, turned and moved world is not."""
    pose = None
    if viewmat is not None:
        pose = np.linalg.inv(viewmat)
        if world is not None:
            scale, turn, shift = world  # type: ignore[misc]
            pose[:3, 3] = turn.T @ (pose[:3, 3] - shift) / scale
            pose[:3, :3] = turn.T @ pose[:3, :3]
    told = {"id": number, "sensor_id": 0, "component_id": 0, "label": label, **attributes}
    inside = "" if pose is None else f"<transform>{text(pose)}</transform>"
    return f"<camera {' '.join(f'{k}={quoteattr(str(v))}' for k, v in told.items())}>{inside}</camera>"


def chunk(sensors: str, cameras: str, component: str = "", own: str = "", reference: str = "", extra: str = "") -> str:
    components = f'<components next_id="1"><component id="0">{component}</component></components>'
    return (
        f'<chunk label="Chunk 1" enabled="true"><sensors next_id="1">{sensors}</sensors>{components}'
        f'<cameras next_id="9">{cameras}</cameras>{own}<reference>{reference}</reference>{extra}</chunk>'
    )


def document(*chunks: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0">\n{"".join(chunks)}\n</document>\n'


def ring(world: object = None, **attributes: object) -> str:
    moved = shifted(world)
    return "".join(camera(i, LABELS[i], moved[i], world, **attributes) for i in range(6))


def shifted(world: object) -> np.ndarray:
    """The ring's cameras, near the origin of that world: its numbers would swallow them."""
    result = viewmats()
    if world is not None:
        shift = world[2]  # type: ignore[index]
        result[:, :3, 3] -= result[:, :3, :3] @ shift
    return result


def write(folder: Path, content: str, labels: Sequence[str] = LABELS, size: tuple[int, int] = SIZE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.xml").write_text(content, encoding="utf-8")
    photos(folder / "images", [f"{label}.JPG" for label in labels], size)
    return folder / "cameras.xml"


def read_folder(folder: Path) -> Capture | None:
    found = find(folder)
    return read(found, folder) if found else None


def whole(folder: Path) -> Capture:
    capture = read_folder(folder)
    assert capture is not None
    return capture


def test_poses_and_lens(tmp_path: Path) -> None:
    write(tmp_path, document(chunk(sensor(f=50.0, cx=1.5, cy=-2.0, b1=1.0), ring())))
    capture = whole(tmp_path)
    same_poses(capture, viewmats())
    assert capture.shots[0].lens == Lens("PINHOLE", (51, 50, 25.5, 16), *SIZE)
    assert [shot.name for shot in capture.shots] == [f"images/{label}.JPG" for label in LABELS]
    assert capture.protocol["frame"] == "local, arbitrary scale (Metashape)"


@pytest.mark.parametrize("place", ["component", "own"])
def test_the_world_is_scaled_turned_and_far_away(tmp_path: Path, place: str) -> None:
    crs = 'GEOGCS["WGS 84",DATUM["World Geodetic System 1984"]]'
    write(tmp_path, document(chunk(sensor(**PLAIN), ring(WORLD), reference=crs, **{place: transform(WORLD)})))
    capture = whole(tmp_path)
    assert capture.protocol["frame"] == "metric, geocentric (Metashape)"
    assert capture.protocol["crs"] == crs
    for shot, truth in zip(capture.shots, shifted(WORLD), strict=True):
        np.testing.assert_allclose(shot.viewmat[:3, :3], truth[:3, :3], atol=1e-9)
        place_of = -shot.viewmat[:3, :3].T @ shot.viewmat[:3, 3] - FAR
        np.testing.assert_allclose(place_of, -truth[:3, :3].T @ truth[:3, 3] - FAR, atol=1e-6)


def test_by_hand(tmp_path: Path) -> None:
    """Twice as large, a quarter turn about z, 10 along x: the camera at (1, 2, 3) stands at (10 - 4, 2, 6)."""
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    pose = "1 0 0 1 0 1 0 2 0 0 1 3 0 0 0 1"
    cameras = f'<camera id="0" sensor_id="0" label="DSC000"><transform>{pose}</transform></camera>'
    write(tmp_path, document(chunk(sensor(**PLAIN), cameras, own=transform((2.0, turn, np.array([10.0, 0, 0]))))))
    (shot,) = whole(tmp_path).shots
    np.testing.assert_allclose(-shot.viewmat[:3, :3].T @ shot.viewmat[:3, 3], [6, 2, 6], atol=1e-12)
    np.testing.assert_allclose(shot.viewmat[:3, :3].T @ [1, 0, 0], [0, 1, 0], atol=1e-12)  # its right is the world's y


def manual_pixels(kind: str, values: dict[str, float], size: tuple[int, int], inside: np.ndarray) -> np.ndarray:
    """(M, 2) pixels of (M, 3) points in camera axes, by the formula of Metashape's manual."""
    v = {key: values.get(key, 0.0) for key in ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2")}
    x, y = inside[:, 0] / inside[:, 2], inside[:, 1] / inside[:, 2]
    if kind == "fisheye":
        r = np.hypot(x, y)
        x, y = x * np.arctan(r) / r, y * np.arctan(r) / r
    r2 = x**2 + y**2
    radial = 1 + v["k1"] * r2 + v["k2"] * r2**2 + v["k3"] * r2**3 + v["k4"] * r2**4
    bent_x = x * radial + (v["p1"] * (r2 + 2 * x**2) + 2 * v["p2"] * x * y)
    bent_y = y * radial + (v["p2"] * (r2 + 2 * y**2) + 2 * v["p1"] * x * y)
    across = size[0] * 0.5 + v["cx"] + bent_x * v["f"] + bent_x * v["b1"] + bent_y * v["b2"]
    return np.stack([across, size[1] * 0.5 + v["cy"] + bent_y * v["f"]], axis=1)


def seen_from_origin(shot: Shot, spread: float) -> np.ndarray:
    """(25, 3) points before a camera at the origin, to the corners."""
    x, y = np.meshgrid(np.linspace(-spread, spread, 5), np.linspace(-spread, spread, 5) * 0.75)
    return np.stack([x.ravel() + 1e-3, y.ravel() + 1e-3, np.ones(25)], axis=1) * np.linspace(1, 3, 25)[:, None]


@pytest.mark.parametrize(
    ("kind", "model", "values", "atol"),
    [
        ("frame", "OPENCV", {"f": 50.0, "k1": -0.1, "k2": 0.02, "p1": 0.01, "p2": -0.02}, 1e-9),
        ("frame", "FULL_OPENCV", {"f": 50.0, "k1": -0.1, "k2": 0.02, "k3": 0.01, "p1": 0.01, "b1": 2.0}, 1e-9),
        ("fisheye", "OPENCV_FISHEYE", {"f": 30.0, "k1": 0.1, "k2": -0.02, "k3": 0.01, "k4": 2e-3, "cx": 3.0}, 1e-9),
        ("fisheye", "THIN_PRISM_FISHEYE", {"f": 30.0, "k1": 0.1, "k4": 2e-3, "p1": 0.01, "p2": -0.02}, 1e-9),
    ],
)
def test_distortion(tmp_path: Path, kind: str, model: str, values: dict[str, float], atol: float) -> None:
    write(tmp_path, document(chunk(sensor(kind=kind, **values), camera(0, LABELS[0], np.eye(4)))))
    (shot,) = whole(tmp_path).shots
    assert shot.lens.model == model
    inside = seen_from_origin(shot, 0.48)
    np.testing.assert_allclose(colmap_pixels(shot, inside), manual_pixels(kind, values, SIZE, inside), atol=atol)


def test_a_fourth_radial_number_is_followed_closely(tmp_path: Path) -> None:
    """A polynomial of degree 8 in r, which COLMAP does not have: photos of a real drone, but for their corners."""
    size = (5280, 3956)
    write(tmp_path, document(chunk(sensor(size=size, **DRONE), camera(0, LABELS[0], np.eye(4)))), size=(8, 6))
    (shot,) = whole(tmp_path).shots
    assert shot.lens.model == "FULL_OPENCV"
    inside = seen_from_origin(shot, 0.75)
    off = np.abs(colmap_pixels(shot, inside) - manual_pixels("frame", DRONE, size, inside)).max()
    assert off < 0.06


def test_tangential_numbers_are_swapped(tmp_path: Path) -> None:
    write(tmp_path, document(chunk(sensor(f=50.0, p1=0.25, p2=0.5), camera(0, LABELS[0], np.eye(4)))))
    assert whole(tmp_path).shots[0].lens.params == (50, 50, 24, 18, 0, 0, 0.5, 0.25)


def test_points_of_the_ring(tmp_path: Path) -> None:
    values = {"f": 50.0, "k1": -0.1, "p1": 0.01, "cx": 2.0}
    write(tmp_path, document(chunk(sensor(**values), ring())))
    for shot, viewmat in zip(whole(tmp_path).shots, viewmats(), strict=True):
        inside = points() @ viewmat[:3, :3].T + viewmat[:3, 3]
        theirs = manual_pixels("frame", values, SIZE, inside)
        np.testing.assert_allclose(colmap_pixels(shot, points()), theirs, atol=1e-6)


def write_cloud(path: Path, xyz: np.ndarray) -> None:
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(xyz)}\n"
    head += "".join(f"property double {axis}\n" for axis in "xyz") + "end_header\n"
    path.write_bytes(head.encode() + xyz.astype("<f8").tobytes())


def test_a_cloud_beside_it(tmp_path: Path) -> None:
    write(tmp_path, document(chunk(sensor(**PLAIN), ring())))
    write_cloud(tmp_path / "cloud.ply", points())
    capture = whole(tmp_path)
    assert capture.points is not None
    np.testing.assert_array_equal(capture.points.xyz.numpy(), points())
    assert capture.protocol["points"] == "point cloud of the dataset"
    write_cloud(tmp_path / "another.ply", points())
    assert whole(tmp_path).points is None  # which one?


@pytest.mark.parametrize("elsewhere", [FAR, np.array([0, 0, 100.0])])
def test_a_cloud_elsewhere(tmp_path: Path, elsewhere: np.ndarray) -> None:
    write(tmp_path, document(chunk(sensor(**PLAIN), ring())))
    write_cloud(tmp_path / "cloud.ply", points() + elsewhere)
    with pytest.warns(SfumatoWarning, match="do not see the points of"):
        assert whole(tmp_path).points is None


def test_several_sensors_and_chunks(tmp_path: Path) -> None:
    identity = transform((1.0, np.eye(3), np.zeros(3)))
    poses = viewmats()
    one = "".join(camera(i, LABELS[i], poses[i], sensor_id=i % 2) for i in range(4))
    two = "".join(camera(i, LABELS[i], poses[i]) for i in range(4, 6))
    sensors = sensor(0, f=50.0) + sensor(1, f=60.0)
    off = chunk(sensor(**PLAIN), camera(0, LABELS[0], poses[0])).replace('enabled="true"', 'enabled="false"')
    write(tmp_path, document(chunk(sensors, one, identity), off, chunk(sensor(f=70.0), two, identity)))
    capture = whole(tmp_path)
    same_poses(capture, poses)
    assert [shot.lens.focals[0] for shot in capture.shots] == [50, 60, 50, 60, 70, 70]


def test_chunks_without_a_common_world(tmp_path: Path) -> None:
    poses = viewmats()
    one = "".join(camera(i, LABELS[i], poses[i]) for i in range(4))
    two = "".join(camera(i, LABELS[i], poses[i]) for i in range(4, 6))
    write(tmp_path, document(chunk(sensor(**PLAIN), two), chunk(sensor(**PLAIN), one)))
    with pytest.warns(SfumatoWarning, match="2 in other chunks"):
        same_poses(whole(tmp_path), poses[:4])


def test_cameras_that_are_not_aligned_or_disabled(tmp_path: Path) -> None:
    poses = viewmats()
    cameras = camera(0, LABELS[0], poses[0]) + camera(1, LABELS[1], poses[1], enabled="false")
    cameras += camera(2, LABELS[2], None) + camera(3, LABELS[3], None, master_id=0)
    cameras += "".join(camera(i, LABELS[i], poses[i], enabled="1") for i in (4, 5))
    write(tmp_path, document(chunk(sensor(**PLAIN), cameras)))
    with pytest.warns(SfumatoWarning, match="1 disabled, 1 not aligned, 1 of a rig"):
        same_poses(whole(tmp_path), poses[[0, 4, 5]])


def test_nothing_is_aligned(tmp_path: Path) -> None:
    write(tmp_path, document(chunk(sensor(**PLAIN), camera(0, LABELS[0], None))))
    with pytest.raises(InputError, match=r"no aligned cameras \(1 not aligned\); align"):
        read_folder(tmp_path)


def test_groups_tell_photos_of_the_same_name_apart(tmp_path: Path) -> None:
    poses = viewmats()
    groups = "".join(
        f'<group id="{i}" label="{name}" type="folder">{camera(i, "a", poses[i])}</group>'
        for i, name in enumerate(["left", "right"])
    )
    write(tmp_path, document(chunk(sensor(**PLAIN), groups)), ["left/a", "right/a"])
    capture = whole(tmp_path)
    assert [shot.name for shot in capture.shots] == ["images/left/a.JPG", "images/right/a.JPG"]
    same_poses(capture, poses[:2])


def test_photos_that_cannot_be_told_apart(tmp_path: Path) -> None:
    poses = viewmats()
    twice = camera(0, LABELS[0], poses[0]) + camera(1, LABELS[0], poses[1])
    write(tmp_path, document(chunk(sensor(**PLAIN), twice + camera(2, LABELS[2], poses[2]))))
    with pytest.warns(SfumatoWarning, match="2 cameras that share names"):
        assert [shot.name for shot in whole(tmp_path).shots] == ["images/DSC002.JPG"]
    write(tmp_path, document(chunk(sensor(**PLAIN), twice)))
    with pytest.raises(InputError, match="share names"):
        read_folder(tmp_path)


def test_paths_of_a_project(tmp_path: Path) -> None:
    """A project's own XML says where each photo was: on somebody else's machine."""
    extra = '<frames><frame><cameras><camera camera_id="0"><photo path="C:/photos/images/DSC003.JPG"/></camera>'
    extra += "</cameras></frame></frames>"
    write(tmp_path, document(chunk(sensor(**PLAIN), camera(0, "front view", viewmats()[0]), extra=extra)))
    assert whole(tmp_path).shots[0].name == "images/DSC003.JPG"


@pytest.mark.parametrize(
    ("sensors", "message"),
    [
        (sensor(kind="spherical", **PLAIN), "is spherical, which cannot be read"),
        ('<sensor id="0" type="spherical"><resolution width="48" height="36"/></sensor>', "is spherical"),
        ('<sensor id="0" type="frame"><resolution width="48" height="36"/></sensor>', "has no calibration"),
        (sensor(f=0.0), "focal length f above 0"),
        (sensor(f=-50.0), "focal length f above 0"),
        (sensor(f=float("nan")), "f must be a finite number"),
        (sensor(cx=1.0), "focal length f above 0; got nothing"),
        (sensor(fx=50.0, fy=50.0, cx=24.0, cy=18.0), "PhotoScan before 1.2"),
        (sensor(f=50.0, b2=20.0), "skewed by"),
        (sensor(f=50.0, p1=0.1, p3=0.1), "p3 or p4"),
        (sensor(f=50.0).replace('width="48"', 'width="0"'), "width and height in pixels"),
        (sensor(f=50.0).replace('width="48"', 'width="many"'), "width must be a finite number"),
        (sensor(7, f=50.0), "has sensor 0, which is not in sensors"),
        ("", "has sensor 0, which is not in sensors"),
    ],
)
def test_sensors_that_are_refused(tmp_path: Path, sensors: str, message: str) -> None:
    write(tmp_path, document(chunk(sensors, ring())))
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


@pytest.mark.parametrize("key", ["f", "cx", "b1", "b2", "k1", "k3", "k4", "p1"])
@pytest.mark.parametrize("value", [-1e300, -1e9, -1e-300, 0.0, 1e-300, 1e9, 1e300])
@pytest.mark.parametrize("kind", ["frame", "fisheye"])
def test_absurd_numbers(tmp_path: Path, kind: str, key: str, value: float) -> None:
    values = {"f": 50.0, "k4": 0.01, key: value}
    write(tmp_path, document(chunk(sensor(kind=kind, **values), camera(0, LABELS[0], viewmats()[0]))))
    survives(lambda: read_folder(tmp_path))


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        ("1 0 0 0", "16 finite numbers"),
        (" ".join(["nan"] * 16), "16 finite numbers"),
        ("x " * 16, "16 finite numbers"),
        ("0 " * 16, "must be a rotation and a position"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0 0 0 0 1", "must be a rotation and a position"),
    ],
)
def test_poses_that_are_refused(tmp_path: Path, pose: str, message: str) -> None:
    cameras = f'<camera id="0" sensor_id="0" label="DSC000"><transform>{pose}</transform></camera>'
    write(tmp_path, document(chunk(sensor(**PLAIN), cameras)))
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "two"])
def test_worlds_that_are_refused(tmp_path: Path, scale: str) -> None:
    write(tmp_path, document(chunk(sensor(**PLAIN), ring(), own=f"<transform><scale>{scale}</scale></transform>")))
    with pytest.raises(InputError, match="scale"):
        read_folder(tmp_path)


BOMB = '<!DOCTYPE document [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_are_refused(tmp_path: Path, encoding: str) -> None:
    good = document(chunk(sensor(**PLAIN), ring()))
    path = write(tmp_path, good)
    path.write_bytes(good.replace("UTF-8", encoding).replace("<document", BOMB + "<document", 1).encode(encoding))
    with pytest.raises(InputError, match="defines a document type"):
        read(path, tmp_path)


def test_other_xml_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<calibration><f>1</f></calibration>", encoding="utf-8")
    assert find(tmp_path) is None
    write(tmp_path, document(chunk(sensor(**PLAIN), ring())))
    assert find(tmp_path) == tmp_path / "cameras.xml"


def test_truncated(tmp_path: Path) -> None:
    path = write(tmp_path, document(chunk(sensor(**PLAIN), ring())))
    assert not any(survives(lambda: read_folder(tmp_path)) for _ in truncations(path))
    assert survives(lambda: read_folder(tmp_path))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.integers(0, 4000), st.integers(0, 12), st.sampled_from(["", "<", ">", '"', "9e999", "-", " nan ", "\x00", "é"])
)
def test_any_text(tmp_path_factory: pytest.TempPathFactory, at: int, length: int, change: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "metashape_any"
    good = document(chunk(sensor(f=50.0, k1=0.1, k4=0.01, p1=0.01), ring(), transform((2.0, TURN, np.ones(3)))))
    if not folder.exists():
        write(folder, good)
    at %= len(good)
    (folder / "cameras.xml").write_text(good[:at] + change + good[at + length :], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # what is left out is told elsewhere
        survives(lambda: read_folder(folder))
