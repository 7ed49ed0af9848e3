"""The still life: a seed in, a table with vase, fruit, chart and armillary sphere on a terrace above hills out."""

from functools import lru_cache

import numpy as np

from sfumato.capture.studio import paint_ground, paint_things
from sfumato.capture.studio.noise import Array, color
from sfumato.capture.studio.objects import (
    Part,
    armillary_sphere,
    books,
    candle,
    chart,
    egg_cup,
    fruit_bowl,
    orange,
    plate,
    vase,
)
from sfumato.capture.studio.plants import bouquet, fallen_petals, shrub
from sfumato.capture.studio.shapes import Ball, Patch, box, frame_of, lathe
from sfumato.capture.studio.texture import Texture
from sfumato.capture.studio.world import Material, World

__all__ = ["BACKDROP", "TABLE", "backdrop", "still_life"]

TABLE = (0.76, 0.62)  # height and radius of the table top, meters
BACKDROP = (14.0, -6.0, 9.0)  # radius, lowest and highest point of the painted hills, meters
FLOOR, WALL = 3.0, 0.80  # half the terrace's side and the height of its wall, meters


@lru_cache(maxsize=2)
def backdrop(seed: int) -> Texture:
    """The hills all around."""
    return Texture.of(paint_ground.hills(np.random.default_rng([seed, 0]), low=BACKDROP[1], high=BACKDROP[2]))


def _materials(seed: int) -> dict[str, Material]:
    """What things are made of; the texture's width in meters is that on the object it is mostly seen on."""
    paint, streams = paint_things, iter(range(1, 100))

    def rng() -> np.random.Generator:
        return np.random.default_rng([seed, next(streams)])

    def of(picture: Array, width: float, gloss: float = 0.0, sharpness: float = 60.0) -> Material:
        return Material(Texture.of(picture), width / picture.shape[1], gloss, sharpness)

    def thin(picture: Array, width: float, translucent: float) -> Material:
        return Material(Texture.of(picture), width / picture.shape[1], translucent=translucent)

    brass = paint.brass(rng())
    return {
        "floor": of(paint_ground.floor(rng()), 2 * FLOOR + 0.2),
        "wall": of(paint_ground.wall(rng()), 8 * FLOOR),
        "slab": of(paint.veined(rng()) * color("e4d8c0"), 3.0),
        "wood": of(paint.wood(rng()), 2 * TABLE[1], 0.02, 30),
        "chart": of(paint.chart(rng()), 0.52),
        "majolica": of(paint.majolica(rng()), 0.5, 0.05, 500),
        "plate": of(paint.majolica(rng()), 0.5, 0.05, 300),
        "red": of(paint.leather(rng(), "4a120e", "8e2a1e"), 0.26, 0.03, 25),
        "green": of(paint.leather(rng(), "16301f", "2f5a3c"), 0.26, 0.03, 25),
        "pages": of(paint.pages(rng()), 0.26),
        "orange": of(paint.peel(rng(), ("c4501a", "df7a1e", "ee9a2c", "f6bd52")), 0.24, 0.03, 40),
        "lemon": of(paint.peel(rng(), ("b08a1c", "dcb62c", "ecd04c", "f6e68a")), 0.2, 0.03, 40),
        "plum": of(paint.peel(rng(), ("1c0f22", "3a1a38", "5a2a4c", "8a5a7c")), 0.14, 0.04, 60),
        "clay": of(paint.clay(rng()), 1.2),
        "brass": Material(Texture.of(brass), 0.8 / brass.shape[1], gloss=0.7, sharpness=60, metal=True),
        "earth": of(paint.earth(rng()), 0.25, 0.04, 200),
        "glaze": of(paint.glaze(rng()), 0.4, 0.06, 700),
        "marble": of(paint.veined(rng()), 0.5, 0.04, 90),
        "wax": of(paint.veined(rng()) * color("f8ecc8"), 0.2),
        "soil": of(paint.soil(rng()), 0.5),
        "bark": of(paint.bark(rng()), 0.1),
        "leaf": thin(paint.leaf_blade(rng()), 0.02, 0.45),
        "petal": thin(paint.petal(rng()), 0.03, 0.5),
    }


def still_life(seed: int) -> World:
    """Everything on the terrace; the same for the same seed. z points up, units are meters."""
    rng = np.random.default_rng([seed, 100])

    def at(x: float, y: float, z: float = 0.0) -> Array:
        return np.array([x, y, TABLE[0] + z])

    pot, mouth = vase(at(-0.12, 0.17))
    pile, cover = books(at(0.27, 0.10))
    parts: list[Part] = [*_terrace(), *_table(), pot, *bouquet(rng, mouth), *fallen_petals(rng, at(-0.06, 0.17), 26)]
    parts += [*pile, *armillary_sphere(cover), *fruit_bowl(rng, at(0.10, -0.30)), *plate(rng, at(0.20, 0.42))]
    parts += [orange(rng, at(0.30, -0.20, 0.039), 0.039), orange(rng, at(-0.09, -0.36, 0.036), 0.036)]
    parts += [*egg_cup(at(-0.43, 0.08)), *candle(at(-0.36, 0.38)), chart(rng, at(-0.22, -0.24), np.deg2rad(-28))]
    for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        parts += shrub(rng, np.array([2.32 * x, 2.32 * y, 0.0]))
    return World.of(parts, _materials(seed))


def _terrace() -> list[Part]:
    """A tiled floor, a wall around it with a slab on top, and a pillar with a ball at each corner."""
    side, stone = FLOOR + 0.1, dict.fromkeys(("front", "side", "top"), "slab")
    origin, e1, e2 = np.array([-side, -side, 0]), np.array([2 * side, 0, 0]), np.array([0, 2 * side, 0])
    parts: list[Part] = [Patch(origin, e1, e2, "floor", light=(224, 224), casts=False)]
    corners = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * FLOOR
    for k in range(4):
        a, b = corners[k], corners[(k + 1) % 4]
        start, along, up = np.array([*b, 0]), np.array([*(a - b), 0]), np.array([0, 0, WALL])  # faces the table
        parts.append(Patch(start, along, up, "wall", (k / 4, 0, (k + 1) / 4, 1), light=(20, 140)))
        slab = (*((a + b) / 2 * 1.045), WALL + 0.035)
        parts += box(slab, (2 * FLOOR + 0.3, 0.36, 0.07), float(np.arctan2(*(b - a)[::-1])), stone)
        parts += box((*(a * 1.04), 0.5), (0.46, 0.46, 1.0), 0.0, stone)
        parts.append(Ball(np.array([*(a * 1.04), 1.17]), 0.18, frame_of(np.array([0.2, 0.1 * k, 1])), "marble"))
    return parts


def _table() -> list[Part]:
    """A round walnut table on a turned leg."""
    height, radius = TABLE
    origin, e1, e2 = np.array([-radius, -radius, height]), np.array([2 * radius, 0, 0]), np.array([0, 2 * radius, 0])
    rim = [(0.50, 0.69), (0.58, 0.70), (0.605, 0.715), (0.628, 0.735), (0.630, 0.748), (radius, height)]
    foot = [(0.30, 0), (0.31, 0.03), (0.22, 0.07), (0.09, 0.11), (0.055, 0.20), (0.085, 0.30), (0.10, 0.38)]
    foot += [(0.06, 0.46), (0.05, 0.56), (0.08, 0.63), (0.22, 0.69), (0.50, 0.69)]
    top = Patch(origin, e1, e2, "wood", round=True, light=(224, 224))
    return [top, lathe(rim, "wood", 96, 14, 3), lathe(foot, "wood", 48, 40, 2)]
