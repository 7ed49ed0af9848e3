"""Gaussians: the numbers that are stored and trained, what they mean, and how to index, join and move them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.check import check_rotation, check_shape
from sfumato.core.errors import InputError
from sfumato.core.rotation import matrix_from_quaternion, multiply_quaternions, quaternion_from_matrix

__all__ = ["Gaussians"]

_ROWS = 1 << 18  # looked at together


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians of Kerbl et al. 2023, as stored; every row of every field belongs to one Gaussian.

    Raises ShapeError when the fields do not agree on N, or on a spherical-harmonics degree from 0 to 4.
    """

    means: Tensor  # (N, 3) world units
    quats: Tensor  # (N, 4) wxyz, any length > 0
    log_scales: Tensor  # (N, 3) log of the standard deviations along the own axes, world units
    logit_opacities: Tensor  # (N,)
    sh0: Tensor  # (N, 1, 3) spherical harmonics of degree 0
    shN: Tensor  # (N, K-1, 3) the higher degrees, K = (degree + 1)^2

    def __post_init__(self) -> None:
        check_shape("means", self.means, ("N", 3))
        N = self.means.shape[0]
        check_shape("quats", self.quats, ("N", 4), N=N)
        check_shape("log_scales", self.log_scales, ("N", 3), N=N)
        check_shape("logit_opacities", self.logit_opacities, ("N",), N=N)
        check_shape("sh0", self.sh0, ("N", 1, 3), N=N)
        check_shape("shN", self.shN, ("N", "K-1", 3), N=N)
        harmonics.degree_of_bases(self.shN.shape[1] + 1)

    def __len__(self) -> int:
        return self.means.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.means, self.quats, self.log_scales, self.logit_opacities, self.sh0, self.shN))

    def __getitem__(self, index: Tensor | slice) -> "Gaussians":
        """The rows that a (M,) index >= 0, an (N,) mask or a slice picks."""
        if isinstance(index, Tensor) and index.dtype == torch.int64:  # 20 times faster than tensor[index] on a CPU
            return self.map(lambda tensor: tensor.index_select(0, index))
        return self.map(lambda tensor: tensor[index])

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The fields' names, in order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def cat(cls, parts: Iterable["Gaussians"]) -> "Gaussians":
        """All rows of `parts`, one after the other; the parts have the same degree."""
        return cls(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @classmethod
    def empty(cls, sh_degree: int = 3) -> "Gaussians":
        """No Gaussians at all."""
        rest = harmonics.bases_of_degree(sh_degree) - 1
        shapes: Sequence[tuple[int, ...]] = ((0, 3), (0, 4), (0, 3), (0,), (0, 1, 3), (0, rest, 3))
        return cls(*(torch.zeros(shape) for shape in shapes))

    @property
    def degree(self) -> int:
        """Spherical-harmonics degree, 0 to 4."""
        return harmonics.degree_of_bases(self.shN.shape[1] + 1)

    @property
    def scales(self) -> Tensor:
        """(N, 3) standard deviations along the own axes, world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """(N,) in [0, 1]."""
        return self.logit_opacities.sigmoid()

    @property
    def rotations(self) -> Tensor:
        """(N, 3, 3) world <- own axes."""
        return matrix_from_quaternion(self.quats)

    @property
    def covariances(self) -> Tensor:
        """(N, 3, 3) R S S^T R^T, Eq. 6 of Kerbl et al. 2023."""
        axes = self.rotations * self.scales[:, None, :]
        return axes @ axes.transpose(1, 2)

    @property
    def sh(self) -> Tensor:
        """(N, K, 3) all spherical harmonics."""
        return torch.cat([self.sh0, self.shN], dim=1)

    @property
    def finite(self) -> Tensor:
        """(N,) True where every number of the row is finite."""
        finite = torch.empty(len(self), dtype=torch.bool, device=self.means.device)
        for start in range(0, len(self), _ROWS):  # what is made in between is larger than the fields themselves
            part = self[start : start + _ROWS].detach()
            # 0 times a number is 0, but of infinity and NaN it is NaN: 10 times faster than asking isfinite of each
            zeros = [tensor.reshape(len(part), tensor[:1].numel()).mul(0).sum(dim=1) for tensor in part]
            finite[start : start + _ROWS] = torch.stack(zeros).sum(dim=0) == 0
        return finite

    def map(self, function: Callable[[Tensor], Tensor]) -> "Gaussians":
        """The function applied to every field."""
        return Gaussians(*(function(tensor) for tensor in self))

    def to(self, *args: object) -> "Gaussians":
        """Every field moved as by `Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*args))  # type: ignore[call-overload]

    def detach(self) -> "Gaussians":
        """The same numbers without their autograd history."""
        return self.map(torch.Tensor.detach)

    def with_degree(self, sh_degree: int) -> "Gaussians":
        """The same with spherical harmonics of another degree: higher ones are zero, or cut off."""
        rest = harmonics.bases_of_degree(sh_degree) - 1
        kept = self.shN[:, :rest]
        zeros = kept.new_zeros(len(self), rest - kept.shape[1], 3)
        return replace(self, shN=torch.cat([kept, zeros], dim=1))

    def transform(self, rotation: Tensor, translation: Tensor, scale: float = 1.0) -> "Gaussians":
        """The same scene moved by x -> scale * rotation @ x + translation, lights turned along.

        rotation (3, 3) is a proper rotation, translation (3,) in world units, scale > 0.
        Raises InputError when it is not: shear, reflection and scale inside `rotation` have no Gaussian answer here.
        """
        check_rotation("rotation", rotation)
        if not 0 < scale < math.inf:
            raise InputError(f"scale must be a positive number; got {scale}")
        turn = rotation.to(self.means)
        sh = harmonics.rotate(self.sh, rotation)
        return Gaussians(
            means=scale * self.means @ turn.T + translation.to(self.means),
            quats=multiply_quaternions(quaternion_from_matrix(turn), self.quats),
            log_scales=self.log_scales + math.log(scale),
            logit_opacities=self.logit_opacities,
            sh0=sh[:, :1],
            shN=sh[:, 1:],
        )
