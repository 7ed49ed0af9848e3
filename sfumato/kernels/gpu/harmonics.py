"""Spherical harmonics for kernels: basis values at directions, and the way a gradient takes back to them.

Every value is a block, one element per Gaussian; the k-th of several is element k of a tuple. Constants stand on the
right of products: on the left, the interpreter of Triton 3.9 takes the product for a constant, too.
"""

import triton
import triton.language as tl

from sfumato.core import sh

__all__ = ["basis_of", "direction_gradient"]

# one tuple for each degree: Triton compares every constant of a kernel at every launch
C0: tl.constexpr = tl.constexpr(sh.C0)
C1: tl.constexpr = tl.constexpr(sh.C1)
C2: tl.constexpr = tl.constexpr(sh.C2)
C3: tl.constexpr = tl.constexpr(sh.C3)
C4: tl.constexpr = tl.constexpr(sh.C4)


@triton.jit
def basis_of(x, y, z, DEGREE: tl.constexpr):
    """The (DEGREE + 1)^2 basis functions at unit directions (x, y, z)."""
    xx, yy, zz = x * x, y * y, z * z
    values = (tl.zeros_like(x) + C0,)
    if DEGREE >= 1:
        values += (y * -C1, z * C1, x * -C1)
    if DEGREE >= 2:
        values += (
            x * y * C2[0],
            y * z * C2[1],
            (2 * zz - xx - yy) * C2[2],
            x * z * C2[3],
            (xx - yy) * C2[4],
        )
    if DEGREE >= 3:
        values += (
            y * (3 * xx - yy) * C3[0],
            x * y * z * C3[1],
            y * (4 * zz - xx - yy) * C3[2],
            z * (2 * zz - 3 * (xx + yy)) * C3[3],
            x * (4 * zz - xx - yy) * C3[4],
            z * (xx - yy) * C3[5],
            x * (xx - 3 * yy) * C3[6],
        )
    if DEGREE >= 4:
        values += (
            x * y * (xx - yy) * C4[0],
            y * z * (3 * xx - yy) * C4[1],
            x * y * (7 * zz - 1) * C4[2],
            y * z * (7 * zz - 3) * C4[3],
            (zz * (35 * zz - 30) + 3) * C4[4],
            x * z * (7 * zz - 3) * C4[5],
            (xx - yy) * (7 * zz - 1) * C4[6],
            x * z * (xx - 3 * yy) * C4[7],
            (xx * (xx - 3 * yy) - yy * (3 * xx - yy)) * C4[8],
        )
    return values


@triton.jit
def direction_gradient(x, y, z, w, DEGREE: tl.constexpr):
    """Gradient to (x, y, z) of the sum over k of w_k Y_k, DEGREE >= 1; its part along the direction means nothing."""
    gx = w[3] * -C1
    gy = w[1] * -C1
    gz = w[2] * C1
    if DEGREE >= 2:
        xx, yy, zz = x * x, y * y, z * z
        gx += y * w[4] * C2[0] - x * w[6] * (2 * C2[2]) + z * w[7] * C2[3] + x * w[8] * (2 * C2[4])
        gy += x * w[4] * C2[0] + z * w[5] * C2[1] - y * w[6] * (2 * C2[2]) - y * w[8] * (2 * C2[4])
        gz += y * w[5] * C2[1] + z * w[6] * (4 * C2[2]) + x * w[7] * C2[3]
        if DEGREE >= 3:
            gx += x * y * w[9] * (6 * C3[0]) + y * z * w[10] * C3[1] - x * y * w[11] * (2 * C3[2])
            gx += x * z * w[12] * (-6 * C3[3]) + (4 * zz - 3 * xx - yy) * w[13] * C3[4]
            gx += x * z * w[14] * (2 * C3[5]) + (xx - yy) * w[15] * (3 * C3[6])
            gy += (xx - yy) * w[9] * (3 * C3[0]) + x * z * w[10] * C3[1] + (4 * zz - xx - 3 * yy) * w[11] * C3[2]
            gy += y * z * w[12] * (-6 * C3[3]) - x * y * w[13] * (2 * C3[4])
            gy += y * z * w[14] * (-2 * C3[5]) - x * y * w[15] * (6 * C3[6])
            gz += x * y * w[10] * C3[1] + y * z * w[11] * (8 * C3[2]) + (6 * zz - 3 * (xx + yy)) * w[12] * C3[3]
            gz += x * z * w[13] * (8 * C3[4]) + (xx - yy) * w[14] * C3[5]
        if DEGREE >= 4:
            gx += y * (3 * xx - yy) * w[16] * C4[0] + x * y * z * w[17] * (6 * C4[1])
            gx += y * (7 * zz - 1) * w[18] * C4[2] + z * (7 * zz - 3) * w[21] * C4[5]
            gx += x * (7 * zz - 1) * w[22] * (2 * C4[6]) + z * (xx - yy) * w[23] * (3 * C4[7])
            gx += x * (xx - 3 * yy) * w[24] * (4 * C4[8])
            gy += x * (xx - 3 * yy) * w[16] * C4[0] + z * (xx - yy) * w[17] * (3 * C4[1])
            gy += x * (7 * zz - 1) * w[18] * C4[2] + z * (7 * zz - 3) * w[19] * C4[3]
            gy += y * (7 * zz - 1) * w[22] * (-2 * C4[6]) - x * y * z * w[23] * (6 * C4[7])
            gy += y * (yy - 3 * xx) * w[24] * (4 * C4[8])
            gz += y * (3 * xx - yy) * w[17] * C4[1] + x * y * z * w[18] * (14 * C4[2])
            gz += y * (21 * zz - 3) * w[19] * C4[3] + z * (140 * zz - 60) * w[20] * C4[4]
            gz += x * (21 * zz - 3) * w[21] * C4[5] + z * (xx - yy) * w[22] * (14 * C4[6])
            gz += x * (xx - 3 * yy) * w[23] * C4[7]
    return gx, gy, gz
