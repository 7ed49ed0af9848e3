"""Visibility: a world and a grid of rays in, the first surface along every ray and its distance out."""

from dataclasses import dataclass

import numpy as np

from sfumato.capture.studio.noise import Array, turned
from sfumato.capture.studio.world import World

__all__ = ["Lens", "Sight", "barycentric", "first_hits"]

NOTHING = np.int64(0x7F7FFFFFFFFFFFFF)  # sorts behind every surface
CLOSEST = 1e-3  # meters; surfaces nearer to the camera are not seen
SIZES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096])
CHUNK = 1 << 18  # (triangle, ray) pairs looked at together; keeps the arrays in the cache


@dataclass(frozen=True)
class Lens:
    """A grid of rays, one through the middle of each cell, that leave one point or are all parallel."""

    rotation: Array  # (3, 3) lens <- world, z along the view
    offset: Array  # (3,)
    grid: Array  # (3, 3) cells <- lens: the camera matrix, or the scale and shift of parallel rays
    width: int
    height: int
    parallel: bool = False

    def place(self, points: Array) -> Array:
        """(..., 3) world points in the axes of the lens."""
        return turned(np.atleast_2d(points), self.rotation).reshape(points.shape) + self.offset


@dataclass(frozen=True)
class Sight:
    """What the rays of a lens meet; ids count triangles, then patches, then balls."""

    ids: np.ndarray  # (height, width) int32, -1 where nothing
    depth: Array  # (height, width) along the lens's z, meters; inf where nothing
    linear: Array  # (3, 3, facets): for corner i of a facet, the coefficients of cell x, y and 1 in `barycentric`


@dataclass(frozen=True)
class _Facets:
    """The facets as a lens sees them."""

    linear: Array  # (3, 3, facets), as in Sight
    z: Array  # (3, facets) depth of the corners
    low: np.ndarray  # (2, facets) int: first column and row they can cover
    high: np.ndarray  # (2, facets) int: one past the last; not above low where unseen


def _facets(world: World, lens: Lens) -> _Facets:
    """Project all facets.

    A ray through cell (x, y) meets the plane of corners c at depth z where (x, y, 1) z = grid (b0 c0 + b1 c1 + b2 c2)
    with b0 + b1 + b2 = 1. So b / z is linear in x and y with the inverse of grid [c0 c1 c2] (Olano and Greer 1997),
    which needs no clipping. Where rays are parallel, the same holds without the z.
    """
    placed = lens.place(world.points)
    hx, hy = placed[:, 0] * lens.grid[0, 0], placed[:, 1] * lens.grid[1, 1]
    hz = np.ones(len(placed)) if lens.parallel else placed[:, 2]
    hx, hy = hx + lens.grid[0, 2] * hz, hy + lens.grid[1, 2] * hz
    c = world.corners
    x, y, w = (tuple(h[c[:, i]] for i in range(3)) for h in (hx, hy, hz))
    linear = np.empty((3, 3, len(c)))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        linear[i, 0] = y[j] * w[k] - w[j] * y[k]
        linear[i, 1] = w[j] * x[k] - x[j] * w[k]
        linear[i, 2] = x[j] * y[k] - y[j] * x[k]
    determinant = x[0] * linear[0, 0] + y[0] * linear[0, 1] + w[0] * linear[0, 2]
    # the determinant is twice the area in cells times w^3; an edge-on sliver is invisible, and its depth all rounding
    edge_on = np.abs(determinant) < 1e-4 * np.abs(w[0] * w[1] * w[2]) + 1e-16
    linear /= np.where(edge_on, 1, determinant)
    low, high = _bounds(x, y, w, len(world.faces), lens)
    high[:, edge_on] = 0
    z = placed[:, 2]
    return _Facets(linear, np.stack([z[c[:, i]] for i in range(3)]), low, high)


def _bounds(
    x: tuple[Array, ...], y: tuple[Array, ...], w: tuple[Array, ...], triangles: int, lens: Lens
) -> tuple[np.ndarray, np.ndarray]:
    """The columns and rows (2, n) from which and before which facets with homogeneous corners x, y, w lie."""
    fourth = [h[1] + h[2] - h[0] for h in (x, y, w)]
    for h, own in zip(fourth, (x, y, w), strict=True):
        h[:triangles] = own[0][:triangles]  # a triangle has no fourth corner
    w = (*w, fourth[2])
    nearest, farthest = np.minimum.reduce(w), np.maximum.reduce(w)
    low, high = np.empty((2, len(nearest)), dtype=np.int64), np.empty((2, len(nearest)), dtype=np.int64)
    for axis, (three, more, limit) in enumerate(((x, fourth[0], lens.width), (y, fourth[1], lens.height))):
        cells = [a / np.maximum(b, CLOSEST) for a, b in zip((*three, more), w, strict=True)]
        low[axis] = np.clip(np.floor(np.minimum.reduce(cells) - 0.501), 0, limit)
        high[axis] = np.clip(np.ceil(np.maximum.reduce(cells) + 0.501), 0, limit)
        around = nearest < CLOSEST  # reaches behind the camera: may cover anything
        low[axis, around], high[axis, around] = 0, limit
    high[:, farthest < CLOSEST] = 0
    return low, high


def _keys(depth: Array, ids: np.ndarray | int) -> np.ndarray:
    """int64 that sort by depth first: the bits of positive floats rise with their value."""
    z = np.maximum(depth, 1e-6).astype(np.float32)
    return (z.view(np.int32).astype(np.int64) << 32) | ids


def _draw_triangles(buffer: np.ndarray, facets: _Facets, count: int, lens: Lens) -> None:
    """Write the nearest of the first `count` facets into the keys of `buffer` (height * width,).

    Triangles that cover rectangles of nearly the same size are drawn together, as one dense block.
    """
    low, high = facets.low[:, :count], facets.high[:, :count]
    seen = np.flatnonzero((high > low).all(axis=0))
    if not len(seen):
        return
    low, high = low[:, seen], high[:, seen]
    limit = np.array([[lens.width], [lens.height]])
    size = np.minimum(SIZES[np.searchsorted(SIZES, high - low)], limit)
    first = np.minimum(low, limit - size)
    code = size[1] * 8192 + size[0]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows, columns = divmod(int(code[order[start]]), 8192)
        stride = max(1, CHUNK // (rows * columns))
        for begin in range(start, end, stride):
            part = order[begin : min(end, begin + stride)]
            _draw_block(buffer, facets, seen[part], first[:, part], (rows, columns), lens)


def _draw_block(
    buffer: np.ndarray, facets: _Facets, ids: np.ndarray, first: np.ndarray, size: tuple[int, int], lens: Lens
) -> None:
    """Draw the triangles `ids` (n,), each over the `size` rows and columns from `first` (2, n) on."""
    rows, columns = size
    linear = facets.linear[:, :, ids]
    base = linear[:, 0] * (first[0] + 0.5) + linear[:, 1] * (first[1] + 0.5) + linear[:, 2]
    base, slope = base.astype(np.float32), linear[:, :2].astype(np.float32)
    down = base[..., None] + slope[:, 1, :, None] * np.arange(rows, dtype=np.float32)
    across = slope[:, 0, :, None] * np.arange(columns, dtype=np.float32)
    b = [down[i, :, :, None] + across[i, :, None, :] for i in range(3)]
    hit = np.flatnonzero(np.minimum(np.minimum(b[0], b[1]), b[2]) >= -1e-6)
    b0, b1, b2 = (coordinate.ravel()[hit] for coordinate in b)
    n, rest = np.divmod(hit, rows * columns)
    i, j = np.divmod(rest, columns)
    if lens.parallel:
        z = facets.z[:, ids[n]]
        depth = z[0] * b0 + z[1] * b1 + z[2] * b2
    else:
        depth = 1 / np.maximum(b0 + b1 + b2, 1e-9)
    np.minimum.at(buffer, (first[1, n] + i) * lens.width + first[0, n] + j, _keys(depth, ids[n]))


def _draw_patch(buffer: np.ndarray, facets: _Facets, k: int, is_round: bool, lens: Lens) -> None:
    """Draw facet `k`, a parallelogram or the ellipse in it."""
    (x0, y0), (x1, y1) = facets.low[:, k], facets.high[:, k]
    if x1 <= x0 or y1 <= y0:
        return
    x, y = np.arange(x0, x1) + 0.5, np.arange(y0, y1)[:, None] + 0.5
    b0, u, v = (
        (row[0] * x).astype(np.float32) + (row[1] * y + row[2]).astype(np.float32) for row in facets.linear[:, :, k]
    )
    w = b0 + u + v
    if is_round:
        inside = (2 * u - w) ** 2 + (2 * v - w) ** 2 <= w * w
    else:
        inside = np.minimum(np.minimum(u, v), np.minimum(w - u, w - v)) >= 0
    inside &= w > 1e-9
    z = facets.z[:, k].astype(np.float32)
    depth = z[0] * b0 + z[1] * u + z[2] * v if lens.parallel else 1 / np.where(inside, w, 1)
    part = buffer.reshape(lens.height, lens.width)[y0:y1, x0:x1]
    np.copyto(part, np.minimum(part, _keys(depth, k)), where=inside)


def _draw_ball(buffer: np.ndarray, center: Array, radius: float, number: int, lens: Lens) -> None:
    """Draw a sphere whose `center` is in the axes of the lens."""
    if not lens.parallel and center[2] < radius + CLOSEST:
        return  # the camera never stands in or beside a ball
    focal, middle = np.diag(lens.grid)[:2], lens.grid[:2, 2]
    nearest = 1.0 if lens.parallel else center[2] - radius
    spread = focal * radius / nearest * (1 if lens.parallel else 1 + np.abs(center[:2]) / center[2])
    cell = focal * center[:2] / (1 if lens.parallel else center[2]) + middle
    limit = np.array([lens.width, lens.height])
    x0, y0 = np.clip(np.floor(cell - spread - 1), 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(cell + spread + 1), 0, limit).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    x = (np.arange(x0, x1) + 0.5 - middle[0]) / focal[0]
    y = ((np.arange(y0, y1) + 0.5 - middle[1]) / focal[1])[:, None]
    if lens.parallel:
        rest = radius**2 - (x - center[0]) ** 2 - (y - center[1]) ** 2
        depth = center[2] - np.sqrt(np.maximum(rest, 0))
    else:
        a, b = x * x + y * y + 1, x * center[0] + y * center[1] + center[2]
        rest = b * b - a * (center @ center - radius**2)
        depth = (b - np.sqrt(np.maximum(rest, 0))) / a
    part = buffer.reshape(lens.height, lens.width)[y0:y1, x0:x1]
    np.copyto(part, np.minimum(part, _keys(depth, number)), where=rest > 0)


def first_hits(world: World, lens: Lens, shadows: bool = False) -> Sight:
    """What each ray of `lens` meets first; with `shadows`, only among shapes that throw some."""
    facets = _facets(world, lens)
    buffer = np.full(lens.width * lens.height, NOTHING)
    count = len(world.faces)
    _draw_triangles(buffer, facets, count, lens)
    for k, patch in enumerate(world.patches):
        if patch.casts or not shadows:
            _draw_patch(buffer, facets, count + k, patch.round, lens)
    for k, ball in enumerate(world.balls):
        _draw_ball(buffer, lens.place(ball.center), ball.radius, len(world.corners) + k, lens)
    keys = buffer.reshape(lens.height, lens.width)
    ids = np.where(keys == NOTHING, -1, keys & 0xFFFFFFFF).astype(np.int32)
    depth = (keys >> 32).astype(np.int32).view(np.float32)
    return Sight(ids, np.where(ids < 0, np.float32(np.inf), depth), facets.linear)


def barycentric(sight: Sight, ids: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[Array, Array]:
    """The shares (n,) of the second and the third corner of the facets `ids` (n,) that the rays of cells x, y meet."""
    m = sight.linear[:, :, ids]
    b = m[:, 0] * (x + 0.5) + m[:, 1] * (y + 0.5) + m[:, 2]
    total = b.sum(axis=0)
    return (b[1] / total).astype(np.float32), (b[2] / total).astype(np.float32)
