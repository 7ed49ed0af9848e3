"""Quantised rows: what rounding may change, what is left out, and that the browser makes and reads the same numbers."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core.gaussians import Gaussians
from sfumato.view.packed import ROW, Packed, importance, most_important, pack, to_bytes, unpack

from agreeing import browser_reads


def some(count: int, degree: int, seed: int) -> Gaussians:
    """Random Gaussians, a few of them odd."""
    print(f"seed {seed}")
    torch.manual_seed(seed)
    gaussians = Gaussians(
        means=3 * torch.randn(count, 3),
        quats=torch.randn(count, 4) * torch.rand(count, 1) * 5,
        log_scales=torch.randn(count, 3) - 3,
        logit_opacities=3 * torch.randn(count),
        sh0=torch.randn(count, 1, 3),
        shN=0.1 * torch.randn(count, (degree + 1) ** 2 - 1, 3),
    )
    gaussians.quats[: count // 50] = torch.tensor([0.0, 0.0, -3.0, 0.0])
    gaussians.log_scales[-1] = -20
    return gaussians


@pytest.mark.parametrize("degree", range(4))
def test_bounds_of_rounding(degree: int) -> None:
    given = some(3000, degree, seed=degree)
    packed = pack(given)
    got = unpack(packed)
    assert (packed.count, packed.degree, len(packed.ranges)) == (3000, degree, 3)
    assert sum(a.nbytes for a in (packed.geometry, packed.looks, *packed.bands)) == 3 * ROW * (24, 32, 48, 64)[degree]
    assert torch.equal(got.means, given.means)
    spans = torch.from_numpy(packed.ranges).repeat_interleave(ROW, dim=0)[:3000]
    step = (spans[:, 1] - spans[:, 0]) / 1023
    assert ((got.log_scales - given.log_scales).abs() <= 0.502 * step[:, None] + 1e-6).all()
    colors = 0.28209479 * (got.sh0 - given.sh0)[:, 0]
    assert (colors.abs() <= 0.502 * ((spans[:, 3] - spans[:, 2]) / 255)[:, None] + 1e-6).all()
    assert (got.opacities - given.opacities).abs().max() <= 0.502 / 255
    dots = (torch.nn.functional.normalize(given.quats, dim=1) * got.quats).sum(dim=1).abs()
    assert 2 * dots.clamp(max=1).acos().rad2deg().max() < 0.3
    for band, bits in ((1, 7), (2, 8), (3, 6))[:degree]:
        rows = slice(band * band - 1, (band + 1) ** 2 - 1)
        limit = spans[:, 3 + band, None, None]
        share = (given.shN[:, rows] / limit).abs().sqrt() + 0.5 / (2 ** (bits - 1) - 1)
        # of share ** 2, moved by half a step at most
        bound = limit * (share**2 - (share - 1.0 / (2 ** (bits - 1) - 1)).clamp(min=0) ** 2)
        assert ((got.shN[:, rows] - given.shN[:, rows]).abs() <= bound).all()


def test_twice_is_once() -> None:
    """What has been rounded stays where it is."""
    once = unpack(pack(some(2000, 3, seed=5)))
    twice = unpack(pack(once))
    torch.testing.assert_close(once.log_scales, twice.log_scales, atol=1e-5, rtol=0)
    torch.testing.assert_close(once.shN, twice.shN, atol=1e-5, rtol=0)


def test_nothing_and_one_and_equals() -> None:
    assert len(unpack(pack(Gaussians.empty(3)))) == 0
    one = some(1, 3, seed=1)
    one.shN[:] = 0
    got = unpack(pack(one))
    assert torch.equal(got.shN, one.shN)
    assert torch.equal(got.log_scales, one.log_scales)  # low and high are the same, and decode to it
    assert pack(one).looks[1:].max() == 0  # what fills up the row is transparent


def test_degree_4_is_shown_at_3_and_fewer_on_demand() -> None:
    given = some(50, 4, seed=2)
    assert (pack(given).degree, pack(given, 1).degree, pack(given.with_degree(2)).degree) == (3, 1, 2)
    assert np.array_equal(pack(given).bands[2], pack(given.with_degree(3)).bands[2])


def test_what_cannot_be_drawn_is_left_out() -> None:
    given = some(10, 3, seed=3)
    given.means[0, 1] = torch.nan
    given.shN[4, 14, 2] = torch.inf
    given.quats[7] = 0
    packed = pack(given)
    assert (packed.count, packed.left_out) == (7, 3)
    assert torch.equal(unpack(packed).means, given.means[[1, 2, 3, 5, 6, 8, 9]])
    huge = given[torch.tensor([1, 2])]
    huge.sh0[:] = 3e38  # their sum is not finite, they are
    assert pack(huge).count == 2


def test_importance() -> None:
    given = some(100, 0, seed=4)
    s = given.scales.sort(dim=1).values
    torch.testing.assert_close(importance(given), given.opacities * s[:, 1] * s[:, 2])
    kept = most_important(given, 30)
    assert len(kept) == 30
    assert importance(kept).min() >= importance(given).sort().values[-30]
    places = [(given.means == mean).all(dim=1).nonzero().item() for mean in kept.means]
    assert places == sorted(places)
    assert most_important(given, 100) is given


def arrays_of(packed: Packed) -> bytes:
    return b"".join(array.tobytes() for array in (packed.ranges, packed.geometry, packed.looks, *packed.bands))


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_browser_packs_the_same(repository: Path, tmp_path: Path, degree: int) -> None:
    """A PLY, read and packed by the viewer's own code, and by ours: one level of difference at most."""
    given = some(2500, degree, seed=10 + degree)
    given.means[17, 0] = torch.nan
    formats.write(tmp_path / "a.ply", given)
    told, arrays = browser_reads((tmp_path / "a.ply").read_bytes(), repository, tmp_path)
    ours = pack(given)
    assert told["rows"] == [[2499, degree]]
    assert told["leftOut"] == ours.left_out == 1
    assert len(arrays) == len(arrays_of(ours))
    at = 0
    theirs = []
    for array in (ours.ranges, ours.geometry, ours.looks, *ours.bands):
        theirs.append(np.frombuffer(arrays, array.dtype, array.size, at).reshape(array.shape))
        at += array.nbytes
    ranges, geometry, looks, *bands = theirs
    np.testing.assert_allclose(ranges, ours.ranges, rtol=1e-6, atol=1e-7)
    assert np.array_equal(geometry[:, :3], ours.geometry[:, :3])
    fields = [
        (geometry[:, 3], ours.geometry[:, 3], (0, 10, 20), 1023),
        (looks[:, 0], ours.looks[:, 0], (0, 10, 20), 1023),
    ]
    fields += [(looks[:, 1], ours.looks[:, 1], (0, 8, 16, 24), 255)]
    for a, b, shifts, mask in fields:
        for shift in shifts:
            levels = np.abs((a >> shift & mask).astype(int) - (b >> shift & mask).astype(int))
            assert levels.max() <= 1
            assert (levels > 0).mean() < 0.01
    assert np.array_equal(geometry[:, 3] >> 30, ours.geometry[:, 3] >> 30)
    packed = Packed(ours.count, ours.degree, 1, ranges, geometry, looks, tuple(bands))
    for band in range(1, degree + 1):  # one level of the largest step of each band
        rows = slice(band * band - 1, (band + 1) ** 2 - 1)
        levels = 2 ** ({1: 7, 2: 8, 3: 6}[band] - 1) - 1
        difference = (unpack(packed).shN - unpack(ours).shN)[:, rows].abs()
        assert difference.max() <= 2.1 * ranges[:, 3 + band].max() / levels
        assert (difference > 1e-6).float().mean() < 0.01


def test_browser_reads_snapshots(repository: Path, tmp_path: Path) -> None:
    packed = pack(some(1500, 2, seed=20))
    data = to_bytes(packed, step=7, name="ä")
    assert int.from_bytes(data[4:8], "little") % 16 == 8
    told, arrays = browser_reads(data, repository, tmp_path)
    assert told["rows"] == [[1500, 2]]
    assert arrays == arrays_of(packed)


def test_fast_enough_for_live_snapshots() -> None:
    """100,000 of degree 3 take about 20 ms on one core; ten times that is a mistake somewhere."""
    given = some(100_000, 3, seed=30)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            to_bytes(pack(given))
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    assert min(times) < 0.25
