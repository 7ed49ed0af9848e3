"""Scenes that break renderers: nothing, everything behind, numbers that are none, pictures of one pixel."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.stages import AdamStep, RenderSettings

from scenes import RATES, askew, crowd, dot, draw, few, step_once, straight, trainable


def camera_for(backend: str) -> Camera:
    return askew(few(backend, 40, 16), few(backend, 30, 12))


def gradients(backend: str, gaussians: Gaussians) -> tuple[Tensor, Gaussians, int]:
    """The picture, the gradients of a loss on it, how many rows were left out."""
    leaves = trainable(gaussians)
    image, alpha, depth, splats = draw(backend, leaves, camera_for(backend))
    assert depth is not None
    weight = torch.linspace(-1, 1, len(image))[:, None].to(image)
    ((image * weight[..., None]).sum() + (alpha * weight).sum() + 0.1 * (depth * weight).sum()).backward()
    grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return image.detach(), Gaussians(*grads), int(splats.nonfinite)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 31)], ids=str)
def test_no_gaussians_show_the_background(backend: str, size: tuple[int, int]) -> None:
    background = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    image, alpha, depth, splats = draw(backend, trainable(Gaussians.empty(3)), straight(*size), None, background)
    assert depth is not None
    torch.testing.assert_close(image.detach(), background.detach().expand(size[1], size[0], 3))
    assert alpha.abs().max() == depth.abs().max() == 0
    assert int(splats.nonfinite) == 0
    image.sum().backward()
    torch.testing.assert_close(background.grad, torch.full((3,), float(size[0] * size[1])))


@pytest.mark.parametrize(
    "position",
    [(0, 0, -3), (0, 0, 0), (50, 0, 3), (0, -50, 3), (0, 0, 0.1)],
    ids=["behind", "in", "right", "up", "near"],
)
def test_unseen_gaussians_leave_no_trace(backend: str, position: tuple[float, float, float]) -> None:
    leaves = trainable(Gaussians.cat([dot(*position), dot(0, 0, 2)]))
    alone = draw(backend, dot(0, 0, 2), straight())
    image, alpha, _, splats = draw(backend, leaves, straight())
    torch.testing.assert_close(image, alone[0], rtol=0, atol=0)
    torch.testing.assert_close(alpha, alone[1], rtol=0, atol=0)
    assert splats.seen.tolist() == [False, True]
    assert int(splats.nonfinite) == 0
    image.sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert (leaf.grad[0] == 0).all()


def test_gaussian_around_the_camera(backend: str) -> None:
    """A fog that the camera stands in: drawn where it is in front, finite everywhere."""
    fog = dot(0, 0, 0.5, scale=30.0, opacity=0.6)
    leaves = trainable(fog)
    image, _, _, splats = draw(backend, leaves, straight(20, 20))
    torch.testing.assert_close(image.detach(), torch.full((20, 20, 3), 0.6), rtol=1e-3, atol=0)
    assert splats.seen.all()
    image.sum().backward()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)


BAD = {
    "nan": math.nan,
    "inf": math.inf,
    "minus inf": -math.inf,
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", Gaussians.names())
def test_bad_numbers_are_culled_and_counted(backend: str, name: str, bad: str, seed: int) -> None:
    """A row with one number that is none changes nothing for the others, in the picture or in the gradients."""
    N, rows = few(backend, 60, 12), [0, few(backend, 17, 5), few(backend, 59, 11)]
    gaussians = crowd(N, few(backend, 3, 1))
    good = torch.ones(N, dtype=torch.bool)
    good[rows] = False
    broken = gaussians.map(torch.Tensor.clone)
    for row in rows:
        field = getattr(broken, name)[row].view(-1)
        field[row % field.numel()] = BAD[bad]
    # rows that no camera sees may or may not be looked at closely: put the three where they would be seen
    broken.means[~good] = torch.where(broken.means[~good].isfinite(), torch.tensor([0.0, 0, 3]), broken.means[~good])
    image, grads, nonfinite = gradients(backend, broken)
    wanted, wanted_grads, _ = gradients(backend, gaussians[good])
    assert nonfinite == 3
    torch.testing.assert_close(image, wanted, rtol=1e-6, atol=1e-7)
    for part in grads.names():
        torch.testing.assert_close(getattr(grads[good], part), getattr(wanted_grads, part), rtol=1e-4, atol=1e-6)
        assert (getattr(grads[~good], part) == 0).all()


def test_turns_of_length_zero_are_culled_and_counted(backend: str, seed: int) -> None:
    gaussians = crowd(20, 1)
    gaussians.quats[[3, 4]] = 0
    image, grads, nonfinite = gradients(backend, gaussians)
    assert nonfinite == 2
    assert torch.isfinite(image).all()
    assert all(torch.isfinite(part).all() for part in grads)


@pytest.mark.parametrize(
    ("name", "value"),
    [("log_scales", 80.0), ("log_scales", 1e30), ("log_scales", -200.0), ("means", 3e38), ("logit_opacities", 3e38),
     ("logit_opacities", -3e38), ("quats", 1e-30), ("quats", 3e38), ("sh0", 3e38), ("shN", -3e38)],
)  # fmt: skip
def test_finite_numbers_that_overflow_do_not_spread(backend: str, name: str, value: float, seed: int) -> None:
    N = few(backend, 30, 10)
    gaussians = crowd(N, few(backend, 2, 1))
    broken = gaussians.map(torch.Tensor.clone)
    broken.means[5] = torch.tensor([0.0, 0, 3])
    getattr(broken, name)[5] = value
    image, grads, _ = gradients(backend, broken)
    assert torch.isfinite(image).all()
    others = torch.arange(N) != 5
    for part in grads:
        assert torch.isfinite(part[others]).all()


def test_bad_numbers_do_not_reach_other_rows_by_adam(backend: str, seed: int) -> None:
    N, camera = few(backend, 30, 12), camera_for(backend)
    gaussians = crowd(N, 1)
    gaussians.means[7, 1] = math.nan
    gaussians.shN[8, 2, 0] = math.inf
    target = torch.rand(camera.height, camera.width, 3)
    after, moments, loss = step_once(backend, gaussians, camera, target, RenderSettings(), AdamStep(RATES, count=1))
    assert math.isfinite(loss.item())
    good = (torch.arange(N) != 7) & (torch.arange(N) != 8)
    for part in (after, moments.mean, moments.square):
        assert part[good].finite.all()


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (16, 17), (31, 33)], ids=str)
def test_odd_pictures_are_cut_from_larger_ones(backend: str, size: tuple[int, int], seed: int) -> None:
    """A small picture is the top-left part of a larger one with the same focal length and principal point."""
    gaussians = crowd(few(backend, 50, 10), 1, size=0.2)
    K = askew(48, 48).K
    large = replace(askew(48, 48), K=K)
    small = replace(large, width=size[0], height=size[1])
    # the Jacobian's margin depends on the picture's size; a margin beyond everything takes that away
    settings = RenderSettings(fov_margin=1e3)
    whole, part = draw(backend, gaussians, large, settings), draw(backend, gaussians, small, settings)
    for a, b in zip(whole[:3], part[:3], strict=True):
        assert a is not None
        assert b is not None
        torch.testing.assert_close(b, a[: size[1], : size[0]], rtol=1e-5, atol=1e-6)


def test_wrong_type_is_refused_in_a_sentence(fast_backend: str) -> None:
    with pytest.raises(BackendError, match=r"float32.*float64"):
        load(fast_backend).project(dot(0, 0, 2).to(torch.float64), straight().to(torch.float64), RenderSettings())


def test_unknown_backend() -> None:
    with pytest.raises(BackendError, match=r"no backend named 'gpux' \(known: auto reference cpu gpu\)"):
        load("gpux")
