"""Compressed PLY: bytes worked out by hand, files of other programs, round trips with their errors, damaged files."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.morton import morton_order
from sfumato.core.sh import C0, bases_of_degree, rgb_from_sh0

ENDS = [f"{end}_{axis}" for end in ("min", "max") for axis in "xyz"]
BOUNDS = [*ENDS, *[f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]]
COLORS = [f"{end}_{color}" for end in ("min", "max") for color in "rgb"]
PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]


def header(chunks: int, count: int, rest: int | None = None, bounds: list[str] = BOUNDS + COLORS) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in bounds] + [f"element vertex {count}"]
    lines += [f"property uint {name}" for name in PACKED]
    if rest is not None:
        lines += [f"element sh {count}"] + [f"property uchar f_rest_{i}" for i in range(rest)]
    return ("\n".join([*lines, "end_header"]) + "\n").encode()


# where in the bounds: x all the way, y a third, z nowhere; red, green and blue alike
POSITION = 2047 << 21 | 341 << 11 | 0
TURN = 2 << 30 | 1023 << 20 | 511 << 10 | 0  # y is the largest; w, x, z are sqrt(1/2), about 0, -sqrt(1/2)
COLOR = 255 << 24 | 51 << 16 | 0 << 8 | 204
ONE = struct.pack("<18f", -1, 0, 5, 3, 6, 9, -4, -4, -4, -1, -1, -1, 0, 0, 0.25, 1, 2, 1)
ONE += struct.pack("<4I", POSITION, TURN, POSITION, COLOR)


def save(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def random_gaussians(count: int, degree: int) -> Gaussians:
    rest = bases_of_degree(degree) - 1
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, 1, 3)]
    return Gaussians(*(torch.randn(shape) for shape in shapes), torch.rand(count, rest, 3) * 7 - 3.5)


def angles(a: Gaussians, b: Gaussians) -> torch.Tensor:
    """(N,) between the orientations, degrees."""
    p, q = (torch.nn.functional.normalize(x.quats.double(), dim=1) for x in (a, b))
    apart = torch.minimum((p - q).norm(dim=1), (p + q).norm(dim=1))
    return torch.rad2deg(4 * (apart / 2).clamp(max=1).asin())


def test_bytes_by_hand(tmp_path: Path) -> None:
    harmonics = bytes([0, 128, 255, 1, 2, 3, 4, 5, 6])
    asset = formats.read_asset(save(tmp_path / "a.ply", header(1, 1, 9), ONE, harmonics))
    g = asset.gaussians
    assert (asset.format, g.degree) == ("compressed PLY", 1)
    assert g.means[0].tolist() == pytest.approx([3, 6 * 341 / 1023, 5])  # 2
    assert g.log_scales[0].tolist() == pytest.approx([-1, -3, -4])
    half = math.sqrt(0.5)
    assert g.quats[0].tolist() == pytest.approx([half, (511 / 1023 - 0.5) * 2 * half, 0, -half], abs=1e-3)
    assert rgb_from_sh0(g.sh0[0, 0]).tolist() == pytest.approx([1, 0.4, 0.25], abs=1e-6)  # 51 / 255 of 0 to 2
    assert g.opacities[0].item() == pytest.approx(0.8)  # 204 / 255
    # a byte is (b + 0.5) / 32 - 4, but for the ends; red has the first three, then green, then blue
    assert g.shN[0, :, 0].tolist() == [-4, 128.5 / 32 - 4, 4]
    assert g.shN[0, :, 2].tolist() == [b / 32 - 4 for b in (4.5, 5.5, 6.5)]


def test_old_files_have_no_colors_in_their_bounds(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ply", header(1, 1, bounds=BOUNDS), ONE[:48], ONE[72:])
    assert rgb_from_sh0(formats.read(path).sh0[0, 0]).tolist() == pytest.approx([1, 0.2, 0], abs=1e-6)


def test_an_empty_table_of_harmonics_is_none(tmp_path: Path) -> None:
    assert formats.read(save(tmp_path / "a.ply", header(1, 1, 0), ONE)).degree == 0  # as gsplat writes it


def test_certain_opacities_are_finite(tmp_path: Path) -> None:
    for alpha in (0, 255):
        data = ONE[:-4] + struct.pack("<I", COLOR & ~255 | alpha)
        g = formats.read(save(tmp_path / "a.ply", header(1, 1), data))
        assert g.logit_opacities[0].abs().item() == pytest.approx(13.8, abs=0.1)


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000])
def test_round_trip_is_within_half_a_step(tmp_path: Path, degree: int, count: int, seed: int) -> None:
    written = random_gaussians(count, degree)
    formats.write(tmp_path / "a.compressed.ply", written)
    assert formats.count(tmp_path / "a.compressed.ply") == count
    read = formats.read(tmp_path / "a.compressed.ply")
    assert (len(read), read.degree) == (count, degree)
    if not count:
        return
    written = written[morton_order(written.means)]
    for rows in torch.arange(count).split(256):
        a, b = written[rows], read[rows]
        half = torch.tensor([0.5 / 2047, 0.5 / 1023, 0.5 / 2047]) * 1.001
        for x, y in ((a.means, b.means), (a.log_scales, b.log_scales)):
            width = x.amax(dim=0) - x.amin(dim=0)
            assert ((x - y).abs() <= half * width + 1e-6).all()
        width = (a.sh0.amax(dim=0) - a.sh0.amin(dim=0))[0]
        assert ((a.sh0 - b.sh0).abs() <= 0.5005 / 255 * width + 1e-6).all()
    assert (written.opacities - read.opacities).abs().max() <= 0.501 / 255
    assert angles(written, read).max() < 0.23  # 0.11 on average
    assert not degree or (written.shN - read.shN).abs().max() <= 1 / 64 + 1e-6


def test_equal_gaussians_have_bounds_without_width(tmp_path: Path) -> None:
    one = random_gaussians(1, 1)
    formats.write(tmp_path / "a.compressed.ply", Gaussians.cat([one] * 300))
    read = formats.read(tmp_path / "a.compressed.ply")
    for x, y in ((one.means, read.means), (one.log_scales, read.log_scales), (one.sh0, read.sh0)):
        torch.testing.assert_close(y, x.expand_as(y))


def test_written_layout(tmp_path: Path, seed: int) -> None:
    for degree, size in ((0, 0), (2, 24)):
        path = tmp_path / f"{degree}.compressed.ply"
        formats.write(path, random_gaussians(257, degree))
        assert path.read_bytes().startswith(header(2, 257, size or None))  # no `sh` at degree 0
        assert path.stat().st_size == len(header(2, 257, size or None)) + 2 * 72 + 257 * (16 + size)


def test_the_comments_of_a_file_are_kept(tmp_path: Path) -> None:
    asset = Asset(random_gaussians(2, 0), antialiased=True, up=(0.0, -1.0, 0.0), origin=(4e5, 0.1, 2.0))
    formats.write(tmp_path / "a.compressed.ply", asset)
    read = formats.read_asset(tmp_path / "a.compressed.ply")
    assert (read.antialiased, read.up, read.origin) == (True, (0, -1, 0), (4e5, 0.1, 2))


def test_raw_keeps_the_frame_of_the_numbers(tmp_path: Path, seed: int) -> None:
    gaussians = random_gaussians(1, 1)
    for raw, sign in ((False, -1), (True, 1)):
        options = formats.WriteOptions(raw=raw)
        formats.write(tmp_path / "a.compressed.ply", Asset(gaussians, axes="RUB"), options)
        y = formats.read(tmp_path / "a.compressed.ply").means[0, 1]
        assert y.item() == pytest.approx(sign * gaussians.means[0, 1].item())


def test_what_does_not_fit_is_said_and_clamped(tmp_path: Path, seed: int) -> None:
    lost = random_gaussians(3, 4)
    lost.shN[0, 0, 1], lost.log_scales[1, 1] = 5.0, -30.0
    with pytest.warns(SfumatoWarning) as told:
        formats.write(tmp_path / "a.compressed.ply", lost)
    said = sorted(str(warning.message) for warning in told)
    assert len(said) == 3
    assert ["1 of 3 Gaussians have harmonics" in said[0], "1 of 3 Gaussians have scales" in said[1]] == [True, True]
    assert "cut from degree 4 to 3" in said[2]
    read, order = formats.read(tmp_path / "a.compressed.ply"), morton_order(lost.means).tolist()
    assert read.shN[order.index(0), 0, 1] == 4
    assert read.log_scales[order.index(1), 1].item() == pytest.approx(-20)


# n, degree, x range, median log scale, mean alpha, mean f_dc_0, mean |f_rest_0|, as splat-transform decodes them
SAMPLES = {
    "guitar.compressed.ply": (90854, 0, -0.655, 0.8216, -6.2720, 0.3889, -0.0877, None),
    "playcanvas_test.ply": (64, 3, -1.395, -1.093, -4.2073, 0.7200, 0.0891, 0.13037),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_files_of_another_program(shared_data: Path, name: str) -> None:
    count, degree, low, high, scale, alpha, red, rest = SAMPLES[name]
    asset = formats.read_asset(shared_data / "splats" / name)
    g = asset.gaussians
    assert (len(g), g.degree, formats.count(shared_data / "splats" / name)) == (count, degree, count)
    assert asset.generator is not None
    assert asset.generator.startswith("SuperSplat 2.")
    assert (g.means[:, 0].min().item(), g.means[:, 0].max().item()) == pytest.approx((low, high), abs=5e-4)
    assert np.median(g.log_scales[:, 0].numpy()) == pytest.approx(scale, abs=5e-5)
    assert g.opacities.mean().item() == pytest.approx(alpha, abs=5e-5)
    assert g.sh0[:, 0, 0].mean().item() == pytest.approx(red, abs=5e-5)
    assert rest is None or g.shN[:, 0, 0].abs().mean().item() == pytest.approx(rest, abs=5e-6)
    assert g.finite.all()


def features(g: Gaussians) -> torch.Tensor:
    """(N, F) float64 by which a Gaussian is known again, about as exact as they are stored."""
    return torch.cat(
        [g.shN.flatten(1), g.sh0[:, 0], g.log_scales, 20 * g.rotations.flatten(1), g.means / 5], dim=1
    ).double()


def test_another_program_s_file_of_a_known_splat(shared_data: Path) -> None:
    theirs = formats.read(shared_data / "splats" / "converted" / "inria_9080.compressed.ply")
    source = formats.read(shared_data / "splats" / "inria_9080.ply")
    same = torch.cdist(features(theirs), features(source)).argmin(dim=1)  # theirs are in another order
    assert len(same.unique()) > 8500  # some are there twice
    source = source[same]
    assert (theirs.shN - source.shN).abs().max() <= 1 / 64 + 1e-6
    assert (theirs.means - source.means).abs().max() < 0.4
    assert (theirs.log_scales - source.log_scales).abs().max() < 0.0055
    assert (theirs.opacities - source.opacities).abs().max() < 0.502 / 255
    assert (theirs.sh0 - source.sh0).abs().max() * C0 < 0.0035
    assert angles(theirs, source).max() < 0.23


def test_every_truncation_of_a_file_is_refused(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.compressed.ply", random_gaussians(300, 1))
    data = (tmp_path / "a.compressed.ply").read_bytes()
    for fiftieth in range(50):
        with pytest.raises(InputError) as caught:
            formats.read(save(tmp_path / "b.compressed.ply", data[: len(data) * fiftieth // 50]))
        assert "b.compressed.ply" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"vertex 1", b"vertex 257", "truncated|1 chunks for 257 Gaussians"),
        (b"vertex 1", b"vertex 99999999999999", "truncated"),
        (b"chunk 1", b"chunk 99999999999999", "truncated"),
        (b"chunk 1", b"chunk 0", "0 chunks for 1 Gaussians"),
        (b"element chunk", b"element lump", "has no min_x of chunk"),
        (b"min_scale_y", b"min_skale_y", "has no min_scale_y of chunk;"),
        (b"packed_color", b"packed_cooler", "has no packed_color of vertex;"),
        (b"uint packed_color", b"float packed_color", "packed numbers as binary uint"),
        (b"uchar f_rest_1", b"char f_rest_1", "harmonics as bytes"),
        (b"f_rest_1", b"g_rest_1", "multiple of 3"),
        (b"sh 1", b"sh 2", "truncated|2 rows of harmonics for 1"),
        (b"sh 1", b"sh 0", "0 rows of harmonics for 1"),
        (b"binary_little_endian", b"ascii", "binary uint|truncated"),
    ],
)
def test_forged_headers_get_one_sentence(tmp_path: Path, old: bytes, new: bytes, sentence: str) -> None:
    head = header(1, 1, 9)
    assert old in head
    path = save(tmp_path / "a.ply", head.replace(old, new, 1), ONE, bytes(9))
    for function in (formats.read, formats.count):
        with pytest.raises(InputError, match=sentence) as caught:
            function(path)
        assert "a.ply" in str(caught.value)


def test_any_bits_are_read(tmp_path: Path, seed: int) -> None:
    body = torch.randint(0, 256, (72 + 50 * (16 + 45),), dtype=torch.uint8).numpy().tobytes()
    assert len(formats.read(save(tmp_path / "a.ply", header(1, 50, 45), body))) == 50
