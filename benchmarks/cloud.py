"""A synthetic cloud that looks like a trained scene to a rasterizer: sizes, opacities and overlap as after training."""

import math

import torch

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians


def cloud(count: int, width: int, height: int, seed: int = 0) -> tuple[Gaussians, Camera]:
    """`count` Gaussians of degree 3 in front of a camera: 60 % in clumps, the rest all over the picture.

    Three standard deviations cover a median of 3 pixels, log-normal with sigma 1; over half the Gaussians have
    opacities from 0.1 to 0.9, a fifth are nearly opaque and a quarter nearly transparent.
    """
    random = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=random)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    size = torch.tensor([width, height], dtype=torch.float32)
    focal, clumps = 0.9 * width, 60
    spots = uniform(-0.05, 1.05, count, 2) * size
    clump = torch.randint(clumps, (count,), generator=random)
    centers, spreads = uniform(0, 1, clumps, 2) * size, uniform(0.02, 0.12, clumps) * width
    clumped = torch.rand(count, generator=random) < 0.6
    spots[clumped] = (centers[clump] + normal(count, 2) * spreads[clump, None])[clumped]

    depths = torch.exp(uniform(math.log(2), math.log(20), count))
    reach = torch.exp(math.log(3.0) + normal(count)).clamp(max=0.2 * width)
    scales = (reach / 3 * depths / focal)[:, None] * torch.exp(0.5 * normal(count, 3))
    x_camera = torch.cat([(spots - size / 2) * (depths / focal)[:, None], depths[:, None]], dim=1)

    kind = torch.rand(count, generator=random)
    opacities = uniform(0.01, 0.1, count)
    opacities = torch.where(kind < 0.75, uniform(0.9, 0.995, count), opacities)
    opacities = torch.where(kind < 0.55, uniform(0.1, 0.9, count), opacities)

    turn = torch.tensor([[math.cos(0.3), 0, math.sin(0.3)], [0, 1, 0], [-math.sin(0.3), 0, math.cos(0.3)]])
    shift = torch.tensor([0.1, -0.2, 0.3])
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = turn, shift
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    gaussians = Gaussians(
        means=(x_camera - shift) @ turn,
        quats=normal(count, 4),
        log_scales=scales.log(),
        logit_opacities=opacities.logit(),
        sh0=0.8 * normal(count, 1, 3),
        shN=0.1 * normal(count, 15, 3),
    )
    return gaussians, Camera(viewmat, K, width, height)
