"""Record3D's export: quaternions, the order of K, a lens per frame, numbers of photos, damage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import FLIP, NONSENSE, SIZE, photos, pinhole_pixels, points, same_poses, survives, truncations, viewmats

from sfumato.capture.datasets.record3d import find, read
from sfumato.capture.shot import Capture, Lens
from sfumato.core.errors import InputError, SfumatoWarning

COUNT = 12  # so that 10.jpg sorts before 2.jpg by name
PARAMS = (50.0, 51.0, 23.5, 18.75)
K = [50.0, 0, 0, 0, 51.0, 0, 23.5, 18.75, 1]  # column by column


def quaternion(matrix: np.ndarray) -> list[float]:
    """X y z w of a rotation matrix, from its eigenvector of eigenvalue 1 and its trace."""
    values, vectors = np.linalg.eig(matrix)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    cosine = (np.trace(matrix) - 1) / 2
    turned = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    angle = np.arctan2(turned @ axis / 2, cosine)
    return [*(np.sin(angle / 2) * axis), float(np.cos(angle / 2))]


def poses() -> list[list[float]]:
    """Qx qy qz qw tx ty tz of each camera in the world: x right, y up, z back."""
    rows = []
    for viewmat in viewmats(COUNT):
        pose = np.linalg.inv(viewmat) @ FLIP
        rows.append([*quaternion(pose[:3, :3]), *pose[:3, 3]])
    return rows


def write(folder: Path, name: str = "metadata.json", place: str = "rgb", first: int = 0, **change: Any) -> Path:
    values = {"w": SIZE[0], "h": SIZE[1], "K": K, "fps": 60, "dw": 192, "dh": 256, "poses": poses(), **change}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({key: v for key, v in values.items() if v != "nothing"}), encoding="utf-8")
    if not (folder / place).exists():
        photos(folder / place, [f"{i + first}.jpg" for i in range(COUNT)])
    return folder / name


def read_folder(folder: Path) -> Capture | None:
    found = find(folder)
    return read(found, folder) if found else None


def whole(folder: Path) -> Capture:
    capture = read_folder(folder)
    assert capture is not None
    return capture


@pytest.mark.parametrize(("name", "place"), [("metadata.json", "rgb"), ("metadata", "rgbd")])
def test_poses_and_lens(tmp_path: Path, name: str, place: str) -> None:
    write(tmp_path, name, place)
    capture = whole(tmp_path)
    same_poses(capture, viewmats(COUNT))
    assert [shot.name for shot in capture.shots] == [f"{place}/{i}.jpg" for i in range(COUNT)]
    assert {shot.lens for shot in capture.shots} == {Lens("PINHOLE", PARAMS, *SIZE)}


def test_the_folder_of_the_app(tmp_path: Path) -> None:
    write(tmp_path / "EXR_RGBD")
    assert whole(tmp_path).shots[3].name == "EXR_RGBD/rgb/3.jpg"


def test_points_land_where_their_formula_says(tmp_path: Path) -> None:
    """OpenGL: a point ahead has z < 0; K, made a matrix column by column, times (x, -y, -z)."""
    write(tmp_path)
    matrix = np.array(K).reshape(3, 3, order="F")
    for shot, viewmat in zip(whole(tmp_path).shots, viewmats(COUNT), strict=True):
        pose = np.linalg.inv(viewmat) @ FLIP
        inside = (points() - pose[:3, 3]) @ pose[:3, :3]
        assert (inside[:, 2] < 0).all()
        pixels = (inside * [1, -1, -1]) @ matrix.T
        np.testing.assert_allclose(
            pinhole_pixels(shot.lens, shot.viewmat, points()), pixels[:, :2] / pixels[:, 2:], atol=1e-6
        )


def test_a_lens_for_every_frame(tmp_path: Path) -> None:
    rows = [[50 + i, 51 + i, 23 + 0.1 * i, 18.5] for i in range(COUNT)]
    write(tmp_path, perFrameIntrinsicCoeffs=rows)
    assert [shot.lens.params for shot in whole(tmp_path).shots] == [pytest.approx(row) for row in rows]
    write(tmp_path, perFrameIntrinsicCoeffs=rows[:5])
    with pytest.warns(SfumatoWarning, match="12 poses, but 5 perFrameIntrinsicCoeffs"):
        assert whole(tmp_path).shots[7].lens.params == PARAMS


def test_a_matrix_row_by_row(tmp_path: Path) -> None:
    write(tmp_path, K=np.array(K).reshape(3, 3).T.ravel().tolist())
    assert whole(tmp_path).shots[0].lens.params == PARAMS


def test_sizes_come_from_photos_when_missing(tmp_path: Path) -> None:
    write(tmp_path, w="nothing", h="nothing")
    assert whole(tmp_path).shots[0].lens == Lens("PINHOLE", PARAMS, *SIZE)


def test_numbers_from_one(tmp_path: Path) -> None:
    write(tmp_path, first=1)
    capture = whole(tmp_path)
    same_poses(capture, viewmats(COUNT))
    assert capture.shots[0].name == "rgb/1.jpg"


def test_missing_photos(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "rgb" / "4.jpg").unlink()
    with pytest.warns(SfumatoWarning, match="of which 1 are not in"):
        capture = whole(tmp_path)
    same_poses(capture, np.delete(viewmats(COUNT), 4, axis=0))
    for i in range(1, COUNT):
        (tmp_path / "rgb" / f"{i}.jpg").unlink(missing_ok=True)
    with pytest.raises(InputError, match="of which 11 are not in"):
        read_folder(tmp_path)


def test_more_photos_than_poses(tmp_path: Path) -> None:
    write(tmp_path, poses=poses()[:7])
    with pytest.raises(InputError, match=r"7 poses, but .* holds 12 photos"):
        read_folder(tmp_path)


def test_no_poses(tmp_path: Path) -> None:
    write(tmp_path, poses=[])
    with pytest.raises(InputError, match="no poses; record with the LiDAR"):
        read_folder(tmp_path)


def test_other_folders_are_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("{}", encoding="utf-8")
    photos(tmp_path / "rgb", ["0.jpg"])
    assert find(tmp_path) is None


def test_truncated(tmp_path: Path) -> None:
    found = write(tmp_path)
    assert not any(survives(lambda: read_folder(tmp_path)) for _ in truncations(found))
    assert survives(lambda: read_folder(tmp_path))


@pytest.mark.parametrize("key", ["w", "K", "poses"])
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:8])
def test_wrong_types(tmp_path: Path, key: str, value: object) -> None:
    write(tmp_path, **{key: value})
    assert not survives(lambda: read_folder(tmp_path))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.sampled_from(["K", "poses"]),
    st.integers(0, 8),
    st.none() | st.floats() | st.integers() | st.text(max_size=3) | st.lists(st.floats() | st.text(max_size=2)),
)
def test_any_values(tmp_path_factory: pytest.TempPathFactory, key: str, at: int, value: object) -> None:
    folder = tmp_path_factory.getbasetemp() / "record3d_any"
    change: list[Any] = [*({"K": K, "poses": poses()}[key])]
    change[at] = value
    write(folder, **{key: change})
    survives(lambda: read_folder(folder))
