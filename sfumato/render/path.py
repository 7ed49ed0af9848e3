"""Cameras of photos to the cameras of a film: a circle around what they look at, or a smooth way through them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.rotation import matrix_from_quaternion, quaternion_from_matrix

__all__ = ["focus_of", "orbit", "orbit_around", "smooth_path", "up_of"]

WIDEST_GAP = 100.0  # degrees without any photo; with more, the orbit swings instead of going round
MARGIN = 0.9  # share of the photographed arc that a swing covers: its ends are seen by few photos


def orbit(cameras: Sequence[Camera], count: int, points: Tensor | None = None) -> list[Camera]:
    """`count` cameras on a closed path around what `cameras` look at, standing a little back.

    All the way round where photos stand all around, else swinging to and fro where they stand, so that the film
    shows only what was photographed. points (M, 3) tell how far away things are when all cameras look the same way.
    Raises InputError when there are no cameras.
    """
    _check(cameras, count)
    up, focus = up_of(cameras), focus_of(cameras, points)
    offsets = torch.stack([camera.position.double() for camera in cameras]) - focus
    heights = offsets @ up
    flat = offsets - heights[:, None] * up
    radius, height = flat.norm(dim=1).quantile(0.75), heights.median()  # a little further back shows more
    ahead = torch.nn.functional.normalize(flat[flat.norm(dim=1).argsort()[len(flat) // 2]], dim=0)
    side = torch.linalg.cross(up, ahead)
    middle, half = _arc(torch.atan2(flat @ side, flat @ ahead))

    turn = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    if half is None:
        angles, lifts = turn, torch.zeros_like(turn)
    else:
        spread = (heights.quantile(0.85) - heights.quantile(0.15)) / 2
        angles, lifts = middle + MARGIN * half * torch.sin(turn), 0.5 * spread * torch.cos(turn)
    circle = torch.cos(angles)[:, None] * ahead + torch.sin(angles)[:, None] * side
    positions = focus + radius * circle + (height + lifts)[:, None] * up
    return [_looking(cameras[len(cameras) // 2], position, focus, up) for position in positions]


def orbit_around(points: Tensor, count: int, up: Tensor, width: int, height: int) -> list[Camera]:
    """`count` cameras in a circle around points (M, 3), for when no photo tells where to stand.

    Aims at the median and keeps nine tenths of the points in a 50 degree view, looking down by 15 degrees.
    """
    points = points.detach().cpu()
    finite = points[torch.isfinite(points).all(dim=1)].double()
    if not len(finite) or count < 1:
        raise InputError(f"an orbit needs points and at least 1 frame; got {len(finite)} points, {count} frames")
    up = torch.nn.functional.normalize(up.double(), dim=0)
    focus = finite.median(dim=0).values
    distance = _reach(finite, focus) / math.sin(math.radians(25))
    ahead = torch.linalg.cross(up, torch.eye(3, dtype=torch.float64)[up.abs().argmin()])
    ahead = torch.nn.functional.normalize(ahead, dim=0)
    side = torch.linalg.cross(up, ahead)
    focal = min(width, height) / 2 / math.tan(math.radians(25))
    down, along = math.sin(math.radians(15)), math.cos(math.radians(15))
    cameras = []
    for angle in 2 * math.pi * torch.arange(count, dtype=torch.float64) / count:
        outward = along * (torch.cos(angle) * ahead + torch.sin(angle) * side) + down * up
        cameras.append(Camera.look_at(focus + distance * outward, focus, up, focal, width, height).to(torch.float32))
    return cameras


def smooth_path(cameras: Sequence[Camera], count: int) -> list[Camera]:
    """`count` cameras on a smooth way through all `cameras`, in their order, with even speed.

    Positions and orientations follow a cubic Hermite spline with the tangents of Catmull and Rom 1974; unlike
    slerp, it also turns without jolts. The picture is that of the middle camera. Raises InputError without cameras.
    """
    _check(cameras, count)
    model = cameras[len(cameras) // 2]
    positions = torch.stack([camera.position.double() for camera in cameras])
    turns = quaternion_from_matrix(torch.stack([camera.viewmat[:3, :3].double().T for camera in cameras]))
    for index in range(1, len(turns)):  # of the two quaternions of each rotation, the one near its neighbour
        if turns[index] @ turns[index - 1] < 0:
            turns[index] = -turns[index]
    knots = _knots(positions, turns)
    times = torch.linspace(0, float(knots[-1]), count, dtype=torch.float64)
    poses = _hermite(knots, torch.cat([positions, turns], dim=1), times)
    return [_standing(model, pose[:3], matrix_from_quaternion(pose[3:])) for pose in poses]


def up_of(cameras: Sequence[Camera]) -> Tensor:
    """(3,) float64, the unit direction that the cameras hold upwards.

    People hold cameras level: up is the direction most perpendicular to all their x axes. Where these leave it
    open, because all look the same way, the mean of the cameras' own upward axes decides.
    """
    rotations = torch.stack([camera.viewmat[:3, :3].double() for camera in cameras])
    rights, ups = rotations[:, 0], -rotations[:, 1]
    mean = torch.nn.functional.normalize(ups.mean(dim=0), dim=0)
    spread = rights.T @ rights / len(cameras) - 0.005 * torch.outer(mean, mean)
    up: Tensor = torch.linalg.eigh(spread).eigenvectors[:, 0]
    return up if up @ mean > 0 else -up


def focus_of(cameras: Sequence[Camera], points: Tensor | None = None) -> Tensor:
    """(3,) float64, the point nearest to all the cameras' view axes in the sense of least squares.

    Parallel axes meet nowhere: there, the median depth of `points` (M, 3) along the mean axis decides.
    """
    positions = torch.stack([camera.position.double() for camera in cameras])
    forwards = torch.stack([camera.viewmat[2, :3].double() for camera in cameras])
    across = torch.eye(3, dtype=torch.float64) - forwards[:, :, None] * forwards[:, None, :]
    ahead = torch.nn.functional.normalize(forwards.mean(dim=0), dim=0)
    anchor, weight = positions.mean(dim=0) + ahead, 1e-6
    if points is not None and len(points):
        depths = (points.detach().cpu().double() - positions.mean(dim=0)) @ ahead
        if (depths > 0).any():
            anchor, weight = positions.mean(dim=0) + depths[depths > 0].median() * ahead, 0.003
    matrix = across.mean(dim=0) + weight * torch.eye(3, dtype=torch.float64)
    wanted = (across @ positions[:, :, None]).mean(dim=0)[:, 0] + weight * anchor
    focus: Tensor = torch.linalg.solve(matrix, wanted)
    return focus


def _check(cameras: Sequence[Camera], count: int) -> None:
    if not cameras or count < 1:
        raise InputError(f"a camera path needs at least 1 camera and 1 frame; got {len(cameras)} and {count}")


def _reach(points: Tensor, focus: Tensor) -> float:
    """Nine tenths of the points are this near."""
    distances = (points - focus).norm(dim=1).sort().values
    return max(float(distances[min(len(distances) - 1, int(0.9 * len(distances)))]), 1e-6)


def _arc(azimuths: Tensor) -> tuple[float, float | None]:
    """Middle and half width of the arc that holds all azimuths, in radians; no width when they go all round."""
    ordered = azimuths.sort().values
    gaps = torch.cat([ordered[1:], ordered[:1] + 2 * math.pi]) - ordered
    widest = int(gaps.argmax())
    gap = gaps[widest].item()
    if len(azimuths) > 3 and gap < math.radians(WIDEST_GAP):
        return 0.0, None
    return ordered[widest].item() + gap + (2 * math.pi - gap) / 2, (2 * math.pi - gap) / 2


def _knots(positions: Tensor, turns: Tensor) -> Tensor:
    """(n,) when the path reaches each camera: time for moving and for turning, each measured by its mean."""
    moved = (positions[1:] - positions[:-1]).norm(dim=1)
    turned = 2 * torch.acos((turns[1:] * turns[:-1]).sum(dim=1).clamp(-1, 1))
    steps = moved / moved.mean().clamp(min=1e-12) + turned / turned.mean().clamp(min=1e-12) if len(moved) else moved
    return torch.cat([steps.new_zeros(1), steps.clamp(min=1e-6).cumsum(0)])


def _hermite(knots: Tensor, values: Tensor, times: Tensor) -> Tensor:
    """(t, d) at `times` on the cubic through values (n, d) at knots (n,)."""
    if len(knots) == 1:
        return values.expand(len(times), -1)
    before, after = torch.arange(len(knots)) - 1, torch.arange(len(knots)) + 1
    before, after = before.clamp(min=0), after.clamp(max=len(knots) - 1)
    tangents = (values[after] - values[before]) / (knots[after] - knots[before])[:, None]
    left = (torch.searchsorted(knots, times, right=True) - 1).clamp(0, len(knots) - 2)
    length = (knots[left + 1] - knots[left])[:, None]
    s = (times[:, None] - knots[left][:, None]) / length
    return (
        (2 * s**3 - 3 * s**2 + 1) * values[left]
        + (s**3 - 2 * s**2 + s) * length * tangents[left]
        + (3 * s**2 - 2 * s**3) * values[left + 1]
        + (s**3 - s**2) * length * tangents[left + 1]
    )


def _looking(model: Camera, position: Tensor, target: Tensor, up: Tensor) -> Camera:
    """The model's lens at `position`, aimed at `target`."""
    aimed = Camera.look_at(position, target, up, 1.0, model.width, model.height)
    return replace(model, viewmat=aimed.viewmat.to(model.viewmat), K=_centered(model))


def _standing(model: Camera, position: Tensor, world_from_camera: Tensor) -> Camera:
    """The model's lens at `position`, turned by `world_from_camera` (3, 3)."""
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[:3, :3] = world_from_camera.T
    viewmat[:3, 3] = -world_from_camera.T @ position
    return replace(model, viewmat=viewmat.to(model.viewmat), K=_centered(model))


def _centered(model: Camera) -> Tensor:
    """The model's K with the principal point in the middle, where a film expects it."""
    K = model.K.clone()
    K[0, 2], K[1, 2] = model.width / 2, model.height / 2
    return K
