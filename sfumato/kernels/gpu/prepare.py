"""Compile every kernel that training and rendering use, once, in a step that people can see."""

import hashlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import triton

from sfumato.core.cache import cache_folder
from sfumato.core.camera import Camera
from sfumato.core.errors import SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.kernels.backends import choose, interpreted
from sfumato.kernels.gpu.adam import adam, adam_from_splats
from sfumato.kernels.gpu.bin import bin
from sfumato.kernels.gpu.blend import blend
from sfumato.kernels.gpu.photometric import photometric
from sfumato.kernels.gpu.project import project
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings

__all__ = ["is_prepared", "marker", "prepare"]

COUNT, SIDE, DEGREE = 3, 20, 3  # Gaussians, pixels, spherical harmonics of the scene that is learned
PLAIN = RenderSettings(depth=False)
LEARNED = (PLAIN, replace(PLAIN, probe="absolute"), RenderSettings(room=1024))  # at each degree
SHOWN = (PLAIN, RenderSettings())
STILL = Rates(0, 0, 0, 0, 0, 0)


def marker() -> Path:
    """The file that says Triton's cache holds every kernel, for this GPU, Triton and source.

    Triton keeps what it compiles in a folder of its own; one that has been emptied fills again, without this step.
    """
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    digest = hashlib.sha256(f"{triton.__version__} {torch.__version__} {sys.version} {name}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return cache_folder() / "kernels" / f"{digest.hexdigest()[:12]}-gpu" / "complete"


def is_prepared() -> bool:
    """True when the kernels have been compiled before on this machine, or need not be: the interpreter takes them."""
    return interpreted() or marker().exists()


def prepare(progress: Progress = silent) -> None:
    """Compile the kernels, or load them from Triton's cache, where it takes a moment only.

    What few trainings use (sparse steps, half precision, deterministic sums) is compiled when it is first used.
    Warns (SfumatoWarning) when it cannot be noted that this is done, so that `is_prepared` stays False.
    """
    if interpreted():
        return
    stage, steps = "loading kernels" if is_prepared() else "compiling kernels (once)", _steps()
    for done, step in enumerate(steps):
        progress(stage, done, len(steps))
        step()
    torch.cuda.synchronize()
    progress(stage, len(steps), len(steps))
    try:
        marker().parent.mkdir(parents=True, exist_ok=True)
        marker().touch()
    except OSError:
        told = f"nothing can be kept in {cache_folder()}; set SFUMATO_CACHE to a folder that can be written"
        warnings.warn(told, SfumatoWarning, stacklevel=2)


def _steps() -> list[Callable[[], None]]:
    """What is to be done once: training as the degree rises, then pictures."""
    steps: list[Callable[[], None]] = []
    for degree in range(DEGREE + 1):
        steps += [partial(_learn, replace(settings, sh_degree=degree)) for settings in LEARNED]
    return [*steps, *(partial(_show, settings) for settings in SHOWN)]


def _learn(settings: RenderSettings) -> None:
    """Steps of training: where shN moves as far as it is drawn, where it rests, and with MCMC's penalties."""
    gaussians, camera, photo = _little_scene()
    splats = project(gaussians, camera, settings).leaves()
    tiles = bin(splats, SIDE, SIDE, settings)
    image, _, _ = blend(splats, tiles, torch.zeros(3, device=photo.device), settings)
    photometric(image, photo, 0.2).backward()
    moments = Moments.zeros(gaussians)
    for moved in (settings.sh_degree, 0):
        adam_from_splats(gaussians, splats, camera, settings, moments, AdamStep(STILL, count=1, sh_degree=moved))
    for field in (gaussians.log_scales, gaussians.logit_opacities):
        field.grad = torch.zeros_like(field)
    step = AdamStep(STILL, count=1, sh_degree=settings.sh_degree)
    adam_from_splats(gaussians, splats, camera, settings, moments, step)


def _show(settings: RenderSettings) -> None:
    """A picture that is compared with another, and a step by autograd."""
    gaussians, camera, photo = _little_scene()
    with torch.no_grad():
        splats = project(gaussians, camera, settings)
        tiles = bin(splats, SIDE, SIDE, settings)
        image, _, _ = blend(splats, tiles, torch.zeros(3, device=photo.device), settings)
        photometric(image, image, 0.2)
    leaves = gaussians.map(torch.Tensor.requires_grad_)
    splats = project(leaves, camera, settings)
    (splats.means2d.sum() + splats.colors.sum()).backward()
    adam(leaves, Moments.zeros(leaves), AdamStep(STILL, count=1))


def _little_scene() -> tuple[Gaussians, Camera, torch.Tensor]:
    """Gaussians and a photo on the GPU, and a camera."""
    _, device = choose("gpu")
    gaussians = Gaussians(
        means=torch.zeros(COUNT, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(COUNT, 1),
        log_scales=torch.full((COUNT, 3), -1.0),
        logit_opacities=torch.zeros(COUNT),
        sh0=torch.zeros(COUNT, 1, 3),
        shN=torch.zeros(COUNT, (DEGREE + 1) ** 2 - 1, 3),
    )
    up, position = torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 0, -3])
    camera = Camera.look_at(position, torch.zeros(3), up, float(SIDE), SIDE, SIDE)
    photo = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8).permute(1, 2, 0)
    return gaussians.to(device), camera, photo.to(device)
