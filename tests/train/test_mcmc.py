"""The Markov chain's moves on Gaussians made by hand."""

import math
from dataclasses import replace

import pytest
import torch

from sfumato.core.gaussians import Gaussians
from sfumato.train.density import MCMC, Span
from sfumato.train.density.mcmc import divided

SPAN = Span(steps=100, extent=5.0, max_gaussians=100, seed=0)
STILL = MCMC(every=0.01, start_at=0.0, growth=0.0, noise=0.0)


def gaussians(opacities: list[float], scale: float = 0.1) -> Gaussians:
    N = len(opacities)
    return Gaussians(
        means=torch.arange(3.0 * N).reshape(N, 3),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(N, 1),
        log_scales=torch.full((N, 3), math.log(scale)),
        logit_opacities=torch.logit(torch.tensor(opacities)),
        sh0=torch.zeros(N, 1, 3),
        shN=torch.zeros(N, 0, 3),
    )


@pytest.mark.parametrize("copies", [1, 2, 3, 10, 51])
@pytest.mark.parametrize("opacity", [0.01, 0.5, 0.95])
def test_copies_over_each_other_render_like_the_one_they_come_from(opacity: float, copies: int) -> None:
    """Along a line: the copies' own opacity at the center is exact, and the sum over the line is, by Eq. 9."""
    each, factor = divided(torch.tensor([opacity], dtype=torch.float64), torch.tensor([copies]))
    assert (1 - (1 - each) ** copies).item() == pytest.approx(opacity)
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    alone = opacity * torch.exp(-(x**2) / 2)
    together = 1 - (1 - each * torch.exp(-(x**2) / (2 * factor**2))) ** copies
    assert (torch.trapezoid(together, x) / torch.trapezoid(alone, x)).item() == pytest.approx(1, rel=1e-6)


def test_the_sum_is_that_of_equation_9() -> None:
    opacity, copies = 0.7, 5
    each = 1 - (1 - opacity) ** (1 / copies)
    terms = [
        math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * each ** (k + 1)
        for i in range(1, copies + 1)
        for k in range(i)
    ]
    _, factor = divided(torch.tensor([opacity], dtype=torch.float64), torch.tensor([copies]))
    assert factor.item() == pytest.approx(opacity / sum(terms))


def test_the_dead_move_onto_the_living() -> None:
    given = gaussians([0.6, 0.001])
    edit = STILL.start(SPAN).edit(1, given)
    assert edit.parents is not None
    assert edit.fresh is not None
    assert edit.parents.tolist() == [0, 0]
    assert edit.fresh.tolist() == [True, True]
    torch.testing.assert_close(edit.gaussians.means[1], given.means[0])
    each = 1 - math.sqrt(1 - 0.6)
    assert edit.gaussians.opacities.tolist() == pytest.approx([each, each])
    assert (edit.gaussians.scales < 0.1).all()


def test_runaways_are_relocated_and_removed_when_nothing_is_any_more() -> None:
    """10 extents of 5 world units is too large, whatever the opacity; so is a number that is none."""
    given = gaussians([0.6, 0.9, 0.8])
    given.log_scales[1, 2] = math.log(50.1)
    edit = STILL.start(SPAN).edit(1, given)
    assert edit.parents is not None
    assert edit.parents[1] != 1
    assert (edit.gaussians.scales < 1).all()

    late = 90
    edit = STILL.start(SPAN).edit(late, given)
    assert edit.parents is not None
    assert edit.parents.tolist() == [0, 2]
    torch.testing.assert_close(edit.gaussians.means, given.means[[0, 2]])
    assert edit.fresh is None  # the others go on as they were
    given.log_scales[1, 2] = math.log(49.9)
    assert STILL.start(SPAN).edit(late, given).parents is None
    given.means[2, 0] = torch.nan
    edit = STILL.start(SPAN).edit(late, given)
    assert edit.parents is not None
    assert edit.parents.tolist() == [0, 1]


def test_broken_gaussians_are_dead() -> None:
    given = gaussians([0.6, 0.6])
    given.means[0, 1] = torch.nan
    edit = STILL.start(SPAN).edit(1, given)
    assert edit.gaussians.finite.all()


def test_growth_stops_at_the_cap_and_keeps_who_was_there() -> None:
    growing = replace(STILL, growth=0.5).start(replace(SPAN, max_gaussians=14))
    given = gaussians([0.5] * 10)
    sizes = []
    for step in (1, 2, 3):
        edit = growing.edit(step, given)
        if edit.parents is not None:
            assert edit.parents[: len(given)].tolist() == list(range(len(given)))
        given = edit.gaussians
        sizes.append(len(given))
    assert sizes == [14, 14, 14]


def test_no_living_no_move() -> None:
    assert STILL.start(SPAN).edit(1, gaussians([0.001, 0.001])).parents is None


def test_noise_shakes_the_faint_along_their_axes_and_leaves_the_opaque() -> None:
    given = gaussians([0.9] + [0.006] * 2000)
    flat = replace(given, log_scales=given.log_scales + torch.tensor([0.0, 0, -8]))
    moved = MCMC(start_at=1.0).start(SPAN).edit(1, flat).gaussians.means - flat.means
    assert not moved[0].any()
    # 80 * 5^2 / 5 * 0.1^2 = 4 world units, times the gate 1 / (1 + e^0.1) = 0.475 and 0.01^(1/100) = 0.955
    assert moved[1:, 0].std().item() == pytest.approx(4 * 0.475 * 0.955, rel=0.05)
    assert moved[1:, 2].abs().max() < 1e-3
    assert len(moved) == len(flat)


def test_noise_does_not_depend_on_the_unit_of_length() -> None:
    given = gaussians([0.006] * 5)
    meters = MCMC(start_at=1.0).start(SPAN).edit(1, given).gaussians.means
    large = given.transform(torch.eye(3), torch.zeros(3), scale=100.0)
    centimeters = MCMC(start_at=1.0).start(replace(SPAN, extent=500.0)).edit(1, large).gaussians.means
    torch.testing.assert_close(centimeters, 100 * meters, rtol=1e-4, atol=1e-3)


def test_the_penalty_is_of_opacity_and_size() -> None:
    penalty = MCMC().start(SPAN).penalty(gaussians([0.5, 0.3], scale=0.2))
    assert penalty.item() == pytest.approx(0.01 * 0.4 + 0.01 * 0.2)
