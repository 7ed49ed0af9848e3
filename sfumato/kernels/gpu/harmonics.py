"""Spherical harmonics for kernels: basis values at directions, and the way a gradient takes back to them.

Every value is a block, one element per Gaussian; the k-th of several is element k of a tuple. Constants stand on the
right of products: on the left, the interpreter of Triton 3.9 takes the product for a constant, too.
"""

import triton
import triton.language as tl

from sfumato.core import sh

__all__ = ["basis_of", "direction_gradient"]

C0: tl.constexpr = tl.constexpr(sh.C0)
C1: tl.constexpr = tl.constexpr(sh.C1)
C20: tl.constexpr = tl.constexpr(sh.C2[0])
C21: tl.constexpr = tl.constexpr(sh.C2[1])
C22: tl.constexpr = tl.constexpr(sh.C2[2])
C23: tl.constexpr = tl.constexpr(sh.C2[3])
C24: tl.constexpr = tl.constexpr(sh.C2[4])
C30: tl.constexpr = tl.constexpr(sh.C3[0])
C31: tl.constexpr = tl.constexpr(sh.C3[1])
C32: tl.constexpr = tl.constexpr(sh.C3[2])
C33: tl.constexpr = tl.constexpr(sh.C3[3])
C34: tl.constexpr = tl.constexpr(sh.C3[4])
C35: tl.constexpr = tl.constexpr(sh.C3[5])
C36: tl.constexpr = tl.constexpr(sh.C3[6])
C40: tl.constexpr = tl.constexpr(sh.C4[0])
C41: tl.constexpr = tl.constexpr(sh.C4[1])
C42: tl.constexpr = tl.constexpr(sh.C4[2])
C43: tl.constexpr = tl.constexpr(sh.C4[3])
C44: tl.constexpr = tl.constexpr(sh.C4[4])
C45: tl.constexpr = tl.constexpr(sh.C4[5])
C46: tl.constexpr = tl.constexpr(sh.C4[6])
C47: tl.constexpr = tl.constexpr(sh.C4[7])
C48: tl.constexpr = tl.constexpr(sh.C4[8])


@triton.jit
def basis_of(x, y, z, DEGREE: tl.constexpr):
    """The (DEGREE + 1)^2 basis functions at unit directions (x, y, z)."""
    xx, yy, zz = x * x, y * y, z * z
    values = (tl.zeros_like(x) + C0,)
    if DEGREE >= 1:
        values += (y * -C1, z * C1, x * -C1)
    if DEGREE >= 2:
        values += (
            x * y * C20,
            y * z * C21,
            (2 * zz - xx - yy) * C22,
            x * z * C23,
            (xx - yy) * C24,
        )
    if DEGREE >= 3:
        values += (
            y * (3 * xx - yy) * C30,
            x * y * z * C31,
            y * (4 * zz - xx - yy) * C32,
            z * (2 * zz - 3 * (xx + yy)) * C33,
            x * (4 * zz - xx - yy) * C34,
            z * (xx - yy) * C35,
            x * (xx - 3 * yy) * C36,
        )
    if DEGREE >= 4:
        values += (
            x * y * (xx - yy) * C40,
            y * z * (3 * xx - yy) * C41,
            x * y * (7 * zz - 1) * C42,
            y * z * (7 * zz - 3) * C43,
            (zz * (35 * zz - 30) + 3) * C44,
            x * z * (7 * zz - 3) * C45,
            (xx - yy) * (7 * zz - 1) * C46,
            x * z * (xx - 3 * yy) * C47,
            (xx * (xx - 3 * yy) - yy * (3 * xx - yy)) * C48,
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
        gx += y * w[4] * C20 - x * w[6] * (2 * C22) + z * w[7] * C23 + x * w[8] * (2 * C24)
        gy += x * w[4] * C20 + z * w[5] * C21 - y * w[6] * (2 * C22) - y * w[8] * (2 * C24)
        gz += y * w[5] * C21 + z * w[6] * (4 * C22) + x * w[7] * C23
        if DEGREE >= 3:
            gx += x * y * w[9] * (6 * C30) + y * z * w[10] * C31 - x * y * w[11] * (2 * C32)
            gx += x * z * w[12] * (-6 * C33) + (4 * zz - 3 * xx - yy) * w[13] * C34
            gx += x * z * w[14] * (2 * C35) + (xx - yy) * w[15] * (3 * C36)
            gy += (xx - yy) * w[9] * (3 * C30) + x * z * w[10] * C31 + (4 * zz - xx - 3 * yy) * w[11] * C32
            gy += y * z * w[12] * (-6 * C33) - x * y * w[13] * (2 * C34)
            gy += y * z * w[14] * (-2 * C35) - x * y * w[15] * (6 * C36)
            gz += x * y * w[10] * C31 + y * z * w[11] * (8 * C32) + (6 * zz - 3 * (xx + yy)) * w[12] * C33
            gz += x * z * w[13] * (8 * C34) + (xx - yy) * w[14] * C35
        if DEGREE >= 4:
            gx += y * (3 * xx - yy) * w[16] * C40 + x * y * z * w[17] * (6 * C41)
            gx += y * (7 * zz - 1) * w[18] * C42 + z * (7 * zz - 3) * w[21] * C45
            gx += x * (7 * zz - 1) * w[22] * (2 * C46) + z * (xx - yy) * w[23] * (3 * C47)
            gx += x * (xx - 3 * yy) * w[24] * (4 * C48)
            gy += x * (xx - 3 * yy) * w[16] * C40 + z * (xx - yy) * w[17] * (3 * C41)
            gy += x * (7 * zz - 1) * w[18] * C42 + z * (7 * zz - 3) * w[19] * C43
            gy += y * (7 * zz - 1) * w[22] * (-2 * C46) - x * y * z * w[23] * (6 * C47)
            gy += y * (yy - 3 * xx) * w[24] * (4 * C48)
            gz += y * (3 * xx - yy) * w[17] * C41 + x * y * z * w[18] * (14 * C42)
            gz += y * (21 * zz - 3) * w[19] * C43 + z * (140 * zz - 60) * w[20] * C44
            gz += x * (21 * zz - 3) * w[21] * C45 + z * (xx - yy) * w[22] * (14 * C46)
            gz += x * (xx - 3 * yy) * w[23] * C47
    return gx, gy, gz
