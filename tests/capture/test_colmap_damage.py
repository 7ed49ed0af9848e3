"""COLMAP models that are cut, forged or odd: one sentence or a valid smaller model, at once, and never more memory."""

import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfumato.capture.colmap import find_model, read_colmap
from sfumato.capture.colmap_model import read_model
from sfumato.capture.load import load_scene
from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError, SfumatoWarning

PARTS = ["cameras", "images", "points3D"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("twentieth", range(20))
def test_a_cut_binary_file(tmp_path: Path, colmap_toy: Any, part: str, twentieth: int) -> None:
    path = colmap_toy().write_binary(tmp_path) / f"{part}.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * twentieth // 20])
    with pytest.raises(InputError, match=f"{part}.bin is damaged or truncated"):
        read_model(tmp_path)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("twentieth", range(20))
def test_a_cut_text_file(tmp_path: Path, colmap_toy: Any, part: str, twentieth: int) -> None:
    path = colmap_toy().write_text(tmp_path) / f"{part}.txt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * twentieth // 20])
    try:
        model = read_model(tmp_path)
    except InputError as error:
        told = str(error)
        assert f"{part}.txt" in told or "not in cameras" in told
    else:  # a line's end is a valid end
        assert len(model.poses) <= 3
        assert len(model.xyz) <= 2
        assert part != "cameras" or model.lenses


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("count", [1000, 2**32, 2**60, 2**64 - 1])
def test_a_forged_count_costs_nothing(tmp_path: Path, colmap_toy: Any, part: str, count: int) -> None:
    path = colmap_toy().write_binary(tmp_path) / f"{part}.bin"
    path.write_bytes(struct.pack("<Q", count) + path.read_bytes()[8:])
    began = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{part}.bin is damaged or truncated .it claims {count} entries"):
        read_model(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("length", [2**20, 2**61, 2**64 - 1])
def test_a_forged_length_inside(tmp_path: Path, colmap_toy: Any, length: int) -> None:
    folder = colmap_toy().write_binary(tmp_path)
    images = bytearray((folder / "images.bin").read_bytes())
    at = 8 + 64 + len("a.png") + 1
    images[at : at + 8] = struct.pack("<Q", length)
    points = bytearray((folder / "points3D.bin").read_bytes())
    points[8 + 43 : 8 + 51] = struct.pack("<Q", length)
    (folder / "images.bin").write_bytes(images)
    with pytest.raises(InputError, match=r"images\.bin is damaged"):
        read_model(folder)
    colmap_toy().write_binary(tmp_path)
    (folder / "points3D.bin").write_bytes(points)
    with pytest.raises(InputError, match=r"points3D\.bin is damaged"):
        read_model(folder)


@pytest.mark.parametrize("write", ["write_binary", "write_text"])
@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ((0.0, 30.0, 16.0, 12.0), "must have a focal length above 0; got 0"),
        ((30.0, -30.0, 16.0, 12.0), "must have a focal length above 0; got -30"),
        ((float("nan"), 30.0, 16.0, 12.0), "must have finite parameters"),
        ((30.0, 30.0, float("nan"), 12.0), "must have finite parameters"),
        ((30.0, 30.0, 16.0, float("inf")), "must have finite parameters"),
    ],
)
def test_impossible_lenses(tmp_path: Path, colmap_toy: Any, write: str, params: Any, sentence: str) -> None:
    getattr(colmap_toy(params=params), write)(tmp_path)
    with pytest.raises(InputError, match=rf"cameras\.(bin|txt): camera model PINHOLE {sentence}"):
        read_model(tmp_path)


def test_an_unknown_model_number(tmp_path: Path, colmap_toy: Any) -> None:
    path = colmap_toy().write_binary(tmp_path) / "cameras.bin"
    data = bytearray(path.read_bytes())
    data[12:16] = struct.pack("<i", 99)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cameras\.bin: camera 3 has model number 99, which is not known"):
        read_model(tmp_path)


@pytest.mark.parametrize("write", ["write_binary", "write_text"])
@pytest.mark.parametrize(
    ("quat", "sentence"),
    [((0, 0, 0, 0), "no rotation"), ((1, float("nan"), 0, 0), "not finite"), ((1e200,) * 4, "finite")],
)
def test_impossible_poses(tmp_path: Path, colmap_toy: Any, write: str, quat: Any, sentence: str) -> None:
    quats = ((1, 0, 0, 0), quat, (1, 0, 0, 0))
    getattr(colmap_toy(quats=quats), write)(tmp_path)
    with pytest.raises(InputError, match=rf"the pose of sub folder/b c\.png .*{sentence}"):
        read_model(tmp_path)


@pytest.mark.parametrize("color", ["300 0 0", "-1 0 0", "nan 0 0"])
def test_impossible_colors(tmp_path: Path, colmap_toy: Any, color: str) -> None:
    path = colmap_toy().write_text(tmp_path) / "points3D.txt"
    path.write_text(f"1 0 0 3 {color} 0.5 7 0\n", encoding="utf-8")
    with pytest.raises(InputError, match="color is not within 0 and 255"):
        read_model(tmp_path)


def test_no_points_at_all_starts_at_random(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy(xyz=())
    toy.write_photos(tmp_path / "images")
    toy.write_binary(tmp_path / "sparse" / "0")
    assert len(read_model(tmp_path / "sparse" / "0").xyz) == 0
    scene = load_scene(tmp_path, holdout=0, cache=tmp_path / "cache")
    assert len(scene.points) > 1000
    assert scene.protocol["points"] == "random"


@pytest.mark.parametrize("name", ["C:\\Users\\me\\scan\\images\\{}", "/home/me/scan/{}", "D:/scan/frames/{}"])
def test_paths_of_another_machine(tmp_path: Path, colmap_toy: Any, name: str) -> None:
    toy = colmap_toy(names=["a.png", "b c.png", "d.png"])
    toy.write_photos(tmp_path / "images")
    foreign = colmap_toy(names=[name.format(own) for own in toy.names])
    foreign.write_binary(tmp_path / "sparse" / "0")
    capture = read_colmap(tmp_path, tmp_path / "sparse" / "0")
    assert sorted(shot.path.name for shot in capture.shots) == list(toy.names)


@pytest.mark.parametrize("place", ["Sparse/0", "COLMAP", "dense/0/sparse", "colmap_text", "."])
def test_names_in_capitals_and_places_of_other_programs(tmp_path: Path, colmap_toy: Any, place: str) -> None:
    """RealityScan writes cameras.txt, images.txt and points3D.txt; others points3d.txt, or capitals."""
    toy = colmap_toy()
    folder = toy.write_text(tmp_path / place)
    for old, new in (("cameras", "Cameras"), ("images", "IMAGES"), ("points3D", "points3d")):
        (folder / f"{old}.txt").rename(folder / f"{new}.txt")
    toy.write_photos(tmp_path / "images")
    found = find_model(tmp_path)
    assert found is not None
    assert found.samefile(folder)
    capture = read_colmap(tmp_path, found)
    assert len(capture.shots) == 3
    assert capture.points is not None
    assert len(capture.points) == 2


def test_undistorted_photos_lie_beside_their_model(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy()
    toy.write_photos(tmp_path / "images")
    toy.write_photos(tmp_path / "dense" / "0" / "images")
    capture = read_colmap(tmp_path, toy.write_binary(tmp_path / "dense" / "0" / "sparse"))
    assert all("dense" in shot.path.parts for shot in capture.shots)


def test_a_text_model_of_windows(tmp_path: Path, colmap_toy: Any) -> None:
    """A byte order mark, and lines that end with both characters."""
    toy = colmap_toy()
    expected = read_model(toy.write_text(tmp_path))
    for path in tmp_path.glob("*.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    model = read_model(tmp_path)
    assert model.lenses == expected.lenses == {3: Lens("PINHOLE", (30.0, 31.0, 16.5, 12.25), 32, 24)}
    assert [pose.name for pose in model.poses] == [pose.name for pose in expected.poses]


def test_most_photos_missing_is_an_error_and_some_a_warning(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy()
    toy.write_binary(tmp_path / "sparse" / "0")
    with pytest.raises(InputError, match=r"3 are not in .*put the photos beside the model"):
        load_scene(tmp_path, cache=tmp_path / "cache")
    toy.write_photos(tmp_path / "images")
    (tmp_path / "images" / "a.png").unlink()
    with pytest.warns(SfumatoWarning, match="1 are not in"):
        scene = load_scene(tmp_path, holdout=0, cache=tmp_path / "cache")
    assert len(scene.views) == 2


def test_many_points_are_read_fast_and_right(tmp_path: Path, colmap_toy: Any) -> None:
    """200 000 points with tracks of different lengths; a million take five times as long."""
    count, rng = 200_000, np.random.default_rng(3)
    xyz, lengths = rng.normal(size=(count, 3)), rng.integers(0, 6, count)
    parts = [struct.pack("<Q", count)]
    for i, (point, length) in enumerate(zip(xyz.tolist(), lengths.tolist(), strict=True)):
        parts.append(struct.pack("<Q3d3BdQ", i, *point, i % 256, i % 7, 255, i / count, length) + b"\1" * (8 * length))
    folder = colmap_toy().write_binary(tmp_path)
    (folder / "points3D.bin").write_bytes(b"".join(parts))
    began = time.perf_counter()
    model = read_model(folder)
    assert time.perf_counter() - began < 3  # 0.15 s on an idle machine
    np.testing.assert_array_equal(model.xyz, xyz)
    np.testing.assert_array_equal(
        model.rgb, np.column_stack([np.arange(count) % 256, np.arange(count) % 7, [255] * count])
    )
    np.testing.assert_array_equal(model.errors, np.arange(count) / count)
