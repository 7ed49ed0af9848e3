"""A splat to the same splat elsewhere: moved, turned, made larger, or set upright; light and covariances turn along.

Of an Asset, what is said about its numbers moves with them: its direction of up, the length of its unit, and its
origin. In the coordinates of the source, mean + origin, the same movement takes place.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL
from sfumato.core.camera import Camera
from sfumato.core.check import check_rotation
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.either import Splat, changed, gaussians_of
from sfumato.edit.rotations import rotation_about, rotation_of, up_in, upright_rotation, vector_of

__all__ = [
    "middle",
    "move",
    "move_camera",
    "rotate",
    "scale",
    "translate",
    "turn",
    "upright",
]

_SOLID = 0.3


def move(splat: Splat, rotation: Tensor, translation: Tensor | Sequence[float], factor: float = 1.0) -> Splat:
    """Move, turn and scale a splat: x -> factor * rotation @ x + translation.

    Covariances are exact, and spherical harmonics turn (`core.sh.rotate`), so that the moved splat looks from a moved
    camera (`move_camera`) as it did before.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to move. Of an Asset, up, origin and meters_per_unit move along.
    rotation : Tensor, (3, 3)
        A proper rotation.
    translation : Tensor or sequence, (3,)
        World units.
    factor : float
        How many times as large, above 0.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the rotation is none, the factor is not positive, or a number is not finite.

    Examples
    --------
    >>> moved = edit.move(gaussians, edit.rotation_about((0, 1, 0), 90), (0, 0, 1), 2.0)
    >>> torch.allclose(moved.scales, 2 * gaussians.scales)
    True
    """
    check_rotation("rotation", rotation)
    shift = vector_of("translation", translation)
    if not 0 < factor < math.inf:
        raise InputError(f"scale must be a positive number; got {factor:g}")
    gaussians = gaussians_of(splat)
    if torch.equal(rotation.double().cpu(), torch.eye(3, dtype=torch.float64)):
        moved = changed(splat, _straight(gaussians, shift, factor))
    else:
        moved = changed(splat, gaussians.transform(rotation, shift, factor))
    return _told(moved, factor * rotation.detach().to("cpu", torch.float64))


def move_camera(camera: Camera, rotation: Tensor, translation: Tensor | Sequence[float], factor: float = 1.0) -> Camera:
    """Move a camera as `move` moves a splat, so that it sees the same.

    Parameters
    ----------
    camera : Camera
        Depths that it sees become `factor` times what they were.
    rotation : Tensor, (3, 3)
        As for `move`.
    translation : Tensor or sequence, (3,)
        World units.
    factor : float
        As for `move`.

    Returns
    -------
    Camera
        With the same K and size.

    Raises
    ------
    InputError
        When the translation is not finite.
    """
    linear = rotation.detach().to("cpu", torch.float64)
    viewmat = camera.viewmat.detach().to("cpu", torch.float64)
    turned = viewmat[:3, :3] @ linear.T
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, :3] = turned
    moved[:3, 3] = factor * viewmat[:3, 3] - turned @ vector_of("translation", translation)
    return replace(camera, viewmat=moved.to(camera.viewmat))


def translate(splat: Splat, offset: Tensor | Sequence[float]) -> Splat:
    """Move a splat.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to move.
    offset : Tensor or sequence, (3,)
        World units.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the offset is no finite vector.
    """
    return move(splat, torch.eye(3), vector_of("offset", offset))


def rotate(splat: Splat, axis: Tensor | Sequence[float], degrees: float) -> Splat:
    """Turn a splat about an axis through zero.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to turn.
    axis : Tensor or sequence, (3,)
        Of any length above 0.
    degrees : float
        Counterclockwise when the axis points at the viewer.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the axis has no direction, or the angle is not finite.
    """
    return move(splat, rotation_about(axis, degrees), (0, 0, 0))


def turn(splat: Splat, quaternion: Tensor | Sequence[float]) -> Splat:
    """Turn a splat about zero by a quaternion.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to turn.
    quaternion : Tensor or sequence, (4,)
        wxyz, of any length above 0.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the quaternion is zero or not finite.
    """
    return move(splat, rotation_of(quaternion), (0, 0, 0))


def scale(splat: Splat, factor: float) -> Splat:
    """Make a splat larger or smaller, about zero.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to scale.
    factor : float
        How many times as large, above 0.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the factor is not a positive number.
    """
    return move(splat, torch.eye(3), (0, 0, 0), factor)


def middle(gaussians: Gaussians) -> Tensor:
    """Find the middle of what is solid: the median of the means with opacity above 0.3.

    Parameters
    ----------
    gaussians : Gaussians
        When nothing is solid, all of them count; means that are not finite never do.

    Returns
    -------
    Tensor, (3,), float64
        World units; zero when there are none.

    Examples
    --------
    >>> centered = edit.translate(gaussians, -edit.middle(gaussians))
    """
    somewhere = gaussians.means.detach().isfinite().all(dim=1)
    solid = somewhere & (gaussians.opacities.detach() > _SOLID)
    means = gaussians.means.detach()[solid if bool(solid.any()) else somewhere]
    return means.median(dim=0).values.cpu().double() if len(means) else torch.zeros(3, dtype=torch.float64)


def upright(splat: Splat, up: Tensor | Sequence[float] | None = None) -> Splat:
    """Turn a splat, by no more than needed, so that `up` becomes up as files have it: -y in the canonical frame.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to turn.
    up : Tensor or sequence, (3,), optional
        Direction that is up now; without it, what the Asset says.

    Returns
    -------
    Gaussians or Asset
        The kind that came in; an Asset says from then on where its up is.

    Raises
    ------
    InputError
        When nobody says where up is, or that is no direction.

    Examples
    --------
    >>> standing = edit.upright(gaussians, up=(0, 0, 1))  # z was up
    """
    asset: Gaussians | Asset = splat
    said, axes = (asset.up, asset.axes) if isinstance(asset, Asset) else (None, CANONICAL)
    wanted = said if up is None else up
    if wanted is None:
        raise InputError("nothing says which way is up; give a direction, as 0 -1 0, or a scene whose cameras tell")
    moved = move(splat, upright_rotation(wanted, axes), (0, 0, 0))
    done: Gaussians | Asset = moved
    return cast(Splat, replace(done, up=_triple(up_in(axes))) if isinstance(done, Asset) else done)


def _told(splat: Splat, linear: Tensor) -> Splat:
    """What an asset says of its numbers, after they were multiplied by linear (3, 3), a rotation times a factor."""
    asset: Gaussians | Asset = splat
    if isinstance(asset, Gaussians):
        return splat
    factor = linear[0].norm().item()
    up, unit = asset.up, asset.meters_per_unit
    told: Gaussians | Asset = replace(
        asset,
        up=None if up is None else _triple(linear @ torch.tensor(up, dtype=torch.float64) / factor),
        origin=_triple(linear @ torch.tensor(asset.origin, dtype=torch.float64)),
        meters_per_unit=None if unit is None else unit / factor,
    )
    return cast(Splat, told)


def _straight(gaussians: Gaussians, shift: Tensor, factor: float) -> Gaussians:
    """Without a turn, numbers that need not change keep their bits."""
    means = gaussians.means if factor == 1 else factor * gaussians.means
    return replace(
        gaussians,
        means=means + shift.to(means) if shift.any() else means,
        log_scales=gaussians.log_scales if factor == 1 else gaussians.log_scales + math.log(factor),
    )


def _triple(vector: Tensor) -> tuple[float, float, float]:
    x, y, z = (value + 0.0 for value in vector.tolist())  # -0.0 is nothing to write into files
    return (x, y, z)
