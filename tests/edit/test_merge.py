"""Splats to one: frames, origins, units, degrees; what they disagree about; and what is told of the seam."""

from dataclasses import replace

import pytest
import torch

from sfumato.core.asset import Asset
from sfumato.core.axes import reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.core.sh import sh0_from_rgb
from sfumato.edit.merge import MergeOptions, merge
from sfumato.edit.merge.icp import AlignOptions
from sfumato.edit.merge.seam import seam
from sfumato.edit.merge.similarity import Similarity, moved

from scenes import crowd


def wall(left: float, right: float, rgb: tuple[float, float, float] = (0.5, 0.5, 0.5), step: float = 0.1) -> Gaussians:
    """Gaussians on a grid in the plane z = 2, from x = left to right, 1 high."""
    x, y = torch.meshgrid(torch.arange(left, right, step), torch.arange(0, 1, step), indexing="ij")
    count = x.numel()
    return Gaussians(
        means=torch.stack([x.flatten(), y.flatten(), torch.full((count,), 2.0)], dim=1) + 1e-4,
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), step).log(),
        logit_opacities=torch.full((count,), 2.0),
        sh0=sh0_from_rgb(torch.tensor(rgb)).expand(count, 1, 3).clone(),
        shN=torch.zeros(count, 0, 3),
    )


def test_all_rows_one_after_the_other(seed: int) -> None:
    parts = [crowd(count, degree) for count, degree in ((10, 1), (20, 3), (5, 0))]
    merged, added = merge([Asset(part) for part in parts])
    assert (len(merged), merged.gaussians.degree, len(added)) == (35, 3, 2)
    for field, tensor in zip(Gaussians.names(), merged.gaussians, strict=True):
        whole = torch.cat([getattr(part.with_degree(3), field) for part in parts])
        torch.testing.assert_close(tensor, whole, rtol=1e-5, atol=1e-5)


def test_one_splat_is_itself(seed: int) -> None:
    asset = Asset(crowd(10, 2), up=(0, -1, 0), notes=("odd",), generator="somebody")
    merged, added = merge([asset])
    assert torch.equal(merged.gaussians.means, asset.gaussians.means)
    assert (added, merged.up, merged.notes, merged.generator) == ([], (0, -1, 0), (), None)
    with pytest.raises(InputError, match="at least one splat"):
        merge([])


def test_origins_are_subtracted_exactly(seed: int) -> None:
    """Maps of a country: float32 of millions has steps of half a unit, the difference has none."""
    one = Asset(crowd(5, 0), origin=(4_512_345.125, 5_400_000.25, 100.0))
    two = Asset(crowd(5, 0), origin=(4_512_347.625, 5_400_000.0, 99.5))
    merged, (joined,) = merge([one, two])
    assert merged.origin == one.origin
    expected = two.gaussians.means + torch.tensor([2.5, -0.25, -0.5])
    torch.testing.assert_close(merged.gaussians.means[5:], expected, rtol=0, atol=1e-6)
    assert joined.move.translation.tolist() == [2.5, -0.25, -0.5]


def test_frames_and_units_become_those_of_the_first(seed: int) -> None:
    scene = crowd(6, 2)
    one = Asset(scene, meters_per_unit=2.0, origin=(0.0, 7.0, 0.0))
    two = Asset(reframe(scene, "RDF", "RUB"), axes="RUB", meters_per_unit=1.0, origin=(0.0, -3.0, 0.0))
    merged, (joined,) = merge([one, two])
    assert (merged.axes, merged.meters_per_unit) == ("RDF", 2.0)
    expected = scene.means / 2 + torch.tensor([0, 3.0 / 2 - 7, 0])
    torch.testing.assert_close(merged.gaussians.means[6:], expected)
    torch.testing.assert_close(merged.gaussians.scales[6:], scene.scales / 2)
    torch.testing.assert_close(merged.gaussians.shN[6:], scene.shN, rtol=1e-4, atol=1e-5)
    assert "0.5 times that of the first" in joined.notes[0]


def test_what_cannot_be_mixed_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="the first has srgb and another linear"):
        merge([Asset(crowd(3, 0)), Asset(crowd(3, 0), color_space="linear")])


def test_what_can_is_said(seed: int) -> None:
    one = Asset(crowd(3, 0), antialiased=True)
    merged, (joined,) = merge([one, Asset(crowd(3, 0), antialiased=False, kernel="disc")])
    assert (merged.antialiased, merged.kernel) == (True, "ellipsoid")
    assert len(joined.notes) == 2
    merged, (joined,) = merge([replace(one, antialiased=None), one])
    assert (merged.antialiased, joined.notes) == (True, ())


def test_a_moved_part_is_laid_upon_the_whole(seed: int) -> None:
    scene = crowd(700, 1)
    true = Similarity(matrix_from_quaternion(torch.randn(4).double()), torch.tensor([9.0, 2, 1]).double(), 0.4)
    parts = [Asset(scene[:500]), Asset(moved(scene[200:], true.inverse()), origin=(100.0, 0.0, 0.0))]
    merged, (joined,) = merge(parts, MergeOptions(align=True))
    assert joined.alignment is not None
    torch.testing.assert_close(merged.gaussians.means[500:], scene.means[200:], rtol=0, atol=2e-5)
    torch.testing.assert_close(merged.gaussians.shN[500:], scene.shN[200:], rtol=1e-3, atol=1e-4)
    assert joined.seam.doubles >= 300
    slim, (joined,) = merge(parts, MergeOptions(align=True, dedupe=True))
    assert joined.dropped == joined.seam.doubles
    assert len(slim) == 1000 - joined.dropped


def test_without_scale_the_units_stay(seed: int) -> None:
    scene = crowd(1000, 0)
    true = Similarity(matrix_from_quaternion(torch.randn(4).double()), torch.tensor([9.0, 2, 1]).double(), 0.5)
    parts = [Asset(scene, meters_per_unit=2.0), Asset(moved(scene, true.inverse()), meters_per_unit=1.0)]
    merged, (joined,) = merge(parts, MergeOptions(align=True, aligning=AlignOptions(scale=False)))
    assert joined.move.scale == 0.5
    torch.testing.assert_close(merged.gaussians.means[1000:], scene.means, rtol=0, atol=2e-5)


def test_seam_of_two_walls() -> None:
    """Cells of 0.5: a wall of 10 of them, half of which another one shares, 0.1 redder and as dense."""
    one, two = wall(0, 5), wall(2.5, 7.5, (0.6, 0.5, 0.5))
    found = seam(one, two, 0.5)
    assert (found.cells, found.shared, found.count) == (20, 10, 500)
    assert found.doubles == 250
    assert found.color == pytest.approx((0.1, 0, 0), abs=1e-6)
    assert found.color_apart == pytest.approx(0.1 / 3, abs=1e-6)
    assert found.density == pytest.approx(1)
    assert found.is_double.tolist() == (two.means[:, 0] < 5).tolist()


def test_a_floater_takes_nothing_away() -> None:
    one, two = wall(0, 1), wall(3, 4)
    floater = wall(3.2, 3.25, step=0.1)[:1]
    found = seam(Gaussians.cat([one, floater]), two, 0.5)
    assert (found.shared, found.doubles) == (1, 0)


def test_seam_of_what_does_not_meet(seed: int) -> None:
    found = seam(wall(0, 1), wall(8, 9))
    assert (found.shared, found.doubles, found.color, found.density) == (0, 0, (0, 0, 0), 0)


@pytest.mark.parametrize("count", [0, 1])
def test_seam_of_hardly_anything(count: int) -> None:
    assert seam(wall(0, 1)[:count], wall(0, 1)[:count]).doubles == count
    assert seam(wall(0, 1), wall(0, 1)[:count]).doubles == count
