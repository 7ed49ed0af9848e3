"""A camera and settings as the few numbers that kernels read, and the gradient of the camera from what they sum."""

from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.kernels.stages import RenderSettings

__all__ = ["LEAST_ALPHA", "LEAST_RATIO", "Lens", "least_alpha", "lens_of", "viewmat_gradient"]

LEAST_ALPHA = 2.0**-63  # what the blends' exponentials can still tell from 0
LEAST_RATIO = 1e-12  # of determinants in the antialiased mode: the root's slope at 0 is infinite


class Lens(NamedTuple):
    """Camera and settings as numbers only, which kernels take as they are and read by name."""

    r00: float  # camera <- world rotation
    r01: float
    r02: float
    r10: float
    r11: float
    r12: float
    r20: float
    r21: float
    r22: float
    tx: float
    ty: float
    tz: float
    fx: float  # pixels
    fy: float
    cx: float
    cy: float
    left: float  # slopes between which the Jacobian is taken
    right: float
    top: float
    bottom: float
    px: float  # the camera's position in the world
    py: float
    pz: float
    width: float  # pixels
    height: float
    near: float
    low_pass: float
    alpha_min: float
    antialiased: float  # 1 or 0


def lens_of(camera: Camera, settings: RenderSettings, alpha_min: float) -> Lens:
    """The numbers of a camera, computed in float64; waits for a GPU that the camera's matrices are on."""
    R, t = zip(*((row[:3], row[3]) for row in camera.viewmat.tolist()[:3]), strict=True)
    (fx, _, cx), (_, fy, cy), _ = camera.K.tolist()
    margin_x = settings.fov_margin * camera.width / (2 * fx)
    margin_y = settings.fov_margin * camera.height / (2 * fy)
    slopes = (
        -cx / fx - margin_x,
        (camera.width - cx) / fx + margin_x,
        -cy / fy - margin_y,
        (camera.height - cy) / fy + margin_y,
    )
    position = [-(R[0][i] * t[0] + R[1][i] * t[1] + R[2][i] * t[2]) for i in range(3)]
    numbers = [*R[0], *R[1], *R[2], *t, fx, fy, cx, cy, *slopes, *position]
    numbers += [camera.width, camera.height, settings.near, settings.low_pass, alpha_min, settings.antialiased]
    return Lens._make(map(float, numbers))


def least_alpha(settings: RenderSettings) -> float:
    """settings.alpha_min, or where that is 0 the smallest alpha that the fast backends can represent."""
    return max(settings.alpha_min, LEAST_ALPHA)


def viewmat_gradient(viewmat: Tensor, sums: Tensor) -> Tensor:
    """The gradient of viewmat (4, 4), on its device, from (15,) sums over Gaussians.

    sums: of the gradients to the rotation (9), to the translation (3), and to the means by way of the direction they
    are seen from (3), which moves with the camera's position -R^T t.
    """
    view = viewmat.detach().double()
    sums = sums.to(view)
    towards = sums[12:]
    result = torch.zeros_like(view)
    result[:3, :3] = sums[:9].reshape(3, 3) + view[:3, 3, None] * towards
    result[:3, 3] = sums[9:12] + view[:3, :3] @ towards
    return result.to(viewmat)
