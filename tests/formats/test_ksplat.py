""".ksplat: another program's files, bytes made by hand, what a round trip costs at each level, and damaged headers."""

import math
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.core.sh import C0, bases_of_degree
from sfumato.formats import ksplat, ply, splat
from sfumato.formats.ksplat.buckets import into_buckets
from sfumato.formats.options import WriteOptions


def some(count: int, degree: int = 0, spread: float = 10.0) -> Gaussians:
    """Random, with colors that bytes and standard deviations that float16 can hold."""
    rest = bases_of_degree(degree) - 1
    return Gaussians(
        means=torch.randn(count, 3) * spread,
        quats=torch.randn(count, 4),
        log_scales=torch.randn(count, 3) - 3,
        logit_opacities=torch.randn(count) * 2,
        sh0=(torch.rand(count, 1, 3) - 0.5) / C0,
        shN=torch.rand(count, rest, 3) * 2 - 1,
    )


def main_header(level: int, rows: int, sections: int = 1, low: float = 0, high: float = 0, version: int = 1) -> bytes:
    packed = struct.pack("<BBxx4IHxx5f", 0, version, sections, 0, 0, rows, level, 0, 0, 0, low, high)
    return packed + bytes(4096 - len(packed))


def section_header(rows: int, degree: int = 0, **say: float) -> bytes:
    values = {"size": 256, "buckets": 0, "block": 5.0, "center": 12, "steps": 0, "full": 0, "partial": 0, **say}
    size, buckets, block, center, steps, full, partial = values.values()
    packed = struct.pack("<4IfHxx4IH", 0, rows, size, buckets, block, center, steps, 0, full, partial, degree)
    return packed + bytes(1024 - len(packed))


def save(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def degrees_apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    turn = matrix_from_quaternion(a.double()) @ matrix_from_quaternion(b.double()).mT
    sine = (turn - turn.mT)[:, [2, 0, 1], [1, 2, 0]].norm(dim=1) / 2
    return sine.clamp(max=1).asin().rad2deg()


def test_a_record_of_level_0_by_hand(tmp_path: Path) -> None:
    numbers = struct.pack("<10f", 1, 2, 3, 1, math.e, 0.5, 0.5, -0.5, 0.5, 0.5) + bytes([0, 51, 255, 102])
    harmonics = struct.pack("<9f", *range(9))  # red m = -1, 0, 1, then green, then blue
    path = save(tmp_path / "a.ksplat", main_header(0, 1), section_header(1, degree=1), numbers, harmonics)
    gaussians = ksplat.read(path).gaussians
    assert gaussians.means.tolist() == [[1, 2, 3]]
    assert gaussians.log_scales[0].tolist() == pytest.approx([0, 1, math.log(0.5)])
    assert gaussians.quats.tolist() == [[0.5, -0.5, 0.5, 0.5]]
    assert gaussians.sh0[0, 0].tolist() == pytest.approx([-0.5 / C0, -0.3 / C0, 0.5 / C0])
    assert gaussians.opacities.tolist() == pytest.approx([0.4])
    assert gaussians.shN[0].tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def record_of_level_2(x: int, harmonics: list[int]) -> bytes:
    return struct.pack("<3H7e4B", x, 32767, 32767 + 100, 1, 1, 1, 1, 0, 0, 0, 9, 9, 9, 9) + bytes(harmonics)


def test_full_and_partial_buckets_by_hand(tmp_path: Path) -> None:
    # buckets of 2 rows: one full, then one of 1 row; a block of 65534 units makes a step one unit
    says = {"size": 2, "buckets": 2, "block": 65534.0, "full": 1, "partial": 1}
    tables = struct.pack("<I", 1) + struct.pack("<6f", 1000, 0, 0, 0, 7, 0)
    records = [record_of_level_2(x, [0, 255, *[51] * 7, *range(15)]) for x in (32767, 32768, 0)]
    header = main_header(2, 3, low=-1, high=4)
    path = save(tmp_path / "a.ksplat", header, section_header(3, degree=2, **says), tables, *records)
    gaussians = ksplat.read(path).gaussians
    assert gaussians.means.tolist() == [[1000, 0, 100], [1001, 0, 100], [-32767, 7, 100]]
    assert gaussians.shN[0, :3, 0].tolist() == pytest.approx([-1, 4, 0], abs=1e-6)  # -1 + 51 / 255 * 5 = 0
    steps = (gaussians.shN[2, 3:] + 1) * 51
    assert steps.round().tolist() == [[k, k + 5, k + 10] for k in range(5)]


def test_headers_without_bounds_mean_those_of_the_maker(tmp_path: Path) -> None:
    says = {"buckets": 1, "partial": 1, "block": 5.0}
    data = [struct.pack("<I3f", 1, 0, 0, 0), record_of_level_2(65534, [0, 255, *[0] * 7])]
    path = save(tmp_path / "a.ksplat", main_header(2, 1), section_header(1, degree=1, **says), *data)
    gaussians = ksplat.read(path).gaussians
    assert gaussians.means[0, 0].item() == 2.5  # 32767 steps to the face of a block of 5
    assert gaussians.shN[0, :2, 0].tolist() == [-1.5, 1.5]


def test_sections_of_different_degrees(tmp_path: Path) -> None:
    plain = struct.pack("<10f4B", 1, 0, 0, *[1] * 3, 1, 0, 0, 0, *[9] * 4)
    bright = struct.pack("<10f4B9f", 2, 0, 0, *[1] * 3, 1, 0, 0, 0, *[9] * 4, *[0.5] * 9)
    heads = [section_header(1), section_header(2, degree=1), section_header(0)]
    path = save(tmp_path / "a.ksplat", main_header(0, 3, sections=3), *heads, plain, bright, bright)
    gaussians = ksplat.read(path).gaussians
    assert gaussians.means[:, 0].tolist() == [1, 2, 2]
    assert gaussians.shN[:, 0, 0].tolist() == [0, 0.5, 0.5]
    assert ksplat.count(path) == 3


def test_the_bytes_that_are_written(tmp_path: Path) -> None:
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0, 0], [20, 0, 0]]),
        quats=torch.tensor([[2.0, 0, 0, 0], [1, 1, 1, 1]]),
        log_scales=torch.tensor([[0.0, 0, 0], [-1, 0, 1]]),
        logit_opacities=torch.zeros(2),
        sh0=torch.zeros(2, 1, 3),
        shN=torch.tensor([[[0.0, 0, 0]] * 3, [[1.27, 0, -0.5], [0, 0, 0], [0, 0, 0]]]),
    )
    ksplat.write(tmp_path / "a.ksplat", Asset(gaussians), WriteOptions(ksplat_level=2))
    data = (tmp_path / "a.ksplat").read_bytes()
    header = struct.pack("<BBxx4IHxx5f", 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, -1.27, 1.28)
    assert data[: len(header)] == header
    section = struct.pack("<4IfHxx4IH", 2, 2, 256, 2, 5.0, 12, 32767, 8 + 24 + 66, 0, 2, 1)
    assert data[4096 : 4096 + len(section)] == section
    assert data[5120:5152] == struct.pack("<2I6f", 1, 1, 2.5, 2.5, 2.5, 22.5, 2.5, 2.5)  # blocks from the least mean on
    first = struct.pack("<3H7e4B", 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 128, 128, 128, 128) + bytes([127] * 9)
    scales = [float(np.float16(math.exp(value))) for value in (-1, 0, 1)]
    second = struct.pack("<3H7e4B", 0, 0, 0, *scales, *[0.5] * 4, 128, 128, 128, 128)
    assert data[5152:] == first + second + bytes([254, 127, 127, 127, 127, 127, 77, 127, 127])  # 127 + 100 x value


# level -> means (as a share of the cube's edge of 5 or less), log scales, degrees, harmonics in [-1, 1]
COSTS = {0: (0, 2e-6, 4e-5, 0), 1: (0.5 / 65534, 5e-4, 0.06, 2.5e-4), 2: (0.5 / 65534, 5e-4, 0.06, 0.5 / 127)}


@pytest.mark.parametrize("level", COSTS)
@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize(("count", "spread"), [(0, 1.0), (1, 1.0), (257, 0.1), (3000, 3.0)])
def test_what_a_round_trip_costs(tmp_path: Path, level: int, degree: int, count: int, spread: float, seed: int) -> None:
    gaussians, path = some(count, degree, spread), tmp_path / "a.ksplat"
    ksplat.write(path, Asset(gaussians), WriteOptions(ksplat_level=level))
    back = ksplat.read(path).gaussians
    assert ksplat.count(path) == len(back) == count
    assert back.degree == degree
    before = gaussians
    if level and count:
        before = gaussians[torch.from_numpy(into_buckets(gaussians.means.numpy()).order)]
    mean, log_scale, turn, sh = COSTS[level]
    block = min(5.0, (gaussians.means.amax(dim=0) - gaussians.means.amin(dim=0)).max().item()) if count else 0
    torch.testing.assert_close(back.means, before.means, rtol=0, atol=mean * block + (level and 2e-6))
    torch.testing.assert_close(back.log_scales, before.log_scales, rtol=0, atol=log_scale)
    torch.testing.assert_close(back.opacities, before.opacities, rtol=0, atol=0.5 / 255 + 1e-6)
    torch.testing.assert_close(back.sh0, before.sh0, rtol=0, atol=0.5 / 255 / C0 + 1e-5)
    torch.testing.assert_close(back.shN, before.shN, rtol=0, atol=sh * 1.01)
    assert (degrees_apart(back.quats, before.quats) < turn).all()


@pytest.mark.parametrize("level", [1, 2])
def test_buckets_of_more_than_256_and_far_away(tmp_path: Path, level: int, seed: int) -> None:
    gaussians = some(2000)
    gaussians.means[:1000] = torch.rand(1000, 3)  # one cube: three full buckets and the rest of 232
    gaussians.means[1000:] *= 1e12
    ksplat.write(tmp_path / "a.ksplat", Asset(gaussians), WriteOptions(ksplat_level=level))
    back = ksplat.read(tmp_path / "a.ksplat").gaussians
    order = into_buckets(gaussians.means.numpy()).order
    apart = (back.means.double() - gaussians.means[order].double()).abs().amax(dim=1)
    far = gaussians.means[order].abs().amax(dim=1)
    assert (apart < 2.5 / 65534 + 1e-6 + far * 2.0**-22).all()  # half a step of a cube of 5 units, and float32
    near = far < 2
    assert near.sum() >= 1000
    assert apart[near].max() < 4e-5  # whatever lies elsewhere


def test_the_cubes_of_buckets() -> None:
    means = torch.zeros(600, 3).numpy()
    means[::2, 2] = 5.0  # on the face between two cubes: in the next
    buckets = into_buckets(means)
    assert (buckets.full, buckets.partial.tolist()) == (2, [44, 44])
    assert buckets.centers[:, 2].tolist() == [2.5, 7.5, 2.5, 7.5]  # the full ones first
    means[0, 0] = 100
    buckets = into_buckets(means)
    assert (buckets.block, buckets.full, buckets.partial.tolist()) == (5.0, 2, [44, 43, 1])
    assert buckets.centers.tolist()[-1] == [102.5, 2.5, 7.5]
    assert sorted(buckets.order.tolist()) == list(range(600))


def test_what_does_not_fit_is_said(tmp_path: Path, seed: int) -> None:
    gaussians = some(4, degree=3)
    gaussians.sh0[0], gaussians.log_scales[1, 0], gaussians.shN[2, 0, 0] = 5, 12, 9
    with pytest.warns(SfumatoWarning) as said:
        ksplat.write(tmp_path / "a.ksplat", Asset(gaussians), WriteOptions(ksplat_level=2))
    sentences = [str(warning.message).removeprefix(f"{tmp_path / 'a.ksplat'}: ") for warning in said]
    clamped = "and are given the nearest that fits"
    assert sentences == [
        "the harmonics of 4 Gaussians are cut from degree 3 to 2, which is all that .ksplat holds",
        f"1 of 4 Gaussians have standard deviations beyond float16, {clamped}",
        f"1 of 4 Gaussians have colors beyond black or white, {clamped}",
        f"1 of 4 Gaussians have harmonics beyond 4.03, {clamped}",
    ]
    assert ksplat.read(tmp_path / "a.ksplat").gaussians.finite.all()


@pytest.mark.parametrize("level", [0, 1])
def test_the_frame_is_that_of_a_ply_unless_raw(tmp_path: Path, level: int, seed: int) -> None:
    gaussians, path = some(1), tmp_path / "a.ksplat"
    for options, signs in ((WriteOptions(ksplat_level=level), [1, -1, -1]), (WriteOptions(True, 3, level), [1, 1, 1])):
        ksplat.write(path, Asset(gaussians, axes="RUB"), options)
        back = ksplat.read(path).gaussians.means
        torch.testing.assert_close(back, gaussians.means * torch.tensor(signs), rtol=1e-5, atol=0)


def test_minimal_of_another_program(shared_data: Path) -> None:
    gaussians = ksplat.read(shared_data / "splats" / "minimal.ksplat").gaussians  # says that 0 sections are loaded
    assert (len(gaussians), gaussians.degree) == (4, 0)
    assert gaussians.means.amin(dim=0).tolist() == [-1, 0, -1]
    assert gaussians.means.amax(dim=0).tolist() == [0, 0, 0]
    assert gaussians.log_scales[:, 0].median().item() == pytest.approx(-2.3026, abs=5e-5)
    assert gaussians.opacities.mean().item() == pytest.approx(0.9020, abs=5e-5)


@pytest.mark.parametrize("sh", [0, 2])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_conversions_of_its_maker(shared_data: Path, level: int, sh: int) -> None:
    source = ply.read(shared_data / "splats" / "inria_9080.ply").gaussians
    gaussians = ksplat.read(shared_data / "splats" / "converted" / f"inria_9080.c{level}.sh{sh}.ksplat").gaussians
    assert gaussians.degree == sh
    assert len(gaussians) == len(source)
    matched = gaussians[::9]
    # several lie at one place, and differ in size
    keys = [torch.cat([some.means, 10 * some.log_scales], dim=1).double() for some in (matched, source)]
    expected = source[torch.cdist(*keys, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)]
    torch.testing.assert_close(
        matched.means, expected.means, rtol=0, atol=5e-4 if level else 0
    )  # in a bucket not theirs
    torch.testing.assert_close(matched.opacities, expected.opacities, rtol=0, atol=1 / 255)
    rgb = expected.sh0.clamp(-0.5 / C0, 0.5 / C0)
    torch.testing.assert_close(matched.sh0, rgb, rtol=0, atol=1.01 / 255 / C0)
    shN = expected.shN[:, : bases_of_degree(sh) - 1]
    if level == 2:  # the maker clamps them to its header's bounds, which miss a few
        shN = shN.clamp(-0.20010906457901, 0.21495726704597473)
    torch.testing.assert_close(matched.shN, shN, rtol=0, atol=(0, 2.5e-4, 1.7e-3)[level])
    covariances = (expected.covariances - matched.covariances).norm(dim=(1, 2)) / expected.covariances.norm(dim=(1, 2))
    assert covariances.max() < (1e-5, 3e-3, 3e-3)[level]


def test_recognized_under_any_name(shared_data: Path) -> None:
    for path in (shared_data / "splats").rglob("*.*"):
        head = path.read_bytes()[: 1 << 16] if path.is_file() else b""
        assert ksplat.recognizes(Path("download"), head) == (path.suffix == ".ksplat"), path
    assert not ksplat.recognizes(Path("download"), bytes(1 << 16))


@pytest.mark.parametrize("name", ["minimal.ksplat", "converted/inria_9080.c1.sh2.ksplat"])
def test_truncated_anywhere(shared_data: Path, tmp_path: Path, name: str) -> None:
    data = (shared_data / "splats" / name).read_bytes()
    path = tmp_path / "a.ksplat"
    for share in range(50):
        path.write_bytes(data[: len(data) * share // 50])
        for reader in (ksplat.read, ksplat.count):
            with pytest.raises(InputError, match=r"a\.ksplat is truncated: .*copy or download it again"):
                reader(path)


def test_a_section_of_nothing_takes_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ksplat", main_header(1, 0), section_header(0, full=MANY), bytes(99))
    tracemalloc.start()
    try:
        assert len(ksplat.read(path)) == 0
        assert tracemalloc.get_traced_memory()[1] < 10 << 20  # 32 GB for the ends of its buckets
    finally:
        tracemalloc.stop()


def test_other_files_of_that_name_are_what_they_are(tmp_path: Path, seed: int) -> None:
    splat.write(tmp_path / "a.splat", Asset(some(10)), WriteOptions())
    path = (tmp_path / "a.splat").rename(tmp_path / "a.ksplat")
    assert formats.read_asset(path).format == ".splat"
    with pytest.raises(InputError, match=r"a\.ksplat is no \.ksplat file, by what it begins with"):
        formats.read(save(path, b"<!DOCTYPE html>" * 99))


MANY = 4_000_000_000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (main_header(0, 1, version=2) + section_header(1), r"is no \.ksplat of version 0\.1 .* but version 0\.2"),
        (main_header(3, 1) + section_header(1), "at level 3"),
        (main_header(0, 1, sections=MANY) + section_header(1), "4000000000 sections take"),
        (main_header(0, 1) + section_header(MANY), "promises 4000000000 Gaussians"),
        (main_header(0, 1) + section_header(0, partial=MANY), "promises 0 Gaussians, which take 16000000000 bytes"),
        (main_header(0, 1) + section_header(1, degree=3), "harmonics of degree 3"),
        (main_header(1, 1) + section_header(1, buckets=1, center=16), "buckets of 16 bytes"),
        (main_header(1, 1) + section_header(1, buckets=1, full=2), "2 full and 0 other buckets"),
        (main_header(1, 1) + section_header(1, buckets=1, full=1, block=math.nan), "of edge nan"),
        (main_header(1, 1) + section_header(1, buckets=1, full=1, size=0) + bytes(99), "hold 0 of 1 Gaussians"),
        (main_header(1, 1) + section_header(1) + bytes(99), "hold 0 of 1 Gaussians"),
        (main_header(1, 1, sections=2**22) + section_header(1), "4194304 sections take 4294967296 bytes"),
    ],
)
def test_headers_that_make_no_sense(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        ksplat.read(save(tmp_path / "a.ksplat", data))
