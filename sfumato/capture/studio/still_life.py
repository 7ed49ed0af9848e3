"""The still life: a seed in, a table with vase, fruit, chart and armillary sphere on a terrace above hills out."""

from functools import lru_cache

import numpy as np

from sfumato.capture.studio import paint_ground
from sfumato.capture.studio.noise import Array, color, fractal, mix
from sfumato.capture.studio.shapes import Ball, Mesh, Patch, box, frame_of, lathe, leaf, sheet, tube
from sfumato.capture.studio.texture import Texture
from sfumato.capture.studio.world import Material, World

__all__ = ["BACKDROP", "TABLE", "backdrop", "still_life"]

TABLE = (0.76, 0.62)  # height and radius of the table top, meters
BACKDROP = (14.0, -6.0, 9.0)  # radius, lowest and highest point of the painted hills, meters
FLOOR, WALL = 3.0, 0.80  # half the terrace's side and the height of its wall, meters

Part = Mesh | Patch | Ball


@lru_cache(maxsize=2)
def backdrop(seed: int) -> Texture:
    """The hills all around."""
    return Texture.of(paint_ground.hills(np.random.default_rng([seed, 0]), low=BACKDROP[1], high=BACKDROP[2]))


def _materials(seed: int) -> dict[str, Material]:
    """What things are made of."""
    from sfumato.capture.studio import paint_things as paint

    def rng(number: int) -> np.random.Generator:
        return np.random.default_rng([seed, number])

    def of(picture: Array, width: float, **options: float) -> Material:
        return Material(Texture.of(picture), width / picture.shape[1], **options)  # type: ignore[arg-type]

    return {
        "floor": of(paint_ground.floor(rng(1)), 2 * FLOOR + 0.2),
        "wall": of(paint_ground.wall(rng(2)), 8 * FLOOR),
        "slab": of(paint.veined(rng(3)) * color("d8ccb4"), 3.0),
        "wood": of(paint.wood(rng(4)), 2 * TABLE[1], gloss=0.035, sharpness=30),
        "chart": of(paint.chart(rng(5)), 0.52),
        "majolica": of(paint.majolica(rng(6)), 0.5, gloss=0.05, sharpness=500),
        "red": of(paint.leather(rng(7), "4a120e", "8e2a1e"), 0.26, gloss=0.03, sharpness=25),
        "green": of(paint.leather(rng(8), "16301f", "2f5a3c"), 0.26, gloss=0.03, sharpness=25),
        "pages": of(paint.pages(rng(9)), 0.26),
        "orange": of(paint.orange(rng(10)), 0.24, gloss=0.03, sharpness=40),
        "clay": of(paint.clay(rng(11)), 1.2),
        "brass": of(paint.brass(rng(12)), 0.8, gloss=0.7, sharpness=60, metal=True),
        "earth": of(paint.earth(rng(13)), 0.25, gloss=0.04, sharpness=200),
        "glaze": of(paint.glaze(rng(14)), 0.4, gloss=0.06, sharpness=700),
        "marble": of(paint.veined(rng(15)), 0.5, gloss=0.04, sharpness=90),
        "soil": of(paint.soil(rng(16)), 0.5),
        "bark": of(paint.bark(rng(17)), 0.1),
        "leaf": of(paint.leaf_blade(rng(18)), 0.02, translucent=0.45),
        "petal": of(paint.petal(rng(19)), 0.03, translucent=0.5),
    }


def still_life(seed: int) -> World:
    """Everything on the terrace; the same for the same seed. z points up, units are meters."""
    rng = np.random.default_rng([seed, 100])
    parts: list[Part] = [*_terrace(), *_table(), *_vase(rng), *_sphere_on_books(), *_fruit(rng), *_chart(rng)]
    for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        parts += _shrub(rng, np.array([2.32 * x, 2.32 * y, 0.0]))
    return World.of(parts, _materials(seed))


def _terrace() -> list[Part]:
    side = FLOOR + 0.1
    floor = Patch(
        np.array([-side, -side, 0], dtype=np.float32),
        np.array([2 * side, 0, 0], dtype=np.float32),
        np.array([0, 2 * side, 0], dtype=np.float32),
        "floor",
        light=(224, 224),
        casts=False,
    )
    parts: list[Part] = [floor]
    corners = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * FLOOR
    for k in range(4):
        a, b = corners[k], corners[(k + 1) % 4]
        # seen from inside, so e1 x e2 points to the middle
        parts.append(
            Patch(
                np.array([*b, 0], dtype=np.float32),
                np.array([*(a - b), 0], dtype=np.float32),
                np.array([0, 0, WALL], dtype=np.float32),
                "wall",
                (k / 4, 0, (k + 1) / 4, 1),
                light=(20, 140),
            )
        )
        middle, turn = (a + b) / 2 * 1.045, np.arctan2(*(b - a)[::-1])
        slab = box(
            [*middle, WALL + 0.035],
            [2 * FLOOR + 0.3, 0.36, 0.07],
            turn,
            dict.fromkeys(("front", "side", "top"), "slab"),
        )
        parts += slab
        parts += box([*(a * 1.04), 0.5], [0.46, 0.46, 1.0], 0.0, dict.fromkeys(("front", "side", "top"), "slab"))
        parts.append(Ball(np.array([*(a * 1.04), 1.17]), 0.18, frame_of(np.array([0.2, 0.1 * k, 1])), "marble"))
    return parts


def _table() -> list[Part]:
    height, radius = TABLE
    top = Patch(
        np.array([-radius, -radius, height], dtype=np.float32),
        np.array([2 * radius, 0, 0], dtype=np.float32),
        np.array([0, 2 * radius, 0], dtype=np.float32),
        "wood",
        round=True,
        light=(224, 224),
    )
    rim = [(0.50, 0.69), (0.58, 0.70), (0.605, 0.715), (0.628, 0.735), (0.630, 0.748), (radius, height)]
    foot = [(0.30, 0.0), (0.31, 0.03), (0.22, 0.07), (0.09, 0.11), (0.055, 0.20), (0.085, 0.30), (0.10, 0.38)]
    foot += [(0.06, 0.46), (0.05, 0.56), (0.08, 0.63), (0.22, 0.69), (0.50, 0.69)]
    return [top, lathe(rim, "wood", 96, 14, 3), lathe(foot, "wood", 48, 40, 2)]


def _vase(rng: np.random.Generator) -> list[Part]:
    """A majolica vase with olive branches and roses."""
    place = np.array([-0.12, 0.17, TABLE[0]])
    outline = [(0.0, 0.004), (0.055, 0.0), (0.062, 0.012), (0.055, 0.03), (0.092, 0.10), (0.108, 0.17), (0.088, 0.24)]
    outline += [(0.050, 0.295), (0.046, 0.32), (0.066, 0.352), (0.060, 0.352), (0.040, 0.32), (0.042, 0.29)]
    parts: list[Part] = [lathe(outline, "majolica", 72, 64).moved(np.eye(3), place)]
    mouth = place + (0, 0, 0.30)
    for k in range(15):
        angle = 2 * np.pi * (k * 0.381966 + 0.03 * rng.normal())
        lean, tall = rng.uniform(0.10, 0.30), rng.uniform(0.22, 0.42)
        t = np.linspace(0, 1, 12)[:, None]
        out = np.array([np.cos(angle), np.sin(angle), 0])
        wiggle = 0.02 * np.sin(6 * t + rng.uniform(0, 6)) * np.array([-out[1], out[0], 0])
        path = mouth + 0.03 * t * out + lean * t**1.7 * out + (tall * t - 0.10 * lean * t**3) * (0, 0, 1) + wiggle
        parts.append(tube(path, np.linspace(0.0035, 0.0015, 12), "bark"))
        parts += _sprig(rng, path) if k % 3 else [*_sprig(rng, path[:8]), *_rose(rng, path[-1], path[-1] - path[-3])]
    return parts


def _sprig(rng: np.random.Generator, path: Array) -> list[Part]:
    """Leaves in pairs along a branch, with a tuft at its tip."""
    leaves: list[Part] = []
    tone = rng.uniform(0, 1)
    for i in np.linspace(0.28, 1, 10):
        k = min(int(i * (len(path) - 1)), len(path) - 2)
        base = path[k] + (i * (len(path) - 1) - k) * (path[k + 1] - path[k])
        along = path[k + 1] - path[k]
        along = along / np.linalg.norm(along)
        spin = rng.uniform(0, 2 * np.pi)
        for side in (0, np.pi):
            across = frame_of(along) @ np.array([np.cos(spin + side), np.sin(spin + side), 0])
            direction = across + along * rng.uniform(0.3, 1.0)
            tint = mix(color("c8d8a8"), color("f4f0c8"), float(np.clip(tone + rng.normal(0, 0.3), 0, 1)))
            size = rng.uniform(0.045, 0.075) * (1.1 - 0.35 * i)
            leaves.append(
                leaf(base, direction, np.array([0, 0, 1.0]), size, 0.30 * size, rng.uniform(0.1, 0.9), "leaf", tint)
            )
    return leaves


def _rose(rng: np.random.Generator, center: Array, axis: Array) -> list[Part]:
    """A flower of three whorls of petals."""
    frame = frame_of(axis + rng.normal(0, 0.25 * np.linalg.norm(axis), 3))
    tint = color(["f6d9cf", "f3b8a4", "fbeadb", "e58f86"][rng.integers(4)])
    petals: list[Part] = []
    for ring, (count, rise, size) in enumerate(((4, 1.9, 0.028), (5, 0.85, 0.040), (7, 0.25, 0.046))):
        for k in range(count):
            angle = 2 * np.pi * (k + 0.5 * ring) / count + rng.normal(0, 0.1)
            direction = frame @ np.array([np.cos(angle), np.sin(angle), rise])
            shade = tint * (0.86 + 0.07 * ring) * rng.uniform(0.92, 1.05)
            petals.append(leaf(center, direction, frame[:, 2], size, 0.85 * size, -0.7 + 0.6 * ring, "petal", shade))
    return petals


def _sphere_on_books() -> list[Part]:
    """An armillary sphere of brass rings on two books."""
    x, y, z = 0.27, 0.10, TABLE[0]
    parts: list[Part] = []
    parts += box([x, y, z + 0.026], [0.30, 0.22, 0.05], 0.5, {"top": "green", "front": "pages", "side": "pages"})
    parts += box([x + 0.01, y, z + 0.072], [0.26, 0.19, 0.042], 0.15, {"top": "red", "front": "pages", "side": "pages"})
    base = z + 0.093
    stand = [
        (0.062, 0.0),
        (0.066, 0.012),
        (0.035, 0.022),
        (0.014, 0.035),
        (0.022, 0.055),
        (0.010, 0.075),
        (0.008, 0.11),
    ]
    parts.append(lathe(stand, "brass", 40, 28, 1).moved(np.eye(3), [x, y, base]))
    center = np.array([x, y, base + 0.245])
    tilt = frame_of(np.array([0.35, 0.18, 0.92]))
    rings = [
        (0.140, 0.016, np.array([0.0, 0.0, 1.0])),
        (0.134, 0.012, np.array([1.0, 0, 0])),
        (0.134, 0.012, np.array([0.0, 1, 0])),
    ]
    rings += [(0.128, 0.020, np.array([0.0, 0.40, 0.92])), (0.124, 0.008, np.array([0.7, 0.7, 0.0]))]
    for radius, width, axis in rings:
        parts.append(_band(radius, width).moved(tilt @ frame_of(axis), center))
    parts.append(_band(0.148, 0.014).moved(frame_of(np.array([1.0, 0.4, 0.0])), center))
    axis_ends = np.linspace(-0.165, 0.165, 5)[:, None] * tilt[:, 2]
    parts.append(tube(center + axis_ends, 0.0028, "brass", 8))
    parts.append(Ball(center, 0.040, tilt, "earth"))
    return parts


def _band(radius: float, width: float) -> Mesh:
    """A flat ring around z, `width` meters tall and 3 mm thick."""
    h, t = width / 2, 0.0015
    ring = [(radius - t, h), (radius - t, -h), (radius + t, -h), (radius + t, h), (radius - t, h)]
    return lathe(ring, "brass", 72, 0, 1)


def _fruit(rng: np.random.Generator) -> list[Part]:
    """A wire bowl of oranges, two that rolled out, a glazed ball on a marble foot."""
    place = np.array([0.10, -0.30, TABLE[0]])
    parts: list[Part] = []
    angle = np.linspace(0, 2 * np.pi, 49)
    for t in np.linspace(0.0, 1, 5):
        radius, height = 0.075 + 0.075 * t**0.6, 0.006 + 0.085 * t**1.3
        circle = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(49, height)], axis=1)
        parts.append(_ring(place + circle, 0.0042 if t == 1 else 0.0028))
    t = np.linspace(0, 1, 9)
    for k in range(20):
        a = 2 * np.pi * k / 20
        radius, height = 0.075 + 0.075 * t**0.6, 0.006 + 0.085 * t**1.3
        rib = np.stack([radius * np.cos(a), radius * np.sin(a), height], axis=1)
        parts.append(tube(place + rib, 0.0025, "brass", 5))
    low = [(0.072 * np.cos(a), 0.072 * np.sin(a), 0.052) for a in np.arange(5) * 2 * np.pi / 5]
    high = [(0.040 * np.cos(a), 0.040 * np.sin(a), 0.112) for a in 0.5 + np.arange(3) * 2 * np.pi / 3]
    for spot in (*low, *high):
        parts.append(_orange(rng, place + np.array(spot), rng.uniform(0.037, 0.041)))
    parts.append(_orange(rng, place + (0.20, 0.10, 0.039), 0.039))
    parts.append(_orange(rng, place + (-0.19, -0.06, 0.036), 0.036))
    foot = [
        (0.062, 0.0),
        (0.064, 0.016),
        (0.040, 0.028),
        (0.030, 0.07),
        (0.036, 0.105),
        (0.052, 0.118),
        (0.050, 0.130),
        (0.0, 0.130),
    ]
    spot = np.array([-0.43, 0.08, TABLE[0]])
    parts.append(lathe(foot, "marble", 40, 40, 1).moved(np.eye(3), spot))
    parts.append(Ball(spot + (0, 0, 0.128 + 0.066), 0.068, frame_of(np.array([0.2, 0.3, 1])), "glaze"))
    return parts


def _ring(path: Array, radius: float) -> Mesh:
    return tube(path, radius, "brass", 6)


def _orange(rng: np.random.Generator, center: Array, radius: float) -> Ball:
    return Ball(center, radius, frame_of(rng.normal(size=3) + (0, 0, 0.8)), "orange")


def _chart(rng: np.random.Generator) -> list[Part]:
    """A sea chart whose corners curl up from the table."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 49), np.linspace(-0.5, 0.5, 37))
    wave = fractal(rng, 37, 49, 2.4, coarsest=1)
    curl = np.maximum(np.hypot(u, v) - 0.42, 0) ** 1.7
    lift = 0.004 + 0.0016 * wave + 0.55 * curl * np.where(u * v > 0, 1.0, 0.5)
    turn = np.deg2rad(-28)
    x, y = 0.52 * u, 0.39 * v
    points = np.stack(
        [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), np.maximum(lift, 0.0015)], -1
    )
    return [sheet(points + np.array([-0.22, -0.24, TABLE[0]]), "chart")]


def _shrub(rng: np.random.Generator, place: Array) -> list[Part]:
    """A clipped bush in a clay pot."""
    outline = [
        (0.0, 0.01),
        (0.15, 0.0),
        (0.16, 0.02),
        (0.21, 0.28),
        (0.20, 0.32),
        (0.245, 0.34),
        (0.25, 0.40),
        (0.22, 0.40),
        (0.21, 0.37),
    ]
    parts: list[Part] = [lathe(outline, "clay", 40, 30).moved(np.eye(3), place)]
    soil = np.array([-0.215, -0.215, 0.375]) + place
    parts.append(
        Patch(
            soil.astype(np.float32),
            np.array([0.43, 0, 0], dtype=np.float32),
            np.array([0, 0.43, 0], dtype=np.float32),
            "soil",
            round=True,
        )
    )
    trunk = place + np.array([[0, 0, 0.36], [0.01, 0.01, 0.5], [0, 0, 0.66]])
    parts.append(tube(trunk, 0.022, "bark", 8))
    for _ in range(420):
        out = rng.normal(size=3)
        out /= np.linalg.norm(out)
        base = place + (0, 0, 0.80) + out * 0.30 * rng.uniform(0.72, 1.0)
        tint = mix(color("7fa060"), color("d2dc90"), float(rng.random()))
        size = rng.uniform(0.07, 0.11)
        parts.append(
            leaf(base, out + rng.normal(0, 0.6, 3), out, size, 0.55 * size, rng.uniform(0, 0.8), "leaf", tint, 3)
        )
    return parts
