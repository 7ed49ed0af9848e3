"""Gaussians and a camera to splats, and gradients of splats back to Gaussians and camera."""

import math
from collections.abc import Iterable
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
    LEAST_RATIO,
    axes_of,
    covariance2d,
    half_axes2d,
    jacobian,
    lens_of,
    pull_back,
    sigmoid,
    to_camera,
    unit_quaternion,
)
from sfumato.kernels.cpu.memory import gather, load, store
from sfumato.kernels.cpu.simd import (
    LANES,
    bits_of,
    exponential,
    greater_of,
    logarithm2,
    select,
    splat,
    square_root,
    sum_lanes,
    zeros,
)
from sfumato.kernels.cpu.threads import helper, kernel, launch, take, workspace
from sfumato.kernels.lens import least_alpha, viewmat_gradient
from sfumato.kernels.stages import RenderSettings, Splats

__all__ = ["STORED", "bases_used", "color_gradients", "project", "rows", "splat_gradients"]

BLOCK = 256  # Gaussians
f = np.float32
ZERO, ONE, HALF = f(0), f(1), f(0.5)
TWO_LN2 = f(2 * math.log(2))
SPLAT, STORED = 12, 11  # numbers of a splat, of a Gaussian without spherical harmonics
NUMBER = np.arange(LANES, dtype=np.float32)
LARGEST = f(np.finfo(np.float32).max)


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
        *fields, viewmat, camera, settings = inputs
        gaussians = Gaussians(*fields)
        N, bases = len(gaussians), bases_used(gaussians, settings)
        lens = lens_of(camera, settings, least_alpha(settings))
        shapes = ((N, 2), (N, 3), (N,), (N, 3), (N,), (N, 2))
        outputs = tuple(torch.empty(shape) for shape in shapes)
        blocks = -(-N // BLOCK)
        nonfinite = np.zeros(blocks, np.int64)
        launch(_forward, blocks, lens, bases, *numbers(*rows(fields)), *numbers(*rows(outputs)), nonfinite)
        ctx.save_for_backward(*fields, viewmat, outputs[3], outputs[5])
        ctx.lens, ctx.bases = lens, bases
        counted = torch.tensor(int(nonfinite.sum()))
        ctx.mark_non_differentiable(outputs[5], counted)
        return *outputs, counted

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        *fields, viewmat, colors, radii = ctx.saved_tensors
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
            *numbers(*rows(fields), colors, radii),
            *numbers(*rows(incoming)),
            *numbers(*rows(results)),
            camera_sums,
        )
        sums = torch.from_numpy(camera_sums.sum(axis=0, dtype=np.float64))
        g_viewmat = viewmat_gradient(viewmat, sums) if ctx.needs_input_grad[6] else None
        return *results, g_viewmat, None, None


def rows(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each tensor as a table with one row per Gaussian, as kernels gather from; spherical harmonics band by band."""
    return [tensor.reshape(len(tensor), -1) if len(tensor) else torch.empty(0, 1) for tensor in tensors]


def bases_used(gaussians: Gaussians, settings: RenderSettings) -> int:
    """How many spherical-harmonics bases a render with these settings evaluates."""
    return harmonics.bases_of_degree(settings.degree_of(gaussians))


@helper
def _finite(number):
    return (number - number) == ZERO  # NaN and Inf minus themselves are NaN


@kernel
def _forward(
    counter, blocks, lens, bases,
    means, quats, log_scales, logits, sh0, shN,
    means2d, conics, depths, colors, opacities, radii, nonfinite,
):  # fmt: skip
    N = logits.size
    basis, local = workspace(25 * LANES), workspace(SPLAT * LANES)
    while True:
        block = take(counter)
        if block >= blocks:
            return
        broken, last = 0, min(N, (block + 1) * BLOCK) - 1
        for first in range(block * BLOCK, last + 1, LANES):
            seen, wrong = _project_lanes(lens, first, last, means, quats, log_scales, logits, local)
            if seen:
                red, green, blue = _colors_of_lanes(lens, first, last, bases, basis, means, sh0, shN)
                store(local, 9 * LANES, greater_of(red, ZERO))
                store(local, 10 * LANES, greater_of(green, ZERO))
                store(local, 11 * LANES, greater_of(blue, ZERO))
                colored = bits_of(_finite(red + green + blue))
                wrong |= seen & ~colored
                seen &= colored
            for lane in range(min(LANES, last + 1 - first)):
                i = first + lane
                broken += (wrong >> lane) & 1
                if (seen >> lane) & 1:
                    means2d[i, 0], means2d[i, 1] = local[lane], local[LANES + lane]
                    depths[i, 0], opacities[i, 0] = local[5 * LANES + lane], local[6 * LANES + lane]
                    radii[i, 0], radii[i, 1] = local[7 * LANES + lane], local[8 * LANES + lane]
                    for k in range(3):
                        conics[i, k], colors[i, k] = local[(2 + k) * LANES + lane], local[(9 + k) * LANES + lane]
                else:
                    means2d[i, 0], means2d[i, 1], depths[i, 0], opacities[i, 0] = ZERO, ZERO, ZERO, ZERO
                    radii[i, 0], radii[i, 1] = ZERO, ZERO
                    for k in range(3):
                        conics[i, k], colors[i, k] = ZERO, ZERO
        nonfinite[block] = broken


@helper
def _project_lanes(lens, first, last, means, quats, log_scales, logits, local):
    """Mean, conic, depth, opacity, radii into nine rows of `local`; bits of who is seen, of who is not finite."""
    mx, my, mz = gather(means, first, last, 0), gather(means, first, last, 1), gather(means, first, last, 2)
    qw, qx = gather(quats, first, last, 0), gather(quats, first, last, 1)
    qy, qz = gather(quats, first, last, 2), gather(quats, first, last, 3)
    l0, l1 = gather(log_scales, first, last, 0), gather(log_scales, first, last, 1)
    l2, logit = gather(log_scales, first, last, 2), gather(logits, first, last, 0)
    length = qw * qw + qx * qx + qy * qy + qz * qz
    usable = _finite(mx + my + mz) & _finite(l0 + l1 + l2) & _finite(logit) & _finite(length) & (length > ZERO)

    x, y, z = to_camera(lens, mx, my, mz)
    opacity = sigmoid(logit)
    candidate = usable & (z > lens.near) & (opacity > lens.alpha_min)
    z = select(candidate, z, splat(ONE))
    qw, qx, qy, qz, _ = unit_quaternion(qw, qx, qy, qz)
    m = axes_of(qw, qx, qy, qz, exponential(l0), exponential(l1), exponential(l2))
    xx, xy, yy = covariance2d(half_axes2d(jacobian(lens, x, y, z), m))
    wide_xx, wide_yy = xx + lens.low_pass, yy + lens.low_pass
    det = wide_xx * wide_yy - xy * xy
    inverse = ONE / det
    if lens.antialiased > ZERO:
        opacity *= square_root(greater_of((xx * yy - xy * xy) * inverse, LEAST_RATIO))

    iz = ONE / z
    u, v = lens.fx * (x * iz) + lens.cx, lens.fy * (y * iz) + lens.cy
    reach = logarithm2(greater_of(opacity / lens.alpha_min, ONE)) * TWO_LN2
    rx, ry = square_root(reach * wide_xx), square_root(reach * wide_yy)
    drawable = _finite(det) & _finite(u + v) & _finite(rx + ry)
    touches = (u + rx >= HALF) & (v + ry >= HALF) & (u - rx <= lens.width - HALF) & (v - ry <= lens.height - HALF)
    seen = candidate & drawable & (det > ZERO) & (reach > ZERO) & touches

    store(local, 0, u)
    store(local, LANES, v)
    store(local, 2 * LANES, wide_yy * inverse)
    store(local, 3 * LANES, -xy * inverse)
    store(local, 4 * LANES, wide_xx * inverse)
    store(local, 5 * LANES, z)
    store(local, 6 * LANES, opacity)
    store(local, 7 * LANES, rx)
    store(local, 8 * LANES, ry)
    every = (np.int64(1) << np.int64(LANES)) - 1
    wrong = (every ^ bits_of(usable)) | (bits_of(candidate) & (every ^ bits_of(drawable)))
    return bits_of(seen), wrong


@helper
def _directions(lens, first, last, means):
    """Unit vectors from the camera to LANES Gaussians, and 1 / their distances."""
    x, y = gather(means, first, last, 0) - lens.px, gather(means, first, last, 1) - lens.py
    z = gather(means, first, last, 2) - lens.pz
    inverse = ONE / square_root(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


@helper
def _colors_of_lanes(lens, first, last, bases, basis, means, sh0, shN):
    """Red, green and blue of LANES Gaussians as seen by the camera, not clamped."""
    x, y, z, _ = _directions(lens, first, last, means)
    fill_basis(x, y, z, bases, basis)
    constant = load(basis, 0)
    red, green = constant * gather(sh0, first, last, 0) + HALF, constant * gather(sh0, first, last, 1) + HALF
    blue = constant * gather(sh0, first, last, 2) + HALF
    for k in range(1, bases):
        value = load(basis, k * LANES)
        red += value * gather(shN, first, last, 3 * k - 3)
        green += value * gather(shN, first, last, 3 * k - 2)
        blue += value * gather(shN, first, last, 3 * k - 1)
    return red, green, blue


@helper
def color_gradients(lens, first, last, bases, basis, weights, means, shN, colors, g_colors, shades):
    """Gradients of LANES colors to the means; basis times shades (three rows) are those to spherical harmonics."""
    red = select(gather(colors, first, last, 0) > ZERO, gather(g_colors, first, last, 0), zeros())
    green = select(gather(colors, first, last, 1) > ZERO, gather(g_colors, first, last, 1), zeros())
    blue = select(gather(colors, first, last, 2) > ZERO, gather(g_colors, first, last, 2), zeros())
    store(shades, 0, red)
    store(shades, LANES, green)
    store(shades, 2 * LANES, blue)
    x, y, z, inverse = _directions(lens, first, last, means)
    fill_basis(x, y, z, bases, basis)
    if bases == 1:
        return zeros(), zeros(), zeros()
    for k in range(1, bases):
        weight = gather(shN, first, last, 3 * k - 3) * red + gather(shN, first, last, 3 * k - 2) * green
        store(weights, k * LANES, weight + gather(shN, first, last, 3 * k - 1) * blue)
    gx, gy, gz = direction_gradient(x, y, z, bases, weights)
    along = gx * x + gy * y + gz * z  # the direction has length 1 wherever the mean goes
    return (gx - along * x) * inverse, (gy - along * y) * inverse, (gz - along * z) * inverse


@helper
def splat_gradients(first, last, g_means2d, g_conics, g_depths, g_opacities):
    """What pull_back starts from: LANES rows from `first` on."""
    return (
        gather(g_means2d, first, last, 0),
        gather(g_means2d, first, last, 1),
        gather(g_conics, first, last, 0),
        gather(g_conics, first, last, 1),
        gather(g_conics, first, last, 2),
        gather(g_depths, first, last, 0),
        gather(g_opacities, first, last, 0),
    )


@kernel
def _backward(
    counter, blocks, lens, bases,
    means, quats, log_scales, logits, sh0, shN, colors, radii,
    g_means2d, g_conics, g_depths, g_colors, g_opacities,
    g_means, g_quats, g_log_scales, g_logits, g_sh0, g_shN, camera_sums,
):  # fmt: skip
    N = logits.size
    basis, weights, local = workspace(25 * LANES), workspace(25 * LANES), workspace((STORED + 3) * LANES)
    shades = local[STORED * LANES :]
    while True:
        block = take(counter)
        if block >= blocks:
            return
        sums, last = camera_sums[block], min(N, (block + 1) * BLOCK) - 1
        for first in range(block * BLOCK, last + 1, LANES):
            splat = splat_gradients(first, last, g_means2d, g_conics, g_depths, g_opacities)
            g, to_view = pull_back(lens, first, last, means, quats, log_scales, logits, splat)
            v = color_gradients(lens, first, last, bases, basis, weights, means, shN, colors, g_colors, shades)
            for k in range(3):
                store(local, k * LANES, g[k] + v[k])
            for k in range(3, STORED):
                store(local, k * LANES, g[k])
            count = min(LANES, last + 1 - first)
            counted = (gather(radii, first, last, 0) > ZERO) & (load(NUMBER, 0) < f(count))
            for k in range(12):
                sums[k] += sum_lanes(select(counted, to_view[k], zeros()))
            for k in range(3):
                sums[12 + k] += sum_lanes(select(counted, v[k], zeros()))
            for lane in range(count):
                i = first + lane
                if radii[i, 0] <= ZERO:
                    continue
                for k in range(3):
                    g_means[i, k], g_log_scales[i, k] = local[k * LANES + lane], local[(3 + k) * LANES + lane]
                    g_sh0[i, k] = basis[lane] * shades[k * LANES + lane]
                for k in range(4):
                    g_quats[i, k] = local[(6 + k) * LANES + lane]
                g_logits[i, 0] = local[10 * LANES + lane]
                red, green, blue = shades[lane], shades[LANES + lane], shades[2 * LANES + lane]
                for k in range(1, bases):
                    value = basis[k * LANES + lane]
                    g_shN[i, 3 * k - 3], g_shN[i, 3 * k - 2], g_shN[i, 3 * k - 1] = (
                        value * red,
                        value * green,
                        value * blue,
                    )
