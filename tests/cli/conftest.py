"""A toy scene for the command line's tests, in memory and as a dataset's folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from offerings import blender

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.core.scene import Points, Scene, View
from sfumato.render.render import render

TESTED = (0, 8)
FOCAL = 24.0  # pixels


def make_toy(test: bool = True) -> Scene:
    """Nine small photos of a few colored balls; the first and the last are held out."""
    means = torch.randn(30, 3) * 0.6
    gaussians = Gaussians(
        means=means,
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(30, 1),
        log_scales=torch.full((30, 3), -1.5),
        logit_opacities=torch.full((30,), 3.0),
        sh0=torch.randn(30, 1, 3),
        shN=torch.zeros(30, 0, 3),
    )
    views = []
    for index in range(9):
        angle = torch.tensor(index * 0.25 - 1)
        position = 4 * torch.stack([angle.sin(), torch.tensor(-0.2), -angle.cos()])
        camera = Camera.look_at(position, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]), FOCAL, 24, 18)
        image = to_uint8(render(gaussians, camera, backend="reference").image)
        views.append(View(f"{index}.png", camera, image, "test" if test and index in TESTED else "train"))
    return Scene(views, Points(means, torch.full((30, 3), 128, dtype=torch.uint8)), protocol={"source": "toy"})


@pytest.fixture
def toy(seed: int) -> Callable[..., Scene]:
    """Makes the toy scene."""
    return make_toy


@pytest.fixture
def dataset(seed: int, tmp_path: Path) -> Path:
    """The toy scene as a folder of photos and transforms_{train,test}.json, with OpenGL's axes."""
    return blender(tmp_path / "dataset", make_toy())
