"""Photographs: a camera in, what it would see of the still life out, with exact depth and normals."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.capture.studio.light import illuminate
from sfumato.capture.studio.noise import Array
from sfumato.capture.studio.shade import Studio, on_backdrop, radiance, rays, surface_at
from sfumato.capture.studio.still_life import BACKDROP, backdrop, still_life
from sfumato.capture.studio.visibility import Lens, Sight, first_hits
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError

__all__ = ["Photograph", "develop", "lens_of", "photograph", "picture", "studio"]

EXPOSURE = 1.45


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photo, and what is true about it at each pixel's center."""

    image: Tensor  # (H, W, 3) uint8 sRGB
    depth: Tensor  # (H, W) float32 along the camera's z, meters; inf where nothing is
    normal: Tensor  # (H, W, 3) float32 unit, in the world, towards the camera; 0 where nothing is
    camera: Camera


@lru_cache(maxsize=2)
def studio(seed: int = 0) -> Studio:
    """Build and light the still life of `seed`, once per process: a few seconds."""
    with ThreadPoolExecutor(1) as pool:
        hills = pool.submit(backdrop, seed)
        world = still_life(seed)
        return Studio(world, illuminate(world), hills.result())


def photograph(camera: Camera, samples: int = 4, seed: int = 0) -> Photograph:
    """What `camera` sees of the still life grown from `seed`, with `samples` rays a pixel: 1, 4, 9 or 16.

    The first photograph of a process builds the scene, which takes a few seconds. Raises InputError when `samples` is
    not such a square.
    """
    scene = studio(seed)
    truth = lens_of(camera, 1)
    sight = first_hits(scene.world, truth)
    depth, normal = _truth(scene, truth, sight)
    image = picture(scene, camera, samples)
    return Photograph(torch.from_numpy(image), torch.from_numpy(depth), torch.from_numpy(normal), camera)


def picture(scene: Studio, camera: Camera, samples: int = 4) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the photo alone."""
    side = round(samples**0.5)
    if side * side != samples or not 1 <= side <= 4:
        raise InputError(f"samples must be 1, 4, 9 or 16 rays a pixel; got {samples}")
    lens = lens_of(camera, side)
    light = radiance(scene, lens, first_hits(scene.world, lens))
    mean = light.reshape(camera.height, side, camera.width, side, 3).mean(axis=(1, 3))
    return develop(mean)


def develop(light: Array) -> NDArray[np.uint8]:
    """Linear light to uint8 sRGB: a film-like shoulder keeps highlights from clipping hard (Hejl 2010)."""
    x = np.maximum(EXPOSURE * light * 0.75 - 0.004, 0)
    film = x * (6.2 * x + 0.5) / (x * (6.2 * x + 1.7) + 0.06)  # sRGB is included in the curve
    return np.asarray(np.clip(film, 0, 1) * 255 + 0.5).astype(np.uint8)


def lens_of(camera: Camera, side: int) -> Lens:
    """The rays of `camera`, `side` by `side` in each pixel."""
    viewmat = camera.viewmat.detach().to("cpu", torch.float64).numpy()
    grid = camera.K.detach().to("cpu", torch.float64).numpy().copy()
    grid[:2] *= side
    return Lens(viewmat[:3, :3], viewmat[:3, 3], grid, camera.width * side, camera.height * side)


def _truth(scene: Studio, lens: Lens, sight: Sight) -> tuple[Array, Array]:
    """Depth (H, W) and normals (H, W, 3) of the rays of `lens`; the sky above the painted hills is nothing."""
    depth, normal = sight.depth.ravel().copy(), np.zeros((sight.ids.size, 3), dtype=np.float32)
    ids = sight.ids.ravel()
    eye, directions = rays(lens, np.arange(len(ids)))
    rows = np.flatnonzero(ids < 0)
    travel, height = on_backdrop(eye, directions[rows])
    painted = (height >= BACKDROP[1]) & (height <= BACKDROP[2])
    depth[rows[painted]] = travel[painted]
    place = eye + travel[:, None] * directions[rows]
    place[:, 2] = 0
    normal[rows[painted]] = -(place / np.linalg.norm(place, axis=1, keepdims=True))[painted]
    rows = np.flatnonzero(ids >= 0)
    normal[rows] = surface_at(scene, lens, sight, rows, ids[rows], depth[rows]).normal
    return depth.reshape(sight.ids.shape), normal.reshape(*sight.ids.shape, 3)
