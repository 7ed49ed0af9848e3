"""Shade: rays and what they meet first in, the light that comes back along them out."""

from dataclasses import dataclass

import numpy as np

from sfumato.capture.studio.light import SUN, SUN_COLOR, Lighting, sky_radiance
from sfumato.capture.studio.noise import Array, turned
from sfumato.capture.studio.still_life import BACKDROP, TABLE
from sfumato.capture.studio.texture import Texture, bilinear
from sfumato.capture.studio.visibility import Lens, Sight, barycentric
from sfumato.capture.studio.world import Material, World

__all__ = ["Studio", "Surface", "on_backdrop", "radiance", "rays", "surface_at"]

BAND = 1 << 16  # rays shaded together; keeps the arrays in the cache


@dataclass(frozen=True, eq=False)
class Studio:
    """A lit scene."""

    world: World
    lighting: Lighting
    hills: Texture


@dataclass(frozen=True)
class Surface:
    """The n points to be shaded."""

    u: Array  # (n,) into the material's texture
    v: Array
    normal: Array  # (n, 3) unit, towards the camera
    light: Array  # (n, 3) what a white matte surface would send back
    tint: Array | float  # (n, 3)


def radiance(scene: Studio, lens: Lens, sight: Sight) -> Array:
    """(height * width, 3) linear light along every ray of `lens`."""
    ids, depth = sight.ids.ravel(), sight.depth.ravel()
    light = np.empty((len(ids), 3), dtype=np.float32)
    for start in range(0, len(ids), BAND):
        cells = np.arange(start, min(start + BAND, len(ids)))
        light[cells] = _shade(scene, lens, sight, cells, ids[cells], depth[cells])
    return light


def rays(lens: Lens, cells: np.ndarray) -> tuple[Array, Array]:
    """The camera's position (3,) and the directions (n, 3), as long as they are at depth 1, of `cells` (n,)."""
    y, x = np.divmod(cells, lens.width)
    local = np.stack(
        [
            (x + 0.5 - lens.grid[0, 2]) / lens.grid[0, 0],
            (y + 0.5 - lens.grid[1, 2]) / lens.grid[1, 1],
            np.ones(len(cells)),
        ],
        axis=1,
    )
    return -lens.rotation.T @ lens.offset, turned(local, lens.rotation.T).astype(np.float32)


def _shade(scene: Studio, lens: Lens, sight: Sight, cells: np.ndarray, ids: np.ndarray, depth: Array) -> Array:
    eye, directions = rays(lens, cells)
    light = np.empty((len(cells), 3), dtype=np.float32)
    nothing = np.flatnonzero(ids < 0)
    light[nothing] = _far(scene, eye, directions[nothing], lens.grid[0, 0])
    materials = list(scene.world.materials.values())
    kind = np.where(ids < 0, -1, scene.world.material_of[ids])
    for number in np.unique(kind[ids >= 0]):
        rows = np.flatnonzero(kind == number)
        surface = surface_at(scene, lens, sight, cells[rows], ids[rows], depth[rows])
        material = materials[number]
        light[rows] = _reflect(scene, material, surface, eye, directions[rows], depth[rows], lens.grid[0, 0])
    return light


def surface_at(scene: Studio, lens: Lens, sight: Sight, cells: np.ndarray, ids: np.ndarray, depth: Array) -> Surface:
    """What the rays `cells` (n,) meet on triangles, patches and balls `ids` (n,) at `depth` (n,)."""
    world = scene.world
    facets, faces = len(world.corners), len(world.faces)
    parts: list[tuple[np.ndarray, Surface]] = []
    y, x = np.divmod(cells, lens.width)
    eye, directions = rays(lens, cells)
    rows = np.flatnonzero(ids < faces)
    if len(rows):
        b1, b2 = barycentric(sight, ids[rows], x[rows], y[rows])
        parts.append((rows, _on_triangles(scene, ids[rows], b1, b2, directions[rows])))
    for k in np.unique(ids[(ids >= faces)]):
        rows = np.flatnonzero(ids == k)
        if k < facets:
            b1, b2 = barycentric(sight, ids[rows], x[rows], y[rows])
            parts.append((rows, _on_patch(scene, int(k) - faces, b1, b2, directions[rows])))
        else:
            points = eye + depth[rows, None] * directions[rows]
            parts.append((rows, _on_ball(scene, int(k) - facets, points.astype(np.float32))))
    if len(parts) == 1:
        return parts[0][1]
    joined = {
        name: np.empty((len(ids), *([] if name in "uv" else [3])), dtype=np.float32)
        for name in ("u", "v", "normal", "light", "tint")
    }
    for rows, part in parts:
        for name, values in joined.items():
            values[rows] = getattr(part, name)
    return Surface(**joined)


def _on_triangles(scene: Studio, ids: np.ndarray, b1: Array, b2: Array, directions: Array) -> Surface:
    world, lighting = scene.world, scene.lighting
    corner = world.faces[ids]
    shares = (1 - b1 - b2)[:, None], b1[:, None], b2[:, None]

    def between(values: Array) -> Array:
        return np.asarray(sum(share * values[corner[:, i]] for i, share in enumerate(shares)))

    normal = between(world.normals)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    behind = np.einsum("ni,ni->n", normal, directions)[:, None] > 0
    front, back = between(lighting.front), between(lighting.back)
    through = np.array([material.translucent for material in world.materials.values()], dtype=np.float32)
    share = through[world.material_of[ids]][:, None] * np.array([0.95, 1.0, 0.55], dtype=np.float32)
    near, far = np.where(behind, back, front), np.where(behind, front, back)
    uv = between(world.uv)
    light = (1 - 0.5 * share) * near + share * far
    return Surface(uv[:, 0], uv[:, 1], np.where(behind, -normal, normal), light, between(world.tint))


def _on_patch(scene: Studio, number: int, u: Array, v: Array, directions: Array) -> Surface:
    patch = scene.world.patches[number]
    normal = np.cross(patch.e1, patch.e2).astype(np.float32)
    normal = normal / np.linalg.norm(normal)
    facing = np.where((directions @ normal)[:, None] > 0, -normal, normal)
    lights = scene.lighting.patches[number]
    margin = 0.5 / lights.shape[1]  # the light does not wrap around as textures do
    light = bilinear(lights, np.clip(u, margin, 1 - margin), v)
    u0, v0, u1, v1 = patch.uv
    return Surface(u0 + (u1 - u0) * u, v0 + (v1 - v0) * v, facing, light, 1.0)


def _on_ball(scene: Studio, number: int, points: Array) -> Surface:
    ball = scene.world.balls[number]
    normal = (points - ball.center.astype(np.float32)) / np.float32(ball.radius)
    own = turned(normal, ball.rotation.T)
    u = np.arctan2(own[:, 1], own[:, 0]) / np.float32(2 * np.pi) % 1
    v = np.arcsin(np.clip(own[:, 2], -1, 1)) / np.float32(np.pi) + np.float32(0.5)
    return Surface(u, v, normal, bilinear(scene.lighting.balls[number], u, v), 1.0)


def _reflect(
    scene: Studio, material: Material, at: Surface, eye: Array, directions: Array, depth: Array, focal: float
) -> Array:
    """(n, 3) light that leaves the surface towards the camera: matte, mirrored and the sun's highlight."""
    length = np.linalg.norm(directions, axis=1)
    cosine = -np.einsum("ni,ni->n", at.normal, directions) / length
    footprint = depth / (focal * material.texel * np.sqrt(np.clip(cosine, 0.05, 1)))
    paint = material.texture.at(at.u, at.v, footprint) * at.tint
    if not material.gloss:
        return paint * at.light
    mirrored = directions / length[:, None] + 2 * cosine[:, None] * at.normal
    rise = 0.25 if material.sharpness < 100 else 0.8  # towards grazing angles; less where the surface is rough
    fresnel = material.gloss + rise * (1 - material.gloss) * np.clip(1 - cosine, 0, 1) ** 5
    open_to_light = np.clip(at.light.mean(axis=1, keepdims=True) / 0.55, 0, 1)
    points = eye.astype(np.float32) + depth[:, None] * directions
    shine = _surroundings(scene, points, mirrored, material.sharpness)
    lobe = np.exp(material.sharpness * (mirrored @ SUN.astype(np.float32) - 1)) * material.sharpness / 12
    shine = shine * (0.35 + 0.65 * open_to_light) + lobe[:, None] * SUN_COLOR * open_to_light**2
    if material.metal:
        return np.asarray(paint * (fresnel[:, None] * shine + 0.30 * at.light))
    return np.asarray(paint * at.light * (1 - fresnel[:, None]) + fresnel[:, None] * shine)


def _surroundings(scene: Studio, points: Array, directions: Array, sharpness: float) -> Array:
    """(n, 3) what a reflection shows: sky, hills, table and floor without the objects between, blurred."""
    blur = 4 if sharpness > 200 else 6
    up = directions[:, 2]
    elevation = np.arcsin(np.clip(up, -1, 1))
    radius, low, high = BACKDROP
    v = (np.tan(np.clip(elevation, -0.6, 0.6)) * radius + 1.2 - low) / (high - low)
    u = np.arctan2(directions[:, 1], directions[:, 0]) / np.float32(2 * np.pi) % 1
    hills = bilinear(scene.hills.levels[blur], u, v)
    far = hills + (sky_radiance(directions) - hills) * np.clip((up - 0.35) / 0.2, 0, 1)[:, None]
    height, reach = TABLE
    travel = (points[:, 2] - height) / np.maximum(-up, 1e-3)
    place = points[:, :2] + travel[:, None] * directions[:, :2]
    table, floor = scene.world.materials["wood"].texture, scene.world.materials["floor"].texture
    on_table = bilinear(
        table.levels[blur - 1], np.clip(place[:, 0] / (2 * reach) + 0.5, 0, 1), place[:, 1] / (2 * reach) + 0.5
    )
    on_floor = np.broadcast_to(floor.levels[-1].mean(axis=(0, 1)), on_table.shape)
    inside = np.clip((reach - np.linalg.norm(place, axis=1)) / 0.06 + 0.5, 0, 1)[:, None]
    below = on_floor + (on_table - on_floor) * inside
    share = np.clip(-up / 0.06 + 0.2, 0, 1)[:, None]
    return np.asarray(far + (0.8 * below - far) * share)


def _far(scene: Studio, eye: Array, directions: Array, focal: float) -> Array:
    """(n, 3) the painted hills, a cylinder around the terrace, and the sky above them."""
    radius, low, high = BACKDROP
    travel, height = on_backdrop(eye, directions)
    place = eye + travel[:, None] * directions
    u = (np.arctan2(place[:, 1], place[:, 0]) / (2 * np.pi) % 1).astype(np.float32)
    v = ((height - low) / (high - low)).astype(np.float32)
    texel = 2 * np.pi * radius / scene.hills.levels[0].shape[1]
    return scene.hills.at(u, np.clip(v, 0, 1), travel / (focal * texel))


def on_backdrop(eye: Array, directions: Array) -> tuple[Array, Array]:
    """Depth and height (n,) at which rays from inside meet the backdrop's cylinder."""
    a = (directions[:, :2].astype(np.float64) ** 2).sum(axis=1)
    b = directions[:, :2] @ eye[:2]
    travel = (np.sqrt(b * b + a * (BACKDROP[0] ** 2 - eye[:2] @ eye[:2])) - b) / np.maximum(a, 1e-12)
    return travel, eye[2] + travel * directions[:, 2]
