"""Regions of space to which Gaussians lie inside, as masks, and a splat to its part there.

A Gaussian lies where its mean does: one that reaches out of the region, or into it, does not count.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.core.check import check_rotation, check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.either import Splat, changed, gaussians_of

__all__ = ["crop_box", "crop_sphere", "inside_box", "inside_sphere", "keep"]


def keep(splat: Splat, mask: Tensor) -> Splat:
    """Keep the Gaussians of a mask, in their order.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    mask : Tensor, (N,), bool
        True for what stays.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    ShapeError
        When the mask has another length.

    Examples
    --------
    >>> solid = edit.keep(gaussians, gaussians.opacities > 0.5)
    """
    gaussians = gaussians_of(splat)
    check_shape("mask", mask, ("N",), N=len(gaussians))
    rows = mask.nonzero()[:, 0].to(gaussians.means.device)
    return splat if len(rows) == len(gaussians) else changed(splat, gaussians[rows])


def crop_box(
    splat: Splat, low: Sequence[float] | Tensor, high: Sequence[float] | Tensor, rotation: Tensor | None = None
) -> Splat:
    """Keep what lies in a box; see `inside_box`.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    low : Tensor or sequence, (3,)
        The lowest corner, world units.
    high : Tensor or sequence, (3,)
        The highest corner, world units.
    rotation : Tensor, (3, 3), optional
        world <- box, about the middle of the box.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        As `inside_box`.

    Examples
    --------
    >>> inf = float("inf")
    >>> near = edit.crop_box(gaussians, (-1, -inf, -1), (1, inf, 1))
    """
    return keep(splat, inside_box(gaussians_of(splat), low, high, rotation))


def crop_sphere(splat: Splat, center: Sequence[float] | Tensor, radius: float) -> Splat:
    """Keep what lies in a sphere; see `inside_sphere`.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    center : Tensor or sequence, (3,)
        World units.
    radius : float
        World units, above 0.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        As `inside_sphere`.
    """
    return keep(splat, inside_sphere(gaussians_of(splat), center, radius))


def inside_box(
    gaussians: Gaussians,
    low: Sequence[float] | Tensor,
    high: Sequence[float] | Tensor,
    rotation: Tensor | None = None,
) -> Tensor:
    """Ask which Gaussians lie in a box; both ends belong to it.

    Parameters
    ----------
    gaussians : Gaussians
        The splat; a Gaussian lies where its mean does.
    low : Tensor or sequence, (3,)
        The lowest corner, world units.
    high : Tensor or sequence, (3,)
        The highest corner, world units. Corners may be infinite where the box is not turned.
    rotation : Tensor, (3, 3), optional
        world <- box, about the middle of the box.

    Returns
    -------
    Tensor, (N,), bool
        True for what is inside.

    Raises
    ------
    InputError
        When a corner is not a number, `low` is above `high`, or the rotation is none.
    """
    bottom, top = (torch.as_tensor(end).detach().to(gaussians.means) for end in (low, high))
    check_shape("low", bottom, (3,))
    check_shape("high", top, (3,))
    if not bool((bottom <= top).all()):  # NaN fails as well
        raise InputError(f"a box goes from its lowest corner to its highest; got {_spaced(bottom)} to {_spaced(top)}")
    means = gaussians.means.detach()
    if rotation is not None:
        check_rotation("rotation", rotation)
        if not bool(bottom.isfinite().all() and top.isfinite().all()):
            raise InputError("a box that is turned must have finite corners")
        middle = (bottom + top) / 2
        means = (means - middle) @ rotation.to(means) + middle
    return ((means >= bottom) & (means <= top)).all(dim=1)


def inside_sphere(gaussians: Gaussians, center: Sequence[float] | Tensor, radius: float) -> Tensor:
    """Ask which Gaussians lie in a sphere.

    Parameters
    ----------
    gaussians : Gaussians
        The splat; a Gaussian lies where its mean does.
    center : Tensor or sequence, (3,)
        World units.
    radius : float
        World units, above 0.

    Returns
    -------
    Tensor, (N,), bool
        True where the mean is at most `radius` from the center.

    Raises
    ------
    InputError
        When the center is not finite, or the radius not above 0.
    """
    middle = torch.as_tensor(center).detach().to(gaussians.means)
    check_shape("center", middle, (3,))
    if not middle.isfinite().all() or not 0 < radius < math.inf:
        raise InputError(f"a sphere needs a center and a radius above 0; got {_spaced(middle)} and {radius:g}")
    inside: Tensor = (gaussians.means.detach() - middle).norm(dim=1) <= radius
    return inside


def _spaced(vector: Tensor) -> str:
    return " ".join(f"{value:g}" for value in vector.tolist())
