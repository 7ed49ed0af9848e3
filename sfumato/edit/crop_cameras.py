"""A splat to its part that cameras have to do with: what is in their pictures, and the hull of what they look at.

A Gaussian lies where its mean does: one that reaches out of the region, or into it, does not count.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.crop import keep
from sfumato.edit.either import Splat, gaussians_of

__all__ = ["crop_camera_hull", "crop_views", "inside_camera_hull", "views_seeing"]

CHUNK = 1 << 16  # Gaussians handled at a time
DIRECTIONS = 512  # of the planes around a hull: between them it is at most half a percent too wide
AHEAD = 0.9  # share of the cameras that must have the focus in front of them, or it is none


def crop_camera_hull(splat: Splat, cameras: Sequence[Camera], grow: float = 1.0) -> Splat:
    """Keep what the photos were about; see `inside_camera_hull`.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    cameras : sequence of Camera
        Those that the photos were taken with.
    grow : float
        Makes the hull so many times as large about its middle.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        Without cameras, or when `grow` is not above 0.

    Examples
    --------
    >>> thing = edit.crop_camera_hull(gaussians, cameras, grow=1.2)
    """
    return keep(splat, inside_camera_hull(gaussians_of(splat), cameras, grow))


def crop_views(splat: Splat, cameras: Sequence[Camera], at_least: int = 1) -> Splat:
    """Keep what is in the pictures of so many cameras; see `views_seeing`.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    cameras : sequence of Camera
        At least one.
    at_least : int
        How many of them must have it in their picture, 1 or more.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        Without cameras, or when `at_least` is less than 1.
    """
    if at_least < 1:
        raise InputError(f"at_least must be 1 camera or more; got {at_least}")
    return keep(splat, views_seeing(gaussians_of(splat), cameras) >= at_least)


def inside_camera_hull(gaussians: Gaussians, cameras: Sequence[Camera], grow: float = 1.0) -> Tensor:
    """Ask which Gaussians lie among the cameras and what they look at.

    The region is the convex hull of the cameras and their pictures, which are held as far away as what the photos are
    about: around a thing, that is where the cameras' axes meet; where these meet nowhere in front of them, as in rooms
    and for photos side by side, it is where half of the Gaussians in the picture, by opacity, are nearer.

    Parameters
    ----------
    gaussians : Gaussians
        The splat; a Gaussian lies where its mean does.
    cameras : sequence of Camera
        Those that the photos were taken with.
    grow : float
        Makes the hull so many times as large about its middle.

    Returns
    -------
    Tensor, (N,), bool
        True for what is inside.

    Raises
    ------
    InputError
        Without cameras, or when `grow` is not above 0.
    """
    _check_cameras(cameras)
    if not 0 < grow < math.inf:
        raise InputError(f"grow must be a positive number; got {grow:g}")
    cameras = [camera.to("cpu", torch.float64) for camera in cameras]
    corners = torch.cat(
        [_pyramid(camera, depth) for camera, depth in zip(cameras, _depths(gaussians, cameras), strict=True)]
    )
    normals = _fibonacci(DIRECTIONS)
    spread = corners @ normals.T
    high, low = spread.amax(dim=0), spread.amin(dim=0)
    middle = corners.mean(dim=0) @ normals.T
    high, low = middle + grow * (high - middle), middle + grow * (low - middle)
    means, normals = gaussians.means.detach(), normals.to(gaussians.means)
    high, low = high.to(means), low.to(means)
    inside = torch.empty(len(means), dtype=torch.bool, device=means.device)
    for start in range(0, len(means), CHUNK):
        along = means[start : start + CHUNK] @ normals.T
        inside[start : start + CHUNK] = ((along <= high) & (along >= low)).all(dim=1)
    return inside


def views_seeing(gaussians: Gaussians, cameras: Sequence[Camera]) -> Tensor:
    """Count in how many pictures each Gaussian's mean is, whatever hides it.

    Parameters
    ----------
    gaussians : Gaussians
        The splat.
    cameras : sequence of Camera
        At least one.

    Returns
    -------
    Tensor, (N,), int64
        Numbers of cameras.

    Raises
    ------
    InputError
        Without cameras.
    """
    _check_cameras(cameras)
    counts = torch.zeros(len(gaussians), dtype=torch.int64, device=gaussians.means.device)
    for camera in cameras:
        counts += _in_picture(gaussians.means.detach(), camera)[0]
    return counts


def _depths(gaussians: Gaussians, cameras: Sequence[Camera]) -> list[float]:
    """How far in front of each camera that is which it was pointed at, world units."""
    focus = _focus(cameras)
    depths = [float((camera.viewmat[2, :3] @ focus) + camera.viewmat[2, 3]) for camera in cameras]
    if sum(depth > 0 for depth in depths) >= AHEAD * len(cameras) and len(cameras) > 1 and _meet(cameras):
        return [max(0.0, depth) for depth in depths]
    return [_middle_depth(gaussians, camera) for camera in cameras]


def _focus(cameras: Sequence[Camera]) -> Tensor:
    """(3,) the point nearest to all axes of view by least squares."""
    positions = torch.stack([camera.position for camera in cameras])
    forwards = torch.stack([camera.viewmat[2, :3] for camera in cameras])
    across = torch.eye(3, dtype=torch.float64) - forwards[:, :, None] * forwards[:, None, :]
    wanted = (across @ positions[:, :, None]).sum(dim=0)
    focus: Tensor = torch.linalg.lstsq(across.sum(dim=0), wanted, driver="gelsd").solution[:, 0]
    return focus


def _meet(cameras: Sequence[Camera]) -> bool:
    """Whether axes of view differ enough to say where they meet: the typical one by 20 degrees from their mean."""
    forwards = torch.stack([camera.viewmat[2, :3] for camera in cameras])
    return bool(forwards.mean(dim=0).norm() < math.cos(math.radians(20)))


def _middle_depth(gaussians: Gaussians, camera: Camera) -> float:
    """Median depth of what is in the picture, by opacity; 0 when nothing is."""
    seen, depths = _in_picture(gaussians.means.detach(), camera)
    chosen = seen.nonzero()[:, 0]
    if not len(chosen):
        return 0.0
    ordered, order = depths[chosen].sort()
    share = gaussians.opacities.detach()[chosen][order].double().cumsum(dim=0)
    return float(ordered[min(len(ordered) - 1, int(torch.searchsorted(share, share[-1] / 2)))])


def _in_picture(means: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """(N,) whether each place is in the picture, and (N,) its depth."""
    viewmat, K = camera.viewmat.to(means), camera.K.to(means)
    places = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    x, y, z = places.unbind(dim=1)
    u, v = K[0, 0] * x + K[0, 1] * y + K[0, 2] * z, K[1, 1] * y + K[1, 2] * z  # pixels times depth
    return (z > 0) & (u >= 0) & (u <= camera.width * z) & (v >= 0) & (v <= camera.height * z), z


def _pyramid(camera: Camera, depth: float) -> Tensor:
    """(5, 3): the camera, and the corners of its picture at a depth, world units."""
    W, H = camera.width, camera.height
    pixels = torch.tensor([[0.0, 0, 1], [W, 0, 1], [0, H, 1], [W, H, 1]], dtype=torch.float64)
    rays = depth * torch.linalg.solve(camera.K, pixels.T).T
    return torch.cat([camera.position[None], rays @ camera.viewmat[:3, :3] + camera.position])


def _fibonacci(count: int) -> Tensor:
    """(count, 3) float64 unit vectors, evenly over half the sphere."""
    z = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    angle = math.pi * (3 - math.sqrt(5)) * torch.arange(count, dtype=torch.float64)
    across = (1 - z * z).sqrt()
    return torch.stack([across * angle.cos(), across * angle.sin(), z], dim=1)


def _check_cameras(cameras: Sequence[Camera]) -> None:
    if not cameras:
        raise InputError("a region by cameras needs at least 1 camera; got none")
