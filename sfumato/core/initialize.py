"""Sparse points to the Gaussians that training starts from, each as large as the gap to its neighbours."""

import math

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Points

__all__ = ["initialize", "neighbor_distances"]

NEIGHBORS = 3  # code of Kerbl et al. 2023
LEAF = 32  # points in a bucket of the search; 32 to 64 take about the same time, 16 twice as long


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


def neighbor_distances(xyz: Tensor) -> Tensor:
    """(M,) root mean square distance of each point (M, 3) to its three nearest others, in its unit; exact.

    With fewer than four points it is over those there are, and 1 for a point alone. Buckets of a k-d tree
    (Bentley 1975) are compared whole, and only with those near enough to hold a neighbour.
    """
    M = len(xyz)
    if M == 1:
        return torch.ones(1)
    k = min(NEIGHBORS, M - 1)
    leaves = _leaves(xyz, torch.arange(M))
    members = [xyz[leaf] for leaf in leaves]
    low = torch.stack([points.amin(dim=0) for points in members])
    high = torch.stack([points.amax(dim=0) for points in members])
    means = xyz.new_empty(M)
    for number, (leaf, points) in enumerate(zip(leaves, members, strict=True)):
        reach = _nearest(points, points, k)[:, -1].max() if len(leaf) > k else torch.inf
        gaps = torch.maximum(low - high[number], low[number] - high).clamp(min=0).norm(dim=1)
        near = torch.cat([members[other] for other in (gaps <= reach).nonzero()[:, 0].tolist()])
        means[leaf] = _nearest(points, near, k).square().mean(dim=1).sqrt()
    return means


def _nearest(points: Tensor, others: Tensor, k: int) -> Tensor:
    """(M, k) distances from each of the points to the nearest others, which hold the points themselves."""
    distances = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.topk(k + 1, largest=False).values[:, 1:]  # the first is the point itself


def _leaves(xyz: Tensor, rows: Tensor) -> list[Tensor]:
    """The rows in buckets of at most LEAF, halved again and again across their longer side."""
    if len(rows) <= LEAF:
        return [rows]
    points = xyz[rows]
    side = int((points.amax(dim=0) - points.amin(dim=0)).argmax())
    order = points[:, side].argsort(stable=True)
    half = len(rows) // 2
    return _leaves(xyz, rows[order[:half]]) + _leaves(xyz, rows[order[half:]])
