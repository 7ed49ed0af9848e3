"""Adam on every backend: against torch.optim.Adam, dense and sparse, and from the splats in one pass."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.stages import AdamStep, Moments, RenderSettings, Splats

from scenes import RATES, askew, crowd, few, rasterize, trainable

# A number whose gradient is only rounding moves by a whole step either way; this epsilon, large beside rounding and
# small beside gradients, keeps such steps small on both sides of a comparison.
TOLERANT = AdamStep(RATES, count=1, epsilon=1e-4)


def set_gradients(gaussians: Gaussians, seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for tensor in gaussians:
        tensor.grad = (scale * torch.randn(tensor.shape, generator=generator)).to(tensor)


def untracked(gaussians: Gaussians) -> Gaussians:
    return gaussians.map(lambda tensor: tensor.detach().clone())


def alike(got: Gaussians, wanted: Gaussians, tolerance: float = 1e-5) -> None:
    """Each field as a whole, by length: single numbers near 0 may differ in all their digits."""
    for name in got.names():
        mine, theirs = getattr(got, name).double(), getattr(wanted, name).double()
        assert (mine - theirs).norm() <= tolerance * theirs.norm() + 1e-12, name


def test_first_step_by_hand(backend: str) -> None:
    # mean 0.1 g, square 0.001 g^2, both unbiased: the step is the rate times the gradient's sign
    gaussians = crowd(2, 0)
    before = untracked(gaussians)
    gaussians.means.grad = torch.tensor([[3.0, -0.01, 0], [0, 0, 5]])
    moments = Moments.zeros(gaussians)
    load(backend).adam(gaussians, moments, AdamStep(RATES, count=1))
    step = torch.tensor([[-1.0, 1, 0], [0, 0, -1]]) * RATES.means
    torch.testing.assert_close(gaussians.means, before.means + step, rtol=0, atol=1e-6)
    torch.testing.assert_close(moments.mean.means[0, 0].item(), 0.3)
    torch.testing.assert_close(moments.square.means[0, 0].item(), 0.009, rtol=1e-5, atol=0)
    torch.testing.assert_close(gaussians.quats, before.quats, rtol=0, atol=0)  # no gradient: untouched


@pytest.mark.parametrize("degree", [0, 3])
def test_many_steps_against_torch(backend: str, degree: int, seed: int) -> None:
    gaussians = crowd(70, degree)
    theirs = [tensor.detach().clone().requires_grad_() for tensor in gaussians]
    groups = [{"params": [tensor], "lr": rate} for tensor, rate in zip(theirs, RATES, strict=True)]
    optimizer = torch.optim.Adam(groups, eps=1e-15)
    moments = Moments.zeros(gaussians)
    for count in range(1, 8):
        set_gradients(gaussians, seed + count, scale=10.0 ** (count - 4))
        for tensor, mine in zip(theirs, gaussians, strict=True):
            tensor.grad = None if mine.grad is None else mine.grad.clone()
        load(backend).adam(gaussians, moments, AdamStep(RATES, count))
        optimizer.step()
    alike(gaussians, Gaussians(*theirs), 1e-6)


def test_numbers_outside_the_degree_stay(backend: str, seed: int) -> None:
    gaussians = crowd(10, 3)
    before, moments = untracked(gaussians), Moments.zeros(gaussians)
    set_gradients(gaussians, seed)
    load(backend).adam(gaussians, moments, AdamStep(RATES, 1, sh_degree=1))
    torch.testing.assert_close(gaussians.shN[:, 3:], before.shN[:, 3:], rtol=0, atol=0)
    assert (gaussians.shN[:, :3] != before.shN[:, :3]).all()
    assert (moments.mean.shN[:, 3:] == 0).all()


def test_higher_harmonics_have_their_own_count(backend: str, seed: int) -> None:
    """Where they step less often, their moments have seen fewer gradients than the others'."""
    gaussians = crowd(6, 1)
    set_gradients(gaussians, seed)
    ages = {1: untracked(gaussians), 40: untracked(gaussians)}
    for count, moved in ages.items():
        for tensor, given in zip(moved, gaussians, strict=True):
            tensor.grad = None if given.grad is None else given.grad.clone()
        load(backend).adam(moved, Moments.zeros(moved), AdamStep(RATES, count))
    load(backend).adam(gaussians, Moments.zeros(gaussians), AdamStep(RATES, 40, sh_count=1))
    for name in gaussians.names():
        wanted = getattr(ages[1 if name == "shN" else 40], name)
        torch.testing.assert_close(getattr(gaussians, name), wanted, rtol=0, atol=0)
    assert (ages[1].shN != ages[40].shN).all()


def test_higher_harmonics_that_never_stepped(backend: str, seed: int) -> None:
    gaussians = crowd(3, 1)
    before = untracked(gaussians)
    set_gradients(gaussians, seed)
    load(backend).adam(gaussians, Moments.zeros(gaussians), AdamStep(RATES, 1, sh_degree=0, sh_count=0))
    torch.testing.assert_close(gaussians.shN, before.shN, rtol=0, atol=0)
    assert (gaussians.sh0 != before.sh0).all()


def test_sparse_leaves_rows_without_gradient(backend: str, seed: int) -> None:
    gaussians, moments = crowd(10, 1), Moments.zeros(crowd(10, 1))
    for part in (moments.mean, moments.square):
        for tensor in part:
            tensor.fill_(0.5)
    before = untracked(gaussians)
    set_gradients(gaussians, seed)
    idle = torch.tensor([0, 3, 9])
    for tensor in gaussians:
        assert tensor.grad is not None
        tensor.grad[idle] = 0
    load(backend).adam(gaussians, moments, AdamStep(RATES, 5, sparse=True))
    for name in gaussians.names():
        torch.testing.assert_close(getattr(gaussians[idle], name), getattr(before[idle], name), rtol=0, atol=0)
        assert (getattr(moments.mean, name)[idle] == 0.5).all()
        assert (getattr(gaussians, name)[1] != getattr(before, name)[1]).all()


def test_dense_moves_rows_by_their_momentum(backend: str) -> None:
    gaussians = crowd(4, 0)
    before, moments = untracked(gaussians), Moments.zeros(gaussians)
    moments.mean.means.fill_(0.1)
    moments.square.means.fill_(0.01)
    for tensor in gaussians:
        tensor.grad = torch.zeros_like(tensor)
    load(backend).adam(gaussians, moments, AdamStep(RATES, 1000))
    # 0.9 * 0.1 over sqrt(0.999 * 0.01) unbiased by 1 - 0.999^1000 (0.9^1000 is 0)
    step = RATES.means * 0.09 / math.sqrt(0.00999 / (1 - 0.999**1000))
    torch.testing.assert_close(before.means - gaussians.means, torch.full((4, 3), step), rtol=1e-3, atol=0)


def leaves_with_gradients(backend: str, gaussians: Gaussians, settings: RenderSettings) -> tuple[Splats, Tensor]:
    """Splats that a picture's loss was carried to, and the loss's weights."""
    camera = askew(40, 30)
    splats = load(backend).project(gaussians, camera, settings).leaves()
    weight = torch.randn(30, 40, 3).to(gaussians.means)
    picture, _, _ = rasterize(backend, splats, camera, settings, torch.zeros(3).to(gaussians.means))
    (picture * weight).sum().backward()
    return splats, weight


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("antialiased", [False, True])
def test_from_splats_is_autograd_and_a_step(backend: str, antialiased: bool, sparse: bool, seed: int) -> None:
    """One pass from the splats = autograd all the way to the Gaussians, then `adam`; unseen rows included."""
    N = few(backend, 150, 24)
    gaussians, camera = crowd(N, 3, spread=2.0), askew(40, 30)
    settings, step = RenderSettings(antialiased=antialiased), replace(TOLERANT, sparse=sparse)
    splats, weight = leaves_with_gradients(backend, gaussians, settings)
    assert 0 < splats.seen.sum() < N

    slow = trainable(gaussians)
    stages = load(backend)
    whole = stages.project(slow, camera, settings)
    picture, _, _ = rasterize(backend, whole, camera, settings, torch.zeros(3))
    (picture * weight).sum().backward()
    slow_moments = Moments.zeros(slow)
    stages.adam(slow, slow_moments, step)

    fast, moments = untracked(gaussians), Moments.zeros(gaussians)
    stages.adam_from_splats(fast, splats, camera, settings, moments, step)
    alike(moments.mean, slow_moments.mean)
    alike(moments.square, slow_moments.square)
    alike(fast, slow, 1e-6)


@pytest.mark.parametrize("degrees", [(None, None), (1, 1), (1, 3), (3, 1)], ids=str)
@pytest.mark.parametrize("sparse", [False, True])
def test_from_splats_against_reference(
    fast_backend: str, sparse: bool, degrees: tuple[int | None, int | None], seed: int
) -> None:
    """With a penalty's own gradients on the Gaussians, moments from earlier steps, and degrees that differ."""
    drawn, moved = degrees
    camera, settings = askew(40, 30), RenderSettings(sh_degree=drawn)
    step = replace(TOLERANT, count=4, sparse=sparse, sh_degree=moved, sh_count=2)
    gaussians = crowd(few(fast_backend, 300, 24), 3, spread=2.0)
    splats, _ = leaves_with_gradients(fast_backend, gaussians, settings)
    exact_splats = exactly(splats)

    results = []
    for backend, dtype, these in ((fast_backend, torch.float32, splats), ("reference", torch.float64, exact_splats)):
        moving = untracked(gaussians).to(dtype)
        moments = Moments(moving.map(lambda t: 0.01 * t), moving.map(lambda t: 1e-3 * t * t))
        set_gradients(moving, seed, scale=0.1)
        moving.quats.grad = None  # no penalty on turns
        load(backend).adam_from_splats(moving, these, camera.to(dtype), settings, moments, step)
        results.append((moving, moments))
    (mine, my_moments), (theirs, their_moments) = results
    alike(my_moments.mean, their_moments.mean, 1e-5)
    alike(my_moments.square, their_moments.square, 1e-5)
    alike(mine, theirs, 1e-6)
    if sparse:
        idle = ~splats.seen
        for name in gaussians.names():
            torch.testing.assert_close(getattr(mine, name)[idle], getattr(gaussians, name)[idle], rtol=0, atol=0)


def exactly(splats: Splats) -> Splats:
    """The same splats and the same gradients in float64."""
    names = ("means2d", "conics", "depths", "colors", "opacities", "probe")
    exact = replace(splats, **{name: getattr(splats, name).detach().double() for name in names}).leaves()
    for name in names:
        gradient = getattr(splats, name).grad
        getattr(exact, name).grad = None if gradient is None else gradient.double()
    return exact


def test_nothing_to_step(backend: str) -> None:
    gaussians, camera = Gaussians.empty(2), askew(20, 20)
    moments, settings = Moments.zeros(gaussians), RenderSettings()
    splats = load(backend).project(gaussians, camera, settings).leaves()
    picture, _, _ = rasterize(backend, splats, camera, settings, torch.zeros(3))
    picture.sum().backward()
    load(backend).adam_from_splats(gaussians, splats, camera, settings, moments, TOLERANT)
    for tensor in gaussians:
        tensor.grad = torch.zeros_like(tensor)
    load(backend).adam(gaussians, moments, TOLERANT)
    assert len(gaussians) == 0
