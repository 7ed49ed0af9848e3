""".splat: another program's files, bytes made by hand, what a round trip costs, and sentences for what is no .splat."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.core.sh import C0, bases_of_degree
from sfumato.formats import splat
from sfumato.formats.options import WriteOptions

OPTIONS = WriteOptions()


def some(count: int, degree: int = 0) -> Gaussians:
    """Random, with colors that bytes can hold."""
    rest = bases_of_degree(degree) - 1
    return Gaussians(
        means=torch.randn(count, 3) * 100,
        quats=torch.randn(count, 4),
        log_scales=torch.randn(count, 3) * 3 - 3,
        logit_opacities=torch.randn(count) * 2,
        sh0=(torch.rand(count, 1, 3) - 0.5) / C0,
        shN=torch.randn(count, rest, 3),
    )


def row(mean: list[float], scale: list[float], rgba: list[int], quat: list[int]) -> bytes:
    return struct.pack("<6f8B", *mean, *scale, *rgba, *quat)


def degrees_apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    turn = matrix_from_quaternion(a.double()) @ matrix_from_quaternion(b.double()).mT
    trace = turn.diagonal(dim1=1, dim2=2).sum(dim=1)
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()


def by_importance(gaussians: Gaussians) -> Gaussians:
    importance = gaussians.scales.prod(dim=1).double() * gaussians.opacities
    return gaussians[importance.argsort(descending=True)]


def test_a_row_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    path.write_bytes(row([1, -2, 3.5], [1, math.e, 0.5], [0, 51, 255, 102], [128, 0, 128, 128]))
    gaussians = splat.read(path).gaussians
    assert gaussians.means.tolist() == [[1, -2, 3.5]]
    assert gaussians.log_scales[0].tolist() == pytest.approx([0, 1, math.log(0.5)])
    assert gaussians.sh0[0, 0].tolist() == pytest.approx([-0.5 / C0, -0.3 / C0, 0.5 / C0])
    assert gaussians.opacities.tolist() == pytest.approx([0.4])
    assert gaussians.quats.tolist() == [[0, -1, 0, 0]]  # (128 - 128) / 128, (0 - 128) / 128
    assert gaussians.degree == 0


def test_what_bytes_cannot_say_is_finite_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    path.write_bytes(row([0, 0, 0], [0, -1, 0], [0] * 4, [128] * 4) + row([0] * 3, [1] * 3, [255] * 4, [0] * 4))
    gaussians = splat.read(path).gaussians
    assert gaussians.log_scales[0].tolist() == [-20, 0, -20]
    assert gaussians.logit_opacities.tolist() == pytest.approx([-13.8155, 13.8155], abs=2e-2)  # float32 near 1
    assert gaussians.quats.tolist() == [[1, 0, 0, 0], [-0.5] * 4]


def test_numbers_that_are_not_finite_stay_for_others_to_count(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    path.write_bytes(b"".join(row([x, 0, 0], [1] * 3, [0] * 4, [255, 128, 128, 128]) for x in (math.nan, 0)))
    assert splat.read(path).gaussians.finite.tolist() == [False, True]


@pytest.mark.parametrize("kind", ["bytes", "zeros", "floats"])
def test_other_programs_formats_of_that_name_are_refused(tmp_path: Path, kind: str, seed: int) -> None:
    rows = {"bytes": torch.randint(0, 256, (3200,), dtype=torch.uint8), "zeros": torch.zeros(800)}
    path = tmp_path / "a.splat"
    path.write_bytes(rows.get(kind, torch.randn(800)).numpy().tobytes())
    with pytest.raises(InputError, match=r"a\.splat is .*another program's \.splat: of 100 rows .*, \d+ make no"):
        splat.read(path)


def test_the_bytes_that_are_written(tmp_path: Path) -> None:
    gaussians = Gaussians(
        means=torch.tensor([[1.0, 2, 3], [4, 5, 6]]),
        quats=torch.tensor([[2.0, 0, 0, 0], [0.6, 0, -0.8, 0]]),
        log_scales=torch.tensor([[0.0, 0, 0], [1, 0, 0]]),
        logit_opacities=torch.tensor([0.0, 0.0]),
        sh0=torch.tensor([[[0.0, 0.1 / C0, -0.5 / C0]], [[0.5 / C0, 0, 0]]]),
        shN=torch.zeros(2, 0, 3),
    )
    splat.write(tmp_path / "a.splat", Asset(gaussians), OPTIONS)
    first = row([4, 5, 6], [math.e, 1, 1], [255, 128, 128, 128], [205, 128, 26, 128])  # 128 + 0.6 * 128 = 204.8
    second = row([1, 2, 3], [1, 1, 1], [128, 153, 0, 128], [255, 128, 128, 128])  # 256 does not fit
    assert (tmp_path / "a.splat").read_bytes() == first + second


@pytest.mark.parametrize("count", [1, 255, 257, 3000])
def test_what_a_round_trip_costs(tmp_path: Path, count: int, seed: int) -> None:
    gaussians = some(count)
    splat.write(tmp_path / "a.splat", Asset(gaussians), OPTIONS)
    assert (tmp_path / "a.splat").stat().st_size == 32 * count == 32 * splat.count(tmp_path / "a.splat")
    back, before = splat.read(tmp_path / "a.splat").gaussians, by_importance(gaussians)
    assert torch.equal(back.means, before.means)
    torch.testing.assert_close(back.log_scales, before.log_scales, rtol=0, atol=2e-6)
    torch.testing.assert_close(back.opacities, before.opacities, rtol=0, atol=0.5 / 255 + 1e-6)
    torch.testing.assert_close(back.sh0, before.sh0, rtol=0, atol=0.5 / 255 / C0 + 1e-5)
    assert (degrees_apart(back.quats, before.quats) < 0.9).all()  # 2 asin(4^0.5 / 256)


def test_a_second_round_trip_costs_nothing(tmp_path: Path, seed: int) -> None:
    splat.write(tmp_path / "a.splat", Asset(some(500)), OPTIONS)
    splat.write(tmp_path / "b.splat", splat.read(tmp_path / "a.splat"), OPTIONS)
    once, twice = (splat.read(tmp_path / name).gaussians for name in ("a.splat", "b.splat"))
    order_once, order_twice = (g.means[:, 0].argsort() for g in (once, twice))
    torch.testing.assert_close(once.sh0[order_once], twice.sh0[order_twice], rtol=0, atol=0)
    torch.testing.assert_close(once.log_scales[order_once], twice.log_scales[order_twice], rtol=0, atol=2e-6)


def test_harmonics_and_colors_that_do_not_fit_are_said(tmp_path: Path, seed: int) -> None:
    gaussians = some(5, degree=2)
    gaussians.sh0[1, 0, 2] = 0.6 / C0
    asset = Asset(gaussians, origin=(1e6, 0, 0), up=(0, -1, 0))
    with pytest.warns(SfumatoWarning) as said:
        splat.write(tmp_path / "a.splat", asset, OPTIONS)
    sentences = [str(warning.message).removeprefix(f"{tmp_path / 'a.splat'}: ") for warning in said]
    assert sentences == [
        "the harmonics of 5 Gaussians are cut from degree 2 to 0, which is all that .splat holds",
        ".splat has no place for the splat's origin, nor for its up direction; they are left out",
        "1 of 5 Gaussians have colors beyond black or white, and are given the nearest that fits",
    ]


def test_the_frame_is_that_of_a_ply_unless_raw(tmp_path: Path, seed: int) -> None:
    gaussians = some(1)
    splat.write(tmp_path / "a.splat", Asset(gaussians, axes="RUB"), OPTIONS)
    splat.write(tmp_path / "b.splat", Asset(gaussians, axes="RUB"), WriteOptions(raw=True))
    assert torch.equal(splat.read(tmp_path / "a.splat").gaussians.means, gaussians.means * torch.tensor([1, -1, -1]))
    assert torch.equal(splat.read(tmp_path / "b.splat", raw=True).gaussians.means, gaussians.means)


def test_scales_that_no_float_holds_stay_finite(tmp_path: Path, seed: int) -> None:
    gaussians = some(2)
    gaussians.log_scales[:] = torch.tensor([[200.0, -200, 0], [3e38, -3e38, 0]])
    splat.write(tmp_path / "a.splat", Asset(gaussians), OPTIONS)
    assert splat.read(tmp_path / "a.splat").gaussians.finite.all()


# rows, lowest and highest means, median of the first log scale, mean opacity, mean first coefficient: FORMATS.md
KNOWN = {
    "kacy_model": (22764, (-409.6, -431.3, -291.9), (498.3, 375.6, 1018), 2.8087, 0.2233, 0.4415),
    "minimal": (4, (-1, 0, -1), (0, 0, 0), -2.3026, 0.9020, 0.0),
    "train3pts": (3, (-2.748, -1.012, -1.397), (2.008, 0.08105, 1.329), -4.7557, 0.2915, 0.2850),
}


@pytest.mark.parametrize("name", KNOWN)
def test_files_of_other_programs(shared_data: Path, name: str) -> None:
    count, low, high, log_scale, opacity, sh0 = KNOWN[name]
    gaussians = splat.read(shared_data / "splats" / f"{name}.splat").gaussians
    assert len(gaussians) == count
    assert gaussians.means.amin(dim=0).tolist() == pytest.approx(low, rel=5e-4)
    assert gaussians.means.amax(dim=0).tolist() == pytest.approx(high, rel=5e-4)
    assert np.median(gaussians.log_scales[:, 0].numpy()) == pytest.approx(log_scale, abs=5e-5)
    assert gaussians.opacities.mean().item() == pytest.approx(opacity, abs=5e-5)
    assert gaussians.sh0[:, 0, 0].mean().item() == pytest.approx(sh0, abs=5e-5)


def test_a_file_under_another_name_is_recognized_by_its_rows(shared_data: Path, tmp_path: Path) -> None:
    data = (shared_data / "splats" / "kacy_model.splat").read_bytes()
    path = tmp_path / "download"
    path.write_bytes(data)
    assert splat.recognizes(path, data[: 1 << 16])
    path.write_bytes(data[:-1])
    assert not splat.recognizes(path, data[: 1 << 16])


def test_other_files_are_not_recognized(shared_data: Path, tmp_path: Path, seed: int) -> None:
    for path in (shared_data / "splats").rglob("*.*"):
        head = path.read_bytes()[: 1 << 16] if path.is_file() else b""
        assert splat.recognizes(path, head) == (path.suffix == ".splat"), path
    for data in (b"", b"0.1234567 1.5\n" * 32, bytes(320), torch.rand(80).numpy().tobytes()):
        path = tmp_path / "something"
        path.write_bytes(data)
        assert not splat.recognizes(path, data)


def test_a_file_that_ends_within_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    path.write_bytes(bytes(33))
    for reader in (splat.read, splat.count):
        with pytest.raises(
            InputError, match=r"a\.splat is truncated .* multiple of 32 bytes.* got 33; copy or download"
        ):
            reader(path)
    with pytest.raises(InputError, match="is not there"):
        splat.read(tmp_path / "b.splat")


def test_nothing_is_neither_written_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    with pytest.raises(InputError, match=r"cannot write .*a\.splat: without a Gaussian"):
        splat.write(path, Asset(Gaussians.empty(0)), OPTIONS)
    path.write_bytes(b"")
    assert splat.recognizes(path, b"")
    with pytest.raises(InputError, match=r"a\.splat is empty; export or download it again"):
        splat.read(path)
