"""Similarities x -> scale * rotation @ x + translation: made from pairs of places, inverted, and done to Gaussians."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians

__all__ = ["Similarity", "fit", "fit_many", "moved"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """A move of space that keeps shapes: x -> scale * rotation @ x + translation.

    Parameters
    ----------
    rotation : Tensor, (3, 3), float64
        A proper rotation.
    translation : Tensor, (3,), float64
        World units.
    scale : float
        Above 0.

    Examples
    --------
    >>> move = edit.Similarity(edit.rotation_about((0, 1, 0), 90), torch.zeros(3).double(), 2.0)
    >>> move.after(move.inverse()).angle < 1e-6
    True
    """

    rotation: Tensor
    translation: Tensor
    scale: float = 1.0

    @classmethod
    def identity(cls) -> "Similarity":
        """Make the move that moves nothing.

        Returns
        -------
        Similarity
            Everything stays.
        """
        return cls(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))

    def __call__(self, places: Tensor) -> Tensor:
        """Move places.

        Parameters
        ----------
        places : Tensor, (N, 3)
            World units.

        Returns
        -------
        Tensor, (N, 3), float64
            Where they are then.
        """
        return self.scale * places.double() @ self.rotation.T + self.translation

    def inverse(self) -> "Similarity":
        """Make the move back.

        Returns
        -------
        Similarity
            Which undoes this one.
        """
        back = self.rotation.T / self.scale
        return Similarity(self.rotation.T, -back @ self.translation, 1 / self.scale)

    def after(self, first: "Similarity") -> "Similarity":
        """Make one move of two.

        Parameters
        ----------
        first : Similarity
            Is done first, and then this.

        Returns
        -------
        Similarity
            Both.
        """
        return Similarity(self.rotation @ first.rotation, self(first.translation), self.scale * first.scale)

    @property
    def angle(self) -> float:
        """Radians that it turns by."""
        skew = torch.stack([self.rotation[i, j] - self.rotation[j, i] for i, j in ((2, 1), (0, 2), (1, 0))])
        return math.atan2(float(skew.norm()) / 2, (float(self.rotation.trace()) - 1) / 2)  # exact near 0 and pi


def fit(source: Tensor, target: Tensor, weights: Tensor, scale: float | None = None) -> Similarity:
    """The similarity that moves places (M, 3) onto their partners (M, 3) best, weighed by (M,) numbers >= 0, float64.

    The rotation and the translation are those of Umeyama 1991, Eqs. 40 to 43. The scale is the ratio of both spreads
    (Horn 1987), which does not shrink when pairs are noisy, as the least squares of Umeyama does; or it is given.
    """
    share = weights / weights.sum()
    rotation, translation, ratio = fit_many(source[None], target[None], scale, share[None])
    return Similarity(rotation[0], translation[0], float(ratio[0]))


def fit_many(
    source: Tensor, target: Tensor, scale: float | None = None, share: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for B sets of places (B, M, 3) at once: rotations (B, 3, 3), translations (B, 3) and scales (B,).

    share: (B, M) weights that sum to 1; None: all alike.
    """
    part = (torch.full(source.shape[:2], 1 / source.shape[1]).to(source) if share is None else share)[..., None]
    center, own_center = (part * target).sum(dim=1), (part * source).sum(dim=1)
    here, own = target - center[:, None], source - own_center[:, None]
    U, _, Vt = torch.linalg.svd(here.transpose(1, 2) @ (part * own))
    flip = torch.ones_like(center)
    flip[:, 2] = (U.det() * Vt.det()).sign()
    rotation = U * flip[:, None] @ Vt
    spread, own_spread = ((part * offsets.square()).sum(dim=(1, 2)) for offsets in (here, own))
    able = (spread > 0) & (own_spread > 0)
    ratio = torch.where(able, spread / own_spread, 1.0).sqrt()
    if scale is not None:
        ratio = torch.full_like(spread, scale)
    return rotation, center - ratio[:, None] * (rotation @ own_center[..., None])[..., 0], ratio


def moved(gaussians: Gaussians, similarity: Similarity) -> Gaussians:
    """The Gaussians after the move, lights turned along; places are computed in float64, whatever they are kept in."""
    turned = gaussians.transform(similarity.rotation, torch.zeros(3), similarity.scale)
    places = similarity(gaussians.means.detach().to("cpu"))
    return replace(turned, means=places.to(gaussians.means))
