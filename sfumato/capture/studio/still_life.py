"""The still life: a seed in, a table with vase, fruit, chart and armillary sphere on a terrace above hills out."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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


def backdrop(seed: int) -> Texture:
    """The hills all around."""
    return Texture.of(paint_ground.hills(np.random.default_rng([seed, 0]), low=BACKDROP[1], high=BACKDROP[2]))


def _materials(seed: int) -> dict[str, Material]:
    """What things are made of; a texture's width is meant on the object that mostly shows it, in meters."""
    ground, paint = paint_ground, paint_things

    def tones(*codes: str) -> Callable[[np.random.Generator], Array]:
        return lambda rng: paint.peel(rng, codes)

    def tinted(code: str) -> Callable[[np.random.Generator], Array]:
        return lambda rng: paint.veined(rng) * color(code)

    recipes: dict[str, tuple[Callable[[np.random.Generator], Array], float, dict[str, float]]] = {
        "floor": (ground.floor, 2 * FLOOR + 0.2, {}),
        "wall": (ground.wall, 8 * FLOOR, {}),
        "slab": (tinted("e4d8c0"), 1.5, {}),
        "wood": (paint.wood, 2 * TABLE[1], {"gloss": 0.02, "sharpness": 30}),
        "chart": (paint.chart, 0.52, {}),
        "majolica": (paint.majolica, 0.5, {"gloss": 0.05, "sharpness": 500}),
        "plate": (paint.majolica, 0.5, {"gloss": 0.05, "sharpness": 300}),
        "red": (lambda rng: paint.leather(rng, "4a120e", "8e2a1e"), 0.26, {"gloss": 0.03, "sharpness": 25}),
        "green": (lambda rng: paint.leather(rng, "16301f", "2f5a3c"), 0.26, {"gloss": 0.03, "sharpness": 25}),
        "pages": (paint.pages, 0.26, {}),
        "orange": (tones("c4501a", "df7a1e", "ee9a2c", "f6bd52"), 0.24, {"gloss": 0.03, "sharpness": 40}),
        "lemon": (tones("c49a1c", "e4c02c", "f0d84c", "f8ec8a"), 0.2, {"gloss": 0.03, "sharpness": 40}),
        "plum": (tones("1c0f22", "3a1a38", "5a2a4c", "8a5a7c"), 0.14, {"gloss": 0.04, "sharpness": 60}),
        "clay": (paint.clay, 1.2, {}),
        "brass": (paint.brass, 0.8, {"gloss": 0.7, "sharpness": 60, "metal": True}),
        "earth": (paint.earth, 0.25, {"gloss": 0.04, "sharpness": 200}),
        "glaze": (paint.glaze, 0.4, {"gloss": 0.06, "sharpness": 700}),
        "marble": (paint.veined, 0.5, {"gloss": 0.04, "sharpness": 90}),
        "wax": (tinted("f8ecc8"), 0.2, {}),
        "soil": (paint.soil, 0.5, {}),
        "bark": (paint.bark, 0.1, {}),
        "leaf": (paint.leaf_blade, 0.02, {"translucent": 0.45}),
        "petal": (paint.petal, 0.03, {"translucent": 0.5}),
    }

    def prepare(numbered: tuple[int, str]) -> Material:
        number, name = numbered
        painter, width, look = recipes[name]
        picture = painter(np.random.default_rng([seed, 1 + number]))
        return Material(Texture.of(picture), width / picture.shape[1], **look)  # type: ignore[arg-type]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(recipes, pool.map(prepare, enumerate(recipes)), strict=True))


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
    bush = shrub(rng)
    for k in range(4):
        turn = (k + 0.5) * np.pi / 2
        place = 3.28 * np.array([np.cos(turn), np.sin(turn), 0])
        rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        parts += [part.moved(rotation, place) for part in bush]
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
        parts += box(slab, (2 * FLOOR + 0.3, 0.36, 0.07), float(np.arctan2(*(b - a)[::-1])), stone, 1.5)
        parts += box((*(a * 1.04), 0.5), (0.46, 0.46, 1.0), 0.0, stone, 1.5)
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
