"""Gaussians: meanings of the stored numbers, index, join, move, and the exact sentences for bad shapes."""

import math
from collections.abc import Callable

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render


def some(N: int, degree: int = 3, dtype: torch.dtype = torch.float64) -> Gaussians:
    """N random Gaussians in the unit cube."""
    return Gaussians(
        means=torch.rand(N, 3, dtype=dtype) - 0.5,
        quats=torch.randn(N, 4, dtype=dtype),
        log_scales=torch.rand(N, 3, dtype=dtype) - 2.5,
        logit_opacities=torch.randn(N, dtype=dtype),
        sh0=torch.randn(N, 1, 3, dtype=dtype),
        shN=torch.randn(N, (degree + 1) ** 2 - 1, 3, dtype=dtype) / 4,
    )


def test_meanings_by_hand() -> None:
    one = Gaussians(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[2.0, 0, 0, 2.0]]),  # a quarter turn about z
        log_scales=torch.tensor([[1.0, 2, 3]]).log(),
        logit_opacities=torch.tensor([math.log(3)]),
        sh0=torch.zeros(1, 1, 3),
        shN=torch.zeros(1, 0, 3),
    )
    torch.testing.assert_close(one.opacities, torch.tensor([0.75]))  # 1 / (1 + 1 / 3)
    torch.testing.assert_close(one.scales, torch.tensor([[1.0, 2, 3]]))
    # variances 1, 4, 9; the turn exchanges the first two
    torch.testing.assert_close(one.covariances, torch.diag(torch.tensor([4.0, 1, 9]))[None])
    assert (len(one), one.degree, one.sh.shape) == (1, 0, (1, 1, 3))


@pytest.mark.parametrize("degree", range(5))
def test_degrees(degree: int) -> None:
    assert some(3, degree).degree == degree
    assert Gaussians.empty(degree).degree == degree
    assert len(Gaussians.empty(degree)) == 0


def test_index_by_number_mask_and_slice(seed: int) -> None:
    five = some(5)
    order = torch.tensor([3, 0, 3])
    torch.testing.assert_close(five[order].means, five.means[order])
    torch.testing.assert_close(five[order].shN, five.shN[order])
    mask = torch.tensor([True, False, False, True, False])
    torch.testing.assert_close(five[mask].quats, five.quats[[0, 3]])
    assert len(five[1:4]) == 3
    assert len(five[torch.zeros(5, dtype=torch.bool)]) == 0


def test_cat_is_undone_by_index(seed: int) -> None:
    five = some(5)
    again = Gaussians.cat([five[:2], five[2:2], five[2:]])
    for name in five.names():
        torch.testing.assert_close(getattr(again, name), getattr(five, name))


def test_finite_finds_every_field(seed: int) -> None:
    eight = some(8)
    for row, name in enumerate(eight.names()):
        getattr(eight, name)[row].view(-1)[-1] = math.nan if row % 2 else math.inf
    assert eight.finite.tolist() == [False] * 6 + [True] * 2
    assert Gaussians.empty().finite.shape == (0,)
    assert some(4, degree=0).finite.all()


def test_transform_leaves_pictures_unchanged(seed: int) -> None:
    """Scene and camera moved alike, lengths scaled alike: the same picture, depth times the scale."""
    gaussians, scale = some(12), 1.7
    turn = matrix_from_quaternion(torch.randn(4, dtype=torch.float64))
    shift = torch.randn(3, dtype=torch.float64)
    eye, target, up = torch.tensor([[0.3, -2.0, 0.4], [0.0, 0, 0], [0.0, 0, 1]], dtype=torch.float64)
    camera = Camera.look_at(eye, target, up, focal=30, width=24, height=20)
    viewmat = camera.viewmat.clone()
    viewmat[:3, :3] = camera.viewmat[:3, :3] @ turn.T
    viewmat[:3, 3] = scale * camera.viewmat[:3, 3] - viewmat[:3, :3] @ shift
    moved = Camera(viewmat, camera.K, camera.width, camera.height)
    before = render(gaussians, camera, backend="reference")
    after = render(
        gaussians.transform(turn, shift, scale), moved, RenderSettings(near=0.2 * scale), backend="reference"
    )
    assert before.alpha.max() > 0.5
    torch.testing.assert_close(after.image, before.image, rtol=0, atol=1e-10)
    assert before.depth is not None
    torch.testing.assert_close(after.depth, scale * before.depth, rtol=0, atol=1e-10)


def test_transform_there_and_back(seed: int) -> None:
    gaussians = some(6)
    turn = matrix_from_quaternion(torch.randn(4, dtype=torch.float64))
    shift = torch.randn(3, dtype=torch.float64)
    there = gaussians.transform(turn, shift, 0.3)
    back = there.transform(turn.T, -turn.T @ shift / 0.3, 1 / 0.3)
    torch.testing.assert_close(back.means, gaussians.means)
    torch.testing.assert_close(back.covariances, gaussians.covariances)
    torch.testing.assert_close(back.sh, gaussians.sh)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_transform_needs_a_positive_scale(scale: float) -> None:
    with pytest.raises(InputError, match="scale must be a positive number"):
        some(1).transform(torch.eye(3), torch.zeros(3), scale)


@pytest.mark.parametrize("factor", [-1.0, 2.0, math.nan])
def test_transform_needs_a_rotation(factor: float) -> None:
    with pytest.raises(InputError, match="rotation must be a rotation matrix"):
        some(1).transform(factor * torch.eye(3), torch.zeros(3))


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("means", (5, 4), "means must be (N, 3); got (5, 4)"),
        ("means", (), "means must be (N, 3); got ()"),
        ("quats", (5, 3), "quats must be (N, 4) with N=5; got (5, 3)"),
        ("log_scales", (4, 3), "log_scales must be (N, 3) with N=5; got (4, 3)"),
        ("logit_opacities", (5, 1), "logit_opacities must be (N,) with N=5; got (5, 1)"),
        ("sh0", (5, 3), "sh0 must be (N, 1, 3) with N=5; got (5, 3)"),
        ("shN", (6, 15, 3), "shN must be (N, K-1, 3) with N=5; got (6, 15, 3)"),
        ("shN", (5, 7, 3), "spherical harmonics must have 1, 4, 9, 16 or 25 bases; got 8"),
    ],
)
def test_bad_shapes_are_told_exactly(name: str, shape: tuple[int, ...], sentence: str) -> None:
    fields = dict(zip(Gaussians.names(), some(5), strict=True))
    with pytest.raises(InputError) as caught:
        Gaussians(**{**fields, name: torch.zeros(shape)})
    assert str(caught.value) == sentence
    assert isinstance(caught.value, ShapeError) == ("must be" in sentence)


def test_detach_and_to() -> None:
    gaussians = some(2).map(torch.Tensor.requires_grad_)
    assert not any(tensor.requires_grad for tensor in gaussians.detach())
    assert {tensor.dtype for tensor in gaussians.to(torch.float32)} == {torch.float32}


def test_functions_see_every_field() -> None:
    zeros: Callable[[torch.Tensor], torch.Tensor] = torch.zeros_like
    assert all((tensor == 0).all() for tensor in some(3).map(zeros))
