"""Point clouds as splats: round Gaussians at their places, with a note; centers as points; LAS byte by byte."""

import math
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.initialize import initialize
from sfumato.core.point_cloud import read_point_cloud, write_point_cloud
from sfumato.core.scene import Points
from sfumato.core.sh import rgb_from_sh0, sh0_from_rgb


def cloud(count: int) -> Points:
    return Points(torch.randn(count, 3), torch.randint(0, 256, (count, 3), dtype=torch.uint8))


def splat(points: Points) -> Gaussians:
    return initialize(points, sh_degree=1)


def test_a_cloud_is_what_training_starts_from(tmp_path: Path, seed: int) -> None:
    points = cloud(40)
    write_point_cloud(tmp_path / "a.ply", points)
    asset = formats.read_asset(tmp_path / "a.ply")
    assert (asset.format, formats.count(tmp_path / "a.ply"), asset.gaussians.degree) == ("point cloud", 40, 0)
    for ours, wanted in zip(asset.gaussians, initialize(points, sh_degree=0), strict=True):
        torch.testing.assert_close(ours, wanted)
    assert asset.notes[0].startswith("it is a point cloud, not a splat: its 40 points each became a round Gaussian")
    assert "--init a.ply" in asset.notes[0]


def test_a_mesh_is_its_vertices_and_says_so(shared_data: Path) -> None:
    asset = formats.read_asset(shared_data / "splats" / "beetle.ascii.ply")
    assert len(asset) == 1148
    assert asset.notes[0].startswith("it is a mesh, not a splat: its 1,148 vertices")
    assert rgb_from_sh0(asset.gaussians.sh0).unique().tolist() == pytest.approx([128 / 255], abs=1e-6)


def test_points_that_are_nowhere_are_left_out_and_said(tmp_path: Path, seed: int) -> None:
    points = cloud(5)
    points.xyz[2, 1] = torch.nan
    write_point_cloud(tmp_path / "a.ply", points)
    asset = formats.read_asset(tmp_path / "a.ply")
    assert (len(asset), asset.notes[1]) == (4, "1 points that are nowhere (not finite) are left out")


def test_an_empty_cloud(tmp_path: Path) -> None:
    write_point_cloud(tmp_path / "a.ply", cloud(0))
    assert len(formats.read(tmp_path / "a.ply")) == 0
    for suffix in ("points.ply", "las", "laz"):
        formats.write(tmp_path / f"b.{suffix}", Gaussians.empty(0))
        assert formats.count(tmp_path / f"b.{suffix}") == 0


@pytest.mark.parametrize("suffix", ["points.ply", "las", "laz"])
@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (448262.0, -5411932.0, 400.0)])
def test_centers_and_colors_come_back(tmp_path: Path, suffix: str, origin: tuple[float, ...], seed: int) -> None:
    points = cloud(500)
    x, y, z = origin
    formats.write(tmp_path / f"a.{suffix}", Asset(splat(points), origin=(x, y, z)))
    again = formats.read_asset(tmp_path / f"a.{suffix}")
    places = again.gaussians.means.double() + torch.tensor(again.origin, dtype=torch.float64)
    wanted = points.xyz.double() + torch.tensor(origin, dtype=torch.float64)
    assert (places - wanted).abs().max() < 1e-6
    assert any(again.origin) == any(origin)
    colors = (rgb_from_sh0(again.gaussians.sh0[:, 0]) * 255).round().to(torch.uint8)
    assert torch.equal(colors, points.rgb)


def test_the_cloud_is_in_the_frame_of_every_ply(tmp_path: Path, seed: int) -> None:
    gaussians = splat(cloud(9))
    formats.write(tmp_path / "a.points.ply", Asset(gaussians, axes="RUB", origin=(1e7, 2e7, 3e7)))
    wanted = (gaussians.means.double() + torch.tensor([1e7, 2e7, 3e7], dtype=torch.float64)) * torch.tensor([1, -1, -1])
    assert (read_point_cloud(tmp_path / "a.points.ply").xyz - wanted).abs().max() < 1e-8


def test_colors_out_of_gamut_are_clamped_and_said(tmp_path: Path, seed: int) -> None:
    gaussians = splat(cloud(3))
    gaussians.sh0[1, 0] = sh0_from_rgb(torch.tensor([1.5, -0.5, 0.2]))
    with pytest.warns(SfumatoWarning, match="1 of 3 Gaussians have colors beyond black or white"):
        formats.write(tmp_path / "a.points.ply", gaussians)
    assert read_point_cloud(tmp_path / "a.points.ply").rgb[1].tolist() == [255, 0, 51]


def las(kind: int, rows: list[bytes], minor: int = 2, scale: float = 0.01) -> bytes:
    """A file as the standard lays it out, with an extra byte per record."""
    size = {2: 227, 3: 235, 4: 375}[minor]
    data = bytearray(size)
    data[:4], data[24], data[25] = b"LASF", 1, minor
    struct.pack_into("<HII", data, 94, size, size + 3, 0)
    struct.pack_into("<BHI", data, 104, kind, len(rows[0]), 0 if minor == 4 else len(rows))
    struct.pack_into("<6d", data, 131, scale, scale, scale, 1000, 2000, -5)
    if minor == 4:
        struct.pack_into("<Q", data, 247, len(rows))
    return bytes(data) + b"gap" + b"".join(rows)


@pytest.mark.parametrize(("kind", "minor", "red", "length"), [(2, 2, 20, 27), (3, 3, 28, 35), (7, 4, 30, 37)])
def test_las_byte_by_byte(tmp_path: Path, kind: int, minor: int, red: int, length: int) -> None:
    rows = []
    for place, color in (((100, 200, 300), (65535, 0, 257)), ((-100, 0, 1), (256, 514, 65280))):
        row = bytearray(length)
        struct.pack_into("<3i", row, 0, *place)
        struct.pack_into("<3H", row, red, *color)
        rows.append(bytes(row))
    (tmp_path / "a.las").write_bytes(las(kind, rows, minor))
    asset = formats.read_asset(tmp_path / "a.las")
    assert asset.origin == (1000, 2001, -3)  # the middle, in whole numbers
    assert asset.gaussians.means.tolist() == [[1, 1, 1], [-1, -1, pytest.approx(-1.99)]]
    colors = (rgb_from_sh0(asset.gaussians.sh0[:, 0]) * 255).round().tolist()
    assert colors == [[255, 0, 1], [1, 2, 254]]
    assert asset.up == (0, 0, 1)


def test_what_points_cannot_say_is_said(tmp_path: Path, seed: int) -> None:
    asset = Asset(splat(cloud(3)), up=(0, -1, 0), meters_per_unit=2.0, antialiased=True)
    for suffix in ("points.ply", "las"):
        with pytest.warns(SfumatoWarning, match="no place for the splat's meters per unit, nor for its up direction"):
            formats.write(tmp_path / f"a.{suffix}", asset)
    formats.write(tmp_path / "a.las", Asset(splat(cloud(3)), up=(0, 0, 1)))  # which is that of LAS


def test_las_whose_colors_are_bytes_and_one_without(tmp_path: Path) -> None:
    row = struct.pack("<3i8x3H", 1, 2, 3, 255, 0, 17)
    (tmp_path / "a.las").write_bytes(las(2, [row]))
    assert (rgb_from_sh0(formats.read(tmp_path / "a.las").sh0) * 255).round().flatten().tolist() == [255, 0, 17]
    (tmp_path / "a.las").write_bytes(las(0, [row]))
    assert (rgb_from_sh0(formats.read(tmp_path / "a.las").sh0) * 255).round().unique().tolist() == [128]


@pytest.mark.parametrize("suffix", ["points.ply", "las", "laz"])
def test_every_truncation_is_refused(tmp_path: Path, suffix: str, seed: int) -> None:
    path = tmp_path / f"a.{suffix}"
    formats.write(path, splat(cloud(300)))
    data = path.read_bytes()
    for fiftieth in range(50):
        path.write_bytes(data[: len(data) * fiftieth // 50])
        with pytest.raises(InputError) as caught:
            formats.read(path)
        assert f"a.{suffix}" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [
        (107, "<I", 2**32 - 1),  # points
        (107, "<I", 301),
        (96, "<I", 2**32 - 1),  # where they start
        (100, "<I", 2**32 - 1),  # records before them: only laspy believes it
        (104, "<B", 60),  # point format
        (105, "<H", 3),  # bytes of a record
        (131, "<d", np.nan),  # scale
    ],
)
@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_forged_headers_of_las(tmp_path: Path, at: int, kind: str, value: float, suffix: str, seed: int) -> None:
    path = tmp_path / f"a.{suffix}"
    formats.write(path, splat(cloud(300)))
    data = bytearray(path.read_bytes())
    struct.pack_into(kind, data, at, value)
    path.write_bytes(data)
    if (suffix, at) == ("las", 100) or (suffix, value) == ("laz", 301):  # the packed points do not say where they end
        assert len(formats.read(path)) in (300, 301)
        return
    with pytest.raises(InputError, match=rf"a\.{suffix}"):
        formats.read(path)


def test_damaged_laz_is_a_sentence_or_points(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.laz"
    formats.write(path, splat(cloud(300)))
    data = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        changed = data.copy()
        where = torch.randint(227, len(data), (3,)).numpy()
        changed[where] ^= torch.randint(1, 256, (3,)).numpy().astype(np.uint8)
        path.write_bytes(changed.tobytes())
        with suppress(InputError):  # nothing else may come of it
            assert len(formats.read(path)) <= 300


@pytest.mark.parametrize("number", [1e9, -1e300, math.inf, math.nan])
@pytest.mark.parametrize("place", range(6))
def test_steps_of_las_that_lead_nowhere(tmp_path: Path, number: float, place: int) -> None:
    formats.write(tmp_path / "a.las", splat(cloud(5)))
    data = bytearray((tmp_path / "a.las").read_bytes())
    data[131 + 8 * place : 139 + 8 * place] = struct.pack("<d", number)
    (tmp_path / "a.las").write_bytes(bytes(data))
    with pytest.raises(
        InputError, match=r"a\.las is damaged: its header describes points of format 2 in 26 bytes, in steps"
    ):
        formats.read(tmp_path / "a.las")
