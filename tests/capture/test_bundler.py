"""Bundler's bundle.out: axes, radial distortion, unregistered photos, lists of names, damage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import SIZE, colmap_pixels, photos, points, same_poses, survives, truncations, viewmats

from sfumato.capture.datasets.bundler import find, read
from sfumato.capture.shot import Capture
from sfumato.core.errors import InputError, SfumatoWarning

NAMES = [f"img {i}.png" for i in range(6)]  # with a space
K1, K2 = -0.11, 0.02


def looking_back(viewmat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Their R and t: the second and third axis of the camera turned over."""
    right, down, forward = viewmat[:3, :3]
    return np.stack([right, -down, -forward]), viewmat[:3, 3] * (1, -1, -1)


def write(path: Path, focal: float = 40.0, unregistered: int | None = None, listed: list[str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# Bundle file v0.3", f"{len(NAMES)} {len(points())}"]
    for number, viewmat in enumerate(viewmats()):
        rotation, translation = looking_back(viewmat)
        if number == unregistered:
            lines += ["0 0 0"] * 5
            continue
        lines.append(f"{focal!r} {K1} {K2}")
        lines += [" ".join(map(repr, row.tolist())) for row in (*rotation, translation)]
    for number, xyz in enumerate(points()):
        lines += [" ".join(map(repr, xyz.tolist())), f"{number} 255 17"]
        lines.append(" ".join(["2 0 7 1.5 -2.5 1 9 0.5 0.25", "0", "1 3 4 -1.5 2"][number % 3].split()))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = "\n".join(f"{name} 0 40.0" if i % 2 else name for i, name in enumerate(listed or NAMES))
    path.with_name(path.name.removesuffix("bundle.out") + "list.txt").write_text(text + "\n", encoding="utf-8")
    return path


def read_folder(folder: Path) -> Capture:
    found = find(folder)
    assert found is not None
    return read(found, folder)


@pytest.mark.parametrize("place", ["bundle.out", "bundle/bundle.out", "model.bundle.out", "bundle/x.bundle.out"])
@pytest.mark.parametrize("beside", [".", "images"])
def test_poses_points_and_lens(tmp_path: Path, place: str, beside: str) -> None:
    write(tmp_path / place)
    photos(tmp_path / beside, NAMES)
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats())
    assert [shot.name for shot in capture.shots] == NAMES
    lens = capture.shots[0].lens
    assert (lens.model, lens.width, lens.height) == ("RADIAL", *SIZE)
    assert lens.params == (40.0, SIZE[0] / 2, SIZE[1] / 2, K1, K2)
    assert capture.points is not None
    np.testing.assert_allclose(capture.points.xyz.numpy(), points(), atol=1e-12)
    np.testing.assert_array_equal(capture.points.rgb.numpy(), [[i, 255, 17] for i in range(len(points()))])


def test_pixels_are_those_of_bundlers_manual(tmp_path: Path) -> None:
    """P = RX + t; p = -P / Pz; p' = f (1 + k1 |p|^2 + k2 |p|^4) p, from the middle of the photo, y up."""
    write(tmp_path / "bundle.out")
    photos(tmp_path, NAMES)
    for shot, viewmat in zip(read_folder(tmp_path).shots, viewmats(), strict=True):
        rotation, translation = looking_back(viewmat)
        camera = points() @ rotation.T + translation
        p = -camera[:, :2] / camera[:, 2:]
        square = (p**2).sum(axis=1, keepdims=True)
        p = 40.0 * (1 + K1 * square + K2 * square**2) * p
        by_manual = np.stack([SIZE[0] / 2 + p[:, 0], SIZE[1] / 2 - p[:, 1]], axis=1)
        np.testing.assert_allclose(colmap_pixels(shot, points()), by_manual, atol=1e-9)


def test_unregistered_photos_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "bundle.out", unregistered=2)
    photos(tmp_path, NAMES)
    capture = read_folder(tmp_path)
    same_poses(capture, viewmats()[[0, 1, 3, 4, 5]])
    assert (capture.protocol["registered"], capture.protocol["photos_given"]) == (5, 6)


def test_without_a_list_photos_are_in_name_order(tmp_path: Path) -> None:
    write(tmp_path / "bundle.out")
    (tmp_path / "list.txt").unlink()
    photos(tmp_path / "images", NAMES)
    same_poses(read_folder(tmp_path), viewmats())
    (tmp_path / "images" / NAMES[0]).unlink()
    with pytest.raises(InputError, match=r"6 cameras, but .*images 5 photos; put the list"):
        read_folder(tmp_path)


def test_names_of_another_machine_and_missing_photos(tmp_path: Path) -> None:
    write(tmp_path / "bundle.out", listed=[f"/home/somebody/{name}" for name in NAMES])
    photos(tmp_path / "images", NAMES[1:])
    with pytest.warns(SfumatoWarning, match="lists 6 photos, of which 1 are not in"):
        same_poses(read_folder(tmp_path), viewmats()[1:])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("# Bundle file v0.3", "# Bundle file v0.2", "must begin with '# Bundle file v0.3'"),
        ("6 20", "6 999999999999", "claims 6 cameras and 999999999999 points"),
        ("6 20", "1152921504606846976 20", "claims 1152921504606846976 cameras"),
        ("6 20", "6 nan", "damaged"),
        ("6 20", "6 inf", "damaged"),
        ("6 20", "0 20", "claims 0 cameras"),
        ("6 20", "6 -1", "claims 6 cameras and -1 points"),
        ("40.0 -0.11", "-40.0 -0.11", "focal length above 0"),
        ("40.0 -0.11", "nan -0.11", "focal length above 0"),
        ("40.0 -0.11", "40.0 nan", "finite"),
        ("40.0 -0.11", "forty -0.11", "damaged"),
        ("2 0 7 1.5", "2e18 0 7 1.5", "ends within its points"),
        ("2 0 7 1.5", "-2 0 7 1.5", "ends within its points"),
    ],
)
def test_forged(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = write(tmp_path / "bundle.out")
    photos(tmp_path, NAMES)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path)


def test_impossible_poses(tmp_path: Path) -> None:
    path = write(tmp_path / "bundle.out")
    photos(tmp_path, NAMES)
    lines = path.read_text(encoding="utf-8").splitlines()
    for rows in (["0 0 0"] * 3, ["1 0 0", "0 1 0", "0 0 -1"], ["nan 0 0", "0 1 0", "0 0 1"]):
        path.write_text("\n".join([*lines[:3], *rows, *lines[6:]]), encoding="utf-8")
        with pytest.raises(InputError, match=r"img 0\.png: the pose must be"):
            read_folder(tmp_path)


def test_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "bundle.out")
    photos(tmp_path, NAMES)
    assert not any(survives(lambda: read(path, tmp_path)) for _ in truncations(path))
    assert survives(lambda: read(path, tmp_path))


def test_none_registered(tmp_path: Path) -> None:
    path = write(tmp_path / "bundle.out", focal=0.0)
    photos(tmp_path, NAMES)
    with pytest.raises(InputError, match="6 cameras, none of them with a focal length"):
        read(path, tmp_path)


def test_other_folders_are_not_claimed(tmp_path: Path) -> None:
    photos(tmp_path / "images", NAMES[:1])
    (tmp_path / "a.out").write_text("", encoding="utf-8")
    (tmp_path / "bundle.out").mkdir()
    assert find(tmp_path) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=30))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, at: int, change: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "bundler_any"
    if not folder.exists():
        photos(folder / "images", NAMES)
    found = write(folder / "bundle.out")
    data = bytearray(found.read_bytes())
    at %= len(data)
    data[at : at + len(change)] = change
    found.write_bytes(data)
    survives(lambda: read(found, folder))
