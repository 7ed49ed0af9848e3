"""Tile lists at their limits: one Gaussian over a whole 4K picture, and far too many of them."""

import math
import tracemalloc
from time import perf_counter

import pytest
import torch

from sfumato.core.errors import TileListError
from sfumato.kernels.backends import load
from sfumato.kernels.stages import MOST_PAIRS, TILE, RenderSettings

from scenes import crowd, dot, draw, few, straight, trainable


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_one_gaussian_covers_a_large_picture(backend: str, scale: float) -> None:
    """Against the formula: opacity exp(-d^2 / (2 variance)) around the middle, in every tile, gradients finite."""
    width, height = (320, 180) if backend == "reference" else (few(backend, 3840, 60), few(backend, 2160, 40))
    leaves, camera = trainable(dot(0, 0, 2, scale=scale, opacity=0.6)), straight(width, height, (width, width))
    image, _, _, splats = draw(backend, leaves, camera)
    variance = (width * scale / 2) ** 2 + 0.3
    x = torch.arange(width, dtype=torch.float64) + 0.5 - width / 2
    y = torch.arange(height, dtype=torch.float64) + 0.5 - height / 2
    wanted = 0.6 * torch.exp(-(x**2 + y[:, None] ** 2) / (2 * variance))
    # the affine approximation is exact here, for the mean lies on the axis
    torch.testing.assert_close(image[..., 1].detach().double(), wanted, rtol=1e-5, atol=1e-5)
    tiles = load(backend).bin(splats, width, height, RenderSettings())
    assert tiles.splats.numel() == math.ceil(width / TILE) * math.ceil(height / TILE)

    image.mean().backward()
    gradient = leaves.logit_opacities.grad
    assert gradient is not None
    torch.testing.assert_close(gradient.double(), wanted.mean()[None] * 0.4, rtol=1e-3, atol=0)
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_longer_lists_than_allowed_are_refused(backend: str, seed: int) -> None:
    gaussians, camera = crowd(40, 0, spread=0.1, size=5.0), straight(64, 48)
    splats = load(backend).project(gaussians, camera, RenderSettings())
    pairs = load(backend).bin(splats, 64, 48, RenderSettings()).splats.numel()
    assert load(backend).bin(splats, 64, 48, RenderSettings(most_pairs=pairs)).splats.numel() == pairs
    with pytest.raises(TileListError, match=rf"at most {pairs - 1:,} entries") as caught:
        load(backend).bin(splats, 64, 48, RenderSettings(most_pairs=pairs - 1))
    assert pairs - 1 == caught.value.most < caught.value.pairs <= pairs


@pytest.mark.parametrize("most", [MOST_PAIRS, 10_000_000])
def test_lists_that_explode_are_refused_at_once(fast_backend: str, most: int, seed: int) -> None:
    """200,000 Gaussians over a whole 4K picture: 6 billion pairs, which int32 cannot count, 400 GB.

    A millionth of both where kernels are interpreted.
    """
    many, most = few(fast_backend, 200_000, 20), few(fast_backend, most, most // 1_000_000)
    width, height = few(fast_backend, 3840, 480), few(fast_backend, 2160, 270)
    gaussians, camera = crowd(many, 0, spread=0.1, size=30.0), straight(width, height, (width, width))
    stages, settings = load(fast_backend), RenderSettings(most_pairs=most)
    splats = stages.project(gaussians, camera, settings)
    stages.bin(stages.project(gaussians[:1], camera, RenderSettings()), width, height, RenderSettings())  # compiled
    tracemalloc.start()  # NumPy reports its arrays here
    began = perf_counter()
    try:
        with pytest.raises(TileListError) as caught:
            stages.bin(splats, width, height, settings)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()
    assert perf_counter() - began < 10
    assert caught.value.pairs > most
    assert caught.value.most == most
