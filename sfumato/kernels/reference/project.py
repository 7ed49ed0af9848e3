"""Gaussians and a camera to splats: EWA projection (Zwicker et al. 2001) and spherical harmonics."""

import math

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import RenderSettings, Splats

__all__ = ["project"]


def project(gaussians: Gaussians, camera: Camera, settings: RenderSettings) -> Splats:
    """See `stages.Backend.project`. Gradients reach all six fields, camera.viewmat and camera.K."""
    camera = camera.to(gaussians.means.device)
    shapes = (gaussians.means, gaussians.quats, gaussians.log_scales, gaussians.logit_opacities[:, None])
    usable = torch.isfinite(torch.cat(shapes, dim=1)).all(dim=1) & (gaussians.quats != 0).any(dim=1)
    rows = usable.nonzero()[:, 0]
    with torch.no_grad():  # who is seen is decided first, so that no gradient passes through an overflow
        radii, *numbers = _project_rows(gaussians[rows], camera, settings)
        finite = torch.stack([torch.isfinite(t.reshape(len(rows), math.prod(t.shape[1:]))).all(dim=1) for t in numbers])
        on_picture = (radii > 0).all(dim=1)
        visible = on_picture & finite.all(dim=0)
        nonfinite = (~usable).sum() + (on_picture & ~visible).sum()
    rows = rows[visible]
    radii, *numbers = _project_rows(gaussians[rows], camera, settings)

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(len(gaussians), *values.shape[1:]).index_put((rows,), values)

    means2d, conics, depths, colors, opacities = (spread(values) for values in numbers)
    colors = colors.clamp(min=0)  # not before: a color of minus infinity is no black
    probe = torch.zeros_like(means2d).requires_grad_(means2d.requires_grad)
    return Splats(means2d, conics, depths, spread(radii), colors, opacities, probe, nonfinite)


def _project_rows(gaussians: Gaussians, camera: Camera, settings: RenderSettings) -> tuple[Tensor, ...]:
    """radii, means2d, conics, depths, colors (not clamped), opacities of every row, seen or not."""
    rotation, translation = camera.viewmat[:3, :3], camera.viewmat[:3, 3]
    focal, center = camera.K.diagonal()[:2], camera.K[:2, 2]
    size = camera.K.new_tensor([camera.width, camera.height])

    x_camera = gaussians.means @ rotation.T + translation
    depths = x_camera[:, 2]
    in_front = depths > settings.near
    z = torch.where(in_front, depths, 1)[:, None]  # keeps the division, and its gradient, finite
    slopes = x_camera[:, :2] / z
    means2d = focal * slopes + center

    # Eq. 29 of Zwicker et al. 2001, taken at a point not too far outside the picture: the affine
    # approximation is wild there. Eq. 5 of Kerbl et al. 2023.
    margin = settings.fov_margin * size / (2 * focal)
    inside = slopes.clamp(-center / focal - margin, (size - center) / focal + margin)
    jacobian = torch.cat([torch.diag_embed((focal / z).expand(-1, 2)), (-focal * inside / z)[:, :, None]], dim=2)
    ray_from_world = jacobian @ rotation
    covariances = ray_from_world @ gaussians.covariances @ ray_from_world.transpose(1, 2)
    widened = covariances + settings.low_pass * torch.eye(2).to(covariances)

    xx, xy, yy = widened[:, 0, 0], widened[:, 0, 1], widened[:, 1, 1]
    determinants = xx * yy - xy * xy
    solvable = determinants > 0
    conics = torch.stack([yy, -xy, xx], dim=1) / torch.where(solvable, determinants, 1)[:, None]

    opacities = gaussians.opacities
    if settings.antialiased:
        before = covariances[:, 0, 0] * covariances[:, 1, 1] - covariances[:, 0, 1] ** 2
        shrink = before / torch.where(solvable, determinants, 1)
        opacities = opacities * torch.sqrt(shrink.clamp(min=1e-12))  # a floor: the root's slope at 0 is infinite

    # alpha >= alpha_min inside the ellipse d^T conic d <= reach; its box has half sides sqrt(reach * variance)
    reach = 2 * torch.log(opacities.detach() / settings.alpha_min)
    radii = torch.sqrt(reach.clamp(min=0)[:, None] * torch.stack([xx, yy], dim=1).detach())
    centers_from, centers_to = 0.5, size - 0.5
    touches = ((means2d + radii >= centers_from) & (means2d - radii <= centers_to)).all(dim=1)
    radii = torch.where((in_front & solvable & touches)[:, None], radii, 0)

    degree = settings.degree_of(gaussians)
    directions = torch.nn.functional.normalize(gaussians.means + rotation.T @ translation, dim=1)
    coefficients = gaussians.sh[:, : harmonics.bases_of_degree(degree)]
    colors = 0.5 + torch.einsum("nk,nkc->nc", harmonics.basis(degree, directions), coefficients)
    return radii, means2d, conics, depths, colors, opacities
