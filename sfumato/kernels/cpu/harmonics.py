"""Spherical harmonics for kernels: basis values at a direction, and the way a gradient takes back to it."""

import numpy as np

from sfumato.core import sh
from sfumato.kernels.cpu.threads import helper

__all__ = ["direction_gradient", "fill_basis"]

f = np.float32
ONE, TWO, THREE, FOUR, SIX, SEVEN, EIGHT = (f(number) for number in (1, 2, 3, 4, 6, 7, 8))
C0, C1 = f(sh.C0), f(sh.C1)
C20, C21, C22, C23, C24 = (f(number) for number in sh.C2)
C30, C31, C32, C33, C34, C35, C36 = (f(number) for number in sh.C3)
C40, C41, C42, C43, C44, C45, C46, C47, C48 = (f(number) for number in sh.C4)


@helper
def fill_basis(x, y, z, bases, basis):
    """basis[:bases] at the unit direction (x, y, z); bases is 1, 4, 9, 16 or 25."""
    basis[0] = C0
    if bases > 1:
        basis[1] = -C1 * y
        basis[2] = C1 * z
        basis[3] = -C1 * x
    if bases > 4:
        xx, yy, zz = x * x, y * y, z * z
        basis[4] = C20 * x * y
        basis[5] = C21 * y * z
        basis[6] = C22 * (TWO * zz - xx - yy)
        basis[7] = C23 * x * z
        basis[8] = C24 * (xx - yy)
        if bases > 9:
            basis[9] = C30 * y * (THREE * xx - yy)
            basis[10] = C31 * x * y * z
            basis[11] = C32 * y * (FOUR * zz - xx - yy)
            basis[12] = C33 * z * (TWO * zz - THREE * (xx + yy))
            basis[13] = C34 * x * (FOUR * zz - xx - yy)
            basis[14] = C35 * z * (xx - yy)
            basis[15] = C36 * x * (xx - THREE * yy)
        if bases > 16:
            basis[16] = C40 * x * y * (xx - yy)
            basis[17] = C41 * y * z * (THREE * xx - yy)
            basis[18] = C42 * x * y * (SEVEN * zz - ONE)
            basis[19] = C43 * y * z * (SEVEN * zz - THREE)
            basis[20] = C44 * (zz * (f(35) * zz - f(30)) + THREE)
            basis[21] = C45 * x * z * (SEVEN * zz - THREE)
            basis[22] = C46 * (xx - yy) * (SEVEN * zz - ONE)
            basis[23] = C47 * x * z * (xx - THREE * yy)
            basis[24] = C48 * (xx * (xx - THREE * yy) - yy * (THREE * xx - yy))


@helper
def direction_gradient(x, y, z, bases, w):
    """Gradient to (x, y, z) of sum over k of w[k] * basis[k]; its part along the direction means nothing."""
    gx = -C1 * w[3]
    gy = -C1 * w[1]
    gz = C1 * w[2]
    if bases > 4:
        xx, yy, zz = x * x, y * y, z * z
        gx += C20 * y * w[4] - TWO * C22 * x * w[6] + C23 * z * w[7] + TWO * C24 * x * w[8]
        gy += C20 * x * w[4] + C21 * z * w[5] - TWO * C22 * y * w[6] - TWO * C24 * y * w[8]
        gz += C21 * y * w[5] + FOUR * C22 * z * w[6] + C23 * x * w[7]
        if bases > 9:
            gx += SIX * C30 * x * y * w[9] + C31 * y * z * w[10] - TWO * C32 * x * y * w[11]
            gx += -SIX * C33 * x * z * w[12] + C34 * (FOUR * zz - THREE * xx - yy) * w[13]
            gx += TWO * C35 * x * z * w[14] + THREE * C36 * (xx - yy) * w[15]
            gy += THREE * C30 * (xx - yy) * w[9] + C31 * x * z * w[10] + C32 * (FOUR * zz - xx - THREE * yy) * w[11]
            gy += -SIX * C33 * y * z * w[12] - TWO * C34 * x * y * w[13]
            gy += -TWO * C35 * y * z * w[14] - SIX * C36 * x * y * w[15]
            gz += C31 * x * y * w[10] + EIGHT * C32 * y * z * w[11] + C33 * (SIX * zz - THREE * (xx + yy)) * w[12]
            gz += EIGHT * C34 * x * z * w[13] + C35 * (xx - yy) * w[14]
        if bases > 16:
            gx += C40 * y * (THREE * xx - yy) * w[16] + SIX * C41 * x * y * z * w[17]
            gx += C42 * y * (SEVEN * zz - ONE) * w[18] + C45 * z * (SEVEN * zz - THREE) * w[21]
            gx += TWO * C46 * x * (SEVEN * zz - ONE) * w[22] + THREE * C47 * z * (xx - yy) * w[23]
            gx += FOUR * C48 * x * (xx - THREE * yy) * w[24]
            gy += C40 * x * (xx - THREE * yy) * w[16] + THREE * C41 * z * (xx - yy) * w[17]
            gy += C42 * x * (SEVEN * zz - ONE) * w[18] + C43 * z * (SEVEN * zz - THREE) * w[19]
            gy += -TWO * C46 * y * (SEVEN * zz - ONE) * w[22] - SIX * C47 * x * y * z * w[23]
            gy += FOUR * C48 * y * (yy - THREE * xx) * w[24]
            gz += C41 * y * (THREE * xx - yy) * w[17] + f(14) * C42 * x * y * z * w[18]
            gz += C43 * y * (f(21) * zz - THREE) * w[19] + C44 * z * (f(140) * zz - f(60)) * w[20]
            gz += C45 * x * (f(21) * zz - THREE) * w[21] + f(14) * C46 * z * (xx - yy) * w[22]
            gz += C47 * x * (xx - THREE * yy) * w[23]
    return gx, gy, gz
