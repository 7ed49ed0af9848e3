"""Gaussians and a camera to a picture, differentiable on every backend."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings, Splats

__all__ = ["Render", "render"]


@dataclass(frozen=True, eq=False)
class Render:
    """What one camera sees."""

    image: Tensor  # (H, W, 3), not clamped above
    alpha: Tensor  # (H, W) in [0, 1]
    depth: Tensor | None  # (H, W) expected depth in world units, 0 where alpha is 0; None if not asked for
    splats: Splats


def render(
    gaussians: Gaussians,
    camera: Camera,
    settings: RenderSettings | None = None,
    background: Tensor | None = None,
    backend: str = "auto",
) -> Render:
    """The picture of `gaussians` by `camera` over `background` (3,), black by default.

    Differentiable down to the stored numbers. Raises BackendError when the backend cannot run here.
    """
    settings = settings or RenderSettings()
    background = torch.zeros(3).to(gaussians.means) if background is None else background
    stages = load(backend, gaussians.means.device)
    splats = stages.project(gaussians, camera, settings)
    tiles = stages.bin(splats, camera.width, camera.height, settings)
    return Render(*stages.blend(splats, tiles, background, settings), splats)
