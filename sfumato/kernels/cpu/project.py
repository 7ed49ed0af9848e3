"""Gaussians and a camera to splats, and gradients of splats back to Gaussians and camera."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.cpu.arrays import numbers
from sfumato.kernels.cpu.harmonics import direction_gradient, fill_basis
from sfumato.kernels.cpu.lens import (
    axes_of,
    covariance2d,
    half_axes2d,
    jacobian,
    lens_of,
    pull_back,
    to_camera,
    unit_quaternion,
)
from sfumato.kernels.cpu.threads import helper, kernel, launch, take
from sfumato.kernels.stages import RenderSettings, Splats

__all__ = ["BLOCK", "bases_used", "color_gradients", "least_alpha", "project"]

BLOCK = 256  # Gaussians
f = np.float32
ZERO, ONE, TWO, HALF = f(0), f(1), f(2), f(0.5)
LARGEST = f(np.finfo(np.float32).max)
LEAST_ALPHA = 2.0**-63  # what the blend's exponential can still tell from 0


def least_alpha(settings: RenderSettings) -> float:
    """settings.alpha_min, or where that is 0 the smallest alpha that is representable here."""
    return max(settings.alpha_min, LEAST_ALPHA)


def project(gaussians: Gaussians, camera: Camera, settings: RenderSettings) -> Splats:
    """See `stages.Backend.project`. Gradients reach all six fields and camera.viewmat, not camera.K."""
    if camera.K.requires_grad:
        raise BackendError("the cpu backend has no gradient for camera.K; use backend='reference'")
    outputs = _Project.apply(*gaussians, camera.viewmat, camera, settings)
    means2d, conics, depths, colors, opacities, radii, nonfinite = outputs
    probe = torch.zeros(len(gaussians), 2, requires_grad=means2d.requires_grad)
    return Splats(means2d, conics, depths, radii, colors, opacities, probe, nonfinite)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        *fields, _, camera, settings = inputs
        gaussians = Gaussians(*fields)
        N, bases = len(gaussians), bases_used(gaussians, settings)
        lens = lens_of(camera, settings, least_alpha(settings))
        shapes = ((N, 2), (N, 3), (N,), (N, 3), (N,), (N, 2))
        outputs = tuple(torch.empty(shape) for shape in shapes)
        blocks = -(-N // BLOCK)
        nonfinite = np.zeros(blocks, np.int64)
        launch(_forward, blocks, lens, bases, *numbers(*_flat(fields)), *numbers(*outputs), nonfinite)
        ctx.save_for_backward(*fields, outputs[3], outputs[5])
        ctx.lens, ctx.bases = lens, bases
        counted = torch.tensor(int(nonfinite.sum()))
        ctx.mark_non_differentiable(outputs[5], counted)
        return *outputs, counted

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        *fields, colors, radii = ctx.saved_tensors
        incoming = [
            torch.zeros(like) if gradient is None else gradient
            for gradient, like in zip(
                gradients[:5],
                [(len(radii), 2), (len(radii), 3), (len(radii),), (len(radii), 3), (len(radii),)],
                strict=True,
            )
        ]
        results = [torch.zeros_like(field) for field in fields]
        blocks = -(-len(radii) // BLOCK)
        camera_sums = np.zeros((blocks, 15), np.float32)
        launch(
            _backward,
            blocks,
            ctx.lens,
            ctx.bases,
            *numbers(*_flat(fields), colors, radii),
            *numbers(*incoming),
            *numbers(*_flat(results)),
            camera_sums,
        )
        viewmat = _viewmat_gradient(ctx.lens, camera_sums) if ctx.needs_input_grad[6] else None
        return *results, viewmat, None, None


def _flat(fields: list[Tensor]) -> list[Tensor]:
    """The six fields, spherical harmonics as rows of (N, 3) and (N, 3 (K-1)) numbers."""
    return [field.flatten(1) if field.ndim == 3 else field for field in fields]


def bases_used(gaussians: Gaussians, settings: RenderSettings) -> int:
    """How many spherical-harmonics bases a render with these settings evaluates."""
    degree = gaussians.degree if settings.sh_degree is None else min(settings.sh_degree, gaussians.degree)
    return harmonics.bases_of_degree(degree)


def _viewmat_gradient(lens: Any, block_sums: Any) -> Tensor:
    """(4, 4) from sums over Gaussians: rotation, translation, and the direction of view, seen from position -R^T t."""
    sums = torch.from_numpy(block_sums.sum(axis=0, dtype=np.float64))
    translation = torch.tensor([lens.tx, lens.ty, lens.tz], dtype=torch.float64)
    rotation = torch.tensor(lens[:9], dtype=torch.float64).reshape(3, 3)
    towards = sums[12:]
    result = torch.zeros(4, 4, dtype=torch.float64)
    result[:3, :3] = sums[:9].reshape(3, 3) + translation[:, None] * towards
    result[:3, 3] = sums[9:12] + rotation @ towards
    return result.float()


@helper
def _finite(number):
    return abs(number) <= LARGEST  # `number - number == 0` is folded to True when sums may be reordered


@kernel
def _forward(
    counter, blocks, lens, bases,
    means, quats, log_scales, logits, sh0, shN,
    means2d, conics, depths, colors, opacities, radii, nonfinite,
):  # fmt: skip
    N = logits.size
    basis = np.empty(25, np.float32)
    while True:
        block = take(counter)
        if block >= blocks:
            return
        broken = 0
        for i in range(block * BLOCK, min(N, (block + 1) * BLOCK)):
            seen, finite = _project_one(
                i, lens, bases, basis, means, quats, log_scales, logits, sh0, shN,
                means2d, conics, depths, colors, opacities, radii,
            )  # fmt: skip
            if not seen:
                means2d[i, 0], means2d[i, 1], depths[i], opacities[i] = ZERO, ZERO, ZERO, ZERO
                radii[i, 0], radii[i, 1] = ZERO, ZERO
                for k in range(3):
                    conics[i, k], colors[i, k] = ZERO, ZERO
            if not finite:
                broken += 1
        nonfinite[block] = broken


@helper
def _project_one(
    i, lens, bases, basis, means, quats, log_scales, logits, sh0, shN,
    means2d, conics, depths, colors, opacities, radii,
):  # fmt: skip
    """Fill row i of the outputs; returns whether it is seen, and whether its numbers are finite."""
    mx, my, mz, logit = means[i, 0], means[i, 1], means[i, 2], logits[i]
    ls0, ls1, ls2 = log_scales[i, 0], log_scales[i, 1], log_scales[i, 2]
    length = quats[i, 0] ** 2 + quats[i, 1] ** 2 + quats[i, 2] ** 2 + quats[i, 3] ** 2
    if not (_finite(mx + my + mz) and _finite(logit + ls0 + ls1 + ls2) and _finite(length) and length > ZERO):
        return False, False
    x, y, z = to_camera(lens, mx, my, mz)
    if not z > lens.near:
        return False, True
    opacity = ONE / (ONE + math.exp(-logit))
    if not opacity > lens.alpha_min:
        return False, True

    w, qx, qy, qz, _ = unit_quaternion(quats, i)
    m = axes_of(w, qx, qy, qz, math.exp(ls0), math.exp(ls1), math.exp(ls2))
    xx, xy, yy = covariance2d(half_axes2d(jacobian(lens, x, y, z), m))
    wide_xx, wide_yy = xx + lens.low_pass, yy + lens.low_pass
    det = wide_xx * wide_yy - xy * xy
    if not _finite(det):
        return False, False
    if not det > ZERO:
        return False, True
    inverse = ONE / det
    if lens.antialiased:
        opacity *= math.sqrt(max((xx * yy - xy * xy) * inverse, f(1e-12)))
        if not opacity > lens.alpha_min:
            return False, True

    iz = ONE / z
    u, v = lens.fx * x * iz + lens.cx, lens.fy * y * iz + lens.cy
    reach = TWO * math.log(opacity / lens.alpha_min)
    rx, ry = math.sqrt(reach * wide_xx), math.sqrt(reach * wide_yy)
    if not _finite(u + v + rx + ry):
        return False, False
    if u + rx < HALF or v + ry < HALF or u - rx > lens.width - HALF or v - ry > lens.height - HALF:
        return False, True

    dx, dy, dz = mx - lens.px, my - lens.py, mz - lens.pz
    n = ONE / math.sqrt(dx * dx + dy * dy + dz * dz)
    fill_basis(dx * n, dy * n, dz * n, bases, basis)
    red, green, blue = HALF + basis[0] * sh0[i, 0], HALF + basis[0] * sh0[i, 1], HALF + basis[0] * sh0[i, 2]
    for k in range(1, bases):
        red += basis[k] * shN[i, 3 * k - 3]
        green += basis[k] * shN[i, 3 * k - 2]
        blue += basis[k] * shN[i, 3 * k - 1]
    if not _finite(red + green + blue):
        return False, False

    means2d[i, 0], means2d[i, 1], depths[i], opacities[i] = u, v, z, opacity
    conics[i, 0], conics[i, 1], conics[i, 2] = wide_yy * inverse, -xy * inverse, wide_xx * inverse
    colors[i, 0], colors[i, 1], colors[i, 2] = max(red, ZERO), max(green, ZERO), max(blue, ZERO)
    radii[i, 0], radii[i, 1] = rx, ry
    return True, True


@helper
def color_gradients(i, lens, bases, basis, weights, means, shN, red, green, blue):
    """Fill basis, whose products with the colors' gradients are those of sh; returns the gradient to the mean."""
    dx, dy, dz = means[i, 0] - lens.px, means[i, 1] - lens.py, means[i, 2] - lens.pz
    n = ONE / math.sqrt(dx * dx + dy * dy + dz * dz)
    x, y, z = dx * n, dy * n, dz * n
    fill_basis(x, y, z, bases, basis)
    if bases == 1:
        return ZERO, ZERO, ZERO
    for k in range(1, bases):
        weights[k] = shN[i, 3 * k - 3] * red + shN[i, 3 * k - 2] * green + shN[i, 3 * k - 1] * blue
    gx, gy, gz = direction_gradient(x, y, z, bases, weights)
    along = gx * x + gy * y + gz * z  # the direction has length 1 wherever the mean goes
    return (gx - along * x) * n, (gy - along * y) * n, (gz - along * z) * n


@kernel
def _backward(
    counter, blocks, lens, bases,
    means, quats, log_scales, logits, sh0, shN, colors, radii,
    g_means2d, g_conics, g_depths, g_colors, g_opacities,
    g_means, g_quats, g_log_scales, g_logits, g_sh0, g_shN, camera_sums,
):  # fmt: skip
    N = logits.size
    basis, weights = np.empty(25, np.float32), np.empty(25, np.float32)
    while True:
        block = take(counter)
        if block >= blocks:
            return
        sums = camera_sums[block]
        for i in range(block * BLOCK, min(N, (block + 1) * BLOCK)):
            if radii[i, 0] <= ZERO:
                continue
            red = g_colors[i, 0] if colors[i, 0] > ZERO else ZERO
            green = g_colors[i, 1] if colors[i, 1] > ZERO else ZERO
            blue = g_colors[i, 2] if colors[i, 2] > ZERO else ZERO
            vx, vy, vz = color_gradients(i, lens, bases, basis, weights, means, shN, red, green, blue)
            splat = (
                g_means2d[i, 0], g_means2d[i, 1], g_conics[i, 0], g_conics[i, 1], g_conics[i, 2],
                g_depths[i], g_opacities[i],
            )  # fmt: skip
            g, to_view = pull_back(lens, i, means, quats, log_scales, logits, splat)
            g_means[i, 0], g_means[i, 1], g_means[i, 2] = g[0] + vx, g[1] + vy, g[2] + vz
            g_log_scales[i, 0], g_log_scales[i, 1], g_log_scales[i, 2] = g[3], g[4], g[5]
            g_quats[i, 0], g_quats[i, 1], g_quats[i, 2], g_quats[i, 3] = g[6], g[7], g[8], g[9]
            g_logits[i] = g[10]
            g_sh0[i, 0], g_sh0[i, 1], g_sh0[i, 2] = basis[0] * red, basis[0] * green, basis[0] * blue
            for k in range(1, bases):
                g_shN[i, 3 * k - 3] = basis[k] * red
                g_shN[i, 3 * k - 2] = basis[k] * green
                g_shN[i, 3 * k - 1] = basis[k] * blue
            for k in range(12):
                sums[k] += to_view[k]
            sums[12] += vx
            sums[13] += vy
            sums[14] += vz
