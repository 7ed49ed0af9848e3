"""Polycam's raw data: axes, corrected cameras first, missing photos, damage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ring import FLIP, NONSENSE, SIZE, photos, pinhole_pixels, points, same_poses, survives, truncations, viewmats

from sfumato.capture import load_scene
from sfumato.capture.datasets.polycam import find, read
from sfumato.capture.shot import Capture, Lens
from sfumato.core.errors import InputError, SfumatoWarning

NAMES = [str(1442008525605 + 250_000 * i) for i in range(6)]
PARAMS = (50.0, 51.0, 23.5, 18.75)


def camera(viewmat: np.ndarray) -> dict[str, Any]:
    """A camera as Polycam writes it: x right, y up, z back, seen from a world whose y is up."""
    pose = np.linalg.inv(viewmat) @ FLIP
    values: dict[str, Any] = {f"t_{row}{column}": pose[row, column] for row in range(3) for column in range(4)}
    fx, fy, cx, cy = PARAMS
    return values | {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": SIZE[0], "height": SIZE[1], "blur_score": 120.5}


def write(root: Path, cameras: str = "corrected_cameras", images: str = "corrected_images", shift: float = 0) -> Path:
    folder = root / "keyframes" / cameras
    folder.mkdir(parents=True)
    for name, viewmat in zip(NAMES, viewmats(), strict=True):
        moved = viewmat.copy()
        moved[0, 3] += shift
        (folder / f"{name}.json").write_text(json.dumps(camera(moved)), encoding="utf-8")
    photos(root / "keyframes" / images, [f"{name}.jpg" for name in NAMES])
    return folder


def read_folder(folder: Path) -> Capture | None:
    found = find(folder)
    return read(found, folder) if found else None


def whole(folder: Path) -> Capture:
    capture = read_folder(folder)
    assert capture is not None
    return capture


def test_poses_and_lens(tmp_path: Path) -> None:
    write(tmp_path)
    capture = whole(tmp_path)
    same_poses(capture, viewmats())
    assert [shot.lens for shot in capture.shots] == [Lens("PINHOLE", PARAMS, *SIZE)] * 6
    assert capture.shots[0].name == f"keyframes/corrected_images/{NAMES[0]}.jpg"
    assert capture.protocol["frame"] == "metric, y up (ARKit)"


def test_points_land_where_their_formula_says(tmp_path: Path) -> None:
    """In their axes a point ahead has z < 0, and y points up: u = cx + fx x / -z, v = cy - fy y / -z."""
    write(tmp_path)
    capture = whole(tmp_path)
    for shot, viewmat in zip(capture.shots, viewmats(), strict=True):
        pose = np.linalg.inv(viewmat) @ FLIP
        x, y, z = ((points() - pose[:3, 3]) @ pose[:3, :3]).T
        assert (z < 0).all()
        theirs = np.stack([PARAMS[2] - PARAMS[0] * x / z, PARAMS[3] + PARAMS[1] * y / z], axis=1)
        np.testing.assert_allclose(pinhole_pixels(shot.lens, shot.viewmat, points()), theirs, atol=1e-6)


def write_depth(root: Path, metres: float = 2.0, size: tuple[int, int] = (24, 18), trust: int = 255) -> None:
    """Depth maps half as large as the photos, of a wall across the optical axis; the left half is unknown."""
    for folder in ("depth", "confidence"):
        (root / "keyframes" / folder).mkdir(exist_ok=True)
    depth = np.full(size[::-1], round(metres * 1000), np.uint16)
    depth[:, : size[0] // 2] = 0
    confidence = np.full(size[::-1], trust, np.uint8)
    confidence[0] = 54
    for name in NAMES:
        Image.fromarray(depth).save(root / "keyframes" / "depth" / f"{name}.png")
        Image.fromarray(confidence).save(root / "keyframes" / "confidence" / f"{name}.png")


def test_depth_becomes_points(tmp_path: Path) -> None:
    """Every point is 2 m ahead of its camera, in the middle of the depth pixel it comes from, and has its color."""
    write(tmp_path)
    write_depth(tmp_path)
    capture = whole(tmp_path)
    assert capture.points is not None
    assert capture.protocol["points"] == "depth maps (LiDAR)"
    per_photo = 12 * 17  # the right half, without the first row
    xyz, rgb = capture.points.xyz.numpy().reshape(6, per_photo, 3), capture.points.rgb.numpy()
    for shot, points_there in zip(capture.shots, xyz, strict=True):
        inside = points_there @ shot.viewmat[:3, :3].T + shot.viewmat[:3, 3]
        np.testing.assert_allclose(inside[:, 2], 2, atol=1e-9)
        pixels = pinhole_pixels(shot.lens, shot.viewmat, points_there) / 2  # of the depth map
        x, y = np.meshgrid(np.arange(12, 24) + 0.5, np.arange(1, 18) + 0.5)
        np.testing.assert_allclose(pixels, np.stack([x.ravel(), y.ravel()], axis=1), atol=1e-9)
    photo = np.asarray(Image.open(capture.shots[0].path)).astype(float)
    means = photo.reshape(18, 2, 24, 2, 3).mean((1, 3))[1:, 12:].reshape(-1, 3)
    assert np.abs(rgb[:per_photo] - means).mean() < 20  # JPEG of noise; those of other pixels are 40 away


def test_depth_too_far_away_or_damaged(tmp_path: Path) -> None:
    write(tmp_path)
    write_depth(tmp_path, metres=6)
    assert whole(tmp_path).points is None
    write_depth(tmp_path, trust=54)  # no pixel is sure: all are used
    some = whole(tmp_path).points
    assert some is not None
    path = tmp_path / "keyframes" / "depth" / f"{NAMES[0]}.png"
    for part in truncations(path, 5):
        if part < 4:  # then only the end mark is missing
            with pytest.warns(SfumatoWarning, match="1 depth maps cannot be read"):
                fewer = whole(tmp_path).points
            assert fewer is not None
            assert len(fewer) == len(some) * 5 // 6
    Image.fromarray(np.zeros((18, 24, 3), np.uint8)).save(path)
    with pytest.warns(SfumatoWarning, match="1 depth maps cannot be read"):
        whole(tmp_path)


def test_a_broken_photo_is_no_broken_depth_map(tmp_path: Path) -> None:
    write(tmp_path)
    write_depth(tmp_path)
    path = tmp_path / "keyframes" / "corrected_images" / f"{NAMES[0]}.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    found = whole(tmp_path).points  # a warning would be an error
    assert found is not None
    assert len(found) == 5 * 12 * 17
    with pytest.warns(SfumatoWarning, match=rf"1 of 6 photos cannot be read and are left out: .*{path.name}"):
        load_scene(tmp_path, cache=tmp_path / "cache")


def test_corrected_cameras_come_first(tmp_path: Path) -> None:
    write(tmp_path, "cameras", "images", shift=1)
    first = whole(tmp_path)
    assert first.protocol["poses"] == "as tracked while capturing"
    assert first.shots[0].viewmat[0, 3] == pytest.approx(viewmats()[0, 0, 3] + 1)
    write(tmp_path)
    same_poses(whole(tmp_path), viewmats())


def test_the_keyframes_folder_itself(tmp_path: Path) -> None:
    write(tmp_path)
    assert whole(tmp_path / "keyframes").shots[0].name == f"corrected_images/{NAMES[0]}.jpg"


def test_other_folders_are_not_claimed(tmp_path: Path) -> None:
    photos(tmp_path / "images", ["a.png"])
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "a.json").write_text('{"K": 1}', encoding="utf-8")
    assert find(tmp_path) is None


def test_missing_photos(tmp_path: Path) -> None:
    write(tmp_path)
    folder = tmp_path / "keyframes" / "corrected_images"
    (folder / f"{NAMES[2]}.jpg").unlink()
    with pytest.warns(SfumatoWarning, match=f"6 photos, of which 1 are not in .*{NAMES[2]}"):
        assert len(whole(tmp_path).shots) == 5
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="of which 6 are not in"):
        read_folder(tmp_path)


def test_truncated(tmp_path: Path) -> None:
    found = write(tmp_path)
    path = found / f"{NAMES[3]}.json"
    assert not any(survives(lambda: read_folder(tmp_path)) for _ in truncations(path))
    assert survives(lambda: read_folder(tmp_path))


@pytest.mark.parametrize("key", ["fx", "cy", "width", "t_00", "t_23"])
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:8])
def test_wrong_types(tmp_path: Path, key: str, value: object) -> None:
    found = write(tmp_path)
    path = found / f"{NAMES[3]}.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), key: value}), encoding="utf-8")
    survived = survives(lambda: read_folder(tmp_path))
    assert not survived or (key in ("cy", "t_23", "t_00") and value in (0, -1))


@pytest.mark.parametrize("key", ["fx", "t_11", "height"])
def test_missing_keys(tmp_path: Path, key: str) -> None:
    found = write(tmp_path)
    path = found / f"{NAMES[3]}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values[key]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match=key):
        read_folder(tmp_path)


def test_a_singular_pose(tmp_path: Path) -> None:
    found = write(tmp_path)
    path = found / f"{NAMES[0]}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "t_00": 0, "t_10": 0, "t_20": 0}), encoding="utf-8")
    with pytest.raises(InputError, match="must be a rotation and a position"):
        read_folder(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(sorted(camera(np.eye(4)))), json_values, max_size=6))
def test_any_values(tmp_path_factory: pytest.TempPathFactory, change: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp() / "polycam_any"
    if not folder.exists():
        write(folder)
    path = folder / "keyframes" / "corrected_cameras" / f"{NAMES[1]}.json"
    path.write_text(json.dumps({**camera(np.eye(4)), **change}), encoding="utf-8")
    survives(lambda: read_folder(folder))
