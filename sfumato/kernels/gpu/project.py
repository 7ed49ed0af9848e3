"""Gaussians and a camera to splats, and gradients of splats back to Gaussians and camera.

A program has BLOCK Gaussians, one per thread, and writes their rows only: no order to keep, no races. Two things are
sums over programs. How many Gaussians are left out is an integer, added atomically by the few programs that leave any
out: integers have the same sum in any order. The camera's gradient is one row of 15 sums per program, added by torch in
a fixed order. Rows of unseen Gaussians are zero; their spherical harmonics are never read.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import C0 as CONSTANT
from sfumato.kernels.gpu.harmonics import basis_of, direction_gradient
from sfumato.kernels.gpu.launch import check, checked, cover, launch
from sfumato.kernels.gpu.lens import (
    LEAST_RATIO,
    axes_of,
    covariance2d,
    half_axes2d,
    jacobian,
    pull_back,
    sigmoid,
    to_camera,
    unit_quaternion,
)
from sfumato.kernels.gpu.memory import load_long_rows, load_rows, store_rows
from sfumato.kernels.lens import least_alpha, lens_of, viewmat_gradient
from sfumato.kernels.stages import RenderSettings, Splats

__all__ = ["color_gradients", "fields_of", "project"]

BLOCK = 32  # Gaussians: one warp, which waits for no other
C0: tl.constexpr = tl.constexpr(CONSTANT)
LARGEST: tl.constexpr = tl.constexpr(torch.finfo(torch.float32).max)


def project(gaussians: Gaussians, camera: Camera, settings: RenderSettings) -> Splats:
    """See `stages.Backend.project`. Gradients reach all six fields and camera.viewmat, not camera.K.

    shN may be half precision: it is widened when it is read, and its gradient is rounded when it is written. The
    camera's matrices may be on the CPU; on a GPU, project waits for them.
    """
    if camera.K.requires_grad:
        raise BackendError("the gpu backend has no gradient for camera.K; use backend='reference'")
    outputs = _Project.apply(*gaussians, camera.viewmat, camera, settings, settings.degree_of(gaussians))
    means2d, conics, depths, colors, opacities, radii, nonfinite = outputs
    probe = torch.zeros_like(means2d, requires_grad=means2d.requires_grad)
    return Splats(means2d, conics, depths, radii, colors, opacities, probe, nonfinite)


def fields_of(*fields: Tensor) -> list[Tensor]:
    """The fields of Gaussians, contiguous; BackendError unless float32 (shN also float16) on one GPU."""
    *numbers, shN = fields
    check(*numbers, shN[:0].float() if shN.dtype == torch.float16 else shN)
    return [field.contiguous() for field in fields]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        *tensors, viewmat, camera, settings, degree = inputs
        fields, lens = fields_of(*tensors), lens_of(camera, settings, least_alpha(settings))
        N = len(fields[0])
        shapes = ((N, 2), (N, 3), (N,), (N, 3), (N,), (N, 2))
        outputs = [fields[0].new_empty(shape) for shape in shapes]
        nonfinite = torch.zeros((), dtype=torch.int64, device=fields[0].device)
        launch(
            _forward, (cover(N, BLOCK),), N, 3 * fields[5].shape[1], lens, *fields, *outputs, nonfinite,
            DEGREE=degree, ANTIALIASED=settings.antialiased, BLOCK=BLOCK, warps=1,
        )  # fmt: skip
        ctx.save_for_backward(*tensors, viewmat, outputs[3], outputs[5])
        ctx.lens, ctx.degree, ctx.antialiased = lens, degree, settings.antialiased
        ctx.mark_non_differentiable(outputs[5], nonfinite)
        return *outputs, nonfinite

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        *tensors, viewmat, colors, radii = ctx.saved_tensors
        fields, moving = fields_of(*tensors), ctx.needs_input_grad[6]
        N, blocks = len(radii), cover(len(radii), BLOCK)
        results = [torch.zeros_like(field) for field in fields]
        sums = radii.new_zeros(blocks if moving else 0, 15)
        launch(
            _backward, (blocks,), N, 3 * fields[5].shape[1], ctx.lens, *fields[:4], fields[5], colors, radii,
            *checked(*gradients[:5]), *results, sums,
            DEGREE=ctx.degree, ANTIALIASED=ctx.antialiased, CAMERA=moving, BLOCK=BLOCK, warps=1,
        )  # fmt: skip
        g_viewmat = viewmat_gradient(viewmat, sums.sum(dim=0, dtype=torch.float64)) if moving else None
        return *results, g_viewmat, None, None, None


@triton.jit
def _finite(x):
    return tl.abs(x) <= LARGEST  # false for NaN, too


@triton.jit
def _directions(lens, mean):
    """Unit vectors from the camera to Gaussians, and 1 / their distances."""
    x, y, z = mean[0] - lens.px, mean[1] - lens.py, mean[2] - lens.pz
    inverse = tl.rsqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


@triton.jit(do_not_specialize=["N", "width"])
def _forward(
    N, width, lens, means, quats, log_scales, logits, sh0, shN,
    means2d, conics, depths, colors, opacities, radii, nonfinite,
    DEGREE: tl.constexpr, ANTIALIASED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`width` numbers of shN a row, of which those up to DEGREE are read."""
    first, lane = tl.program_id(0).to(tl.int64) * BLOCK, tl.arange(0, BLOCK)
    inside = first + lane < N
    mean = load_rows(means, first, lane, 3, inside, 3)
    qw, qx, qy, qz = load_rows(quats, first, lane, 4, inside, 4)
    l0, l1, l2 = load_rows(log_scales, first, lane, 3, inside, 3)
    (logit,) = load_rows(logits, first, lane, 1, inside, 1)
    length = qw * qw + qx * qx + qy * qy + qz * qz
    usable = _finite(mean[0]) & _finite(mean[1]) & _finite(mean[2]) & _finite(length) & (length > 0)
    usable = usable & _finite(l0) & _finite(l1) & _finite(l2) & _finite(logit)

    x, y, z = to_camera(lens, mean[0], mean[1], mean[2])
    opacity = sigmoid(logit)
    candidate = inside & usable & (z > lens.near) & (opacity > lens.alpha_min)
    z = tl.where(candidate, z, 1.0)
    qw, qx, qy, qz, _ = unit_quaternion(qw, qx, qy, qz)
    m = axes_of(qw, qx, qy, qz, tl.exp(l0), tl.exp(l1), tl.exp(l2))
    xx, xy, yy = covariance2d(half_axes2d(jacobian(lens, x, y, z), m))
    wide_xx, wide_yy = xx + lens.low_pass, yy + lens.low_pass
    det = wide_xx * wide_yy - xy * xy
    inverse = 1 / det
    if ANTIALIASED:
        opacity *= tl.sqrt(tl.maximum((xx * yy - xy * xy) * inverse, LEAST_RATIO))

    iz = 1 / z
    u, v = lens.fx * (x * iz) + lens.cx, lens.fy * (y * iz) + lens.cy
    reach = 2 * tl.log(tl.maximum(opacity / lens.alpha_min, 1.0))
    rx, ry = tl.sqrt(reach * wide_xx), tl.sqrt(reach * wide_yy)
    drawable = _finite(det) & _finite(u) & _finite(v) & _finite(rx) & _finite(ry)
    touches = (u + rx >= 0.5) & (v + ry >= 0.5) & (u - rx <= lens.width - 0.5) & (v - ry <= lens.height - 0.5)
    seen = candidate & drawable & (det > 0) & (reach > 0) & touches

    red, green, blue = _colors(lens, mean, sh0, shN, first, lane, width, seen, DEGREE)
    colored = _finite(red) & _finite(green) & _finite(blue)
    wrong = inside & (~usable | (candidate & ~drawable) | (seen & ~colored))
    count = tl.sum(wrong.to(tl.int32), 0)
    tl.atomic_add(nonfinite, count.to(tl.int64), mask=count > 0, sem="relaxed")

    seen = seen & colored
    store_rows(means2d, first, lane, 2, (tl.where(seen, u, 0.0), tl.where(seen, v, 0.0)), inside)
    conic = (tl.where(seen, wide_yy * inverse, 0.0), tl.where(seen, -xy * inverse, 0.0))
    store_rows(conics, first, lane, 3, (conic[0], conic[1], tl.where(seen, wide_xx * inverse, 0.0)), inside)
    store_rows(depths, first, lane, 1, (tl.where(seen, z, 0.0),), inside)
    store_rows(opacities, first, lane, 1, (tl.where(seen, opacity, 0.0),), inside)
    store_rows(radii, first, lane, 2, (tl.where(seen, rx, 0.0), tl.where(seen, ry, 0.0)), inside)
    red, green, blue = tl.maximum(red, 0.0), tl.maximum(green, 0.0), tl.maximum(blue, 0.0)
    red, green, blue = tl.where(seen, red, 0.0), tl.where(seen, green, 0.0), tl.where(seen, blue, 0.0)
    store_rows(colors, first, lane, 3, (red, green, blue), inside)


@triton.jit
def _colors(lens, mean, sh0, shN, first, lane, width, seen, DEGREE: tl.constexpr):
    """Red, green and blue as seen by the camera, not clamped."""
    x, y, z, _ = _directions(lens, mean)
    red, green, blue = load_rows(sh0, first, lane, 3, seen, 3)
    red, green, blue = red * C0 + 0.5, green * C0 + 0.5, blue * C0 + 0.5
    BASES: tl.constexpr = (DEGREE + 1) * (DEGREE + 1)
    basis = basis_of(x, y, z, DEGREE)
    higher = load_long_rows(shN, first, lane, width, seen, 3 * BASES - 3)
    for k in tl.static_range(1, BASES):
        red += basis[k] * higher[3 * k - 3]
        green += basis[k] * higher[3 * k - 2]
        blue += basis[k] * higher[3 * k - 1]
    return red, green, blue


@triton.jit
def color_gradients(lens, mean, color, g_color, shN, first, lane, width, seen, DEGREE: tl.constexpr):
    """Gradients of colors to the means (3); the basis, which times the shades (3) gives those to the harmonics."""
    red = tl.where(color[0] > 0, g_color[0], 0.0)
    green = tl.where(color[1] > 0, g_color[1], 0.0)
    blue = tl.where(color[2] > 0, g_color[2], 0.0)
    x, y, z, inverse = _directions(lens, mean)
    basis = basis_of(x, y, z, DEGREE)
    gx, gy, gz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    if DEGREE > 0:
        BASES: tl.constexpr = (DEGREE + 1) * (DEGREE + 1)
        higher = load_long_rows(shN, first, lane, width, seen, 3 * BASES - 3)
        weights = (gx,)  # the first function is the same in all directions
        for k in tl.static_range(1, BASES):
            weights += (higher[3 * k - 3] * red + higher[3 * k - 2] * green + higher[3 * k - 1] * blue,)
        gx, gy, gz = direction_gradient(x, y, z, weights, DEGREE)
        along = gx * x + gy * y + gz * z  # the direction has length 1 wherever the mean goes
        gx, gy, gz = (gx - along * x) * inverse, (gy - along * y) * inverse, (gz - along * z) * inverse
    return (gx, gy, gz), basis, (red, green, blue)


@triton.jit(do_not_specialize=["N", "width"])
def _backward(
    N, width, lens, means, quats, log_scales, logits, shN, colors, radii,
    g_means2d, g_conics, g_depths, g_colors, g_opacities,
    g_means, g_quats, g_log_scales, g_logits, g_sh0, g_shN, sums,
    DEGREE: tl.constexpr, ANTIALIASED: tl.constexpr, CAMERA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows of seen Gaussians, `width` numbers of shN each; with CAMERA, a row of `sums` for viewmat_gradient."""
    first, lane = tl.program_id(0).to(tl.int64) * BLOCK, tl.arange(0, BLOCK)
    seen = tl.load(radii + first * 2 + lane * 2, mask=first + lane < N, other=0.0) > 0
    mean = load_rows(means, first, lane, 3, seen, 3)
    color, g_color = load_rows(colors, first, lane, 3, seen, 3), load_rows(g_colors, first, lane, 3, seen, 3)
    v, basis, shades = color_gradients(lens, mean, color, g_color, shN, first, lane, width, seen, DEGREE)
    store_rows(g_sh0, first, lane, 3, (basis[0] * shades[0], basis[0] * shades[1], basis[0] * shades[2]), seen)
    higher = ()
    BASES: tl.constexpr = (DEGREE + 1) * (DEGREE + 1)
    for k in tl.static_range(1, BASES):
        higher += (basis[k] * shades[0], basis[k] * shades[1], basis[k] * shades[2])
    store_rows(g_shN, first, lane, width, higher, seen)
    tl.debug_barrier()  # one thing after the other: registers would not hold both

    quat, log_scale = load_rows(quats, first, lane, 4, seen, 4), load_rows(log_scales, first, lane, 3, seen, 3)
    logit = load_rows(logits, first, lane, 1, seen, 1)
    mean2d, conic = load_rows(g_means2d, first, lane, 2, seen, 2), load_rows(g_conics, first, lane, 3, seen, 3)
    depth, opacity = load_rows(g_depths, first, lane, 1, seen, 1), load_rows(g_opacities, first, lane, 1, seen, 1)
    splat = mean2d + conic + depth + opacity
    g, to_view = pull_back(lens, mean, quat, log_scale, logit[0], splat, ANTIALIASED)
    store_rows(g_means, first, lane, 3, (g[0] + v[0], g[1] + v[1], g[2] + v[2]), seen)
    store_rows(g_log_scales, first, lane, 3, (g[3], g[4], g[5]), seen)
    store_rows(g_quats, first, lane, 4, (g[6], g[7], g[8], g[9]), seen)
    store_rows(g_logits, first, lane, 1, (g[10],), seen)
    if CAMERA:
        terms = to_view + v
        for k in tl.static_range(15):
            tl.store(sums + tl.program_id(0) * 15 + k, tl.sum(tl.where(seen, terms[k], 0.0), 0))
