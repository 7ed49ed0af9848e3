"""What spoils photos: by hand for one Gaussian, and a blob that was not there when the photos were taken."""

import math
from dataclasses import replace

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.core.scene import IGNORED, SHOWN, Picture, View
from sfumato.edit.clean import inspect
from sfumato.edit.spoilage import spoilage
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import dot, few, straight

SETTINGS = RenderSettings(near=0.1)


def cameras(count: int, size: int) -> list[Camera]:
    angles = [0.4 * index for index in range(count)]
    places = [torch.tensor([4 * math.sin(angle), -0.3, -4 * math.cos(angle)]) for angle in angles]
    return [Camera.look_at(p, torch.zeros(3), torch.tensor([0.0, -1, 0]), size, size, size) for p in places]


def shown(gaussians: Gaussians, camera: Camera) -> View:
    return View("a", camera, to_uint8(render(gaussians, camera, SETTINGS, backend="reference").image))


def test_one_by_hand(backend: str) -> None:
    """A white ball over black, in photos that are black: sum of (w 1)(w 1) over three colors, by the sum of w."""
    ball, camera = dot(0, 0, 2, 0.3, 0.8), straight(17, 17, (20.0, 20.0))
    black = View("a", camera, torch.zeros(17, 17, 3, dtype=torch.uint8))
    weights = render(ball, camera, SETTINGS, backend="reference").alpha.double()
    expected = 3 * weights.square().sum() / weights.sum()
    assert spoilage(ball, [black], SETTINGS, backend=backend).item() == pytest.approx(expected.item(), rel=1e-3)
    assert spoilage(ball, [shown(ball, camera)], SETTINGS, backend=backend).abs().item() < 0.005
    mask = torch.full((17, 17), IGNORED, dtype=torch.uint8)
    mask[0, 0] = SHOWN
    hidden = View("a", camera, Picture(black.image, mask))
    assert spoilage(ball, [hidden], SETTINGS, backend=backend).item() == 0


def test_what_was_not_there_is_found(backend: str) -> None:
    """A blue blob that every camera sees, before red and green balls: geometry alone has nothing against it."""
    color = torch.tensor([[1.0, 0.1, 0.0], [0.1, 0.9, 0.0]]).repeat(8, 1)
    places = [((i % 4) / 2 - 0.75, (i // 4) / 2 - 0.75, 0.05 * i) for i in range(16)]
    scene = Gaussians.cat(
        [dot(*place, 0.2, 0.9, tuple(rgb)) for place, rgb in zip(places, color.tolist(), strict=True)]
    )
    views = [shown(scene, camera) for camera in cameras(few(backend, 5, 2), few(backend, 40, 16))]
    dirty = Gaussians.cat([scene, dot(0.1, 0, -1.2, 0.15, 0.9, (0.1, 0.1, 1.0))])
    found = spoilage(dirty, views, SETTINGS, backend=backend)
    assert found[:16].max() < 0.1 < found[16]
    findings = inspect(dirty, None, None, found)
    assert findings.of("spoils").nonzero()[:, 0].tolist() == [16]
    assert not inspect(dirty).removed[16]


def test_bad_arguments() -> None:
    ball = dot(0, 0, 2)
    with pytest.raises(InputError, match="at least one photo"):
        spoilage(ball, [])
    with pytest.raises(InputError, match=r"spoiled must be \(N,\) with N=1; got \(2,\)"):
        inspect(ball, None, None, torch.zeros(2))
    assert len(spoilage(Gaussians.empty(0), [replace(shown(ball, straight()), name="b")], SETTINGS)) == 0
