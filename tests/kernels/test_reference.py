"""The reference's gradients by finite differences in float64, with every discontinuity moved away."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings

from scenes import SMOOTH, askew, crowd, dot, draw, rasterize, straight

Function = Callable[..., tuple[Tensor, ...]]


def test_smooth_settings_leave_nothing_out() -> None:
    """What the tests below rely on: even a far corner gets its share."""
    gaussian = dot(0, 0, 2, opacity=0.4).to(torch.float64)
    image, _, _, _ = draw("reference", gaussian, straight().to(torch.float64), SMOOTH)
    assert (image > 0).all()


def gradcheck(function: Function, *inputs: Tensor) -> None:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-6, rtol=1e-4, nondet_tol=0)


def small_scene(N: int = 5, degree: int = 2) -> tuple[Gaussians, Camera]:
    """Gaussians that cover most of an 8x8 picture."""
    gaussians = crowd(N, degree, spread=0.5, size=0.8).to(torch.float64)
    bright = replace(gaussians, sh0=1 + gaussians.sh0.abs())  # no color near its clamp at 0
    return bright, askew(8, 8).to(torch.float64)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", range(5))
def test_project(degree: int, antialiased: bool, seed: int) -> None:
    gaussians, camera = small_scene(3, degree)
    settings = replace(SMOOTH, antialiased=antialiased)
    project = load("reference").project

    def function(viewmat: Tensor, K: Tensor, *fields: Tensor) -> tuple[Tensor, ...]:
        splats = project(Gaussians(*fields), replace(camera, viewmat=viewmat, K=K), settings)
        assert splats.seen.all()
        return splats.means2d, splats.conics, splats.depths, splats.colors, splats.opacities

    gradcheck(function, camera.viewmat, camera.K, *gaussians)


def test_project_outside_the_margin(seed: int) -> None:
    """Where the Jacobian is taken at the margin, its gradient along x stops, the mean's does not."""
    gaussians, camera = small_scene(3, 0)
    gaussians = replace(gaussians, means=gaussians.means + torch.tensor([6.0, -5, 0]).double())

    def function(*fields: Tensor) -> tuple[Tensor, ...]:
        splats = load("reference").project(Gaussians(*fields), camera, SMOOTH)
        assert splats.seen.all()
        return splats.means2d, splats.conics

    gradcheck(function, *gaussians)


@pytest.mark.parametrize("depth", [False, True])
def test_blend(depth: bool, seed: int) -> None:
    gaussians, camera = small_scene()
    settings = replace(SMOOTH, depth=depth)
    splats = load("reference").project(gaussians, camera, settings)

    def function(background: Tensor, *fields: Tensor) -> tuple[Tensor, ...]:
        means2d, conics, depths, colors, opacities, probe = fields
        moved = replace(
            splats, means2d=means2d, conics=conics, depths=depths, colors=colors, opacities=opacities, probe=probe
        )
        image, alpha, z = rasterize("reference", moved, camera, settings, background)
        assert (z is None) == (not depth)
        return (image, alpha) if z is None else (image, alpha, torch.where(alpha > 0.01, z, 0))

    inputs = (splats.means2d, splats.conics, splats.depths, splats.colors, splats.opacities, splats.probe)
    gradcheck(function, torch.rand(3).double(), *inputs)


@pytest.mark.parametrize("antialiased", [False, True])
def test_render_end_to_end(antialiased: bool, seed: int) -> None:
    gaussians, camera = small_scene(4, 1)
    settings = replace(SMOOTH, antialiased=antialiased)
    solid = draw("reference", gaussians, camera, settings)[1] > 0.01  # depth is a quotient, noisy where alpha is small

    def function(viewmat: Tensor, background: Tensor, *fields: Tensor) -> tuple[Tensor, ...]:
        image, alpha, depth, _ = draw(
            "reference", Gaussians(*fields), replace(camera, viewmat=viewmat), settings, background
        )
        assert depth is not None
        return image, alpha, torch.where(solid, depth, 0)

    gradcheck(function, camera.viewmat, torch.rand(3).double(), *gaussians)


@pytest.mark.parametrize("probe", ["signed", "absolute"])
def test_probe_against_pixels_one_by_one(probe: Literal["signed", "absolute"], seed: int) -> None:
    """The absolute probe is the sum over pixels of |what this pixel alone gives the mean|."""
    gaussians, camera = small_scene()
    settings = replace(SMOOTH, probe=probe)
    weights = torch.randn(8, 8, 3).double()
    splats = load("reference").project(gaussians, camera, settings).leaves()
    image, _, _ = rasterize("reference", splats, camera, settings, torch.zeros(3).double())
    pulls = []
    for pixel in (image * weights).sum(dim=2).flatten():
        pulls.append(torch.autograd.grad(pixel, splats.means2d, retain_graph=True)[0])
    (image * weights).sum().backward()
    stack = torch.stack(pulls)
    wanted = stack.abs().sum(dim=0) if probe == "absolute" else stack.sum(dim=0)
    torch.testing.assert_close(splats.probe.grad, wanted)
    torch.testing.assert_close(splats.means2d.grad, stack.sum(dim=0))


@pytest.mark.parametrize(("shape", "ssim_weight"), [((1, 1), 0.2), ((3, 5), 0.0), ((3, 5), 1.0), ((13, 12), 0.2)])
def test_photometric(ssim_weight: float, shape: tuple[int, int], seed: int) -> None:
    image, target = torch.rand(2, *shape, 3, dtype=torch.float64)
    gradcheck(lambda x: (load("reference").photometric(x, target, ssim_weight),), image)


def test_tile_lists_are_exact(seed: int) -> None:
    """A pair is listed exactly when some point between the tile's outer pixel centers reaches alpha_min."""
    gaussians, camera, settings = crowd(40).to(torch.float64), askew(40, 23).to(torch.float64), RenderSettings()
    stages = load("reference")
    splats = stages.project(gaussians, camera, settings)
    tiles = stages.bin(splats, 40, 23, settings)
    steps = torch.linspace(0, 15, 16 * 8 + 1, dtype=torch.float64)
    for tile in range(tiles.tiles_x * tiles.tiles_y):
        row, column = divmod(tile, tiles.tiles_x)
        y, x = torch.meshgrid(row * 16 + 0.5 + steps, column * 16 + 0.5 + steps, indexing="ij")
        dx, dy = x[..., None] - splats.means2d[:, 0], y[..., None] - splats.means2d[:, 1]
        a, b, c = splats.conics.unbind(1)
        alphas = splats.opacities * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        most = alphas.amax(dim=(0, 1))
        listed = torch.zeros(40, dtype=torch.bool)
        listed[tiles.splats[tiles.offsets[tile] : tiles.offsets[tile + 1]].long()] = True
        assert not (~listed & splats.seen & (most >= settings.alpha_min)).any()
        assert not (listed & (most < 0.9 * settings.alpha_min)).any()  # 0.9: the grid may miss the peak
        depths = splats.depths[tiles.splats[tiles.offsets[tile] : tiles.offsets[tile + 1]].long()]
        assert (depths.diff() >= 0).all()
