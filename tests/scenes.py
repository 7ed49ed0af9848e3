"""Small scenes for tests: hand-made and random Gaussians, cameras off the common path, one whole training step."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree
from sfumato.kernels.backends import interpreted, load
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings, Splats

# every discontinuity moved to where no test goes
SMOOTH = RenderSettings(alpha_min=1e-30, alpha_max=1 - 1e-9, transmittance_min=0.0, near=1e-3)
RATES = Rates(means=1e-3, quats=2e-3, log_scales=5e-3, logit_opacities=5e-2, sh0=2.5e-3, shN=1.25e-4)


def dot(
    x: float, y: float, z: float, scale: float = 0.2, opacity: float = 0.5, rgb: tuple[float, float, float] = (1, 1, 1)
) -> Gaussians:
    """One round Gaussian of one color, degree 0, float32."""
    return Gaussians(
        means=torch.tensor([[float(x), y, z]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.full((1, 3), scale).log(),
        logit_opacities=torch.logit(torch.tensor([opacity], dtype=torch.float64)).float(),
        sh0=(torch.tensor([[rgb]], dtype=torch.float32) - 0.5) / 0.28209479177387814,
        shN=torch.zeros(1, 0, 3),
    )


def straight(
    width: int = 17,
    height: int = 17,
    focal: tuple[float, float] = (10.0, 10.0),
    center: tuple[float, float] | None = None,
) -> Camera:
    """A camera at the origin that looks along z, at the center of the middle pixel; `focal` and `center` in pixels."""
    cx, cy = center or (width / 2, height / 2)
    K = torch.tensor([[focal[0], 0, cx], [0, focal[1], cy], [0, 0, 1]])
    return Camera(torch.eye(4), K, width, height)


def crowd(N: int, degree: int = 3, spread: float = 1.0, size: float = 0.08) -> Gaussians:
    """N random Gaussians, float32, about the point (0, 0, 3): stretched, turned, of all opacities and colors."""
    return Gaussians(
        means=spread * torch.randn(N, 3) + torch.tensor([0.0, 0, 3]),
        quats=torch.randn(N, 4) * torch.rand(N, 1).add(0.5),
        log_scales=torch.log(torch.tensor(size)) + 0.7 * torch.randn(N, 3),
        logit_opacities=1.5 * torch.randn(N),
        sh0=torch.randn(N, 1, 3),
        shN=0.3 * torch.randn(N, bases_of_degree(degree) - 1, 3),
    )


def broken_crowd(N: int) -> Gaussians:
    """A crowd in whose middle six Gaussians have a number that is none, each in another field."""
    gaussians = crowd(N, 1)
    gaussians.means[:6] = torch.tensor([0.0, 0, 3])
    for row, name in enumerate(gaussians.names()):
        getattr(gaussians, name)[row].view(-1)[-1] = math.nan if row % 2 else math.inf
    return gaussians


def askew(width: int, height: int, fov: float = 1.0) -> Camera:
    """A camera near the origin: turned, fx != fy, principal point off the middle; `fov` half a picture's slope."""
    eye, target, up = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.1, 3.0], [0.2, -1.0, 0.1]])
    camera = Camera.look_at(eye, target, up, focal=1.0, width=width, height=height)
    focal, size = width / (2 * fov), torch.tensor([width, height])
    K = torch.eye(3)
    K[0, 0], K[1, 1] = focal, 1.1 * focal
    K[:2, 2] = size * torch.tensor([0.46, 0.55])
    return replace(camera, K=K)


def few(backend: str, many: int, instead: int) -> int:
    """How many a test takes: `many`, or `instead` on a backend that is interpreted, a thousand times slower."""
    return instead if backend == "gpu" and interpreted() else many


def trainable(gaussians: Gaussians) -> Gaussians:
    return gaussians.map(lambda tensor: tensor.detach().clone().requires_grad_())


def rasterize(
    backend: str, splats: Splats, camera: Camera, settings: RenderSettings, background: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """image, alpha, depth of splats."""
    stages = load(backend)
    tiles = stages.bin(splats, camera.width, camera.height, settings)
    return stages.blend(splats, tiles, background, settings)


def draw(
    backend: str,
    gaussians: Gaussians,
    camera: Camera,
    settings: RenderSettings | None = None,
    background: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Splats]:
    """image, alpha, depth and splats of Gaussians."""
    settings = settings or RenderSettings()
    background = torch.zeros(3).to(gaussians.means) if background is None else background
    splats = load(backend).project(gaussians, camera, settings)
    return *rasterize(backend, splats, camera, settings, background), splats


def step_once(
    backend: str, gaussians: Gaussians, camera: Camera, target: Tensor, settings: RenderSettings, adam: AdamStep
) -> tuple[Gaussians, Moments, Tensor]:
    """One training step with the fused optimizer, on copies: new Gaussians, new moments, loss."""
    gaussians = gaussians.map(torch.Tensor.clone)
    moments = Moments.zeros(gaussians)
    stages = load(backend)
    splats = stages.project(gaussians, camera, settings).leaves()
    image, _, _ = rasterize(backend, splats, camera, settings, torch.zeros(3).to(target))
    loss = stages.photometric(image, target, 0.2)
    loss.backward()
    stages.adam_from_splats(gaussians, splats, camera, settings, moments, adam)
    return gaussians, moments, loss.detach()
