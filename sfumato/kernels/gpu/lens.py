"""The geometry of projection for kernels: Gaussians' numbers to their ellipses on the picture, and gradients back.

Every value is a block, one element per Gaussian; several of them are a tuple. What stands here is what
`kernels/cpu/lens.py` says, in the same order. Equation numbers are those of docs/math.md.
"""

import triton
import triton.language as tl

from sfumato.kernels import lens as lenses

__all__ = [
    "LEAST_RATIO",
    "axes_of",
    "covariance2d",
    "half_axes2d",
    "jacobian",
    "pull_back",
    "rotation_of",
    "sigmoid",
    "to_camera",
    "unit_quaternion",
]

LEAST_RATIO: tl.constexpr = tl.constexpr(lenses.LEAST_RATIO)


@triton.jit
def to_camera(lens, x, y, z):
    """World to camera coordinates."""
    return (
        lens.r00 * x + lens.r01 * y + lens.r02 * z + lens.tx,
        lens.r10 * x + lens.r11 * y + lens.r12 * z + lens.ty,
        lens.r20 * x + lens.r21 * y + lens.r22 * z + lens.tz,
    )


@triton.jit
def unit_quaternion(w, x, y, z):
    """The quaternion at length 1, and 1 / the length it had."""
    inverse = tl.rsqrt(w * w + x * x + y * y + z * z)
    return w * inverse, x * inverse, y * inverse, z * inverse, inverse


@triton.jit
def sigmoid(logit):
    """1 / (1 + e^-logit)."""
    return 1 / (1 + tl.exp(-logit))


@triton.jit
def rotation_of(w, x, y, z):
    """Row by row, the rotation of a unit quaternion."""
    return (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )


@triton.jit
def axes_of(w, x, y, z, s0, s1, s2):
    """M = R S, row by row: its columns are the ellipsoid's half axes (one standard deviation)."""
    r = rotation_of(w, x, y, z)
    return (r[0] * s0, r[1] * s1, r[2] * s2, r[3] * s0, r[4] * s1, r[5] * s2, r[6] * s0, r[7] * s1, r[8] * s2)


@triton.jit
def jacobian(lens, x, y, z):
    """J W, two rows of three: the picture's change with the world's; and the slopes J is taken at."""
    iz = 1 / z
    u = tl.minimum(tl.maximum(x * iz, lens.left), lens.right)
    v = tl.minimum(tl.maximum(y * iz, lens.top), lens.bottom)
    j0, j1 = lens.fx * iz, lens.fy * iz
    j02, j12 = -j0 * u, -j1 * v
    return (
        j0 * lens.r00 + j02 * lens.r20,
        j0 * lens.r01 + j02 * lens.r21,
        j0 * lens.r02 + j02 * lens.r22,
        j1 * lens.r10 + j12 * lens.r20,
        j1 * lens.r11 + j12 * lens.r21,
        j1 * lens.r12 + j12 * lens.r22,
        u,
        v,
    )


@triton.jit
def half_axes2d(t, m):
    """U = J W M, two rows of three: the half axes as seen on the picture."""
    return (
        t[0] * m[0] + t[1] * m[3] + t[2] * m[6],
        t[0] * m[1] + t[1] * m[4] + t[2] * m[7],
        t[0] * m[2] + t[1] * m[5] + t[2] * m[8],
        t[3] * m[0] + t[4] * m[3] + t[5] * m[6],
        t[3] * m[1] + t[4] * m[4] + t[5] * m[7],
        t[3] * m[2] + t[4] * m[5] + t[5] * m[8],
    )


@triton.jit
def covariance2d(u):
    """xx, xy, yy of U U^T, before the low-pass."""
    return (
        u[0] * u[0] + u[1] * u[1] + u[2] * u[2],
        u[0] * u[3] + u[1] * u[4] + u[2] * u[5],
        u[3] * u[3] + u[4] * u[4] + u[5] * u[5],
    )


@triton.jit
def pull_back(lens, mean, quat, log_scale, logit, splat, ANTIALIASED: tl.constexpr):
    """Gradients of splats to the numbers that are stored, by the chain rule.

    mean (3), quat (4), log_scale (3), logit: the numbers themselves. splat: gradients to mean x, y, conic xx, xy, yy,
    depth, opacity. Returns 11 numbers (means, log_scales, quats, logit), and 12 to the camera's rotation and
    translation; for unseen splats they mean nothing.
    """
    g_mean_x, g_mean_y, g_a, g_b, g_c, g_depth, g_opacity = splat
    mx, my, mz = mean
    x, y, z = to_camera(lens, mx, my, mz)
    qw, qx, qy, qz, q_inverse = unit_quaternion(quat[0], quat[1], quat[2], quat[3])
    s0, s1, s2 = tl.exp(log_scale[0]), tl.exp(log_scale[1]), tl.exp(log_scale[2])
    r = rotation_of(qw, qx, qy, qz)
    m = axes_of(qw, qx, qy, qz, s0, s1, s2)
    t = jacobian(lens, x, y, z)
    u = half_axes2d(t, m)
    xx, xy, yy = covariance2d(u)
    wide_xx, wide_yy = xx + lens.low_pass, yy + lens.low_pass
    inverse = 1 / (wide_xx * wide_yy - xy * xy)
    a, b, c = wide_yy * inverse, -xy * inverse, wide_xx * inverse

    # conic = covariance^-1, so d covariance = -conic (d conic) conic; a symmetric matrix's xy counts twice
    half_b = 0.5 * g_b
    p00, p01 = a * g_a + b * half_b, a * half_b + b * g_c
    p10, p11 = b * g_a + c * half_b, b * half_b + c * g_c
    g_xx, g_xy, g_yy = -(p00 * a + p01 * b), -(p00 * b + p01 * c), -(p10 * b + p11 * c)

    opacity = sigmoid(logit)
    if ANTIALIASED:  # drawn opacity = opacity * sqrt(det / wide det)
        ratio = (xx * yy - xy * xy) * inverse
        shrink = tl.sqrt(tl.maximum(ratio, LEAST_RATIO))
        g_ratio = tl.where(ratio > LEAST_RATIO, g_opacity * opacity * 0.5 / shrink, 0.0)
        g_xx += g_ratio * (yy - ratio * wide_yy) * inverse
        g_xy += g_ratio * (ratio - 1) * xy * inverse
        g_yy += g_ratio * (xx - ratio * wide_xx) * inverse
        g_opacity *= shrink
    g_logit = g_opacity * opacity * (1 - opacity)

    # covariance = U U^T: dU = 2 (d covariance) U
    d0, d1, d2 = 2 * (g_xx * u[0] + g_xy * u[3]), 2 * (g_xx * u[1] + g_xy * u[4]), 2 * (g_xx * u[2] + g_xy * u[5])
    d3, d4, d5 = 2 * (g_xy * u[0] + g_yy * u[3]), 2 * (g_xy * u[1] + g_yy * u[4]), 2 * (g_xy * u[2] + g_yy * u[5])

    # U = T M: dM = T^T dU, then M = R S
    e0, e1, e2 = t[0] * d0 + t[3] * d3, t[0] * d1 + t[3] * d4, t[0] * d2 + t[3] * d5
    e3, e4, e5 = t[1] * d0 + t[4] * d3, t[1] * d1 + t[4] * d4, t[1] * d2 + t[4] * d5
    e6, e7, e8 = t[2] * d0 + t[5] * d3, t[2] * d1 + t[5] * d4, t[2] * d2 + t[5] * d5
    g_s0 = s0 * (e0 * r[0] + e3 * r[3] + e6 * r[6])
    g_s1 = s1 * (e1 * r[1] + e4 * r[4] + e7 * r[7])
    g_s2 = s2 * (e2 * r[2] + e5 * r[5] + e8 * r[8])
    e0, e1, e2, e3, e4, e5, e6, e7, e8 = e0 * s0, e1 * s1, e2 * s2, e3 * s0, e4 * s1, e5 * s2, e6 * s0, e7 * s1, e8 * s2
    g_w = 2 * (qz * (e3 - e1) + qy * (e2 - e6) + qx * (e7 - e5))
    g_x = 2 * (qy * (e1 + e3) + qz * (e2 + e6) - 2 * qx * (e4 + e8) + qw * (e7 - e5))
    g_y = 2 * (qx * (e1 + e3) + qz * (e5 + e7) - 2 * qy * (e0 + e8) + qw * (e2 - e6))
    g_z = 2 * (qx * (e2 + e6) + qy * (e5 + e7) - 2 * qz * (e0 + e4) + qw * (e3 - e1))
    along = g_w * qw + g_x * qx + g_y * qy + g_z * qz  # a quaternion's length has no effect
    g_w, g_x = (g_w - along * qw) * q_inverse, (g_x - along * qx) * q_inverse
    g_y, g_z = (g_y - along * qy) * q_inverse, (g_z - along * qz) * q_inverse

    # dT = dU M^T, T = J W
    t0, t1, t2 = d0 * m[0] + d1 * m[1] + d2 * m[2], d0 * m[3] + d1 * m[4] + d2 * m[5], d0 * m[6] + d1 * m[7] + d2 * m[8]
    t3, t4, t5 = d3 * m[0] + d4 * m[1] + d5 * m[2], d3 * m[3] + d4 * m[4] + d5 * m[5], d3 * m[6] + d4 * m[7] + d5 * m[8]
    iz = 1 / z
    j0, j1, su, sv = lens.fx * iz, lens.fy * iz, t[6], t[7]
    g_j0 = t0 * lens.r00 + t1 * lens.r01 + t2 * lens.r02
    g_j1 = t3 * lens.r10 + t4 * lens.r11 + t5 * lens.r12
    g_j02 = t0 * lens.r20 + t1 * lens.r21 + t2 * lens.r22
    g_j12 = t3 * lens.r20 + t4 * lens.r21 + t5 * lens.r22

    # mean = f x / z + c; j0 = f / z; j02 = -j0 u with u = x / z unless clamped
    slope_x, slope_y = x * iz, y * iz
    g_px, g_py = j0 * g_mean_x, j1 * g_mean_y
    g_pz = g_depth - g_px * slope_x - g_py * slope_y
    g_pz -= iz * (j0 * (g_j0 - su * g_j02) + j1 * (g_j1 - sv * g_j12))
    free_x = tl.where((slope_x > lens.left) & (slope_x < lens.right), j0 * iz * g_j02, 0.0)
    free_y = tl.where((slope_y > lens.top) & (slope_y < lens.bottom), j1 * iz * g_j12, 0.0)
    g_px -= free_x
    g_py -= free_y
    g_pz += free_x * slope_x + free_y * slope_y

    g_mx = lens.r00 * g_px + lens.r10 * g_py + lens.r20 * g_pz
    g_my = lens.r01 * g_px + lens.r11 * g_py + lens.r21 * g_pz
    g_mz = lens.r02 * g_px + lens.r12 * g_py + lens.r22 * g_pz
    stored = (g_mx, g_my, g_mz, g_s0, g_s1, g_s2, g_w, g_x, g_y, g_z, g_logit)
    j02, j12 = -j0 * su, -j1 * sv
    camera = (
        g_px * mx + j0 * t0,
        g_px * my + j0 * t1,
        g_px * mz + j0 * t2,
        g_py * mx + j1 * t3,
        g_py * my + j1 * t4,
        g_py * mz + j1 * t5,
        g_pz * mx + j02 * t0 + j12 * t3,
        g_pz * my + j02 * t1 + j12 * t4,
        g_pz * mz + j02 * t2 + j12 * t5,
        g_px,
        g_py,
        g_pz,
    )
    return stored, camera
