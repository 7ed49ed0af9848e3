"""Launches that end where a GPU would begin: at a driver that only notes, behind Triton's compiler as it is used there.

A Python of its own runs this file, as `python jitted.py CASE`, for Triton compiles or interprets from its import on. It
prints one JSON: for each step which kernels were new to Triton, which takes them seconds on a GPU, and all launches.
No kernel runs, so what they should have written is zeros.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Points, Scene, View
from sfumato.kernels import backends
from sfumato.kernels.gpu import adam, adam_from_splats, bin, blend, photometric, project
from sfumato.kernels.gpu.prepare import _steps
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings
from sfumato.train import TrainConfig
from sfumato.train.config import Coarse
from sfumato.train.density import MCMC, Adaptive
from sfumato.train.trainer import Training

TARGET = GPUTarget("cuda", 90, 32)
SETTINGS = RenderSettings(sh_degree=1, depth=False, room=1000)
STEP = AdamStep(Rates(1, 1, 1, 1, 1, 1), count=1, sh_degree=1)
MOST_SHARED = 48 * 1024  # bytes that any card has for any program


class Driver:
    """What Triton asks of a GPU's driver, and what it gives it to do."""

    def __init__(self) -> None:
        self.new: list[str] = []  # kernels
        self.launches: list[tuple[str, list[int]]] = []  # kernels and their grids
        self.utils = self
        self.seen: set[tuple[str, str]] = set()

    def take(self) -> dict[str, Any]:
        """What has happened since this was asked the last time."""
        happened = {"new": self.new, "launches": self.launches}
        self.new, self.launches = [], []
        return happened

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        if metadata.shared > MOST_SHARED:
            raise AssertionError(f"{metadata.name} needs {metadata.shared} bytes of shared memory")
        return lambda x, y, z, *_: self.launches.append((metadata.name, [x, y, z]))

    def noted(self, *, key: str, fn: Any, **_: Any) -> bool:
        """Triton asks this before it compiles a kernel."""
        name = f"{fn.module.rpartition('.')[2]}.{fn.name.rpartition('.')[2]}"
        if (name, key) not in self.seen:
            self.seen.add((name, key))
            self.new.append(name)
        return False

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": MOST_SHARED}

    def load_binary(self, *_: object) -> tuple[int, int, int, int, int]:
        return 1, 1, 32, 0, 1024  # handles of module and function, registers, spills, most threads

    def unload_module(self, module: int) -> None: ...


def pretend(patch: pytest.MonkeyPatch, compiles: bool) -> Driver:
    """Kernels are launched on the CPU's tensors, and on meta tensors. compiles=False: only Triton's question counts."""
    driver = Driver()
    triton.runtime.driver.set_active(driver)
    hook = driver.noted if compiles else lambda **words: not driver.noted(**words)
    patch.setattr(triton.knobs.runtime, "jit_cache_hook", hook)
    patch.setattr("sfumato.kernels.gpu.launch._reachable", lambda device: True)
    patch.setattr(backends, "_gpu", lambda: torch.device("cpu"))
    empty, new_empty = torch.empty, Tensor.new_empty
    patch.setattr(torch, "empty", lambda *shape, **words: empty(*shape, **words).zero_())
    patch.setattr(Tensor, "new_empty", lambda tensor, *shape, **words: new_empty(tensor, *shape, **words).zero_())
    return driver


def scene(N: int, width: int, height: int, device: str = "cpu", at: float = 0.0) -> tuple[Gaussians, Camera, Tensor]:
    """Gaussians of degree 1, a camera and a photo, whose numbers mean nothing."""
    shapes = ((N, 3), (N, 4), (N, 3), (N,), (N, 1, 3), (N, 3, 3))
    gaussians = Gaussians(*(torch.zeros(shape, device=device) for shape in shapes))
    up, position = torch.tensor([0.0, -1, 0]), torch.tensor([at, 0, -3])
    camera = Camera.look_at(position, torch.zeros(3), up, float(width), width, height)
    return gaussians, camera, torch.zeros(height, width, 3, dtype=torch.uint8, device=device)


def learn(N: int, width: int, height: int, settings: RenderSettings, step: AdamStep, device: str = "cpu") -> None:
    """One step of training."""
    gaussians, camera, photo = scene(N, width, height, device)
    splats = project(gaussians, camera, settings).leaves()
    tiles = bin(splats, width, height, settings)
    image, _, _ = blend(splats, tiles, torch.zeros(3, device=device), settings)
    photometric(image, photo, 0.2).backward()  # type: ignore[no-untyped-call]
    adam_from_splats(gaussians, splats, camera, settings, Moments.zeros(gaussians), step)


def by_autograd(N: int, width: int, height: int, step: AdamStep) -> None:
    """One step in which autograd has all gradients; the camera's, too."""
    settings = replace(SETTINGS, deterministic=True, room=None)
    gaussians, camera, _ = scene(N, width, height)
    leaves = gaussians.map(torch.Tensor.requires_grad_)
    splats = project(leaves, replace(camera, viewmat=camera.viewmat.requires_grad_()), settings)
    tiles = bin(splats, width, height, settings)
    image, _, _ = blend(splats, tiles, torch.zeros(3), settings)
    photometric(image, image.detach(), 0.2).backward()  # type: ignore[no-untyped-call]
    adam(leaves, Moments.zeros(leaves), step)


def rarely(N: int, step: AdamStep) -> None:
    """One step with what few trainings ask for: half precision, two penalties, rows that rest, depth, antialiasing."""
    settings = replace(SETTINGS, antialiased=True, depth=True, probe="absolute")
    gaussians, camera, photo = scene(N, 64, 48)
    splats = project(replace(gaussians, shN=gaussians.shN.half()), camera, settings).leaves()
    tiles = bin(splats, 64, 48, settings)
    image, alpha, depth = blend(splats, tiles, torch.zeros(3), settings)
    assert depth is not None
    loss = photometric(image, photo / 255, 0.2) + alpha.mean() + depth.mean()
    loss.backward()  # type: ignore[no-untyped-call]
    gaussians.log_scales.grad, gaussians.logit_opacities.grad = torch.zeros(N, 3), torch.zeros(N)
    adam_from_splats(gaussians, splats, camera, settings, Moments.zeros(gaussians), replace(step, sparse=True))


def changing(driver: Driver) -> dict[str, Any]:
    """Each kernel is compiled; then numbers change that change all the time."""
    steps = {}

    def note(name: str, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)
        steps[name] = driver.take()

    note("first", learn, 48, 64, 48, SETTINGS, STEP)
    note("first by autograd", by_autograd, 48, 64, 48, replace(STEP, sparse=True))
    note("first rarely", rarely, 48, STEP)
    for N in (0, 1, 47, 4096):
        note(f"{N} Gaussians", learn, N, 64, 48, SETTINGS, STEP)
        note(f"{N} Gaussians by autograd", by_autograd, N, 64, 48, replace(STEP, sparse=True))
        note(f"{N} Gaussians rarely", rarely, N, STEP)
    for room in (0, 1, 17, 4096):
        note(f"room {room}", learn, 48, 64, 48, replace(SETTINGS, room=room), STEP)
    for width, height in ((1, 1), (16, 16), (333, 77)):
        note(f"{width} x {height} pixels", learn, 48, width, height, SETTINGS, STEP)
        note(f"{width} x {height} pixels by autograd", by_autograd, 48, width, height, replace(STEP, sparse=True))
    note("step 1000", learn, 48, 64, 48, SETTINGS, replace(STEP, count=1000))
    note("20 million, 4K", learn, 20_000_000, 3840, 2160, replace(SETTINGS, room=400_000_000), STEP, "meta")
    note("30 million, 8K", learn, 30_000_000, 7680, 4320, replace(SETTINGS, room=2**31 - 1), STEP, "meta")
    return steps


def prepared(driver: Driver) -> dict[str, Any]:
    """What is compiled ahead, then trainings with both densities, as their degree rises and their pictures grow."""
    for step in _steps():
        step()
    steps = {"ahead": driver.take()}
    views = []
    for i in range(3):
        _, camera, photo = scene(0, 41 + i, 23, at=float(i))
        views.append(View(f"{i}.png", camera, photo))
    points = Points(xyz=torch.rand(30, 3), rgb=torch.zeros(30, 3, dtype=torch.uint8))
    for density in (Adaptive(), MCMC(start_at=1)):  # Gaussians without numbers cannot be relocated
        config = TrainConfig(steps=12, max_gaussians=40, sh_every=0.1, coarse=Coarse(0.2, 0.5), density=density)
        with Training(Scene(views, points), config, "gpu") as training:
            while training.step < training.steps:
                training.advance()
        steps[density.name] = driver.take()
    return steps


def main() -> None:
    case = {"changing": changing, "prepared": prepared}[sys.argv[1]]
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TRITON_CACHE_DIR", stack.enter_context(tempfile.TemporaryDirectory()))
        print(json.dumps(case(pretend(patch, compiles=case is changing))))


if __name__ == "__main__":
    main()
