"""RealityScan's cameras: angles, units and order of coefficients by other programs' formulas, locales, damage."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import SIZE, colmap_pixels, photos, points, same_poses, survives, truncations, viewmats

from sfumato.capture.datasets.reality_capture import find, read
from sfumato.capture.shot import Capture
from sfumato.core.errors import InputError, SfumatoWarning

NAMES = [f"DJI_000{i}.JPG" for i in range(6)]
COLUMNS = ["name", "x", "y", "alt", "heading", "pitch", "roll", "f", "px", "py", "k1", "k2", "k3", "k4", "t1", "t2"]
INSIDE = [31.5, 0.01, -0.02, -0.11, 0.02, 0.003, 0.0, 0.002, -0.001]  # f to t2


def turned(heading: float, pitch: float, roll: float) -> np.ndarray:
    """World to camera with OpenCV axes, entry by entry: the matrix that Camorph documents for RealityCapture."""
    ch, cp, cr = math.cos(heading), math.cos(pitch), math.cos(roll)
    sh, sp, sr = math.sin(heading), math.sin(pitch), math.sin(roll)
    return np.array(
        [
            [cr * ch + sr * sp * sh, -cr * sh + ch * sr * sp, -cp * sr],
            [-cp * sh, -cp * ch, -sp],
            [cr * sp * sh - ch * sr, cr * ch * sp + sr * sh, -cr * cp],
        ]
    )


def angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Heading, pitch and roll of `turned`, in degrees."""
    heading = math.atan2(-rotation[1, 0], -rotation[1, 1])
    pitch = math.asin(-rotation[1, 2])
    roll = math.atan2(-rotation[0, 2], -rotation[2, 2])
    np.testing.assert_allclose(turned(heading, pitch, roll), rotation, atol=1e-12)
    return math.degrees(heading), math.degrees(pitch), math.degrees(roll)


def rows(far: tuple[float, ...] = (0, 0, 0)) -> list[list[str]]:
    table = []
    for name, viewmat in zip(NAMES, viewmats(), strict=True):
        position = -viewmat[:3, :3].T @ viewmat[:3, 3] + far
        table.append([name, *map(repr, [*position.tolist(), *angles(viewmat[:3, :3]), *INSIDE])])
    return table


def write(path: Path, table: list[list[str]], separator: str = ",", first: str = "#", columns: int = 16) -> Path:
    lines = [first + separator.join(COLUMNS[:columns]), *(separator.join(row[:columns]) for row in table)]
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode())
    return path


def read_folder(folder: Path) -> Capture:
    found = find(folder)
    assert found is not None
    return read(found, folder)


def by_formula(xyz: np.ndarray, viewmat: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Pixels by Brown's formula as Wikipedia has it, with focal length and principal point scaled by the long side."""
    f, px, py, k1, k2, k3, k4, t1, t2 = INSIDE
    x, y, z = (xyz @ viewmat[:3, :3].T + viewmat[:3, 3]).T
    x, y = x / z, y / z
    r2 = x * x + y * y
    bend = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
    u = x * bend + t1 * (r2 + 2 * x * x) + 2 * t2 * x * y
    v = y * bend + t2 * (r2 + 2 * y * y) + 2 * t1 * x * y
    scale = max(size)
    return np.stack([(f / 36 * u + px) * scale + size[0] / 2, (f / 36 * v + py) * scale + size[1] / 2], axis=1)


@pytest.mark.parametrize("place", [".", "images", "images/flight 1"])
def test_poses_and_pixels(tmp_path: Path, place: str) -> None:
    write(tmp_path / "cameras.csv", rows())
    photos(tmp_path / place, NAMES)
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats(), atol=1e-9)
    assert [shot.name for shot in capture.shots] == NAMES
    for shot, viewmat in zip(capture.shots, viewmats(), strict=True):
        np.testing.assert_allclose(colmap_pixels(shot, points()), by_formula(points(), viewmat), atol=1e-9)


def test_a_pose_by_hand(tmp_path: Path) -> None:
    """Unturned it looks down, north up; heading 90 turns the photo's top to the east; pitch 90 looks at the horizon."""
    table = [
        ["a.png", "1", "2", "3", *angle, *map(str, INSIDE)] for angle in ("000", ("90", "0", "0"), ("90", "90", "0"))
    ]
    write(tmp_path / "cameras.csv", [[f"{i}.png", *row[1:]] for i, row in enumerate(table)])
    photos(tmp_path, ["0.png", "1.png", "2.png"])
    down, east, ahead = (shot.viewmat[:3, :3] for shot in read_folder(tmp_path).shots)
    np.testing.assert_allclose(down, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-15)
    np.testing.assert_allclose(-east[1], [1, 0, 0], atol=1e-15)  # up in the photo
    np.testing.assert_allclose(ahead[2], [1, 0, 0], atol=1e-15)  # forward
    np.testing.assert_allclose(-ahead[1], [0, 0, 1], atol=1e-15)  # up


def test_portrait_photos_scale_by_their_height(tmp_path: Path) -> None:
    write(tmp_path / "cameras.csv", rows())
    photos(tmp_path / "images", NAMES, SIZE[::-1])
    shot = read_folder(tmp_path).shots[0]
    np.testing.assert_allclose(
        colmap_pixels(shot, points()), by_formula(points(), viewmats()[0], SIZE[::-1]), atol=1e-9
    )


@pytest.mark.parametrize(("separator", "comma"), [(",", False), (";", False), (";", True), ("\t", True)])
@pytest.mark.parametrize("first", ["#", "", "\ufeff#", "#cameras 6\n#"])
def test_locales_and_headers(tmp_path: Path, separator: str, comma: bool, first: str) -> None:
    table = [[row[0], *(cell.replace(".", ",") if comma else cell for cell in row[1:])] for row in rows()]
    write(tmp_path / "any name.csv", table, separator, first)
    photos(tmp_path / "images", NAMES)
    same_poses(read_folder(tmp_path), viewmats(), atol=1e-9)


def test_columns_that_users_left_out(tmp_path: Path) -> None:
    write(tmp_path / "cameras.csv", rows(), columns=8)
    photos(tmp_path / "images", NAMES)
    lens = read_folder(tmp_path).shots[0].lens
    assert lens.is_pinhole
    assert lens.focals == pytest.approx((31.5 / 36 * 48,) * 2)
    assert lens.center == (24, 18)


def test_far_away_stays_exact(tmp_path: Path) -> None:
    far = (465_000.25, 5_260_000.5, 400)
    write(tmp_path / "cameras.csv", rows(far))
    photos(tmp_path / "images", NAMES)
    for shot, viewmat in zip(read_folder(tmp_path).shots, viewmats(), strict=True):
        away = points() + np.array(far)
        np.testing.assert_allclose(colmap_pixels(shot, away), by_formula(points(), viewmat), atol=1e-5)


def xmp(viewmat: np.ndarray, elements: bool, **changes: str) -> str:
    position = -viewmat[:3, :3].T @ viewmat[:3, 3]
    f, px, py, *bends = INSIDE
    long = {
        "Rotation": " ".join(map(repr, viewmat[:3, :3].ravel().tolist())),
        "Position": " ".join(map(repr, position.tolist())),
        "DistortionCoeficients": " ".join(map(repr, bends)),
    } | {key: value for key, value in changes.items() if key in ("Rotation", "Position", "DistortionCoeficients")}
    short = {"DistortionModel": "brown4t2", "FocalLength35mm": f, "Skew": 0, "AspectRatio": 1, "PrincipalPointU": px}
    short |= {"PrincipalPointV": py} | {key: value for key, value in changes.items() if key not in long}
    inner = "".join(f"<xcr:{key}>{value}</xcr:{key}>\n" for key, value in long.items() if value) if elements else ""
    every = short if elements else short | long
    attributes = "\n".join(f'xcr:{key}="{value}"' for key, value in every.items() if value != "")
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xcr:Version="3" {attributes} xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">'
        f"{inner}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


@pytest.mark.parametrize("elements", [True, False])
@pytest.mark.parametrize("place", [".", "images"])
def test_sidecars(tmp_path: Path, elements: bool, place: str) -> None:
    photos(tmp_path / place, [*NAMES, "unaligned.jpg"])
    for name, viewmat in zip(NAMES, viewmats(), strict=True):
        (tmp_path / place / name).with_suffix(".xmp").write_text(xmp(viewmat, elements), encoding="utf-8")
    bare = xmp(viewmats()[0], elements, Rotation="", Position="")
    (tmp_path / place / "a unaligned.xmp").write_text(bare, encoding="utf-8")
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats(), atol=1e-12)
    for shot, viewmat in zip(capture.shots, viewmats(), strict=True):
        np.testing.assert_allclose(colmap_pixels(shot, points()), by_formula(points(), viewmat), atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DistortionModel": "division"}, "must have distortion model brown.*export undistorted photos"),
        ({"Skew": "0.1"}, "skew 0"),
        ({"AspectRatio": "1.1"}, "aspect ratio 1"),
        ({"Rotation": "1 0 0 0 1 0 0 0"}, "xcr:Rotation must be 9 finite numbers"),
        ({"Rotation": "0 0 0 0 0 0 0 0 0"}, "must be a rotation"),
        ({"Rotation": "1 0 0 0 1 0 0 0 -1"}, "must be a rotation"),
        ({"Position": "1 nan 0"}, "xcr:Position must be 3 finite numbers"),
        ({"FocalLength35mm": "0"}, "focal length above 0"),
        ({"FocalLength35mm": ""}, "focal length above 0"),
    ],
)
def test_sidecars_that_cannot_be_used(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    photos(tmp_path, NAMES[:1])
    (tmp_path / "DJI_0000.xmp").write_text(xmp(viewmats()[0], True, **changes), encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path)


def test_other_sidecars_and_tables_are_not_claimed(tmp_path: Path) -> None:
    photos(tmp_path, NAMES)
    (tmp_path / "DJI_0000.xmp").write_text('<x:xmpmeta><crs:Exposure2012="1"/></x:xmpmeta>', encoding="utf-8")
    (tmp_path / "log.csv").write_text("name,x,y\na,1,2\n", encoding="utf-8")
    (tmp_path / "folder.csv").mkdir()
    assert find(tmp_path) is None


def test_points_of_the_one_cloud_beside(tmp_path: Path) -> None:
    write(tmp_path / "cameras.csv", rows())
    photos(tmp_path / "images", NAMES)
    assert read_folder(tmp_path).points is None
    kinds = {"splat": "property float f_dc_0\n", "mesh": "element face 5\n", "cloud": ""}
    body = "".join(" ".join(map(repr, xyz)) + "\n" for xyz in points().tolist())
    for name, more in kinds.items():
        head = f"ply\nformat ascii 1.0\nelement vertex {len(points())}\n"
        head += "".join(f"property double {axis}\n" for axis in "xyz")
        (tmp_path / f"{name}.ply").write_text(f"{head}{more}end_header\n{body}", encoding="utf-8")
    cloud = read_folder(tmp_path).points
    assert cloud is not None
    np.testing.assert_allclose(cloud.xyz.numpy(), points(), atol=1e-12)


def test_missing_photos(tmp_path: Path) -> None:
    write(tmp_path / "cameras.csv", rows())
    photos(tmp_path / "images", NAMES[:5])
    with pytest.warns(SfumatoWarning, match=r"cameras\.csv lists 6 photos, of which 1 are not in"):
        assert len(read_folder(tmp_path).shots) == 5


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("f", "0", "focal length above 0"),
        ("f", "-3", "focal length above 0"),
        ("f", "wide", "DJI_0002.JPG: f must be a finite number; got 'wide'"),
        ("x", "nan", "x must be a finite number"),
        ("x", "1e300", "finite numbers"),
        ("pitch", "inf", "pitch must be a finite number"),
        ("k1", "", "k1 must be a finite number; got ''"),
        ("px", "1e40", "finite parameters"),
        ("y", "3,25", "has 17 columns, but the header 16; .*decimal commas"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, column: str, value: str, sentence: str) -> None:
    table = rows()
    table[2][COLUMNS.index(column)] = value
    write(tmp_path / "cameras.csv", table)
    photos(tmp_path / "images", NAMES)
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path)


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")
def test_cut(tmp_path: Path) -> None:
    found = write(tmp_path / "cameras.csv", rows())
    photos(tmp_path / "images", NAMES)
    outcomes = [survives(lambda: read(found, tmp_path)) for _ in truncations(found)]
    assert outcomes.count(False) >= 14  # a cut within the last number of a line cannot be seen


def test_an_empty_table_lists_no_photos(tmp_path: Path) -> None:
    found = write(tmp_path / "cameras.csv", [])
    with pytest.raises(InputError, match="lists no photos"):
        read(found, tmp_path)


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=30), st.booleans())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, at: int, change: bytes, table: bool) -> None:
    folder = tmp_path_factory.getbasetemp() / f"realityscan_any{table}"
    if not folder.exists():
        photos(folder, NAMES)
    path = folder / ("cameras.csv" if table else "DJI_0000.xmp")
    if table:
        write(path, rows())
    else:
        path.write_text(xmp(viewmats()[0], True), encoding="utf-8")
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at : at + len(change)] = change
    path.write_bytes(data)
    found = find(folder)
    if found is not None:
        survives(lambda: read(found, folder))
