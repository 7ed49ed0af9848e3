"""Compile every kernel that training and rendering use, once, in a step that people can see."""

import warnings

import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.kernels.cpu.adam import adam, adam_from_splats
from sfumato.kernels.cpu.bin import bin
from sfumato.kernels.cpu.blend import blend
from sfumato.kernels.cpu.photometric import photometric
from sfumato.kernels.cpu.project import project
from sfumato.kernels.cpu.threads import cache_folder
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings

__all__ = ["is_prepared", "prepare"]

DONE = "complete"  # a file that says the cache folder holds every kernel


def is_prepared() -> bool:
    """True when the kernels have been compiled before on this machine, for this version and vector width."""
    return (cache_folder() / DONE).exists()


def prepare(progress: Progress = silent) -> None:
    """Compile the kernels, or load them from the cache: about 30 s the first time, half a second later.

    Warns (SfumatoWarning) when the cache cannot be written, so that they are compiled again the next time.
    """
    stage = "loading kernels" if is_prepared() else "compiling kernels (once)"
    gaussians, camera = _one_gaussian()
    moments, background = Moments.zeros(gaussians), torch.zeros(3)
    step = AdamStep(Rates(0, 0, 0, 0, 0, 0), count=1)
    photo = torch.zeros(3, 20, 20, dtype=torch.uint8).permute(1, 2, 0)
    done, total = 0, 9

    def tick() -> None:
        nonlocal done
        done += 1
        progress(stage, done, total)

    progress(stage, 0, total)
    for settings in (RenderSettings(depth=False), RenderSettings(), RenderSettings(depth=False, probe="absolute")):
        splats = project(gaussians.detach(), camera, settings).leaves()
        tick()
        tiles = bin(splats, camera.width, camera.height, settings)
        image, _, _ = blend(splats, tiles, background, settings)
        tick()
        photometric(image, photo, 0.2).backward()
        photometric(image.detach(), image.detach(), 0.2)
        tick()
    adam_from_splats(gaussians, splats, camera, settings, moments, step)
    leaves = gaussians.map(lambda tensor: tensor.clone().requires_grad_())
    project(leaves, camera, settings).means2d.sum().backward()
    adam(leaves, moments, step)
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        (cache_folder() / DONE).touch()
    except OSError:
        told = f"compiled kernels cannot be kept in {cache_folder()}; set SFUMATO_CACHE to a folder that can be written"
        warnings.warn(told, SfumatoWarning, stacklevel=2)


def _one_gaussian() -> tuple[Gaussians, Camera]:
    gaussians = Gaussians(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.full((1, 3), -1.0),
        logit_opacities=torch.zeros(1),
        sh0=torch.zeros(1, 1, 3),
        shN=torch.zeros(1, 15, 3),
    )
    up, position = torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 0, -3])
    return gaussians, Camera.look_at(position, torch.zeros(3), up, 20.0, 20, 20)
