"""Light: a world in, the light that falls on every vertex, patch and ball out, with soft shadows.

The sun, the sky and the floor's reflection are sums of parallel lights; what each of them reaches is read from its
shadow map (Williams 1978). Matte light does not depend on where the camera stands, so it is computed once.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sfumato.capture.studio.noise import Array, color, turned
from sfumato.capture.studio.shapes import Patch, frame_of
from sfumato.capture.studio.visibility import Lens, first_hits
from sfumato.capture.studio.world import World

__all__ = ["SUN", "SUN_COLOR", "Lighting", "illuminate", "sky_radiance"]

SUN = np.array([-0.55, -0.42, 0.72]) / np.linalg.norm([-0.55, -0.42, 0.72])  # towards the sun
SUN_COLOR = np.array([3.5, 2.85, 2.05], dtype=np.float32)  # irradiance on a surface facing it
SUN_RADIUS = 0.035  # radians; seven times the real one, as through thin haze
NEAR, AROUND = ((0.0, 0.0, 1.05), 0.85), ((0.0, 0.0, 0.6), 4.6)  # centers and radii, meters, of the shadow maps
BALL_GRID = (32, 64)


@dataclass(frozen=True)
class Lighting:
    """Irradiance over pi, linear RGB: what a white matte surface would send back."""

    front: Array  # (V, 3) on the side the vertex normal points to
    back: Array  # (V, 3) on the other side
    patches: tuple[Array, ...]  # (rows, columns, 3) each
    balls: tuple[Array, ...]  # (32, 64, 3) each, over the ball's own latitude and longitude


def sky_radiance(directions: Array) -> Array:
    """(..., 3) of the sky in unit `directions` (..., 3): warm at the horizon and around the sun, blue above."""
    height = np.clip(directions[..., 2:], 0, 1)
    glow = np.clip(directions @ SUN.astype(np.float32), 0, 1)[..., None] ** 6
    base = (1 - height) ** 2 * color("e8d3b4") + (1 - (1 - height) ** 2) * color("86abd6")
    return np.asarray(0.95 * base + 0.7 * glow * color("ffe2b0"), dtype=np.float32)


def _spiral(count: int) -> Array:
    """(count, 3) unit directions spread evenly over the upper half (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z, angle = k / count, k * np.pi * (1 + 5**0.5)
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], axis=1)


def _lights(suns: int = 18, skies: int = 36, floors: int = 10) -> list[tuple[Array, Array, int]]:
    """Directions towards the lights, their irradiance over pi at normal incidence, cells of their shadow maps."""
    k = np.arange(suns) + 0.5
    radius, angle = SUN_RADIUS * np.sqrt(k / suns), k * np.pi * (1 + 5**0.5)
    disc = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(suns)], axis=1) @ frame_of(SUN).T
    lights = [(d / np.linalg.norm(d), SUN_COLOR / (np.pi * suns), 448) for d in disc]
    sky = _spiral(skies)
    lights += [(d, 2 * sky_radiance(d) / skies, 224) for d in sky]
    bounce = _spiral(floors) * (1, 1, -1)
    return lights + [(d, 2 * 0.42 * color("c9a27c") / floors, 160) for d in bounce]


def _points(world: World) -> tuple[Array, Array, list[int]]:
    """Places (n, 3) and normals (n, 3) where light is computed, and where each vertex, patch and ball begins."""
    places, normals = [world.vertices, world.vertices], [world.normals, -world.normals]
    for patch in world.patches:
        grid = _grid_of(patch)
        normal = np.cross(patch.e1, patch.e2)
        places.append(grid)
        normals.append(np.broadcast_to(normal / np.linalg.norm(normal), grid.shape))
    rows, columns = BALL_GRID
    latitude = ((np.arange(rows) + 0.5) / rows - 0.5) * np.pi
    longitude = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    around = np.stack(
        [
            np.cos(latitude)[:, None] * np.cos(longitude),
            np.cos(latitude)[:, None] * np.sin(longitude),
            np.broadcast_to(np.sin(latitude)[:, None], (rows, columns)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    for ball in world.balls:
        normal = around @ ball.rotation.T
        places.append(ball.center + ball.radius * normal)
        normals.append(normal)
    starts = np.cumsum([0] + [len(part) for part in places])
    return np.concatenate(places).astype(np.float32), np.concatenate(normals).astype(np.float32), starts.tolist()


def _grid_of(patch: Patch) -> Array:
    rows, columns = patch.light
    u = (np.arange(columns, dtype=np.float32) + 0.5) / columns
    v = (np.arange(rows, dtype=np.float32) + 0.5) / rows
    return (patch.origin + v[:, None, None] * patch.e2 + u[None, :, None] * patch.e1).reshape(-1, 3)


def _reached(
    world: World,
    direction: Array,
    places: Array,
    normals: Array,
    rows: np.ndarray,
    region: tuple[tuple[float, ...], float],
    cells: int,
) -> np.ndarray:
    """Those of `rows` where nothing in `region` stands between places (n, 3) and the light."""
    center, radius = region
    turn = frame_of(-direction).astype(np.float64).T
    offset = -turn @ np.array(center) + (0, 0, 10.0)
    scale = cells / (2 * radius)
    grid = np.array([[scale, 0, cells / 2], [0, scale, cells / 2], [0, 0, 1]])
    nearest = first_hits(world, Lens(turn, offset, grid, cells, cells, parallel=True), shadows=True).depth
    lifted = places[rows] + normals[rows] * np.float32(1.2 / scale)  # clear of the surface's own shadow
    local = turned(lifted, turn.astype(np.float32)) + offset.astype(np.float32)
    cell = np.clip(local[:, :2] * np.float32(scale) + np.float32(cells / 2), 0, cells - 1).astype(np.int64)
    blocker = nearest.ravel()[cell[:, 1] * cells + cell[:, 0]]
    return np.asarray(rows[local[:, 2] < blocker + 0.6 / scale])


def illuminate(world: World) -> Lighting:
    """Light everything once."""
    places, normals, starts = _points(world)
    total = np.zeros_like(places)
    inside = np.linalg.norm(places - np.array(NEAR[0], dtype=np.float32), axis=1) < NEAR[1] - 0.02

    def one(light: tuple[Array, Array, int]) -> tuple[np.ndarray, Array]:
        direction, power, cells = light
        cosine = np.einsum("ni,i->n", normals, direction.astype(np.float32))
        lit = [
            _reached(world, direction, places, normals, np.flatnonzero((cosine > 0) & member), region, cells)
            for region, member in ((NEAR, inside), (AROUND, ~inside))
        ]
        rows = np.concatenate(lit)
        return rows, cosine[rows, None] * power.astype(np.float32)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows, received in pool.map(one, _lights()):  # in order, so that sums round the same on every machine
            total[rows] += received
    parts = np.split(total, starts[1:-1])
    count = len(world.patches)
    patches = tuple(part.reshape(*patch.light, 3) for part, patch in zip(parts[2:], world.patches, strict=False))
    balls = tuple(part.reshape(*BALL_GRID, 3) for part in parts[2 + count :])
    return Lighting(parts[0], parts[1], patches, balls)
