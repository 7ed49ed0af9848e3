"""Spherical harmonics for kernels: basis values at directions, and the way a gradient takes back to them.

Values of LANES Gaussians at once; the k-th of several Vectors lies at k * LANES of a workspace.
"""

import numpy as np

from sfumato.core import sh
from sfumato.kernels.cpu.memory import load, store
from sfumato.kernels.cpu.simd import LANES, splat
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
    """The first `bases` functions at unit directions (x, y, z); bases is 1, 4, 9, 16 or 25."""
    store(basis, 0, splat(C0))
    if bases > 1:
        store(basis, 1 * LANES, -C1 * y)
        store(basis, 2 * LANES, C1 * z)
        store(basis, 3 * LANES, -C1 * x)
    if bases > 4:
        xx, yy, zz = x * x, y * y, z * z
        store(basis, 4 * LANES, C20 * x * y)
        store(basis, 5 * LANES, C21 * y * z)
        store(basis, 6 * LANES, C22 * (TWO * zz - xx - yy))
        store(basis, 7 * LANES, C23 * x * z)
        store(basis, 8 * LANES, C24 * (xx - yy))
        if bases > 9:
            store(basis, 9 * LANES, C30 * y * (THREE * xx - yy))
            store(basis, 10 * LANES, C31 * x * y * z)
            store(basis, 11 * LANES, C32 * y * (FOUR * zz - xx - yy))
            store(basis, 12 * LANES, C33 * z * (TWO * zz - THREE * (xx + yy)))
            store(basis, 13 * LANES, C34 * x * (FOUR * zz - xx - yy))
            store(basis, 14 * LANES, C35 * z * (xx - yy))
            store(basis, 15 * LANES, C36 * x * (xx - THREE * yy))
        if bases > 16:
            store(basis, 16 * LANES, C40 * x * y * (xx - yy))
            store(basis, 17 * LANES, C41 * y * z * (THREE * xx - yy))
            store(basis, 18 * LANES, C42 * x * y * (SEVEN * zz - ONE))
            store(basis, 19 * LANES, C43 * y * z * (SEVEN * zz - THREE))
            store(basis, 20 * LANES, C44 * (zz * (f(35) * zz - f(30)) + THREE))
            store(basis, 21 * LANES, C45 * x * z * (SEVEN * zz - THREE))
            store(basis, 22 * LANES, C46 * (xx - yy) * (SEVEN * zz - ONE))
            store(basis, 23 * LANES, C47 * x * z * (xx - THREE * yy))
            store(basis, 24 * LANES, C48 * (xx * (xx - THREE * yy) - yy * (THREE * xx - yy)))


@helper
def direction_gradient(x, y, z, bases, w):
    """Gradient to (x, y, z) of the sum over k of w_k Y_k; its part along the direction means nothing."""
    gx = -C1 * load(w, 3 * LANES)
    gy = -C1 * load(w, 1 * LANES)
    gz = C1 * load(w, 2 * LANES)
    if bases > 4:
        xx, yy, zz = x * x, y * y, z * z
        gx += (
            C20 * y * load(w, 4 * LANES)
            - TWO * C22 * x * load(w, 6 * LANES)
            + C23 * z * load(w, 7 * LANES)
            + TWO * C24 * x * load(w, 8 * LANES)
        )
        gy += (
            C20 * x * load(w, 4 * LANES)
            + C21 * z * load(w, 5 * LANES)
            - TWO * C22 * y * load(w, 6 * LANES)
            - TWO * C24 * y * load(w, 8 * LANES)
        )
        gz += C21 * y * load(w, 5 * LANES) + FOUR * C22 * z * load(w, 6 * LANES) + C23 * x * load(w, 7 * LANES)
        if bases > 9:
            gx += (
                SIX * C30 * x * y * load(w, 9 * LANES)
                + C31 * y * z * load(w, 10 * LANES)
                - TWO * C32 * x * y * load(w, 11 * LANES)
            )
            gx += -SIX * C33 * x * z * load(w, 12 * LANES) + C34 * (FOUR * zz - THREE * xx - yy) * load(w, 13 * LANES)
            gx += TWO * C35 * x * z * load(w, 14 * LANES) + THREE * C36 * (xx - yy) * load(w, 15 * LANES)
            gy += (
                THREE * C30 * (xx - yy) * load(w, 9 * LANES)
                + C31 * x * z * load(w, 10 * LANES)
                + C32 * (FOUR * zz - xx - THREE * yy) * load(w, 11 * LANES)
            )
            gy += -SIX * C33 * y * z * load(w, 12 * LANES) - TWO * C34 * x * y * load(w, 13 * LANES)
            gy += -TWO * C35 * y * z * load(w, 14 * LANES) - SIX * C36 * x * y * load(w, 15 * LANES)
            gz += (
                C31 * x * y * load(w, 10 * LANES)
                + EIGHT * C32 * y * z * load(w, 11 * LANES)
                + C33 * (SIX * zz - THREE * (xx + yy)) * load(w, 12 * LANES)
            )
            gz += EIGHT * C34 * x * z * load(w, 13 * LANES) + C35 * (xx - yy) * load(w, 14 * LANES)
        if bases > 16:
            gx += C40 * y * (THREE * xx - yy) * load(w, 16 * LANES) + SIX * C41 * x * y * z * load(w, 17 * LANES)
            gx += C42 * y * (SEVEN * zz - ONE) * load(w, 18 * LANES) + C45 * z * (SEVEN * zz - THREE) * load(
                w, 21 * LANES
            )
            gx += TWO * C46 * x * (SEVEN * zz - ONE) * load(w, 22 * LANES) + THREE * C47 * z * (xx - yy) * load(
                w, 23 * LANES
            )
            gx += FOUR * C48 * x * (xx - THREE * yy) * load(w, 24 * LANES)
            gy += C40 * x * (xx - THREE * yy) * load(w, 16 * LANES) + THREE * C41 * z * (xx - yy) * load(w, 17 * LANES)
            gy += C42 * x * (SEVEN * zz - ONE) * load(w, 18 * LANES) + C43 * z * (SEVEN * zz - THREE) * load(
                w, 19 * LANES
            )
            gy += -TWO * C46 * y * (SEVEN * zz - ONE) * load(w, 22 * LANES) - SIX * C47 * x * y * z * load(
                w, 23 * LANES
            )
            gy += FOUR * C48 * y * (yy - THREE * xx) * load(w, 24 * LANES)
            gz += C41 * y * (THREE * xx - yy) * load(w, 17 * LANES) + f(14) * C42 * x * y * z * load(w, 18 * LANES)
            gz += C43 * y * (f(21) * zz - THREE) * load(w, 19 * LANES) + C44 * z * (f(140) * zz - f(60)) * load(
                w, 20 * LANES
            )
            gz += C45 * x * (f(21) * zz - THREE) * load(w, 21 * LANES) + f(14) * C46 * z * (xx - yy) * load(
                w, 22 * LANES
            )
            gz += C47 * x * (xx - THREE * yy) * load(w, 23 * LANES)
    return gx, gy, gz
