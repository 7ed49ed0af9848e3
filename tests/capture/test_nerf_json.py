"""transforms.json in its dialects: poses, intrinsics, file names, splits, missing files, random points."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.capture.nerf_json import RANDOM_POINTS, find_transforms, random_points, read_transforms
from sfumato.capture.shot import Capture, Lens
from sfumato.core.errors import InputError, SfumatoWarning

Write = Callable[..., Path]
SIZE = (40, 30)


def read_one(folder: Path) -> Capture:
    return read_transforms(find_transforms(folder))


def lens_of(
    folder: Path, write: Write, photo: Callable[..., object], size: tuple[int, int] = SIZE, **top: object
) -> Lens:
    photo(folder / "a.png", size, 0)
    write(folder / "transforms.json", ["a.png"], **top)
    return read_one(folder).shots[0].lens


def test_a_pose_by_hand(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    """OpenGL axes, no rotation, at (1, 2, 3): looking along -z, so OpenCV's y and z are turned over."""
    photo(tmp_path / "a.png", SIZE, 0)
    matrix = [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    transforms(tmp_path / "transforms.json", ["a.png"], {"transform_matrix": matrix}, fl_x=50)
    by_hand = [[1, 0, 0, -1], [0, -1, 0, 2], [0, 0, -1, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(read_one(tmp_path).shots[0].viewmat, by_hand, atol=1e-15)


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ({"fl_x": 50}, (50, 50, 20, 15)),
        ({"fl_x": 50, "fl_y": 51, "cx": 19, "cy": 14.5, "w": 40, "h": 30}, (50, 51, 19, 14.5)),
        ({"camera_angle_x": 2 * math.atan(0.5)}, (40, 40, 20, 15)),  # half of 40 pixels at tan = 0.5
        ({"camera_angle_x": 2 * math.atan(0.5), "camera_angle_y": 2 * math.atan(0.25)}, (40, 60, 20, 15)),
        ({"x_fov": 90}, (20, 20, 20, 15)),
        ({"fl_y": 33}, (33, 33, 20, 15)),
    ],
)
def test_intrinsics(
    tmp_path: Path, transforms: Write, photo: Callable[..., object], top: dict[str, float], expected: tuple[float, ...]
) -> None:
    lens = lens_of(tmp_path, transforms, photo, **top)
    assert lens.model == "PINHOLE"
    assert lens.params == pytest.approx(expected)


def test_a_frames_own_intrinsics_come_first(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    photo(tmp_path / "a.png", SIZE, 0)
    transforms(tmp_path / "transforms.json", ["a.png"], {"fl_x": 70, "k1": 0.1}, fl_x=50, fl_y=60)
    assert read_one(tmp_path).shots[0].lens == Lens("OPENCV", (70, 60, 20, 15, 0.1, 0, 0, 0), 40, 30)


@pytest.mark.parametrize(
    ("top", "model", "tail"),
    [
        ({"k1": 0.1, "k2": 0.2, "p1": 0.3, "p2": 0.4}, "OPENCV", (0.1, 0.2, 0.3, 0.4)),
        ({"k1": 0.1, "k3": 0.5}, "FULL_OPENCV", (0.1, 0, 0, 0, 0.5, 0, 0, 0)),
        ({"k1": 0.1, "k4": 0.5, "camera_model": "OPENCV_FISHEYE"}, "OPENCV_FISHEYE", (0.1, 0, 0, 0.5)),
        ({"k1": 0.1, "is_fisheye": True}, "OPENCV_FISHEYE", (0.1, 0, 0, 0)),
        ({"distortion_params": [0.1, 0.2, 0, 0, 0.3, 0.4]}, "OPENCV", (0.1, 0.2, 0.3, 0.4)),
    ],
)
def test_distortion(
    tmp_path: Path,
    transforms: Write,
    photo: Callable[..., object],
    top: dict[str, object],
    model: str,
    tail: tuple[float, ...],
) -> None:
    lens = lens_of(tmp_path, transforms, photo, fl_x=50, **top)
    assert lens.model == model
    assert lens.params[4:] == tail
    assert not lens.is_pinhole


@pytest.mark.parametrize(
    "name",
    [
        "images/0001.png",
        "./images/0001.png",
        "images/0001",
        "./images/0001",
        "images/0001.PNG",
        "images/0001.jpg.png",
        "/home/somebody/elses/images/0001.png",
        "C:\\Users\\somebody\\images\\0001.png",
        "0001.png",
    ],
)
def test_file_names(tmp_path: Path, transforms: Write, photo: Callable[..., object], name: str) -> None:
    stored = tmp_path / "images" / ("0001.jpg.png" if "jpg" in name else "0001.png")
    photo(stored, SIZE, 0)
    transforms(tmp_path / "transforms.json", [name], fl_x=50)
    assert read_one(tmp_path).shots[0].path.samefile(stored)


def test_a_stem_with_a_dot_is_not_cut(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    photo(tmp_path / "r_0.5.png", SIZE, 0)
    photo(tmp_path / "r_0.png", SIZE, 1)
    transforms(tmp_path / "transforms.json", ["r_0.5", "r_0"], fl_x=50)
    assert [shot.path.name for shot in read_one(tmp_path).shots] == ["r_0.5.png", "r_0.png"]


def test_photos_that_are_there_in_smaller_sizes_only(
    tmp_path: Path, transforms: Write, photo: Callable[..., object]
) -> None:
    names = [f"images/{i}.png" for i in range(3)]
    transforms(tmp_path / "transforms.json", names, fl_x=50, w=32, h=24)
    for i in range(3):
        photo(tmp_path / f"images_8/{i}.png", (4, 3), i)
        photo(tmp_path / f"images_4/{i}.png", (8, 6), i)
    shots = read_one(tmp_path).shots
    assert [shot.path.parent.name for shot in shots] == ["images_4"] * 3
    assert [shot.name for shot in shots] == [f"images_4/{i}.png" for i in range(3)]


def test_missing_files_are_one_warning(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    names = [f"images/{i}.png" for i in range(5)]
    for i in range(3):
        photo(tmp_path / names[i], SIZE, i)
    transforms(tmp_path / "transforms.json", names, fl_x=50)
    with pytest.warns(SfumatoWarning, match="lists 5 photos, of which 2 are not in") as caught:
        capture = read_one(tmp_path)
    assert len(caught) == 1
    assert len(capture.shots) == 3
    assert capture.protocol == {"registered": 5, "missing_files": 2}
    (tmp_path / names[0]).unlink()
    with pytest.raises(InputError, match="put the photos"):
        read_one(tmp_path)


def test_splits_of_blender(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    for split in ("train", "val", "test"):
        photo(tmp_path / split / "r_0.png", SIZE, 0, alpha=True)
        transforms(tmp_path / f"transforms_{split}.json", [f"./{split}/r_0"], camera_angle_x=0.7)
    capture = read_one(tmp_path)
    assert [(shot.name, shot.split) for shot in capture.shots] == [("train/r_0.png", "train"), ("test/r_0.png", "test")]
    assert capture.reader == "blender"
    assert capture.is_synthetic
    (tmp_path / "transforms_test.json").unlink()  # without test views, the validation views are the test
    assert [shot.name for shot in read_one(tmp_path).shots] == ["train/r_0.png", "val/r_0.png"]


def test_splits_of_nerfstudio(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    names = ["images/a.png", "images/b.png", "images/c.png"]
    for i, name in enumerate(names):
        photo(tmp_path / name, SIZE, i)
    transforms(tmp_path / "transforms.json", names, fl_x=50, train_filenames=names[:2], test_filenames=names[2:])
    assert [shot.split for shot in read_one(tmp_path).shots] == ["train", "train", "test"]
    transforms(tmp_path / "transforms.json", [f"./{name}" for name in names], fl_x=50, test_filenames=names[:1])
    assert [shot.split for shot in read_one(tmp_path).shots] == ["test", "train", "train"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not readable JSON"),
        ("[]", "must hold an object"),
        ('{"frames": []}', "list of frames"),
        ('{"frames": [{"file_path": "a.png"}], "fl_x": 5}', "transform_matrix of a.png is missing"),
        (
            '{"frames": [{"file_path": "a.png", "transform_matrix": [[1, 0], [0, 1]]}], "fl_x": 5}',
            "must be 3 x 4 or 4 x 4",
        ),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, photo: Callable[..., object], text: str, sentence: str) -> None:
    photo(tmp_path / "a.png", SIZE, 0)
    (tmp_path / "transforms.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_one(tmp_path)


@pytest.mark.parametrize(
    ("top", "sentence"),
    [
        ({}, "no focal length"),
        ({"fl_x": "wide"}, "fl_x must be a finite number"),
        ({"fl_x": -3}, "above 0"),
        ({"fl_x": 50, "camera_model": "FISHEYE624"}, "undistort its photos first"),
        ({"camera_angle_x": 3.2}, "camera_angle_x must be the angle of a lens"),
        ({"fl_x": 50, "camera_model": "EQUIRECTANGULAR"}, "is a panorama .*cut it into perspective views"),
        ({"fl_x": 50, "transform_matrix": np.diag([-1.0, 1, 1, 1]).tolist()}, "it is mirrored"),
    ],
)
def test_bad_frames_are_one_sentence(
    tmp_path: Path, transforms: Write, photo: Callable[..., object], top: dict[str, object], sentence: str
) -> None:
    photo(tmp_path / "a.png", SIZE, 0)
    transforms(tmp_path / "transforms.json", ["a.png"], top)
    with pytest.raises(InputError, match=sentence):
        read_one(tmp_path)


def test_random_points_lie_where_cameras_look(tmp_path: Path, transforms: Write, photo: Callable[..., object]) -> None:
    names = [f"{i}.png" for i in range(6)]
    for i, name in enumerate(names):
        photo(tmp_path / name, SIZE, i)
    transforms(tmp_path / "transforms.json", names, fl_x=50)
    capture = read_one(tmp_path)
    points, again = random_points(capture), random_points(capture)
    assert len(points) == RANDOM_POINTS
    assert torch.equal(points.xyz, again.xyz)
    assert torch.equal(points.rgb, again.rgb)
    assert points.xyz.mean(0).abs().max() < 0.1  # the cameras of this fixture look at the origin from 4 units
    assert 3.5 < points.xyz.abs().max() < 4.5
    synthetic = random_points(Capture("blender", capture.shots, None, is_synthetic=True))
    assert 1.29 < synthetic.xyz.abs().max() <= 1.3


def test_random_points_of_parallel_cameras_lie_ahead(
    tmp_path: Path, transforms: Write, photo: Callable[..., object]
) -> None:
    frames = []
    for i in range(4):
        photo(tmp_path / f"{i}.png", SIZE, i)
        matrix = np.eye(4)
        matrix[0, 3] = i  # side by side, looking along -z
        frames.append({"file_path": f"{i}.png", "transform_matrix": matrix.tolist(), "fl_x": 50})
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}), encoding="utf-8")
    middle = random_points(read_one(tmp_path)).xyz.mean(0)
    assert middle[2] < -1
    assert middle[0] == pytest.approx(1.5, abs=0.2)


def test_fox_agrees_with_its_colmap_model(shared_data: Path) -> None:
    """Two solutions of the same photos: one rotation, scale and translation takes one onto the other."""
    from sfumato.capture.colmap import read_colmap

    with pytest.warns(SfumatoWarning, match="lists 67 photos, of which 17 are not in"):
        nerf = read_one(shared_data / "fox")
    colmap = read_colmap(shared_data / "fox", shared_data / "fox" / "sparse" / "0")
    assert len(nerf.shots) == 50
    assert nerf.shots[0].lens.model == "OPENCV"
    poses = {Path(shot.name).name: np.linalg.inv(shot.viewmat) for shot in nerf.shots}
    a = np.stack([poses[shot.name] for shot in colmap.shots])
    b = np.stack([np.linalg.inv(shot.viewmat) for shot in colmap.shots])
    u, _, v = np.linalg.svd(np.einsum("vij,vkj->ik", b[:, :3, :3], a[:, :3, :3]))
    turn = u @ v  # the mean rotation from one world to the other
    assert np.linalg.det(turn) == pytest.approx(1)
    rest = np.einsum("ij,vjk,vlk->vil", turn, a[:, :3, :3], b[:, :3, :3])
    angles = np.degrees(np.arccos(np.clip((np.trace(rest, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angles.mean() < 0.3
