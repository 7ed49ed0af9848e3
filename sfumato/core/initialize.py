"""Sparse points to the Gaussians that training starts from, each as large as the gap to its neighbours."""

import math

import torch

from sfumato.core import sh as harmonics
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.neighbors import neighbor_distances
from sfumato.core.scene import Points

__all__ = ["initialize"]


def initialize(
    points: Points,
    sh_degree: int = 3,
    opacity: float = 0.1,
    scale: float = 1.0,
    max_gaussians: int | None = None,
    seed: int = 0,
) -> Gaussians:
    """One round Gaussian per point, at most `max_gaussians` (a random choice of the points by `seed`).

    Its standard deviation is `scale` times the root mean square distance to its three nearest neighbours and
    its opacity `opacity`: 1 and 0.1 in the code of Kerbl et al. 2023, 0.1 and 0.5 in that of Kheradmand et al. 2024.
    Points that are not finite are left out. Raises InputError when no point remains.
    """
    usable = torch.isfinite(points.xyz).all(dim=1).nonzero()[:, 0]
    if len(usable) == 0:
        raise InputError(
            "points must hold at least one finite point to start from; got none; run structure from motion"
        )
    if max_gaussians is not None and len(usable) > max_gaussians:
        chosen = torch.randperm(len(usable), generator=torch.Generator().manual_seed(seed))[:max_gaussians]
        usable = usable[chosen.sort().values]
    xyz, rgb = points.xyz[usable].float(), points.rgb[usable]
    N, rest = len(xyz), harmonics.bases_of_degree(sh_degree) - 1
    sigmas = scale * neighbor_distances(xyz).clamp(min=math.sqrt(1e-7))  # equal points are 0 apart
    return Gaussians(
        means=xyz.clone(),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(N, 1),
        log_scales=sigmas.log()[:, None].repeat(1, 3),
        logit_opacities=torch.full((N,), math.log(opacity / (1 - opacity))),
        sh0=harmonics.sh0_from_rgb(rgb.float() / 255)[:, None],
        shN=torch.zeros(N, rest, 3),
    )
