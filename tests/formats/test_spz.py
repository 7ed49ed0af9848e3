"""SPZ: bytes worked out by hand, bytes of Niantic's library, stated errors of round trips, and what is refused."""

import base64
import gzip
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.axes import reframe
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.formats import WriteOptions, spz
from sfumato.formats.spz import container

from scenes import crowd

# Two Gaussians of degree 1, from RDF, antialiased, written by @adobe/spz 0.2.3 (Niantic's library in WebAssembly)
THEIRS = {
    2: "H4sIAAAAAAAAA/NzDw5gYmBgAGFGHkYGBgEGBgUGhhP/Gf78Zzjwk+Hf/4aHkyM/NXQaF1SsEPgwYf9+h+KZkScO7NiwYkFGQUVD"
    "RUFGQsSGHQcAgtGLjEgAAAA=",
    3: "H4sIAAAAAAAAAwFKALX/TkdTUAMAAAACAAAAAQwBAAAQAAAgAADI/wD8/wDA+QD+/4Dhk1nygIkzcHioEPCQaaWdFtlGguTIwLiw"
    "qKBocHiAeHBoYFiwuMABiysBSgAAAA==",
    4: "TkdTUAQAAAACAAAAAQwBBiAAAAAAAAAAAAAAAAAAAAAbAAAAAAAAABIAAAAAAAAACwAAAAAAAAACAAAAAAAAAA8AAAAAAAAABgAA"
    "AAAAAAAPAAAAAAAAAAYAAAAAAAAAEQAAAAAAAAAIAAAAAAAAABsAAAAAAAAAEgAAAAAAAAAotS/9IBKRAAAAEAAAIAAAyP8A/P8A"
    "wPkA/v8otS/9IAIRAACA4Si1L/0gBjEAAJNZ8oCJMyi1L/0gBjEAAHB4qBDwkCi1L/0gCEEAAGmlnRbZRoLkKLUv/SASkQAAyMC4"
    "sKigaHB4gHhwaGBYsLjA",
}
# the largest errors of a field, for numbers that need no clamping: half a step, and what float32 adds
MEANS, OPACITIES, SH0, LOG_SCALES = 0.5 / 4096, 0.5 / 255, 0.5 / 255 / 0.15, 0.5 / 16
DEGREES = {2: 7.0, 3: 0.24, 4: 0.24}  # of rotations
HARMONICS = {
    4: (1 / 32, 1 / 16),
    5: (1 / 64, 1 / 32),
    6: (1 / 128, 1 / 64),
    8: (1 / 256, 1 / 256),
}  # bits -> of degree 1, of the others
ROUNDING = 1e-6


def two() -> Gaussians:
    """What THEIRS were written from."""
    return Gaussians(
        means=torch.tensor([[1, -2, 3.5], [-0.25, 100, 0.125]]),
        quats=torch.tensor([[0.5, 0.5, -0.5, 0.5], [-0.9273618495495703, 0.1, 0.2, -0.3]]),
        log_scales=torch.tensor([[-3, -2.5, 0.5], [-9, 5, -1]]),
        logit_opacities=torch.tensor([0.0, 2]),
        sh0=torch.tensor([[[0.5, -1, 3]], [[0, 0.25, -2]]]),
        shN=((torch.arange(18) - 9) / 16).reshape(2, 3, 3),
    )


def random_gaussians(N: int, degree: int) -> Gaussians:
    """Of all kinds, but within what SPZ holds."""
    gaussians = crowd(N, degree)
    return replace(gaussians, sh0=gaussians.sh0.clamp(-3.3, 3.3), shN=gaussians.shN.clamp(-0.95, 0.95))


def header(version: int = 3, count: int = 1, degree: int = 0, fraction: int = 12, flags: int = 0) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, fraction, flags, 0)


def body_of(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def save(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def turns(a: torch.Tensor, b: torch.Tensor) -> float:
    """Degrees of the largest rotation between two sets of quaternions."""
    a, b = (torch.nn.functional.normalize(quats.double(), dim=1) for quats in (a, b))
    return math.degrees(2 * math.acos(min(1.0, (a * b).sum(dim=1).abs().min().item())))


def check_close(written: Gaussians, read: Gaussians, version: int = 3, bits: int = 6, slack: float = 0.0) -> None:
    """Every field is as near as it must be; `slack` is for harmonics alone."""

    def apart(a: torch.Tensor, b: torch.Tensor) -> float:
        return (a - b).abs().max().item() if a.numel() else 0.0

    assert apart(written.means, read.means) <= MEANS + ROUNDING
    assert apart(written.opacities, read.opacities) <= OPACITIES + ROUNDING
    assert apart(written.sh0, read.sh0) <= SH0 + ROUNDING
    assert apart(written.log_scales, read.log_scales) <= LOG_SCALES + ROUNDING
    assert turns(written.quats, read.quats) <= DEGREES[version]
    first, others = HARMONICS[bits]
    assert apart(written.shN[:, :3], read.shN[:, :3]) <= first + slack + ROUNDING
    assert apart(written.shN[:, 3:], read.shN[:, 3:]) <= others + slack + ROUNDING


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("count", [1, 255, 256, 257])
def test_round_trips(tmp_path: Path, seed: int, version: int, degree: int, count: int) -> None:
    written = random_gaussians(count, degree)
    formats.write(tmp_path / "a.spz", written, WriteOptions(spz_version=version))
    read = formats.read_asset(tmp_path / "a.spz")
    assert (len(read), read.gaussians.degree, read.axes, read.format, read.antialiased) == (
        count,
        degree,
        "RDF",
        "SPZ",
        False,
    )
    assert formats.count(tmp_path / "a.spz") == count
    check_close(written, read.gaussians, version)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_more_rows_than_a_chunk(tmp_path: Path, seed: int, version: int) -> None:
    written = random_gaussians(spz._CHUNK + 3, 1)
    formats.write(tmp_path / "a.spz", written, WriteOptions(spz_version=version))
    read = formats.read(tmp_path / "a.spz")
    check_close(written, read, version)
    # the bounds are near: a reader or writer that lost a bit would be found out
    assert (written.means - read.means).abs().max() > 0.9 * MEANS
    assert (written.log_scales - read.log_scales).abs().max() > 0.9 * LOG_SCALES
    assert (written.sh0 - read.sh0).abs().max() > 0.9 * SH0
    assert turns(written.quats, read.quats) > 0.8 * DEGREES[version]
    assert (written.shN - read.shN).abs().max() > 0.9 * HARMONICS[6][0]


@pytest.mark.parametrize("bits", [4, 5, 6, 8])
def test_bits_of_harmonics(tmp_path: Path, seed: int, bits: int) -> None:
    written = random_gaussians(5000, 3)
    formats.write(tmp_path / "a.spz", written, WriteOptions(spz_sh_bits=bits))
    check_close(written, formats.read(tmp_path / "a.spz"), 3, bits)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("degree", [0, 3])
def test_nothing_at_all(tmp_path: Path, version: int, degree: int) -> None:
    formats.write(tmp_path / "a.spz", Gaussians.empty(degree), WriteOptions(spz_version=version))
    read = formats.read(tmp_path / "a.spz")
    assert (len(read), read.degree) == (0, degree)


@pytest.mark.parametrize("version", THEIRS)
def test_the_bytes_of_the_official_library(tmp_path: Path, version: int) -> None:
    theirs = base64.b64decode(THEIRS[version])
    formats.write(tmp_path / "a.spz", Asset(two(), antialiased=True), WriteOptions(spz_version=version))
    if version == 4:
        assert (tmp_path / "a.spz").read_bytes() == theirs
    else:
        assert body_of(tmp_path / "a.spz") == gzip.decompress(theirs)
    read = formats.read_asset(save(tmp_path / "theirs.spz", theirs))
    assert read.antialiased
    assert torch.equal(read.gaussians.means, two().means)
    assert torch.equal(read.gaussians.log_scales, two().log_scales)
    assert torch.equal(read.gaussians.shN, two().shN)
    check_close(two(), read.gaussians, version)


def test_bytes_worked_out_by_hand(tmp_path: Path) -> None:
    positions = bytes([0, 16, 0, 255, 255, 255, 0, 0, 128])  # 1, -1/4096 and -2048 in 24 bits
    colors = bytes([0, 255, 51])  # -0.5 / 0.15, 0.5 / 0.15, -0.3 / 0.15
    scales = bytes([0, 255, 160])  # -10, 5.9375, 0
    rotation = struct.pack("<I", 3 << 30 | 511 << 20 | 1023 << 10)  # w dropped: x and -y are sqrt(1/2), z and w 0
    path = save(tmp_path / "a.spz", gzip.compress(header() + positions + b"\x80" + colors + scales + rotation))
    raw, read = formats.read_asset(path, raw=True), formats.read(path)
    assert raw.axes == "RUB"
    assert raw.gaussians.means.tolist() == [[1, -1 / 4096, -2048]]
    assert read.means.tolist() == [[1, 1 / 4096, 2048]]
    assert read.opacities.item() == pytest.approx(128 / 255)
    assert read.sh0[0, 0].tolist() == pytest.approx([-10 / 3, 10 / 3, -2])
    assert read.log_scales.tolist() == [[-10, 5.9375, 0]]
    assert raw.gaussians.quats[0].tolist() == pytest.approx([0, math.sqrt(0.5), -math.sqrt(0.5), 0], abs=1e-3)
    assert read.quats[0].tolist() == pytest.approx([0, math.sqrt(0.5), math.sqrt(0.5), 0], abs=1e-3)


def test_the_rotation_of_version_2_by_hand(tmp_path: Path) -> None:
    data = bytes(9) + b"\0" + bytes(3) + bytes(3) + bytes([0, 128, 255])  # -1, 0.0039, 1: w is 0
    read = formats.read_asset(save(tmp_path / "a.spz", gzip.compress(header(version=2) + data)), raw=True)
    assert read.gaussians.quats[0].tolist() == pytest.approx([0, -math.sqrt(0.5), 0.00277, math.sqrt(0.5)], abs=1e-5)


def test_version_1_has_positions_of_16_bits(tmp_path: Path) -> None:
    data = np.array([1.5, -2, 1000], "<f2").tobytes() + b"\xff" + bytes(3) + bytes(3) + bytes([255, 128, 128])
    path = save(tmp_path / "a.spz", gzip.compress(header(version=1) + data))
    assert formats.read_asset(path, raw=True).gaussians.means.tolist() == [[1.5, -2, 1000]]
    assert formats.read(path).means.tolist() == [[1.5, 2, -1000]]
    assert formats.read(path).logit_opacities.item() == pytest.approx(13.8, abs=0.1)  # not infinite


def test_degree_4_is_read(tmp_path: Path) -> None:
    data = bytes(9) + b"\0" + bytes(3) + bytes(3) + bytes(4) + bytes(range(100, 172))
    read = formats.read_asset(save(tmp_path / "a.spz", gzip.compress(header(degree=4) + data)), raw=True)
    assert (read.gaussians.shN[0] * 128 + 128).flatten().tolist() == list(range(100, 172))


def test_a_file_that_nobody_packed(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.spz", two())
    read = formats.read(save(tmp_path / "b.spz", body_of(tmp_path / "a.spz")))
    assert torch.equal(read.shN, two().shN)
    with pytest.raises(InputError, match="truncated"):
        formats.read(save(tmp_path / "b.spz", body_of(tmp_path / "a.spz")[:-1]))


def test_gzip_of_several_members(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.spz", two())
    body = body_of(tmp_path / "a.spz")
    parts = [gzip.compress(body[start : start + 13]) for start in range(0, len(body), 13)]
    assert torch.equal(formats.read(save(tmp_path / "b.spz", *parts)).shN, two().shN)
    assert torch.equal(formats.read(save(tmp_path / "b.spz", *parts, b"\0\0\0")).shN, two().shN)


# file, rows, degree, range of x, y, z, median of log scale 0, mean opacity, mean f_dc_0, mean |f_rest_0|
@pytest.mark.parametrize(
    ("name", "count", "degree", "low", "high", "numbers"),
    [
        ("train3pts.spz", 3, 3, [-2.748, -0.08105, -1.329], [2.008, 1.012, 1.397], [-4.75, 0.2928, 0.2832, 0]),
        ("minimal-raw.spz", 4, 0, [-1, 0, -1], [0, 0, 0], [-2.3125, 0.9020, 0, 0]),
        ("minimal-v2.spz", 4, 0, [-1, 0, -1], [0, 0, 0], [-2.3125, 0.9020, 0, 0]),
        ("minimal-v3.spz", 4, 0, [-1, 0, 0], [0, 0, 1], [-2.3125, 0.9020, 0, 0]),
        ("minimal-v4.spz", 4, 0, [-1, 0, 0], [0, 0, 1], [-2.3125, 0.9020, 0, 0]),
    ],
)
def test_files_of_other_programs(
    shared_data: Path, name: str, count: int, degree: int, low: list[float], high: list[float], numbers: list[float]
) -> None:
    asset = formats.read_asset(shared_data / "splats" / name, raw=True)
    gaussians = asset.gaussians
    assert (len(gaussians), gaussians.degree, asset.axes, asset.format) == (count, degree, "RUB", "SPZ")
    assert gaussians.means.min(dim=0).values.tolist() == pytest.approx(low, abs=5e-4)
    assert gaussians.means.max(dim=0).values.tolist() == pytest.approx(high, abs=5e-4)
    found = [
        np.median(gaussians.log_scales[:, 0]).item(),
        gaussians.opacities.mean().item(),
        gaussians.sh0[:, 0, 0].mean().item(),
        gaussians.shN[:, :1, 0].abs().sum().item() / count,
    ]
    assert found == pytest.approx(numbers, abs=1e-4)


@pytest.mark.parametrize("name", ["inria_9080.spz", "inria_9080.v3.spz"])
def test_a_trained_splat_that_another_program_wrote(shared_data: Path, name: str) -> None:
    """It wrote the numbers of the PLY as they were, in PLY's frame, and rounds harmonics twice."""
    written = formats.read(shared_data / "splats" / "inria_9080.ply")
    read = formats.read_asset(shared_data / "splats" / "converted" / name, raw=True).gaussians
    fits = written.sh0.abs().amax(dim=(1, 2)) <= 0.5 / 0.15
    assert 8950 < int(fits.sum()) < 9000
    check_close(written[fits], read[fits], bits=4, slack=1 / 256)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("raw", [False, True])
def test_what_is_known_of_a_splat_is_kept(tmp_path: Path, version: int, raw: bool) -> None:
    origin = (448_262.123456789, -5_411_932.1, 1 / 3)
    asset = Asset(two(), "RDF", True, "disc", "srgb", 0.25, (0.0, -1.0, 0.0), origin)
    formats.write(tmp_path / "a.spz", asset, WriteOptions(raw=raw, spz_version=version))
    read = formats.read_asset(tmp_path / "a.spz")
    assert (read.antialiased, read.kernel, read.meters_per_unit) == (True, "disc", 0.25)
    assert (read.axes, read.up, read.origin) == ("RDF", (0, -1, 0), origin)
    assert torch.equal(read.gaussians.means, two().means)
    assert torch.equal(read.gaussians.shN, two().shN)


def in_gzip(path: Path, *fields: tuple[bytes, bytes]) -> bytes:
    """The bytes of a gzip file with fields in its header, as RFC 1952 has them."""
    data = path.read_bytes()
    assert data[3] == 0
    said = b"".join(struct.pack("<2sH", name, len(field)) + field for name, field in fields)
    return data[:3] + b"\4" + data[4:10] + struct.pack("<H", len(said)) + said + data[10:]


@pytest.mark.parametrize("version", [2, 3])
def test_what_an_asset_knows_lies_before_the_body(tmp_path: Path, version: int) -> None:
    """three.js and GaussianSplats3D refuse a body of these versions that is longer than its blocks."""
    formats.write(tmp_path / "a.spz", Asset(two(), origin=(1.0, 2.0, 3.0)), WriteOptions(spz_version=version))
    formats.write(tmp_path / "b.spz", two(), WriteOptions(spz_version=version))
    assert body_of(tmp_path / "a.spz") == body_of(tmp_path / "b.spz")
    note = (b"sf", b'{"origin":[1.0,-2.0,-3.0]}')  # in RUB, as the numbers
    assert (tmp_path / "a.spz").read_bytes() == in_gzip(tmp_path / "b.spz", note)
    path = save(tmp_path / "c.spz", in_gzip(tmp_path / "b.spz", (b"BC", b"\x12\x34"), note))
    assert formats.read_asset(path).origin == (1, 2, 3)
    assert formats.count(path) == 2


@pytest.mark.parametrize("field", [b"", b"s", b"sf", b"sf\1", b"sf\xff\xff", b"sf\1\0", b"sf\1\0{", b"BC\0\0"])
def test_a_note_that_is_damaged_is_passed_over(tmp_path: Path, field: bytes) -> None:
    formats.write(tmp_path / "a.spz", two())
    data = (tmp_path / "a.spz").read_bytes()
    path = save(tmp_path / "b.spz", data[:3] + b"\4" + data[4:10] + struct.pack("<H", len(field)) + field + data[10:])
    read = formats.read_asset(path)
    assert read.origin == (0, 0, 0)
    assert torch.equal(read.gaussians.means, two().means)


def test_a_file_that_is_cut_within_its_note_is_truncated(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.spz", Asset(two(), origin=(1.0, 2.0, 3.0)))
    data = (tmp_path / "a.spz").read_bytes()
    for length in range(10, 45):
        with pytest.raises(InputError, match=r"b\.spz is (truncated|no SPZ file)"):
            spz.read(save(tmp_path / "b.spz", data[:length]))


@pytest.mark.parametrize("axes", ["LDB", "RDF", "RUB", "RUF", "LFD", "RBU"])
@pytest.mark.parametrize("version", [3, 4])
def test_raw_numbers_come_with_the_name_of_their_frame(tmp_path: Path, axes: str, version: int) -> None:
    asset = Asset(reframe(two(), "RDF", axes), axes)
    formats.write(tmp_path / "a.spz", asset, WriteOptions(raw=True, spz_version=version))
    raw = formats.read_asset(tmp_path / "a.spz", raw=True)
    assert raw.axes == axes
    assert torch.equal(raw.gaussians.means, asset.gaussians.means)
    read = formats.read(tmp_path / "a.spz")
    assert torch.allclose(read.means, two().means)
    assert torch.allclose(read.covariances, two().covariances, rtol=0.1, atol=20)
    assert torch.allclose(read.shN, two().shN, atol=0.1)


def test_a_frame_that_spz_has_no_name_for_is_told(tmp_path: Path) -> None:
    with pytest.warns(SfumatoWarning, match=r"a\.spz: .*no name for the frame DRF"):
        formats.write(tmp_path / "a.spz", Asset(two(), "DRF"), WriteOptions(raw=True))


def with_records(tmp_path: Path, version: int, *records: tuple[int, bytes]) -> Path:
    """The two Gaussians with extension records."""
    formats.write(tmp_path / "a.spz", two(), WriteOptions(spz_version=version))
    said = b"".join(struct.pack("<II", kind, len(data)) + data for kind, data in records)
    if version == 4:
        data = bytearray((tmp_path / "a.spz").read_bytes())
        data[14] |= 2
        data[16:20] = struct.pack("<I", 32 + len(said))
        return save(tmp_path / "b.spz", bytes(data[:32]), said, bytes(data[32:]))
    body = bytearray(body_of(tmp_path / "a.spz"))
    body[14] |= 2
    return save(tmp_path / "b.spz", gzip.compress(bytes(body) + said))


@pytest.mark.parametrize("version", [2, 3, 4])
def test_records_of_others_are_passed_over(tmp_path: Path, version: int) -> None:
    path = with_records(tmp_path, version, (0xADBE0002, struct.pack("<3f", -1, 1, 2)), (0x12340001, b"x"), (1, b""))
    assert torch.equal(formats.read(path).shN, two().shN)
    path = with_records(tmp_path, version, (7, bytes(24)), (0xADBE0003, struct.pack("<I", 6)))
    assert formats.read_asset(path, raw=True).axes == "RDF"
    assert torch.equal(formats.read(path).means, formats.read_asset(path, raw=True).gaussians.means)
    path = with_records(tmp_path, version, (0xADBE0003, bytes(4)))  # unspecified
    assert formats.read_asset(path, raw=True).axes == "RUB"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 4000, b'{"origin":[1]}', b'{"origin":["a",1e999,0],"up":7}', b"\xff"]
)
def test_a_record_of_ours_that_is_damaged_is_passed_over(tmp_path: Path, data: bytes) -> None:
    read = formats.read_asset(with_records(tmp_path, 3, (container.FACTS, data)))
    assert (read.origin, read.up) == ((0, 0, 0), None)


@pytest.mark.parametrize("version", [3, 4])
def test_damaged_records_are_refused(tmp_path: Path, version: int) -> None:
    with pytest.raises(InputError, match="coordinate system must be one of 1 to 16; got 17"):
        formats.read(with_records(tmp_path, version, (0xADBE0003, struct.pack("<I", 17))))
    path = with_records(tmp_path, version, (7, b"1234"))
    data = path.read_bytes() if version == 4 else body_of(path)
    data = data.replace(struct.pack("<II", 7, 4), struct.pack("<II", 7, 5))
    with pytest.raises(InputError, match="extension records must end where their lengths say"):
        formats.read(save(tmp_path / "c.spz", data if version == 4 else gzip.compress(data)))


def test_the_finest_of_levels_of_detail(tmp_path: Path) -> None:
    written = random_gaussians(3, 1)
    formats.write(tmp_path / "a.spz", written)
    body = bytearray(body_of(tmp_path / "a.spz"))
    body[14] |= 0x80
    body[16 + 3 * 9 : 16 + 3 * 10] = bytes([10, 51, 255])  # halves of opacities: 51/255 is 0.4
    tree = np.array([2, 0, 0], "<u2").tobytes() + np.array([1, 0, 0], "<u4").tobytes()
    path = save(tmp_path / "b.spz", gzip.compress(bytes(body) + tree))
    read = formats.read_asset(path)
    assert formats.count(path) == len(read) == 2
    assert (written.means[1:] - read.gaussians.means).abs().max() < MEANS + ROUNDING
    assert read.gaussians.opacities.tolist() == pytest.approx([0.4, 1], abs=1e-5)
    assert read.notes == ("of its 3 Gaussians at levels of detail the finest, 2, are read",)
    with pytest.raises(InputError, match="truncated"):
        formats.read(save(tmp_path / "b.spz", gzip.compress(bytes(body) + tree[:-1])))


@pytest.mark.parametrize(("far", "fraction"), [(2047.99, 12), (2048.0, 11), (3000.0, 11), (1e5, 6), (8_388_607.0, 0)])
def test_far_positions_are_kept_in_coarser_steps(tmp_path: Path, far: float, fraction: int) -> None:
    gaussians = two()
    gaussians.means[0, 1] = -far
    if fraction < 12:
        with pytest.warns(SfumatoWarning, match=f"kept in steps of 1/{2**fraction:,} unit, not 1/4,096"):
            formats.write(tmp_path / "a.spz", gaussians)
    else:
        formats.write(tmp_path / "a.spz", gaussians)
    assert body_of(tmp_path / "a.spz")[13] == fraction
    read = formats.read(tmp_path / "a.spz")
    assert (read.means - gaussians.means).abs().max() <= 0.5 / 2**fraction * (1 + 1e-6)


def test_positions_that_are_too_far_are_refused(tmp_path: Path) -> None:
    gaussians = two()
    gaussians.means[1, 2] = 8_388_608
    with pytest.raises(
        InputError, match=r"a\.spz: SPZ wants all positions within 8,388,607 units of zero; one is 8,388,608"
    ):
        formats.write(tmp_path / "a.spz", gaussians)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_clamped_and_told(tmp_path: Path) -> None:
    gaussians = two()
    gaussians.sh0[0, 0, 1], gaussians.log_scales[1, 0], gaussians.shN[1, 2, 0] = -4, -20, 1.5
    with pytest.warns(SfumatoWarning) as caught:
        formats.write(tmp_path / "a.spz", gaussians)
    said = [str(warning.message) for warning in caught]
    assert len(said) == 3
    assert all("1 of 2 Gaussians have" in sentence for sentence in said)
    read = formats.read(tmp_path / "a.spz")
    assert read.sh0[0, 0, 1] == pytest.approx(-0.5 / 0.15)
    assert read.log_scales[1, 0] == -10
    assert read.shN[1, 2, 0] == 127 / 128


def test_degree_4_is_cut_and_told(tmp_path: Path, seed: int) -> None:
    written = random_gaussians(5, 4)
    with pytest.warns(SfumatoWarning, match="harmonics of 5 Gaussians are cut from degree 4 to 3"):
        formats.write(tmp_path / "a.spz", written)
    check_close(written.with_degree(3), formats.read(tmp_path / "a.spz"))


def test_quaternions_of_any_length(tmp_path: Path) -> None:
    gaussians = two()
    longer = replace(gaussians, quats=gaussians.quats * torch.tensor([[-30.0], [1e-3]]))
    for version in (2, 3, 4):
        formats.write(tmp_path / "a.spz", longer, WriteOptions(spz_version=version))
        read = formats.read(tmp_path / "a.spz")
        assert turns(gaussians.quats, read.quats) < DEGREES[version]
        assert read.quats.norm(dim=1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (gzip.compress(b"NGSP"), "truncated: an SPZ header has 16 bytes; got 4"),
        (b"NGSP\3", "truncated: an SPZ header has 16 bytes; got 5"),
        (header(version=5), "SPZ of version 5"),
        (header(version=0), "SPZ of version 0"),
        (gzip.compress(header(degree=5)), "degree of harmonics must be 0 to 4; got 5"),
        (gzip.compress(header(fraction=32)), "fractional bits must be 0 to 31; got 32"),
        (header(), "truncated: it promises 1 Gaussians, which take 20 bytes, and 0 follow"),
        (gzip.compress(header()), "truncated: it promises 1 Gaussians, which take 20 bytes unpacked"),
        (gzip.compress(header(count=2**32 - 1, degree=3)), "promise 4,294,967,295 Gaussians, which take 1013.61 GB"),
        (gzip.compress(header(count=0) + bytes(1 << 24) + b"1"), "damaged: more than 17 MB follow"),
        (gzip.compress(header(count=0))[:-1], "truncated: its gzip stream has no end"),
        (gzip.compress(header(count=0))[:-5] + b"12345", "damaged: its gzip stream cannot be unpacked"),
        (header(version=4), "truncated: it ends in its header"),
        (header(version=4) + struct.pack("<I12x", 31), "table of streams must be within its 32 bytes"),
        (header(version=4) + struct.pack("<I12x", 33), "table of streams must be within its 32 bytes"),
        (header(version=4) + struct.pack("<I12x", 32), "its streams' lengths must be those of 1 Gaussians"),
        (header(version=4, count=2**32 - 1) + struct.pack("<I12x", 32), "its 32 bytes promise 4,294,967,295 Gaussians"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # gzip's bytes tell the time
)  # fmt: skip
def test_damaged_files_get_one_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        formats.read(save(tmp_path / "a.spz", data))
    assert "a.spz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_truncation_is_refused(tmp_path: Path, version: int) -> None:
    formats.write(tmp_path / "a.spz", Asset(two(), origin=(1, 2, 3)), WriteOptions(spz_version=version))
    data = (tmp_path / "a.spz").read_bytes()
    for length in range(len(data)):
        with pytest.raises(InputError):
            formats.read(save(tmp_path / "b.spz", data[:length]))


def with_streams(path: Path, *streams: tuple[bytes, int]) -> Path:
    """Version 4 of one Gaussian, degree 0, of the streams and the lengths that the table says."""
    start = bytearray(header(version=4))
    start[15] = len(streams)
    table = b"".join(struct.pack("<QQ", len(packed), length) for packed, length in streams)
    return save(path, bytes(start), struct.pack("<I12x", 32), table, *(packed for packed, _ in streams))


def test_streams_that_are_not_what_their_table_says(tmp_path: Path) -> None:
    lengths, pack = [9, 1, 3, 3, 4], zstandard.ZstdCompressor().compress
    good = [(pack(bytes(length)), length) for length in lengths]
    path = tmp_path / "a.spz"
    assert len(formats.read(with_streams(path, *good))) == 1
    assert len(formats.read(with_streams(path, *good, (pack(b""), 0)))) == 1  # empty ones may be left out, or not
    for bad, sentence in (
        ((pack(bytes(2)), 1), "must unpack to the length in its table"),
        ((pack(b""), 1), "must unpack to the length in its table"),
        ((pack(bytes(1000)), 1), "must unpack to the length in its table"),
        ((b"12345678", 1), "zstd stream cannot be unpacked"),
        ((pack(bytes(1)), 2), "lengths must be those of 1 Gaussians"),
    ):
        with pytest.raises(InputError, match=sentence):
            formats.read(with_streams(path, good[0], bad, *good[2:]))


def test_what_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (header(), header(9), gzip.compress(header()), base64.b64decode(THEIRS[2])[:20]):
        assert spz.recognizes(path, data)
    for data in (b"", b"NGS", b"\x1f\x8b", gzip.compress(b"NGS"), gzip.compress(b"ply\n" * 9), b"\x1f\x8b" + bytes(99)):
        assert not spz.recognizes(path, data)


def test_gzip_is_one_member_and_the_same_twice(tmp_path: Path, seed: int) -> None:
    written = random_gaussians(60_000, 3)  # some pieces
    formats.write(tmp_path / "a.spz", written)
    data = (tmp_path / "a.spz").read_bytes()
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert len(member.decompress(data)) == 16 + 65 * 60_000
    assert member.eof
    assert member.unused_data == b""
    formats.write(tmp_path / "b.spz", written)
    assert data == (tmp_path / "b.spz").read_bytes()


def test_what_repeats_is_packed_as_such(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.spz", two()[torch.arange(2).repeat(50_000)])
    assert (tmp_path / "a.spz").stat().st_size < 29 * 100_000 / 100
