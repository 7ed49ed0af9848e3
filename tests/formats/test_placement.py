"""Placing by a node's matrix: what the matrix does to every point of a Gaussian, it does to its covariance."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import basis
from sfumato.formats.parts import LEAST_LOG_SCALE, log_of_scales
from sfumato.formats.placement import is_stretched, linear_scales, place, unit_quats

from scenes import crowd

QUARTER = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)


def matrix(linear: Tensor, shift: list[float] | None = None) -> Tensor:
    whole = torch.eye(4, dtype=torch.float64)
    whole[:3, :3], whole[:3, 3] = linear, torch.tensor(shift or [1.0, -2.0, 0.5])
    return whole


def random_rotation() -> Tensor:
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    return turn * turn.det().sign()


def check_shapes(gaussians: Gaussians, whole: Tensor) -> None:
    """Means and covariances are those of the points after the matrix."""
    exact, placed = gaussians.to(torch.float64), place(gaussians, whole)
    linear, shift = whole[:3, :3], whole[:3, 3]
    assert placed.means.dtype == torch.float32
    assert torch.allclose(placed.means.double(), exact.means @ linear.T + shift, rtol=1e-6, atol=1e-6)
    wanted = linear @ exact.covariances @ linear.T
    off = (placed.to(torch.float64).covariances - wanted).abs().amax(dim=(1, 2))
    assert (off / wanted.abs().amax(dim=(1, 2))).max() < 3e-6


def check_lights(gaussians: Gaussians, whole: Tensor, turn: Tensor) -> None:
    """A light seen from d is seen from turn d afterwards."""
    placed = place(gaussians, whole)
    directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    before = torch.einsum("dk,nkc->ndc", basis(gaussians.degree, directions), gaussians.sh.double())
    after = torch.einsum("dk,nkc->ndc", basis(gaussians.degree, directions @ turn.T), placed.sh.double())
    assert torch.allclose(before, after, atol=1e-5)


def test_the_unit_matrix_keeps_the_very_same() -> None:
    gaussians = crowd(5, 1)
    assert place(gaussians, torch.eye(4, dtype=torch.float64)) is gaussians


def test_a_quarter_turn_by_hand() -> None:
    gaussians = Gaussians(
        means=torch.tensor([[2.0, 0, 1]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.tensor([[0.0, 1, 2]]),
        logit_opacities=torch.tensor([0.3]),
        sh0=torch.zeros(1, 1, 3),
        shN=torch.tensor([[[0.0, 0, 0], [0, 0, 0], [1, 1, 1]]]),  # a light that grows towards -x
    )
    whole = QUARTER.clone()
    whole[:3, :3] *= 3
    whole[:3, 3] = torch.tensor([10.0, 20, 30])
    placed = place(gaussians, whole)
    assert placed.means.tolist() == [[10.0, 26.0, 33.0]]  # (2, 0, 1) turned is (0, 2, 1), times 3, plus the shift
    assert placed.log_scales[0].tolist() == pytest.approx([math.log(3), 1 + math.log(3), 2 + math.log(3)])
    assert placed.quats[0].tolist() == pytest.approx([math.sqrt(0.5), 0, 0, math.sqrt(0.5)])
    # it now grows towards -y; the basis of -y is the first of degree 1
    assert torch.allclose(placed.shN[0, :, 0], torch.tensor([1.0, 0, 0]), atol=1e-6)


def test_rotations_shifts_and_one_scale(seed: int) -> None:
    gaussians, turn = crowd(50, 3), random_rotation()
    whole = matrix(2.5 * turn)
    assert not is_stretched(whole)
    check_shapes(gaussians, whole)
    check_lights(gaussians, whole, turn)


def test_reflections(seed: int) -> None:
    gaussians, turn = crowd(50, 3), -random_rotation()
    whole = matrix(0.1 * turn)
    assert not is_stretched(whole)
    check_shapes(gaussians, whole)
    check_lights(gaussians, whole, turn)


def test_stretched_and_sheared(seed: int) -> None:
    gaussians = crowd(50, 3)
    for linear in (torch.tensor([1.0, 5.0, 0.2]).diag().double(), torch.randn(3, 3, dtype=torch.float64)):
        whole = matrix(linear)
        U, _, Vh = torch.linalg.svd(linear)
        assert is_stretched(whole)
        check_shapes(gaussians, whole)
        check_lights(gaussians, whole, U @ Vh)


def test_flattened(seed: int) -> None:
    placed = place(crowd(20, 2), matrix(torch.tensor([1.0, 1.0, 0.0]).diag().double()))
    assert placed.finite.all()
    assert (placed.log_scales.amin(dim=1) <= LEAST_LOG_SCALE + 1e-4).all()
    assert (placed.means[:, 2] == 0.5).all()


def test_a_broken_row_leaves_the_others_as_they_are(seed: int) -> None:
    gaussians = crowd(4, 0)
    whole = matrix(torch.tensor([1.0, 5.0, 0.2]).diag().double())
    wanted = place(gaussians, whole)
    gaussians.log_scales[1, 0] = math.nan
    placed = place(gaussians, whole)
    assert placed.finite.tolist() == [True, False, True, True]
    assert torch.equal(placed.quats[[0, 2, 3]], wanted.quats[[0, 2, 3]])


def test_scales_and_quaternions_at_their_ends() -> None:
    assert log_of_scales(torch.tensor([0.0, 1.0])).tolist() == [LEAST_LOG_SCALE, 0.0]
    scales = linear_scales(torch.tensor([-1000.0, 0.0, 1000.0])).float()
    assert torch.isfinite(scales).all()
    assert scales[0] > 0
    units = unit_quats(torch.tensor([[0.0, 0, 0, 0], [0, 0, 3, 4]]))
    assert units.flatten().tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0.6, 0.8])
