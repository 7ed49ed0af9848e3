"""LLFF's poses_bounds.npy: axes, order of photos, sizes, counts, bounds, damage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import SIZE, photos, points, same_poses, survives, truncations, viewmats

from sfumato.capture.colmap import find_model, read_colmap
from sfumato.capture.datasets.llff import find, read
from sfumato.capture.shot import Capture, Lens
from sfumato.core.errors import InputError

FOCAL = 41.5
NAMES = [f"img_{i:02d}.png" for i in range(6)]


def theirs(viewmats: np.ndarray, size: tuple[int, int], focal: float) -> np.ndarray:
    """(N, 17) as LLFF writes them: for each camera its down, right and backward direction in the world."""
    rows = []
    for viewmat in viewmats:
        right, down, forward = viewmat[:3, :3]  # the camera's axes, seen from the world
        position = -viewmat[:3, :3].T @ viewmat[:3, 3]
        block = np.stack([down, right, -forward, position, [size[1], size[0], focal]], axis=1)
        rows.append(np.concatenate([block.ravel(), [1.5, 9.0]]))
    return np.stack(rows)


def write(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "poses_bounds.npy", theirs(viewmats(), size, FOCAL))
    return folder / "poses_bounds.npy"


def read_folder(folder: Path) -> Capture:
    found = find(folder)
    assert found is not None
    return read(found, folder)


def test_poses_and_lens(tmp_path: Path) -> None:
    write(tmp_path)
    photos(tmp_path / "images", NAMES)
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats())
    assert [shot.name for shot in capture.shots] == [f"images/{name}" for name in NAMES]
    assert capture.shots[0].lens == Lens("PINHOLE", (FOCAL, FOCAL, 24, 18), *SIZE)
    assert (capture.protocol["near"], capture.protocol["far"]) == (1.5, 9.0)


def test_a_point_lands_where_their_axes_say(tmp_path: Path) -> None:
    """Its columns: down is the world's x, right the world's y, back the world's z."""
    block = [[1, 0, 0, 0, 36], [0, 1, 0, 0, 48], [0, 0, 1, 0, 40]]
    np.save(tmp_path / "poses_bounds.npy", np.array([[*np.ravel(block), 1, 2]]))
    photos(tmp_path / "images", ["a.png"])
    (shot,) = read_folder(tmp_path).shots
    np.testing.assert_allclose(shot.viewmat[:3, :3] @ [0, 1, 0], [1, 0, 0], atol=1e-12)  # to the right
    np.testing.assert_allclose(shot.viewmat[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)  # down
    np.testing.assert_allclose(shot.viewmat[:3, :3] @ [0, 0, -1], [0, 0, 1], atol=1e-12)  # ahead


def test_only_small_photos(tmp_path: Path) -> None:
    write(tmp_path, (SIZE[0] * 4, SIZE[1] * 4))
    photos(tmp_path / "images_4", NAMES)
    lens = read_folder(tmp_path).shots[0].lens
    assert lens.resized(*SIZE).focals == (FOCAL / 4, FOCAL / 4)
    assert lens.resized(*SIZE).center == (SIZE[0] / 2, SIZE[1] / 2)


def test_the_full_size_comes_first(tmp_path: Path) -> None:
    write(tmp_path)
    photos(tmp_path / "images", NAMES)
    photos(tmp_path / "images_4", NAMES, (12, 9))
    assert read_folder(tmp_path).shots[0].path == tmp_path / "images" / NAMES[0]


def test_a_count_that_differs_names_both(tmp_path: Path) -> None:
    write(tmp_path)
    photos(tmp_path / "images", NAMES[:4])
    with pytest.raises(InputError, match=r"6 cameras, but .*images holds 4 photos"):
        read_folder(tmp_path)


def test_other_folders_are_not_claimed(tmp_path: Path) -> None:
    photos(tmp_path / "images", NAMES[:1])
    assert find(tmp_path) is None


def test_fern_as_llff(tmp_path: Path, shared_data: Path) -> None:
    """Fern's own cameras, written as LLFF writes them, come back, and show its points where COLMAP saw them."""
    source = shared_data / "fern"
    model = find_model(source)
    assert model is not None
    truth = read_colmap(source, model)
    size = (truth.shots[0].lens.width, truth.shots[0].lens.height)
    np.save(tmp_path / "poses_bounds.npy", theirs(np.stack([s.viewmat for s in truth.shots]), size, 400.0))
    photos(tmp_path / "images", [shot.name for shot in truth.shots], (8, 6))
    same_poses(read_folder(tmp_path), np.stack([shot.viewmat for shot in truth.shots]))


def test_truncated(tmp_path: Path) -> None:
    found = write(tmp_path)
    photos(tmp_path / "images", NAMES)
    outcomes = [survives(lambda: read_folder(tmp_path)) for _ in truncations(found)]
    assert not any(outcomes)
    assert survives(lambda: read_folder(tmp_path))


@pytest.mark.parametrize(
    "table",
    [
        np.zeros((6, 17)),
        np.full((6, 17), np.nan),
        np.zeros((6, 16)),
        np.zeros(17),
        np.zeros((0, 17)),
        np.array(["a" * 3] * 17)[None],
        np.zeros((6, 17), complex),
    ],
)
def test_wrong_tables(tmp_path: Path, table: np.ndarray) -> None:
    photos(tmp_path / "images", NAMES)
    np.save(tmp_path / "poses_bounds.npy", table)
    with pytest.raises(InputError, match="poses_bounds"):
        read_folder(tmp_path)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    photos(tmp_path / "images", NAMES)
    np.save(tmp_path / "poses_bounds.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"no \.npy file of numbers"):
        read_folder(tmp_path)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=40))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, at: int, change: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "llff_any"
    if not folder.exists():
        photos(folder / "images", NAMES)
    found = write(folder)
    data = bytearray(found.read_bytes())
    at %= len(data)
    data[at : at + len(change)] = change
    found.write_bytes(data)
    survives(lambda: read_folder(folder))


def test_points_of_the_ring_are_in_front() -> None:
    for viewmat in viewmats():
        assert ((points() @ viewmat[:3, :3].T + viewmat[:3, 3])[:, 2] > 0.5).all()
