"""What edit does to Gaussians on a GPU is what it does to them on the CPU, wherever masks, moves and cameras are."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato import edit
from sfumato.core.asset import Asset
from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians

from pretend import DEVICE, OnGPU, pretended
from scenes import crowd

_Try = Callable[[Gaussians, list[Camera]], object]


def ring(count: int = 6) -> list[Camera]:
    cameras = []
    for angle in torch.arange(count) * 2 * math.pi / count:
        position = torch.tensor([5 * math.cos(angle), -1.0, 5 * math.sin(angle)])
        cameras.append(Camera.look_at(position, torch.zeros(3), torch.tensor([0.0, -1, 0]), 40.0, 64, 48))
    return cameras


def turn() -> Tensor:
    return edit.rotation_about((0, 1, 0), 30)


def halves() -> Tensor:
    """How much of each pixel has either of two labels."""
    left = (torch.arange(64) < 32).float().expand(48, 64)
    return torch.stack([left, 1 - left], dim=2)


HERE = edit.MergeOptions(align=True, aligning=edit.AlignOptions(anywhere=False))
TRIED: dict[str, _Try] = {
    "move": lambda some, _: edit.move(some, turn(), (1, 2, 3), 2.0),
    "move by what is there": lambda some, _: edit.translate(some, some.means[0]),
    "upright": lambda some, _: edit.upright(Asset(some, up=(0, 0, 1))),
    "center": lambda some, _: edit.translate(some, -edit.middle(some)),
    "keep by a mask of the CPU": lambda some, _: edit.keep(some, (some.opacities > 0.5).cpu()),
    "box": lambda some, _: edit.crop_box(some, (-1, -1, -1), (1, 1, 1), turn()),
    "sphere": lambda some, _: edit.crop_sphere(some, (0, 0, 0), 1),
    "hull": lambda some, cameras: edit.crop_camera_hull(some, cameras, 0.5),
    "hull of one": lambda some, cameras: edit.crop_camera_hull(some, cameras[:1]),
    "views": lambda some, cameras: edit.crop_views(some, cameras, 3),
    "select": lambda some, _: edit.select(some, "opacity > 0.3 and sh_energy < max(red, 2) and index >= 3"),
    "exposure": lambda some, _: edit.exposure(some, 1),
    "white balance": lambda some, _: edit.white_balance(some, 0.3, 0.2),
    "saturation": lambda some, _: edit.saturation(some, 0.5),
    "tint": lambda some, _: edit.tint(some, (1, 0, 0.5)),
    "degree": lambda some, _: edit.limit_degree(some, 1),
    "order": lambda some, _: edit.in_morton_order(some),
    "decimate": lambda some, _: edit.decimate(some, 20),
    "merge": lambda some, _: edit.merge([Asset(some), Asset(edit.scale(some, 2.0))], HERE),
    "merge once": lambda some, _: edit.merge(
        [Asset(some), Asset(some, axes="RUB", origin=(1, 2, 3))], edit.MergeOptions(dedupe=True)
    ),
    "clean": lambda some, cameras: edit.clean(some, None, edit.visibility(some, cameras, backend="reference")),
    "vote": lambda some, cameras: edit.label(edit.vote(some, [(cameras[0], halves())], backend="reference")),
    "join": lambda some, _: edit.join_nearest(some, torch.where(some.opacities > 0.5, 1, -1)),
    "lint": lambda some, _: edit.lint(Asset(some)),
}


def tensors_of(found: Any) -> list[Tensor]:
    """Of a splat, or of what else a function gives."""
    if isinstance(found, Asset):
        found = found.gaussians
    if isinstance(found, tuple):
        return tensors_of(found[0])
    return [found] if isinstance(found, Tensor) else [*found] if isinstance(found, Gaussians) else []


@pytest.mark.parametrize("cameras_too", [False, True], ids=["cameras on the CPU", "cameras there too"])
def test_on_a_gpu_it_is_the_same(seed: int, cameras_too: bool) -> None:
    some, cameras = crowd(60, 2, spread=1.5), ring()
    here = {name: tensors_of(run(some, cameras)) for name, run in TRIED.items()}
    with pretended():
        there = [camera.to(DEVICE) if cameras_too else camera for camera in cameras]
        for name, run in TRIED.items():
            found = tensors_of(run(some.to(DEVICE), there))
            assert all(isinstance(tensor, OnGPU) for tensor in found), name
            for tensor, wanted in zip(found, here[name], strict=True):
                torch.testing.assert_close(
                    tensor.cpu(), wanted, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
                )


def test_what_is_tried_changes_something(seed: int) -> None:
    """Or the test above could not fail."""
    some = crowd(60, 2, spread=1.5)
    for name in ("hull", "views", "sphere", "box", "select", "decimate"):
        assert 0 < len(tensors_of(TRIED[name](some, ring()))[0]) < 60, name
