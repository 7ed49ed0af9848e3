"""Splats that were moved come back to where they were: the similarity is found, and so much better than a start."""

import math
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.edit.merge.icp import AlignOptions, align
from sfumato.edit.merge.similarity import Similarity, fit, moved

from scenes import crowd


def some_move(scale: float = 1.7) -> Similarity:
    rotation = matrix_from_quaternion(torch.randn(4).double())
    return Similarity(rotation, 5 * torch.randn(3).double(), scale)


def halves(whole: Gaussians, common: float) -> tuple[Gaussians, Gaussians]:
    """Two parts along x that have a share of the whole in common."""
    x = whole.means[:, 0]
    low, high = x.quantile(0.5 - common / 2), x.quantile(0.5 + common / 2)
    return whole[(x <= high).nonzero()[:, 0]], whole[(x >= low).nonzero()[:, 0]]


def farthest(found: Similarity, true: Similarity, gaussians: Gaussians) -> float:
    """How far a center is from where it should be, at most, in radii of the splat."""
    means = gaussians.means.double()
    radius = (means - means.median(dim=0).values).norm(dim=1).quantile(0.9)
    return float((found(means) - true(means)).norm(dim=1).amax() / radius / true.scale)


def test_pairs_give_the_move_back(seed: int) -> None:
    places, true = torch.randn(20, 3).double(), some_move()
    found = fit(places, true(places), torch.rand(20).double())
    torch.testing.assert_close(found.rotation, true.rotation)
    torch.testing.assert_close(found.translation, true.translation)
    assert found.scale == pytest.approx(true.scale)
    assert fit(places, true(places), torch.ones(20).double(), 1.25).scale == 1.25


def test_a_mirror_image_is_no_rotation(seed: int) -> None:
    places = torch.randn(20, 3).double()
    assert fit(places, -places, torch.ones(20).double()).rotation.det() == pytest.approx(1)


def test_moves_chain_and_turn_back(seed: int) -> None:
    places, one, other = torch.randn(5, 3).double(), some_move(0.3), some_move(2)
    torch.testing.assert_close(one.after(other)(places), one(other(places)))
    torch.testing.assert_close(one.inverse()(one(places)), places)


def test_angles() -> None:
    """About z, by a little, a third of a turn and half a turn."""
    for angle in (1e-9, 2 * math.pi / 3, math.pi):
        quat = torch.tensor([math.cos(angle / 2), 0, 0, math.sin(angle / 2)]).double()
        assert Similarity(matrix_from_quaternion(quat), torch.zeros(3).double()).angle == pytest.approx(angle, rel=1e-6)


@pytest.mark.parametrize("scale", [1.7, 0.2])
def test_halves_of_one_splat_come_together(seed: int, scale: float) -> None:
    """A third in common, anywhere: places to a millionth of the radius, as float32 keeps them."""
    part, other = halves(crowd(1500, 1), 1 / 3)
    true = some_move(scale)
    found = align(part, moved(other, true.inverse()))
    assert farthest(found.similarity, true, moved(other, true.inverse())) < 1e-5
    assert found.similarity.scale == pytest.approx(scale, rel=1e-6)
    assert found.residual < 1e-4 * found.spacing
    assert found.overlap > 0.4
    assert found.colors_apart < 0.01


def test_known_scale_is_kept(seed: int) -> None:
    part, other = halves(crowd(1500, 0), 0.5)
    true = some_move(1.0)
    found = align(part, moved(other, true.inverse()), AlignOptions(scale=False))
    assert found.similarity.scale == 1
    assert farthest(found.similarity, true, other) < 1e-5


def test_a_start_that_is_nearly_right_is_enough(seed: int) -> None:
    """Turned by 3 degrees and moved by a fiftieth of the radius."""
    whole = crowd(1500, 0)
    quat = torch.tensor([math.cos(0.026), 0, math.sin(0.026), 0]).double()
    true = Similarity(matrix_from_quaternion(quat), torch.full((3,), 0.02).double(), 1.02)
    found = align(whole, moved(whole, true.inverse()), AlignOptions(anywhere=False))
    assert farthest(found.similarity, true, whole) < 1e-5


def test_noise_ends_as_a_fraction_of_itself(seed: int) -> None:
    """Centers that are each off by 0.4 of the distance of neighbors, as of another training: their mean is not."""
    whole = crowd(1500, 0)
    other, true = halves(whole, 0.6)[1], some_move()
    noise = 0.4 * 0.1 * torch.randn(len(other), 3)
    other = Gaussians(other.means + noise, *list(other)[1:])
    found = align(whole, moved(other, true.inverse()))
    assert farthest(found.similarity, true, moved(other, true.inverse())) < 0.02
    assert found.similarity.scale == pytest.approx(true.scale, rel=0.01)


def test_what_has_nothing_in_common_shows_it(seed: int) -> None:
    found = align(crowd(1000, 0), crowd(1000, 0))
    assert found.colors_apart > 0.8


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_little_to_go_by(seed: int, count: int) -> None:
    with pytest.raises(InputError, match=r"the splat to move has \d Gaussians .* 10 or more"):
        align(crowd(200, 0), crowd(400, 0)[:count])


@pytest.mark.parametrize("spread", [0.0, 1e-30])
def test_places_that_are_all_one_end_well(seed: int, spread: float) -> None:
    found = align(crowd(100, 0, spread), crowd(100, 0, spread))
    assert math.isfinite(found.similarity.scale)
    assert found.similarity.translation.isfinite().all()


def test_rows_that_are_not_finite_do_not_matter(seed: int) -> None:
    whole, true = crowd(1000, 0), some_move()
    other = moved(whole, true.inverse())
    other.means[:50] = math.nan
    assert farthest(align(whole, other).similarity, true, other[50:]) < 1e-5


def test_halves_of_a_trained_splat(shared_data: Path, seed: int) -> None:
    """Real numbers: a twelfth of the Gaussians of a guitar, cut in two with a quarter in common."""
    whole = formats.read(shared_data / "splats" / "guitar.compressed.ply")
    part, other = halves(whole[::12], 0.25)
    true = some_move()
    found = align(part, moved(other, true.inverse()), AlignOptions(most=10_000))
    assert farthest(found.similarity, true, moved(other, true.inverse())) < 1e-5
