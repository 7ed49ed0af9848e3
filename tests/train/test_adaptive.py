"""Adaptive density control on Gaussians made by hand; no optimizer, no renderer."""

import math
from dataclasses import replace

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import Splats
from sfumato.train.density import Adaptive, Span, Strategy
from sfumato.train.edit import Edit

CAMERA = Camera(torch.eye(4), torch.eye(3), width=200, height=100)
SPAN = Span(steps=100, extent=1.0, max_gaussians=100, seed=0)
NOW = Adaptive(
    threshold=2e-4, every=0.01, start_at=0.0, full_at=0.0
)  # an edit after every step, with all the room under the cap


def gaussians(scales: list[float], opacities: list[float] | None = None) -> Gaussians:
    N = len(scales)
    return Gaussians(
        means=torch.arange(3.0 * N).reshape(N, 3),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(N, 1),
        log_scales=torch.tensor(scales).log()[:, None].repeat(1, 3),
        logit_opacities=torch.logit(torch.tensor(opacities or [0.5] * N)),
        sh0=torch.zeros(N, 1, 3),
        shN=torch.zeros(N, 0, 3),
    )


def splats(gradients: list[tuple[float, float]], seen: list[bool] | None = None) -> Splats:
    """Splats whose probes have received these gradients, 1 / pixels."""
    N = len(gradients)
    radii = torch.ones(N, 2) * torch.tensor(seen or [True] * N)[:, None]
    probe = torch.zeros(N, 2, requires_grad=True)
    probe.grad = torch.tensor(gradients)
    zeros = torch.zeros(N, 3)
    return Splats(zeros[:, :2], zeros, zeros[:, 0], radii, zeros, zeros[:, 0], probe, torch.tensor(0))


def edited(strategy: Strategy, given: Gaussians, gradients: list[float], step: int = 1) -> Edit | None:
    """The edit after one photo in which each Gaussian had this gradient, in normalized device units."""
    strategy.observe(CAMERA, splats([(gradient / 100, 0.0) for gradient in gradients]))
    return strategy.edit(step, given)


def test_small_is_cloned_large_is_split_and_the_content_stay() -> None:
    given = gaussians([0.001, 0.1, 0.001, 0.1])
    edit = edited(NOW.start(SPAN), given, [1.0, 1.0, 0.0, 0.0])
    assert edit is not None
    assert edit.parents is not None
    assert edit.fresh is not None
    assert edit.parents.tolist() == [0, 2, 3, 0, 1, 1]  # who stays, the clone, two halves instead of the second
    assert edit.fresh.tolist() == [False, False, False, True, True, True]
    assert torch.equal(edit.gaussians.means[3], given.means[0])
    torch.testing.assert_close(edit.gaussians.scales[4:], torch.full((2, 3), 0.1 / 1.6))
    assert (edit.gaussians.means[4:] - given.means[1]).norm(dim=1).max() < 5 * 0.1 * math.sqrt(3)
    assert not torch.equal(edit.gaussians.means[4], edit.gaussians.means[5])
    assert given.log_scales[1, 0] == math.log(torch.tensor(0.1))  # what was given is left as it was


def test_halves_lie_along_the_axes_of_the_whole() -> None:
    needle = replace(gaussians([0.1]), log_scales=torch.tensor([[0.5, 1e-6, 1e-6]]).log())
    turned = replace(needle, quats=torch.tensor([[1.0, 0, 0, 1]]))  # a quarter turn about z: x becomes y
    edit = edited(NOW.start(SPAN), turned, [1.0])
    assert edit is not None
    moved = (edit.gaussians.means - turned.means).abs()
    assert (moved[:, 1] > 1e-3).all()
    assert moved[:, [0, 2]].max() < 1e-4


def test_gradients_are_lengths_in_device_units_averaged_over_the_photos_that_saw() -> None:
    control = NOW.start(SPAN)
    control.observe(CAMERA, splats([(0.03, 0.08), (0.02, 0.0)]))  # times 100 and 50: (3, 4) and (2, 0)
    control.observe(CAMERA, splats([(0.0, 0.0), (0.0, 0.0)], seen=[False, True]))
    assert (control.gradient / control.seen).tolist() == pytest.approx([5.0, 1.0])


def test_the_cap_is_obeyed_and_the_worst_come_first() -> None:
    edit = edited(NOW.start(replace(SPAN, max_gaussians=5)), gaussians([0.001] * 4), [1.0, 3.0, 4.0, 2.0])
    assert edit is not None
    assert edit.parents is not None
    assert edit.parents.tolist() == [0, 1, 2, 3, 2]


def test_room_is_given_out_over_time() -> None:
    slow = replace(NOW, every=0.1, start_at=0.1, full_at=0.4, stop_at=0.9)
    control = slow.start(replace(SPAN, max_gaussians=18))
    given = gaussians([0.001] * 10)
    sizes = []
    for step in range(1, 51):
        if edit := edited(control, given, [1.0] * len(given), step):
            given = edit.gaussians
            sizes.append(len(given))
    assert sizes == [12, 14, 16, 18]


def test_a_full_house_makes_room_by_pruning() -> None:
    edit = edited(NOW.start(replace(SPAN, max_gaussians=3)), gaussians([0.001] * 3, [0.5, 0.001, 0.5]), [1.0, 0, 0])
    assert edit is not None
    assert edit.parents is not None
    assert edit.parents.tolist() == [0, 2, 0]


def test_faint_huge_and_broken_gaussians_go_even_when_growth_is_over() -> None:
    given = gaussians([0.001, 0.001, 2.0, 0.001], [0.5, 0.004, 0.5, 0.5])
    given.shN.resize_(4, 0, 3)
    given.sh0[3, 0, 1] = torch.nan
    edit = edited(NOW.start(SPAN), given, [1.0] * 4, step=90)
    assert edit is not None
    assert edit.parents is not None
    assert edit.parents.tolist() == [0]


def test_broken_gradients_are_no_reason_to_grow() -> None:
    assert edited(NOW.start(SPAN), gaussians([0.001, 0.001]), [torch.nan, torch.inf]) is None


def test_nothing_to_do_is_no_edit() -> None:
    assert edited(NOW.start(SPAN), gaussians([0.001]), [0.0]) is None
    assert Adaptive().start(SPAN).edit(1, gaussians([0.001])) is None


def test_a_reset_fades_the_opaque_and_their_moments_are_forgotten() -> None:
    control = Adaptive(resets=(0.5,), every=1.0).start(SPAN)
    given = gaussians([0.001] * 2, [0.9, 0.006])
    assert control.edit(49, given) is None
    edit = control.edit(50, given)
    assert edit is not None
    assert edit.gaussians.opacities.tolist() == pytest.approx([0.01, 0.006])
    assert edit.forget == ("logit_opacities",)
    assert edit.parents is None


def test_same_seed_same_edit() -> None:
    first, again, other = (
        edited(NOW.start(replace(SPAN, seed=seed)), gaussians([0.1] * 3), [1.0] * 3) for seed in (1, 1, 2)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first.gaussians.means, again.gaussians.means)
    assert not torch.equal(first.gaussians.means, other.gaussians.means)
