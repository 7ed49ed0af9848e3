"""Gaussians as a mixture whose components can be merged by two: what a merger would cost, and what it makes.

Two become the one with the same mass, mean and covariance (moment matching, as in Runnalls 2007). Symmetric matrices
are six numbers: xx yy zz xy xz yz.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import quaternion_from_matrix

__all__ = ["Mixture", "Shapes", "area"]

COLOR = 2.0  # what a difference of colors costs beside one of shapes: 1 to 4 differ by 0.01 dB
THICKNESS = 0.05  # of its size, that a flat one is taken to have: else two leaves of a book have nothing in common
SOLID = 0.999  # most opacity: what a merger would have above becomes size
TINY = 1e-250  # keeps divisions finite
_SIX, _NINE = [0, 4, 8, 1, 2, 5], [0, 3, 4, 3, 1, 5, 4, 5, 2]  # of a matrix's nine numbers, and back


@dataclass(frozen=True, eq=False)
class Shapes:
    """What the cost of a merger depends on, float64; a Gaussian is a column, since whole rows are computed with."""

    means: Tensor  # (3, N) world units
    covariances: Tensor  # (6, N) world units squared, of what is flat a little thicker
    masses: Tensor  # (N,) opacity times area: how much of a picture it makes
    colors: Tensor  # (3, N) of degree 0
    selves: Tensor  # (N,) integral of the squared density, over (2 pi)^1.5

    @classmethod
    def of(cls, mixture: "Mixture") -> "Shapes":
        """The shapes of all components."""
        covariances = mixture.covariances.T.clone(memory_format=torch.contiguous_format)  # changed below
        areas = area(covariances)
        covariances[:3] += THICKNESS**2 * areas
        colors = (harmonics.C0 * mixture.sh[:, 0]).double().T.contiguous()
        selves = _overlap(2 * covariances)
        return cls(mixture.means.T.contiguous(), covariances, mixture.opacities * areas, colors, selves)

    def __len__(self) -> int:
        return len(self.masses)

    def __getitem__(self, columns: Tensor | slice) -> "Shapes":
        if isinstance(columns, Tensor):
            return Shapes(*(getattr(self, each.name).index_select(-1, columns) for each in fields(self)))
        return Shapes(*(getattr(self, each.name)[..., columns] for each in fields(self)))

    def costs(self, other: "Shapes") -> Tensor:
        """(N,) what the picture loses when number i of this and number i of the other become one.

        The integral of the squared difference of the densities before and after, as a share of that of the densities,
        plus the variance of the colors, times the root of the mass: with the mass itself, what is small goes first, and
        with it up to 0.5 dB of fox and fern.
        """
        mass = self.masses + other.masses
        f = self.masses / mass.clamp(min=TINY)
        g = 1 - f
        apart = other.means - self.means
        joint = _joint(f, apart, self.covariances, other.covariances)
        own = f * f * self.selves + g * g * other.selves
        own += 2 * f * g * _overlap(self.covariances + other.covariances, apart)
        shared = f * _overlap(self.covariances + joint, g * apart) + g * _overlap(other.covariances + joint, f * apart)
        lost = (own + _overlap(2 * joint) - 2 * shared).clamp(min=0) / own.clamp(min=TINY)
        return mass.sqrt() * (lost + COLOR * f * g * (self.colors - other.colors).square().sum(dim=0))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians, and which of them were merged."""

    means: Tensor  # (N, 3) float64, world units
    covariances: Tensor  # (N, 6) float64, world units squared
    opacities: Tensor  # (N,) float64
    sh: Tensor  # (N, K, 3)
    rows: Tensor  # (N,) int64 row of the Gaussians it began as; -1: merged

    @classmethod
    def of(cls, gaussians: Gaussians) -> "Mixture":
        """Every Gaussian by itself."""
        exact = Gaussians(*(tensor.detach().double() for tensor in gaussians.with_degree(0)))
        six = torch.tensor(_SIX, device=exact.means.device)
        covariances = exact.covariances.reshape(-1, 9).index_select(1, six)
        rows = torch.arange(len(gaussians), device=gaussians.means.device)
        return cls(exact.means, covariances, exact.opacities, gaussians.sh.detach(), rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))

    def __getitem__(self, rows: Tensor) -> "Mixture":
        return Mixture(*(tensor[rows] for tensor in self))

    def merged(self, first: Tensor, second: Tensor) -> "Mixture":
        """What remains when rows `first` and `second`, (M,) each and all different, become one each, in place of first.

        The mass, opacity times area, stays as far as it can: no opacity exceeds what both have one before the other,
        and what is too much for one that is opaque makes it larger.
        """
        one, two = self[first], self[second]
        masses = [part.opacities * area(part.covariances.T) for part in (one, two)]
        f = masses[0] / (masses[0] + masses[1]).clamp(min=TINY)
        apart = two.means - one.means
        covariances = _joint(f, apart.T, one.covariances.T, two.covariances.T)
        opacities = (masses[0] + masses[1]) / area(covariances).clamp(min=TINY)
        behind = 1 - (1 - one.opacities) * (1 - two.opacities)
        beyond = (opacities / SOLID).clamp(1, 2)  # areas are of the unit of covariances
        new = Mixture(
            one.means + (1 - f)[:, None] * apart,
            (covariances * beyond).T,
            torch.minimum(opacities.clamp(max=SOLID), behind),
            one.sh + ((1 - f)[:, None, None] * (two.sh - one.sh)).to(self.sh),
            torch.full_like(one.rows, -1),
        )
        left = torch.ones(len(self), dtype=torch.bool, device=self.rows.device)
        left[second] = False
        return Mixture(*(old.index_copy(0, first, now)[left] for old, now in zip(self, new, strict=True)))

    def gaussians(self, origin: Gaussians) -> Gaussians:
        """The same as they are stored; those that were never merged keep the bits they had in `origin`."""
        new = self.rows < 0
        found = origin[self.rows.clamp(min=0)].detach()
        nine = torch.tensor(_NINE, device=self.means.device)
        squares, axes = torch.linalg.eigh(self.covariances[new].index_select(1, nine).reshape(-1, 3, 3))
        axes = axes * torch.linalg.det(axes).sign()[:, None, None]  # right-handed
        numbers = (
            self.means[new],
            quaternion_from_matrix(axes),
            squares.clamp(min=1e-24).log() / 2,
            self.opacities[new].clamp(1e-6, SOLID).logit(),
            self.sh[new, :1],
            self.sh[new, 1:],
        )
        for target, number in zip(found, numbers, strict=True):
            target[new] = number.to(target)
        return found


def area(covariances: Tensor) -> Tensor:
    """(N,) root mean square of the areas that Gaussians (6, N) cover, seen along any three axes at right angles.

    By the second invariant of the covariance: the sum of a^2 b^2 over pairs of scales a and b.
    """
    xx, yy, zz, xy, xz, yz = covariances
    squares: Tensor = (xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz) / 3
    return squares.clamp(min=0).sqrt()


def _joint(f: Tensor, apart: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """(6, N) covariances of a share f (N,) of one and 1 - f of two, whose means are apart (3, N)."""
    x, y, z = apart
    joint = two + f * (one - two)
    fx, fy, fz = f * (1 - f) * apart
    for row, between in enumerate((fx * x, fy * y, fz * z, fx * y, fx * z, fy * z)):
        joint[row] += between
    return joint


def _overlap(covariances: Tensor, apart: Tensor | None = None) -> Tensor:
    """(N,) integral of two densities multiplied, over (2 pi)^1.5, by the sum of their covariances (6, N)."""
    xx, yy, zz, xy, xz, yz = covariances
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinants: Tensor = (xx * a + xy * b + xz * c).clamp(min=TINY)
    if apart is None:
        return determinants.rsqrt()
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    x, y, z = apart
    squares: Tensor = x * (a * x + 2 * (b * y + c * z)) + y * (d * y + 2 * e * z) + f * z * z
    return (-0.5 * squares / determinants).exp() * determinants.rsqrt()
