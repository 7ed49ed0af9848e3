"""KIRI Engine's camera-pose export: nerfstudio's transforms.json in a folder of its own."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import FLIP, NONSENSE, SIZE, photos, pinhole_pixels, points, same_poses, survives, truncations, viewmats

from sfumato.capture.datasets.kiri import find, read
from sfumato.capture.shot import Capture, Lens
from sfumato.core.errors import InputError

NAMES = [f"frame_{i:05d}.jpg" for i in range(6)]
TOP = {"fl_x": 50.0, "fl_y": 51.0, "cx": 23.5, "cy": 18.75, "w": SIZE[0], "h": SIZE[1], "camera_model": "OPENCV"}


def transforms(**change: object) -> str:
    poses = [(np.linalg.inv(viewmat) @ FLIP).tolist() for viewmat in viewmats()]
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": pose} for name, pose in zip(NAMES, poses, strict=True)
    ]
    return json.dumps({**TOP, "frames": frames, **change})


def write(folder: Path, text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transforms.json").write_text(text or transforms(), encoding="utf-8")
    if not (folder / "images").exists():
        photos(folder / "images", NAMES)
    return folder / "transforms.json"


def read_folder(folder: Path) -> Capture | None:
    found = find(folder)
    return read(found, folder) if found else None


@pytest.mark.parametrize("inside", ["scan 12", "scan 12/data"])
def test_poses_lens_and_points(tmp_path: Path, inside: str) -> None:
    write(tmp_path / inside)
    capture = read_folder(tmp_path)
    assert capture is not None
    assert capture.reader == "kiri"
    same_poses(capture, viewmats())
    assert [shot.name for shot in capture.shots] == [f"{inside}/images/{name}" for name in NAMES]
    assert capture.shots[0].lens == Lens("PINHOLE", (50.0, 51.0, 23.5, 18.75), *SIZE)
    for shot, viewmat in zip(capture.shots, viewmats(), strict=True):
        pose = np.linalg.inv(viewmat) @ FLIP
        x, y, z = ((points() - pose[:3, 3]) @ pose[:3, :3]).T  # x right, y up, z back
        theirs = np.stack([23.5 - 50 * x / z, 18.75 + 51 * y / z], axis=1)
        np.testing.assert_allclose(pinhole_pixels(shot.lens, shot.viewmat, points()), theirs, atol=1e-6)


def test_photos_beside_an_export_are_what_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "old")
    photos(tmp_path, NAMES)
    assert find(tmp_path) is None


def test_what_is_not_claimed(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert find(tmp_path) is None  # which one?
    write(tmp_path)
    assert find(tmp_path) is None  # transforms.json has a reader of its own


def test_truncated(tmp_path: Path) -> None:
    found = write(tmp_path / "scan")
    assert not any(survives(lambda: read_folder(tmp_path)) for _ in truncations(found))
    assert survives(lambda: read_folder(tmp_path))


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:8])
def test_wrong_types(tmp_path: Path, value: object) -> None:
    write(tmp_path / "scan", transforms(frames=value))
    assert not survives(lambda: read_folder(tmp_path))


def test_no_frames(tmp_path: Path) -> None:
    write(tmp_path / "scan", '{"frames": []}')
    with pytest.raises(InputError, match="has no frames; export the camera poses again"):
        read_folder(tmp_path)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(TOP)), st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3))
def test_any_values(tmp_path_factory: pytest.TempPathFactory, key: str, value: object) -> None:
    folder = tmp_path_factory.getbasetemp() / "kiri_any"
    write(folder / "scan", transforms(**{key: value}))
    survives(lambda: read_folder(folder))
