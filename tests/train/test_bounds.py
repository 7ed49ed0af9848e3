"""Bounds on Gaussians in training: clamped scales, and which splats must go for the tile lists to fit."""

import math
from dataclasses import replace

import pytest
import torch

from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings, Splats
from sfumato.train.bounds import LARGEST, SMALLEST, clamp_scales_, runaways

from scenes import crowd, dot, straight


def test_scales_are_clamped_in_place() -> None:
    gaussians = Gaussians.cat([dot(0, 0, 2)] * 4)
    gaussians.log_scales.copy_(torch.tensor([[500.0, -500, 0.25]] * 3 + [[math.nan, 0, 0]]))
    memory = gaussians.log_scales.data_ptr()
    clamp_scales_(gaussians, extent=2.0)
    assert gaussians.log_scales.data_ptr() == memory
    wanted = torch.tensor([math.log(2 * LARGEST), math.log(2 * SMALLEST), 0.25])
    torch.testing.assert_close(gaussians.log_scales[:3], wanted.expand(3, 3))
    assert gaussians.log_scales[3, 0].isnan()
    assert gaussians.scales.square()[:3].min() > 1e-30  # no variance underflows


def seen(gaussians: Gaussians, width: int, height: int) -> Splats:
    return load("reference").project(gaussians, straight(width, height), RenderSettings())


def test_nothing_goes_when_all_fit(seed: int) -> None:
    assert not runaways(seen(crowd(50), 64, 48), 64, 48, 50 * 12).any()


def test_the_largest_go_first() -> None:
    small, large = dot(0, 0, 2, scale=0.01), dot(0, 0, 2, scale=50.0)
    splats = seen(Gaussians.cat([large, small, small, dot(0, 0, -2, scale=50.0), large]), 64, 64)
    # the pixel in the middle of 64x64 lies on the corner of 4 tiles; the large ones fill all 16
    assert runaways(splats, 64, 64, 40).tolist() == [False] * 5
    assert runaways(splats, 64, 64, 39).tolist() == [False, False, False, False, True]
    assert runaways(splats, 64, 64, 23).tolist() == [True, False, False, False, True]
    assert runaways(splats, 64, 64, 0).tolist() == [True, True, True, False, True]  # unseen: no pair, no reason


@pytest.mark.parametrize("size", [0.05, 0.5, 20.0])
def test_what_stays_fits(backend: str, size: float, seed: int) -> None:
    gaussians, settings = crowd(300, 0, size=size), RenderSettings(most_pairs=500)
    stages = load(backend)
    splats = stages.project(gaussians, straight(100, 70, (60.0, 50.0)), settings)
    gone = runaways(splats, 100, 70, 500)
    rest = gaussians[(~gone).nonzero()[:, 0]]
    splats = stages.project(rest, straight(100, 70, (60.0, 50.0)), settings)
    pairs = stages.bin(splats, 100, 70, settings).splats.numel()  # raises nothing
    assert 0 < pairs <= 500
    assert len(rest) > 0


def test_boxes_of_infinite_size_are_as_large_as_the_picture() -> None:
    splats = seen(Gaussians.cat([dot(0, 0, 2, scale=0.01), dot(0, 0, 2, scale=0.01)]), 64, 64)
    radii = splats.radii.clone()
    radii[0] = math.inf
    assert runaways(replace(splats, radii=radii), 64, 64, 19).tolist() == [True, False]  # 16 + 4 tiles
