"""Real spherical harmonics to degree 4: directions and coefficients in, colors or rotated coefficients out.

Order and signs are the field's (Kerbl et al. 2023 and every splat file): the Condon-Shortley sign is in the
basis, band l runs over m = -l..l, and color = 0.5 + sum of basis times coefficient.
"""

import math

import torch
from torch import Tensor

from sfumato.core.errors import InputError

__all__ = [
    "C0",
    "MAX_DEGREE",
    "bases_of_degree",
    "basis",
    "degree_of_bases",
    "rgb_from_sh0",
    "rotate",
    "sh0_from_rgb",
]

MAX_DEGREE = 4
C0 = 0.28209479177387814  # 1 / (2 sqrt(pi))
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)
C4 = (
    2.5033429417967046,
    -1.7701307697799304,
    0.9461746957575601,
    -0.6690465435572892,
    0.10578554691520431,
    -0.6690465435572892,
    0.47308734787878004,
    -1.7701307697799304,
    0.6258357354491761,
)


def bases_of_degree(degree: int) -> int:
    """Number of basis functions K up to and including `degree`."""
    return (degree + 1) ** 2


def degree_of_bases(bases: int) -> int:
    """Degree whose basis has `bases` functions; InputError when there is none up to MAX_DEGREE."""
    degree = math.isqrt(bases) - 1
    if bases_of_degree(degree) != bases or not 0 <= degree <= MAX_DEGREE:
        raise InputError(f"spherical harmonics must have 1, 4, 9, 16 or 25 bases; got {bases}")
    return degree


def basis(degree: int, directions: Tensor) -> Tensor:
    """Basis functions at unit `directions` (..., 3) as (..., K)."""
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, C0)]
    if degree >= 1:
        values += [-C1 * y, C1 * z, -C1 * x]
    xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
    if degree >= 2:
        values += [C2[0] * xy, C2[1] * yz, C2[2] * (2 * zz - xx - yy), C2[3] * xz, C2[4] * (xx - yy)]
    if degree >= 3:
        values += [
            C3[0] * y * (3 * xx - yy),
            C3[1] * xy * z,
            C3[2] * y * (4 * zz - xx - yy),
            C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            C3[4] * x * (4 * zz - xx - yy),
            C3[5] * z * (xx - yy),
            C3[6] * x * (xx - 3 * yy),
        ]
    if degree >= 4:
        values += [
            C4[0] * xy * (xx - yy),
            C4[1] * yz * (3 * xx - yy),
            C4[2] * xy * (7 * zz - 1),
            C4[3] * yz * (7 * zz - 3),
            C4[4] * (zz * (35 * zz - 30) + 3),
            C4[5] * xz * (7 * zz - 3),
            C4[6] * (xx - yy) * (7 * zz - 1),
            C4[7] * xz * (xx - 3 * yy),
            C4[8] * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
        ]
    return torch.stack(values, dim=-1)


def rgb_from_sh0(sh0: Tensor) -> Tensor:
    """The view-independent color (not clamped) of degree-0 coefficients of any shape."""
    return 0.5 + C0 * sh0


def sh0_from_rgb(rgb: Tensor) -> Tensor:
    """Degree-0 coefficients that show the color `rgb` in [0, 1] from everywhere."""
    return (rgb - 0.5) / C0


def rotate(sh: Tensor, rotation: Tensor) -> Tensor:
    """Coefficients (N, K, 3) of the same lights after the scene is turned by `rotation` (3, 3).

    Band by band, since a rotation never mixes bands: the matrix D with basis(R^T d) = basis(d) D is found by
    least squares over more directions than unknowns, in float64, which is exact to rounding.
    """
    degree = degree_of_bases(sh.shape[1])
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    turn = rotation.to(device="cpu", dtype=torch.float64)
    here, before = basis(degree, directions), basis(degree, directions @ turn)
    rotated = [sh[:, :1]]
    for band in range(1, degree + 1):
        rows = slice(band * band, (band + 1) ** 2)
        mix = torch.linalg.lstsq(here[:, rows], before[:, rows]).solution
        rotated.append(torch.einsum("kj,njc->nkc", mix.to(sh), sh[:, rows]))
    return torch.cat(rotated, dim=1)
