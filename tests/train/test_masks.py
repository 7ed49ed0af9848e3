"""Training with masks: what is ignored has no influence at all, and what is empty becomes transparent."""

import math
from dataclasses import replace

import pytest
import torch

from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import EMPTY, IGNORED, SHOWN, Picture, Scene
from sfumato.render.render import render
from sfumato.train import TrainConfig, train

CONFIG = TrainConfig(steps=60, max_gaussians=60, deterministic=True)


def with_masks(scene: Scene, value: int, spoil: bool = False) -> Scene:
    """The right half of each photo masked, and filled with noise."""
    views = []
    for view in scene.views:
        mask = torch.full(view.image.shape[:2], SHOWN, dtype=torch.uint8)
        mask[:, 16:] = value
        pixels = view.image.clone()
        if spoil:
            pixels[:, 16:] = torch.randint(0, 256, pixels[:, 16:].shape, dtype=torch.uint8)
        views.append(replace(view, photo=Picture(pixels, mask)))
    return replace(scene, views=views)


def test_ignored_pixels_have_no_influence(toy: Scene, backend: str, seed: int) -> None:
    one = train(with_masks(toy, IGNORED), CONFIG, backend)
    other = train(with_masks(toy, IGNORED, spoil=True), CONFIG, backend)
    shown = train(toy, CONFIG, backend)
    assert torch.equal(one.means, other.means)
    assert torch.equal(one.sh0, other.sh0)
    assert len(one) != len(shown) or not torch.equal(one.means, shown.means)  # they would have had one


def test_a_photo_that_is_ignored_has_no_psnr(toy: Scene, backend: str) -> None:
    masked = with_masks(toy, IGNORED).views
    nothing = torch.full((32, 32), IGNORED, dtype=torch.uint8)
    scene = replace(toy, views=[replace(masked[0], photo=Picture(toy.views[0].image, nothing)), *masked[1:]])
    found: list[tuple[float, float]] = []
    train(scene, replace(CONFIG, steps=12), backend, lambda p: found.append((p.loss, p.psnr)))
    gone = [loss for loss, psnr in found if math.isnan(psnr)]
    assert gone == pytest.approx([0, 0], abs=1e-6)  # twice in twelve steps
    assert all(0 < psnr < 50 for _, psnr in found if not math.isnan(psnr))


def opacity(gaussians: Gaussians, scene: Scene, backend: str) -> float:
    """Mean alpha of the right halves."""
    return sum(render(gaussians, view.camera, backend=backend).alpha[:, 16:].mean().item() for view in scene.views)


def test_empty_pixels_become_transparent(toy: Scene, backend: str, seed: int) -> None:
    """The photos are black there, as the background is: without a mask, black Gaussians are as good as none."""
    black = [replace(view, photo=view.image.clone()) for view in toy.views]
    for view in black:
        view.image[:, 16:] = 0
    dark = replace(toy, views=black)
    plain = opacity(train(dark, CONFIG, backend), dark, backend)
    empty = opacity(train(with_masks(dark, EMPTY), CONFIG, backend), dark, backend)
    assert empty < 0.9 * plain
