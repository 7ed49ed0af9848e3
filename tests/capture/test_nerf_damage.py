"""transforms.json that is cut, or has anything anywhere: one sentence or whole shots, never a traceback."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import FLIP, NONSENSE, photos, survives, truncations, viewmats

from sfumato.capture.load import load_scene
from sfumato.capture.nerf_json import find_transforms, read_transforms
from sfumato.capture.shot import Capture
from sfumato.core.errors import InputError, SfumatoWarning

NAMES = [f"images/{i}.png" for i in range(6)]
TOP = {"fl_x": 40, "fl_y": 41.5, "cx": 24, "cy": 18, "w": 48, "h": 36, "k1": 0.01, "k2": 0, "p1": 1e-3, "p2": 0}
TOP |= {"camera_model": "OPENCV", "ply_file_path": "", "applied_transform": np.eye(4)[:3].tolist(), "applied_scale": 1}
TOP |= {"test_filenames": [NAMES[0]], "distortion_params": [0.01, 0, 0, 0, 0, 0], "camera_angle_x": 0.7, "x_fov": 40}


def content() -> dict[str, Any]:
    poses = [(np.linalg.inv(viewmat) @ FLIP).tolist() for viewmat in viewmats()]
    extra: dict[str, Any] = {"sharpness": 3.5, "mask_path": "", "k3": 0.0, "is_fisheye": False}
    frames = [{"file_path": name, "transform_matrix": pose, **extra} for name, pose in zip(NAMES, poses, strict=True)]
    return json.loads(json.dumps({**TOP, "frames": frames}))


def read_folder(folder: Path) -> Capture:
    return read_transforms(find_transforms(folder))


def write(folder: Path, values: object) -> Path:
    if not (folder / "images").exists():
        photos(folder, NAMES)
    path = folder / "transforms.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every way down into a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, child in inner for place in places(child, (*way, key)))]


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")  # of photos whose name is nonsense
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_anything_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    values = content()
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(places(values)[1:]))
        inner: Any = values
        for key in way:
            inner = inner[key]
        nonsense = [*NONSENSE, 1e30, 1e-30, 10**300, "/", "..", "a" * 5000, "\0", "\ud800", [[0] * 4] * 4]
        inner[last] = data.draw(st.sampled_from(nonsense))
    folder = tmp_path_factory.getbasetemp() / "transforms_any"
    write(folder, values)
    survives(lambda: read_folder(folder))


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, at: int, change: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "transforms_bytes"
    path = write(folder, content())
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at : at + len(change)] = change
    path.write_bytes(data)
    survives(lambda: read_folder(folder))


def test_cut(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    assert not any(survives(lambda: read_folder(tmp_path)) for _ in truncations(path))
    assert survives(lambda: read_folder(tmp_path))


def test_too_deep(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    path.write_text("[" * 200_000, encoding="utf-8")
    with pytest.raises(InputError, match="is not readable JSON"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.zeros((4, 4)), "must be a rotation and a position"),
        (np.diag([1.0, 1, 0, 1]), "must be a rotation and a position"),
        (np.diag([1.0, 1, -1, 1]), "it is mirrored"),
        (np.diag([1.0, 1, 5, 1]), "its scales are"),
        (np.full((4, 4), np.nan), "finite numbers"),
        (np.full((4, 4), np.inf), "finite numbers"),
        (np.full((4, 4), 1e300), "finite numbers"),
        (np.eye(3), "3 x 4 or 4 x 4"),
    ],
)
def test_impossible_poses(tmp_path: Path, matrix: np.ndarray, sentence: str) -> None:
    values = content()
    values["frames"][3]["transform_matrix"] = matrix.tolist()
    write(tmp_path, values)
    with pytest.raises(InputError, match=f"images/3.png: transform_matrix: .*{sentence}"):
        read_folder(tmp_path)


def test_a_scaled_pose_keeps_its_place(tmp_path: Path) -> None:
    """Converters that scale the world often scale the whole matrix."""
    values = content()
    for frame in values["frames"]:
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) * [[3, 3, 3, 1]] * 4).tolist()[:3]
    expected = [4 * (-v[:3, :3].T @ v[:3, 3]) for v in viewmats()]
    write(tmp_path, values)
    for shot, viewmat, place in zip(read_folder(tmp_path).shots, viewmats(), expected, strict=True):
        np.testing.assert_allclose(shot.viewmat[:3, :3], viewmat[:3, :3], atol=1e-12)
        np.testing.assert_allclose(-shot.viewmat[:3, :3].T @ shot.viewmat[:3, 3], place, atol=1e-12)


@pytest.mark.parametrize("model", ["EQUIRECTANGULAR", "spherical", "VR180_L", "OMNIDIRECTIONALSTEREO_R"])
def test_panoramas_say_what_to_do(tmp_path: Path, model: str) -> None:
    write(tmp_path, {**content(), "camera_model": model})
    with pytest.raises(InputError, match="cut it into perspective views, as `ns-process-data"):
        read_folder(tmp_path)


def test_fox_by_its_transforms(shared_data: Path, tmp_path: Path) -> None:
    """Made for photos of 1080 x 1920, of which it lists 17 that are not there; the photos have half that size."""
    folder = tmp_path / "fox"
    folder.mkdir()
    for name in ("transforms.json", "images"):
        (folder / name).symlink_to(shared_data / "fox" / name)
    with pytest.warns(SfumatoWarning) as caught:
        scene = load_scene(folder, downscale=8, cache=tmp_path / "cache")
    (warning,) = caught
    assert "lists 67 photos, of which 17 are not in" in str(warning.message)
    assert len(scene.views) == 50
    assert scene.protocol["points"] == "random"
    assert abs(float(scene.views[0].camera.K[0, 0]) / (1375.52 / 16) - 1) < 0.05
