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
from sfumato.core.axes import CANONICAL, matrix_between
from sfumato.core.camera import Camera
from sfumato.core.check import check_rotation, check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.edit.either import Splat, changed, gaussians_of

__all__ = [
    "direction",
    "middle",
    "move",
    "move_camera",
    "rotate",
    "rotation_about",
    "rotation_between",
    "rotation_of",
    "scale",
    "translate",
    "turn",
    "upright",
    "upright_rotation",
]

_UP = (0.0, -1.0, 0.0)  # in the canonical frame
_PARALLEL = 1e-12
_SOLID = 0.3


def move(splat: Splat, rotation: Tensor, translation: Tensor | Sequence[float], factor: float = 1.0) -> Splat:
    """The splat moved by x -> factor * rotation @ x + translation.

    rotation (3, 3) is a proper rotation, translation (3,) in world units, factor > 0. Covariances are exact, and
    spherical harmonics turn, so that the moved splat looks from a moved camera as it did before. Raises InputError
    when the rotation is none, or a number not finite.
    """
    check_rotation("rotation", rotation)
    shift = _vector("translation", translation)
    if not 0 < factor < math.inf:
        raise InputError(f"scale must be a positive number; got {factor:g}")
    gaussians = gaussians_of(splat)
    if torch.equal(rotation.double().cpu(), torch.eye(3, dtype=torch.float64)):
        moved = changed(splat, _straight(gaussians, shift, factor))
    else:
        moved = changed(splat, gaussians.transform(rotation, shift, factor))
    return _told(moved, factor * rotation.detach().to("cpu", torch.float64))


def move_camera(camera: Camera, rotation: Tensor, translation: Tensor | Sequence[float], factor: float = 1.0) -> Camera:
    """The camera moved along with a splat, so that it sees the same; depths are `factor` times what they were."""
    linear = rotation.detach().to("cpu", torch.float64)
    viewmat = camera.viewmat.detach().to("cpu", torch.float64)
    turned = viewmat[:3, :3] @ linear.T
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, :3] = turned
    moved[:3, 3] = factor * viewmat[:3, 3] - turned @ _vector("translation", translation)
    return replace(camera, viewmat=moved.to(camera.viewmat))


def translate(splat: Splat, offset: Tensor | Sequence[float]) -> Splat:
    """The splat moved by `offset` (3,), world units. Raises InputError when that is no finite vector."""
    return move(splat, torch.eye(3), _vector("offset", offset))


def rotate(splat: Splat, axis: Tensor | Sequence[float], degrees: float) -> Splat:
    """The splat turned about an axis (3,) through zero, counterclockwise when the axis points at the viewer.

    Raises InputError when the axis has no direction, or the angle is not finite.
    """
    return move(splat, rotation_about(axis, degrees), (0, 0, 0))


def turn(splat: Splat, quaternion: Tensor | Sequence[float]) -> Splat:
    """The splat turned about zero by a quaternion (4,), wxyz of any length > 0. Raises InputError when it is none."""
    return move(splat, rotation_of(quaternion), (0, 0, 0))


def scale(splat: Splat, factor: float) -> Splat:
    """The splat made `factor` times as large, about zero. Raises InputError unless that is a positive number."""
    return move(splat, torch.eye(3), (0, 0, 0), factor)


def middle(gaussians: Gaussians) -> Tensor:
    """(3,) float64, world units: the median of the means of what is solid, opacity above 0.3; zero of none."""
    solid = gaussians.means[(gaussians.opacities > _SOLID).nonzero()[:, 0]]
    means = (solid if len(solid) else gaussians.means).detach()
    return means.median(dim=0).values.cpu().double() if len(means) else torch.zeros(3, dtype=torch.float64)


def upright(splat: Splat, up: Tensor | Sequence[float] | None = None) -> Splat:
    """The splat turned, by no more than needed, so that the direction `up` (3,) becomes up as files have it.

    That is -y in the canonical frame. up: None takes what the asset says of it. Raises InputError when nobody says
    where up is, or that is no direction.
    """
    asset: Gaussians | Asset = splat
    said, axes = (asset.up, asset.axes) if isinstance(asset, Asset) else (None, CANONICAL)
    wanted = said if up is None else up
    if wanted is None:
        raise InputError("nothing says which way is up; give a direction, as 0 -1 0, or a scene whose cameras tell")
    moved = move(splat, upright_rotation(wanted, axes), (0, 0, 0))
    done: Gaussians | Asset = moved
    return cast(Splat, replace(done, up=_triple(_up_of(axes))) if isinstance(done, Asset) else done)


def upright_rotation(up: Tensor | Sequence[float], axes: str = CANONICAL) -> Tensor:
    """(3, 3) float64: the smallest rotation that turns `up` (3,) to the frame's; raises InputError as `upright`."""
    return rotation_between(direction("up", up), _up_of(axes))


def rotation_about(axis: Tensor | Sequence[float], degrees: float) -> Tensor:
    """(3, 3) float64 of an axis (3,) of any length > 0 and an angle. Raises InputError when they are none."""
    if not math.isfinite(degrees):
        raise InputError(f"degrees must be a finite number; got {degrees:g}")
    half = math.radians(degrees) / 2
    return matrix_from_quaternion(
        torch.cat([torch.tensor([math.cos(half)], dtype=torch.float64), direction("axis", axis) * math.sin(half)])
    )


def rotation_of(quaternion: Tensor | Sequence[float]) -> Tensor:
    """(3, 3) float64 of a quaternion (4,), wxyz of any length > 0. Raises InputError when it is none."""
    quat = torch.as_tensor(quaternion).detach().to("cpu", torch.float64)
    check_shape("quaternion", quat, (4,))
    if not quat.isfinite().all() or not quat.any():
        raise InputError(f"quaternion must be four finite numbers w x y z, not all zero; got {_spaced(quat)}")
    return matrix_from_quaternion(quat / quat.abs().amax())


def rotation_between(source: Tensor, target: Tensor) -> Tensor:
    """(3, 3) float64: the smallest rotation that turns one unit vector (3,) into another."""
    between = source + target
    if between.norm() < _PARALLEL**0.5:  # opposite: half a turn about anything across
        across = torch.linalg.cross(source, torch.eye(3, dtype=torch.float64)[source.abs().argmin()])
        return rotation_about(across, 180)
    halfway = torch.nn.functional.normalize(between, dim=0)
    quat = torch.cat([(source @ halfway)[None], torch.linalg.cross(source, halfway)])
    return matrix_from_quaternion(quat)


def direction(name: str, vector: Tensor | Sequence[float]) -> Tensor:
    """(3,) float64, of length 1. Raises InputError, with the name, when the vector (3,) has no direction."""
    exact = _vector(name, vector)
    if not exact.any():
        raise InputError(f"{name} must be a direction; got {_spaced(exact)}")
    return torch.nn.functional.normalize(exact / exact.abs().amax(), dim=0)


def _up_of(axes: str) -> Tensor:
    return matrix_between(CANONICAL, axes) @ torch.tensor(_UP, dtype=torch.float64)


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


def _vector(name: str, vector: Tensor | Sequence[float]) -> Tensor:
    exact = torch.as_tensor(vector).detach().to("cpu", torch.float64)
    check_shape(name, exact, (3,))
    if not exact.isfinite().all():
        raise InputError(f"{name} must be three finite numbers; got {_spaced(exact)}")
    return exact


def _triple(vector: Tensor) -> tuple[float, float, float]:
    x, y, z = (value + 0.0 for value in vector.tolist())  # -0.0 is nothing to write into files
    return (x, y, z)


def _spaced(vector: Tensor) -> str:
    return " ".join(f"{value:g}" for value in vector.tolist())
