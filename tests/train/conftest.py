"""A scene small enough to train on with the reference backend in seconds."""

import math
from collections.abc import Iterator

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.core.scene import Points, Scene, View
from sfumato.kernels import reference
from sfumato.kernels.backends import choose, load
from sfumato.kernels.stages import RenderSettings

import pretend_backend
from pretend import PretendGPU, pretended

# interpreted, training takes a second for a step: tests/train/test_gpu_training.py has as much of that as there is time
# for, and test_on_device.py what is around the kernels
FAST = ["cpu", "gpu"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(params=["reference", *FAST])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend that trains quickly here; scenes are on the CPU for all of them."""
    return usable(request.param)


@pytest.fixture(params=FAST)
def fast_backend(request: pytest.FixtureRequest) -> str:
    """The same but for the reference."""
    return usable(request.param)


def usable(name: str) -> str:
    try:
        return choose(name)[0]
    except BackendError as error:
        pytest.skip(f"BACKEND {name} NOT TESTED: {error}")


def picture(gaussians: Gaussians, camera: Camera) -> torch.Tensor:
    settings = RenderSettings(depth=False)
    splats = reference.project(gaussians, camera, settings)
    tiles = reference.bin(splats, camera.width, camera.height, settings)
    return reference.blend(splats, tiles, torch.zeros(3), settings)[0]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGPU]:
    """A pretended GPU, on which training's backend "gpu" is the CPU's kernels."""
    monkeypatch.setattr(
        "sfumato.train.trainer.choose", lambda name: (name, gpu.device if name == "gpu" else torch.device("cpu"))
    )
    monkeypatch.setattr("sfumato.train.trainer.load", lambda name: pretend_backend if name == "gpu" else load(name))
    pretend_backend.calls.clear()
    with pretended() as gpu:
        yield gpu


@pytest.fixture(scope="session")
def toy() -> Scene:
    """A scene that is learned in a moment."""
    return toy_scene()


def toy_scene() -> Scene:
    """Six photos, 32x32, of 20 Gaussians from all around, and points near where they are, in other colors."""
    random = torch.Generator().manual_seed(0)
    truth = Gaussians(
        means=torch.rand(20, 3, generator=random) * 2 - 1,
        quats=torch.randn(20, 4, generator=random),
        log_scales=torch.randn(20, 3, generator=random) * 0.3 - 1.5,
        logit_opacities=torch.rand(20, generator=random) * 3,
        sh0=torch.randn(20, 1, 3, generator=random),
        shN=torch.randn(20, 3, 3, generator=random) * 0.1,
    )
    views = []
    for index in range(6):
        angle = index * math.pi / 3
        position = torch.tensor([4 * math.cos(angle), 0.8, 4 * math.sin(angle)])
        camera = Camera.look_at(position, torch.zeros(3), torch.tensor([0.0, -1, 0]), 38.0, 32, 32)
        views.append(View(f"{index}.png", camera, to_uint8(picture(truth, camera))))
    rgb = (torch.rand(20, 3, generator=random) * 255).to(torch.uint8)
    return Scene(views, Points(truth.means + 0.05, rgb))
