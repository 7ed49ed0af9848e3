"""Schedules are functions of the share of the training that is done."""

import math

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.scene import Points, Scene, View
from sfumato.train.config import Coarse, TrainConfig
from sfumato.train.density import Span


def scene(photos: int, side: int = 16) -> Scene:
    camera = Camera(torch.eye(4), torch.eye(3), side, side)
    image = torch.zeros(side, side, 3, dtype=torch.uint8)
    views = [View(str(index), camera, image) for index in range(photos)]
    return Scene(views, Points(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.uint8)))


def test_rates_at_the_start_and_what_is_left_of_them_at_the_end() -> None:
    start, middle, end = (TrainConfig().rates_at(time, extent=2.0) for time in (0.0, 0.5, 1.0))
    assert start.means == pytest.approx(2 * 1.6e-4)
    assert middle.means == pytest.approx(2 * 1.6e-5)
    assert end.means == pytest.approx(2 * 1.6e-6)
    assert start[1:] == middle[1:] == (1e-3, 5e-3, 0.05, 2.5e-3, 2.5e-3 / 5)
    assert end[1:] == pytest.approx([rate / 10 for rate in start[1:]])


def test_harmonics_come_one_degree_after_the_other() -> None:
    config = TrainConfig(sh_every=0.1)
    assert [config.sh_degree_at(time) for time in (0, 0.09, 0.11, 0.21, 0.31, 0.9)] == [0, 0, 1, 2, 3, 3]
    assert TrainConfig(sh_degree=1).sh_degree_at(0.9) == 1
    assert TrainConfig().settings_at(0.0, near=0.1).sh_degree == 0
    assert not TrainConfig().settings_at(0.0, near=0.1).depth


def test_photos_grow() -> None:
    coarse = Coarse(quarter_until=0.1, half_until=0.3)
    assert [coarse.divisor(time) for time in (0, 0.09, 0.1, 0.29, 0.3, 1)] == [4, 4, 2, 2, 1, 1]


@pytest.mark.parametrize("steps", [7, 40, 1000])
def test_the_number_of_edits_does_not_depend_on_the_number_of_steps(steps: int) -> None:
    span = Span(steps, 1.0, 10, 0)
    assert sum(span.is_due(step, 0.25) for step in range(1, steps + 1)) == 4
    assert span.is_due(steps, 0.25)


def test_more_photos_ask_for_more_steps_and_numbers_given_stay() -> None:
    few, many = (TrainConfig().fixed(scene(photos)) for photos in (3, 1000))
    assert few.steps is not None
    assert many.steps is not None
    assert few.steps < many.steps
    assert TrainConfig(steps=5).fixed(scene(3)).steps == 5
    assert TrainConfig(coarse=Coarse(0, 0)).fixed(scene(3)).coarse == Coarse(0, 0)
    assert few.fixed(scene(1000)) == few  # once fixed it does not change


def test_make_knows_the_flags() -> None:
    assert TrainConfig.make("mcmc").density.name == "mcmc"
    assert TrainConfig.make(max_gaussians=7, seed=3, steps=9) == TrainConfig(max_gaussians=7, seed=3, steps=9)
    with pytest.raises(InputError, match="no strategy named 'other'"):
        TrainConfig.make("other")  # type: ignore[arg-type]


def test_quality_takes_more_steps_and_more_gaussians() -> None:
    usual, better = TrainConfig.make(), TrainConfig.make(quality=True)
    assert 2 * usual.steps_for(scene(3)) < better.steps_for(scene(3)) <= 10 * usual.steps_for(scene(3))
    assert better.gaussians_for(scene(3)) > usual.gaussians_for(scene(3))
    assert TrainConfig.make(quality=True, steps=9, max_gaussians=7).max_gaussians == 7
    assert TrainConfig.make(quality=True, steps=9).steps_for(scene(3)) == 9


WRONG = [{"steps": 0}, {"patience": 0}, {"max_gaussians": 0}, {"sh_degree": 5}, {"shN_stride": 0}, {"reorder_every": 2}]


@pytest.mark.parametrize("wrong", WRONG)
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_rates_stay_finite_at_the_very_end() -> None:
    assert all(math.isfinite(rate) for rate in TrainConfig().rates_at(1.0, 1.0))
