"""Shapes: profiles, paths and random numbers in, triangle meshes, flat patches and balls out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sfumato.capture.studio.noise import Array

__all__ = ["Ball", "Mesh", "Patch", "box", "frame_of", "lathe", "leaf", "sheet", "tube"]


@dataclass(frozen=True)
class Mesh:
    """V vertices and F triangles of one material."""

    vertices: Array  # (V, 3) meters
    normals: Array  # (V, 3) unit
    uv: Array  # (V, 2) into the material's texture
    faces: np.ndarray  # (F, 3) int rows of vertices
    material: str
    tint: Array  # (V, 3) multiplies the texture

    def moved(self, rotation: Array, offset: Array) -> "Mesh":
        """The mesh turned by `rotation` (3, 3), then shifted by `offset` (3,)."""
        turn = np.asarray(rotation, dtype=np.float32)
        vertices = self.vertices @ turn.T + np.asarray(offset, dtype=np.float32)
        return replace(self, vertices=vertices, normals=self.normals @ turn.T)


@dataclass(frozen=True)
class Patch:
    """The parallelogram `origin + u e1 + v e2` with u, v in [0, 1], or the ellipse inscribed in it."""

    origin: Array  # (3,) meters
    e1: Array  # (3,)
    e2: Array  # (3,)
    material: str
    uv: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # texture at u = v = 0 and at u = v = 1
    round: bool = False
    light: tuple[int, int] = (16, 16)  # rows along e2 and columns along e1 at which light is computed
    casts: bool = True  # whether it throws shadows


@dataclass(frozen=True)
class Ball:
    """A sphere whose texture is wrapped around the third column of `rotation`."""

    center: Array  # (3,) meters
    radius: float
    rotation: Array  # (3, 3) world <- own axes
    material: str


def frame_of(direction: Array) -> Array:
    """(3, 3) a rotation whose third column is the unit vector along `direction`."""
    z = np.asarray(direction, dtype=np.float64)
    z = z / np.linalg.norm(z)
    helper = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1).astype(np.float32)


def sheet(points: Array, material: str, uv: Array | None = None, tint: Array | None = None) -> Mesh:
    """A grid of points (R, C, 3) as a smooth surface; normals point along d/dcolumn x d/drow."""
    rows, columns = points.shape[:2]
    normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0)).reshape(-1, 3)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    if uv is None:
        u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
        uv = np.stack([u, v], axis=-1)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    faces = np.concatenate([np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)])
    tints = np.ones((rows * columns, 3)) if tint is None else np.broadcast_to(tint, (rows * columns, 3))
    return Mesh(
        points.reshape(-1, 3).astype(np.float32),
        normals.astype(np.float32),
        uv.reshape(-1, 2).astype(np.float32),
        faces,
        material,
        tints.astype(np.float32),
    )


def _smooth(corners: Array, count: int) -> Array:
    """(count, 2) a Catmull-Rom spline through `corners` (C, 2), Catmull and Rom 1974."""
    padded = np.concatenate([2 * corners[:1] - corners[1:2], corners, 2 * corners[-1:] - corners[-2:-1]])
    t = np.linspace(0, len(corners) - 1, count)
    i = np.minimum(t.astype(int), len(corners) - 2)
    f = (t - i)[:, None]
    p0, p1, p2, p3 = padded[i], padded[i + 1], padded[i + 2], padded[i + 3]
    cubic = p2 - p0 + f * (2 * p0 - 5 * p1 + 4 * p2 - p3 + f * (3 * p1 - p0 - 3 * p2 + p3))
    return np.asarray(p1 + 0.5 * f * cubic)


def lathe(
    corners: Sequence[tuple[float, float]],
    material: str,
    around: int = 64,
    along: int = 0,
    repeat: float = 1.0,
) -> Mesh:
    """The surface that `corners`, pairs (radius, height) from bottom to top, sweep around the z axis.

    `along` above 0 rounds the corners off with that many rings; 0 keeps each edge sharp. Texture: u goes `repeat`
    times around, v along the profile by length.
    """
    given = np.array(corners, dtype=np.float64)
    outline = _smooth(given, along) if along else np.repeat(given, 2, axis=0)[1:-1]
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    angle = np.linspace(0, 2 * np.pi, around + 1)
    points = np.stack(
        [
            outline[:, :1] * np.cos(angle),
            outline[:, :1] * np.sin(angle),
            np.broadcast_to(outline[:, 1:], (len(outline), around + 1)),
        ],
        axis=-1,
    )
    u, v = np.meshgrid(repeat * angle / (2 * np.pi), lengths / lengths[-1])
    mesh = sheet(points, material, np.stack([u, v], axis=-1))
    slope = np.diff(outline, axis=0) if not along else np.gradient(outline, axis=0)
    if not along:  # both ends of an edge share its direction
        slope = np.repeat(slope[::2], 2, axis=0)
    slope = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    normals = np.stack(
        [
            slope[:, 1:] * np.cos(angle),
            slope[:, 1:] * np.sin(angle),
            np.broadcast_to(-slope[:, :1], (len(outline), around + 1)),
        ],
        axis=-1,
    )
    return replace(mesh, normals=normals.reshape(-1, 3).astype(np.float32))


def tube(path: Array, radius: float | Array, material: str, sides: int = 6, tint: Array | None = None) -> Mesh:
    """A round rod along `path` (C, 3) of `radius` meters, one number or (C,)."""
    path = np.asarray(path, dtype=np.float64)
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    helper = np.array([0.31, 0.17, 0.94])
    side = np.cross(tangents, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(tangents, side)
    angle = np.linspace(0, 2 * np.pi, sides + 1)[None, :, None]
    outward = np.cos(angle) * side[:, None] + np.sin(angle) * other[:, None]
    widths = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(path),))[:, None, None]
    mesh = sheet(path[:, None] + widths * outward, material, tint=tint)
    return replace(mesh, normals=outward.reshape(-1, 3).astype(np.float32))


def leaf(
    base: Array,
    along: Array,
    up: Array,
    size: tuple[float, float],
    curl: float,
    material: str,
    tint: Array,
    rows: int = 5,
) -> Mesh:
    """A leaf of `size`, length by width in meters, from `base` (3,) along `along` (3,), bent down by `curl` radians."""
    length, width = size
    along = along / np.linalg.norm(along)
    side = np.cross(along, up)
    side /= max(float(np.linalg.norm(side)), 1e-9)
    above = np.cross(side, along)
    t = np.linspace(0, 1, rows)
    bend = curl * t
    spine = base + length * (
        np.sin(bend)[:, None] / max(abs(curl), 1e-3) * np.sign(curl or 1) * along
        - (1 - np.cos(bend))[:, None] / max(abs(curl), 1e-3) * above
    )
    half = 0.5 * width * np.sin(np.pi * np.clip(0.04 + 0.94 * t, 0, 1) ** 0.8)
    across = np.array([-1.0, 0.0, 1.0])
    points = spine[:, None] + half[:, None, None] * (
        across[None, :, None] * side + 0.35 * np.abs(across)[None, :, None] * above
    )
    return sheet(points, material, tint=tint)


def box(
    center: Sequence[float], size: Sequence[float], turn: float, materials: dict[str, str], tile: float = 0.0
) -> list[Patch]:
    """The six faces of a box turned by `turn` radians about z; `materials` names those of `top`, `front` and `side`.

    `front` and `side` are the pairs of faces across the own x and y axes. A texture covers each face once, or with
    `tile` above 0 so many meters.
    """
    c, s = np.cos(turn), np.sin(turn)
    axes = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]) * np.asarray(size, dtype=np.float64)[:, None] / 2
    middle = np.asarray(center, dtype=np.float64)
    patches = []
    for k, name, a, b in ((0, "front", axes[1], axes[2]), (1, "side", -axes[0], axes[2]), (2, "top", axes[0], axes[1])):
        for sign in (1.0, -1.0):
            e1, e2 = 2 * sign * a, 2 * b  # e1 x e2 points outwards
            across, up = (float(np.linalg.norm(e)) / tile if tile else 1.0 for e in (e1, e2))
            corner = middle + sign * axes[k] - (e1 + e2) / 2
            patches.append(Patch(corner, e1, e2, materials[name], (0.0, 0.0, across, up)))
    return patches
