"""The COLMAP reader: binary and text alike, against pycolmap, and what it says about damaged models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfumato.capture.colmap import find_model, read_colmap
from sfumato.capture.colmap_model import read_model
from sfumato.capture.shot import LENS_MODELS, Lens
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.errors import InputError, SfumatoWarning


def test_text_and_binary_say_the_same(tmp_path: Path, colmap_toy: Any) -> None:
    binary = read_model(colmap_toy().write_binary(tmp_path / "bin"))
    text = read_model(colmap_toy().write_text(tmp_path / "txt"))
    assert [pose.name for pose in binary.poses] == ["a.png", "d.png", "sub folder/b c.png"]
    assert [pose.name for pose in binary.poses] == [pose.name for pose in text.poses]
    assert binary.lenses == text.lenses == {3: Lens("PINHOLE", (30.0, 31.0, 16.5, 12.25), 32, 24)}
    for ours, theirs in zip(binary.poses, text.poses, strict=True):
        np.testing.assert_array_equal(ours.viewmat, theirs.viewmat)
    np.testing.assert_array_equal(binary.xyz, text.xyz)
    np.testing.assert_array_equal(binary.rgb, [[10, 20, 255], [11, 20, 255]])
    np.testing.assert_array_equal(text.rgb, binary.rgb)


def test_a_pose_by_hand(tmp_path: Path, colmap_toy: Any) -> None:
    """wxyz = (0.8, 0.6, 0, 0) turns about x: cos = 0.64 - 0.36 = 0.28, sin = 2 * 0.8 * 0.6 = 0.96."""
    poses = {pose.name: pose.viewmat for pose in read_model(colmap_toy().write_binary(tmp_path)).poses}
    by_hand = [[1, 0, 0, 0.1], [0, 0.28, -0.96, 0.2], [0, 0.96, 0.28, 0.3], [0, 0, 0, 1]]
    np.testing.assert_allclose(poses["sub folder/b c.png"], by_hand, atol=1e-15)


@pytest.mark.parametrize("scene", ["fox", "fern"])
def test_real_models_as_pycolmap_reads_them(shared_data: Path, scene: str) -> None:
    folder = shared_data / scene / "sparse" / "0"
    model = read_model(folder)
    theirs = load_pycolmap().Reconstruction(folder)
    poses = {pose.name: pose for pose in model.poses}
    assert poses.keys() == {image.name for image in theirs.images.values()}
    for image in theirs.images.values():
        np.testing.assert_allclose(poses[image.name].viewmat[:3], image.cam_from_world().matrix(), atol=1e-12)
        camera = theirs.cameras[image.camera_id]
        lens = model.lenses[poses[image.name].camera_id]
        assert (lens.model, lens.width, lens.height) == (camera.model.name, camera.width, camera.height)
        assert lens.params == tuple(camera.params)
    points = list(theirs.points3D.values())
    order = np.lexsort(model.xyz.T)
    expected = np.array([point.xyz for point in points])
    np.testing.assert_array_equal(model.xyz[order], expected[np.lexsort(expected.T)])
    assert model.errors.mean() == pytest.approx(theirs.compute_mean_reprojection_error())


@pytest.mark.parametrize("scene", ["fox", "fern"])
def test_points_land_on_their_observations(shared_data: Path, scene: str) -> None:
    """Our poses and our lens, with the distortion's formula written out, reproduce the model's own error."""
    folder = shared_data / scene / "sparse" / "0"
    model = read_model(folder)
    poses = {pose.name: pose for pose in model.poses}
    theirs = load_pycolmap().Reconstruction(folder)
    errors: dict[int, list[float]] = {}
    for image in theirs.images.values():
        seen = [point for point in image.points2D if point.has_point3D()]
        pose = poses[image.name]
        xyz = np.array([theirs.points3D[point.point3D_id].xyz for point in seen])
        local = xyz @ pose.viewmat[:3, :3].T + pose.viewmat[:3, 3]
        off = np.linalg.norm(project(model.lenses[pose.camera_id], local) - [point.xy for point in seen], axis=1)
        for point, error in zip(seen, off, strict=True):
            errors.setdefault(point.point3D_id, []).append(float(error))
    means = {number: np.mean(values) for number, values in errors.items()}
    stored = {number: point.error for number, point in theirs.points3D.items()}
    difference = np.array([means[number] - stored[number] for number in stored])
    assert np.abs(difference).max() < 1e-6
    assert np.mean(list(means.values())) < 1.0


def project(lens: Lens, local: np.ndarray) -> np.ndarray:
    """Pixels of (M, 3) points in the camera's axes, for the two models of the real scenes."""
    x, y = (local[:, :2] / local[:, 2:]).T
    radius = x * x + y * y
    if lens.model == "SIMPLE_RADIAL":
        bend, dx, dy = lens.params[3] * radius, 0 * x, 0 * x
    else:
        assert lens.model == "OPENCV"
        k1, k2, p1, p2 = lens.params[4:]
        bend = k1 * radius + k2 * radius**2
        dx = 2 * p1 * x * y + p2 * (radius + 2 * x * x)
        dy = 2 * p2 * x * y + p1 * (radius + 2 * y * y)
    pixels = np.stack([x + x * bend + dx, y + y * bend + dy], axis=1)
    return pixels * lens.focals + lens.center


def test_the_models_are_colmaps() -> None:
    """Names, numbers and parameter counts against the library's own table."""
    pycolmap = load_pycolmap()
    for number, (name, count) in enumerate(LENS_MODELS.items()):
        model = pycolmap.CameraModelId(number)
        assert model.name == name
        assert len(pycolmap.Camera.create_from_model_id(1, model, 100.0, 64, 48).params) == count


@pytest.mark.parametrize("name", [name for name in LENS_MODELS if name != "EQUIRECTANGULAR"])
def test_rescaled_as_colmap_rescales(name: str, seed: int) -> None:
    pycolmap = load_pycolmap()
    rng = np.random.default_rng(seed)
    lens = Lens(name, tuple(rng.uniform(1, 100, LENS_MODELS[name])), 64, 48)
    camera = pycolmap.Camera(model=name, width=64, height=48, params=list(lens.params))
    camera.rescale(32, 24)
    ours = lens.resized(32, 24)
    assert (ours.width, ours.height) == (32, 24)
    np.testing.assert_allclose(ours.params, camera.params, rtol=1e-12)
    assert ours.focals == pytest.approx((camera.focal_length_x, camera.focal_length_y))
    assert ours.center == pytest.approx((camera.principal_point_x, camera.principal_point_y))


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0", "distorted/sparse/0", "."])
def test_the_usual_places(tmp_path: Path, colmap_toy: Any, place: str) -> None:
    toy = colmap_toy()
    folder = toy.write_binary(tmp_path / place)
    toy.write_photos(tmp_path / "images")
    found = find_model(tmp_path)
    assert found is not None
    assert found.resolve() == folder.resolve()
    capture = read_colmap(tmp_path, found)
    assert [shot.name for shot in capture.shots] == ["a.png", "d.png", "sub folder/b c.png"]
    assert all(shot.path.is_file() for shot in capture.shots)


def test_a_photo_is_not_used_with_the_cameras_of_two(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy(names=("left/a.png", "right/a.png", "left/b.png"))
    model = toy.write_binary(tmp_path / "sparse")
    colmap_toy(names=("a.png", "b.png")).write_photos(tmp_path / "images")
    with pytest.raises(InputError, match=r"lists 3 photos, of which 2 are not in .*first: left/a\.png"):
        read_colmap(tmp_path, model)


def test_from_inside_the_model(tmp_path: Path, colmap_toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    colmap_toy().write_photos(tmp_path / "images")
    monkeypatch.chdir(colmap_toy().write_binary(tmp_path / "sparse" / "0"))
    assert len(read_colmap(Path(), Path()).shots) == 3
    monkeypatch.chdir(tmp_path / "sparse")
    assert len(read_colmap(Path("0"), Path("0")).shots) == 3


def test_the_sub_model_with_most_photos(tmp_path: Path, colmap_toy: Any) -> None:
    colmap_toy(names=["a.png"], quats=[(1, 0, 0, 0)]).write_binary(tmp_path / "sparse" / "0")
    colmap_toy().write_text(tmp_path / "sparse" / "1")
    assert find_model(tmp_path) == tmp_path / "sparse" / "1"
    assert find_model(tmp_path / "sparse") == tmp_path / "sparse" / "1"
    (tmp_path / "empty").mkdir()
    assert find_model(tmp_path / "empty") is None


def test_binary_comes_before_text(tmp_path: Path, colmap_toy: Any) -> None:
    colmap_toy(params=(1.0, 1.0, 1.0, 1.0)).write_text(tmp_path)
    colmap_toy().write_binary(tmp_path)
    assert read_model(tmp_path).lenses[3].focals == (30.0, 31.0)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_any_cut_is_one_sentence(tmp_path: Path, colmap_toy: Any, name: str) -> None:
    colmap_toy().write_binary(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole), 5):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(InputError, match=f"{name} is damaged or truncated"):
            read_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cameras.txt", "3 PINHOLE 32 24 30 31 16\n"),
        ("cameras.txt", "3 LENSBABY 32 24 30\n"),
        ("cameras.txt", "3 PINHOLE 32 24 30 nan 16 12\n"),
        ("cameras.txt", "3 PINHOLE 32 x 30 31 16 12\n"),
        ("images.txt", "1 1 0 0 0 0 0 0 3\n\n"),
        ("images.txt", "1 nan 0 0 0 0 0 0 3 a.png\n\n"),
        ("images.txt", "1 1 0 0 0 0 0 0 4 a.png\n\n"),
        ("images.txt", "1 1 0 0 0 0 0 0 3 a.png\n2 1 0 0 0 0 0 0 3 b.png\n"),  # no lines of observations: b got lost
        ("points3D.txt", "1 0 0\n"),
    ],
)
def test_bad_text_is_one_sentence(tmp_path: Path, colmap_toy: Any, name: str, text: str) -> None:
    colmap_toy().write_text(tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=name):
        read_model(tmp_path)


def test_points_that_are_not_finite_are_dropped(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy(xyz=[(0, 0, 1), (float("nan"), 0, 0), (1e300, 0, 0)])
    toy.write_photos(tmp_path / "images")
    capture = read_colmap(tmp_path, toy.write_binary(tmp_path / "sparse"))
    assert capture.points is not None
    assert capture.points.xyz.tolist() == [[0, 0, 1]]


def test_a_model_without_points_has_none(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy()
    toy.write_photos(tmp_path / "images")
    (toy.write_binary(tmp_path / "sparse") / "points3D.bin").unlink()
    assert read_colmap(tmp_path, tmp_path / "sparse").points is None


def test_missing_photos(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy()
    model = toy.write_binary(tmp_path / "sparse")
    with pytest.raises(InputError, match="3 are not in"):
        read_colmap(tmp_path, model)
    toy.write_photos(tmp_path / "images")
    (tmp_path / "images" / "d.png").unlink()
    with pytest.warns(SfumatoWarning, match=r"lists 3 photos, of which 1 are not in .*first: d\.png") as caught:
        capture = read_colmap(tmp_path, model)
    assert len(caught) == 1
    assert [shot.name for shot in capture.shots] == ["a.png", "sub folder/b c.png"]
    assert capture.protocol["missing_files"] == 1
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(InputError, match="2 are not in"):
        read_colmap(tmp_path, model)
