"""The large pictures: floor, wall and the hills behind, painted from noise; seeds in, (H, W, 3) linear light out."""

import numpy as np

from sfumato.capture.studio.noise import Array, color, fractal, mix, profile, ramp, step

__all__ = ["floor", "hills", "wall"]


def _shuffled(field: Array, cell: np.ndarray, rng: np.random.Generator) -> Array:
    """`field` (H, W) as if each cell of `cell` (H, W) int had been cut from another place of it."""
    height, width = field.shape
    shift = rng.integers(0, max(field.shape), (int(cell.max()) + 1, 2))
    y = (np.arange(height)[:, None] + shift[cell, 0]) % height
    x = (np.arange(width)[None, :] + shift[cell, 1]) % width
    return np.asarray(field[y, x])


def floor(rng: np.random.Generator, texels: int = 1792, tiles: int = 16) -> Array:
    """Terracotta and travertine tiles, each cut from its own stone, with worn mortar and a scatter of petals."""
    veins, grain = fractal(rng, texels, texels, 1.5, 2.5), fractal(rng, texels, texels, 0.9, coarsest=30)
    stains = fractal(rng, texels, texels, 2.2)
    y, x = np.meshgrid(*(np.linspace(0, tiles, texels, endpoint=False, dtype=np.float32),) * 2, indexing="ij")
    x, y = x + 0.012 * stains, y + 0.012 * veins
    row, column = np.floor(y).astype(int) % tiles, np.floor(x).astype(int) % tiles
    cell = row * tiles + column
    vein = _shuffled(veins, cell, rng)
    fleck = _shuffled(grain, cell, rng)
    tone = rng.normal(0, 1, (2, tiles * tiles)).astype(np.float32)[:, cell]
    cream = ramp([(-2.5, "8d7458"), (-0.8, "b79f7c"), (0.4, "cdb994"), (2.5, "e3d5b6")], vein + 0.8 * tone[0])
    clay = ramp([(-2.5, "6b3524"), (-0.8, "96523a"), (0.4, "b06a4a"), (2.5, "c98d68")], 0.8 * vein + 1.0 * tone[0])
    picture = mix(cream, clay, ((row + column) % 2).astype(np.float32))
    picture *= np.exp(0.10 * fleck + 0.05 * tone[1] + 0.10 * stains)[..., None]
    pits = step(1.5, 2.3, fleck + 0.5 * vein)
    picture = mix(picture, color("4d3626"), 0.55 * pits)
    edge = np.minimum(np.minimum(x % 1, 1 - x % 1), np.minimum(y % 1, 1 - y % 1)) + 0.006 * grain
    mortar = mix(color("6a5a48"), color("9c8b74"), np.clip(0.5 + 0.35 * grain, 0, 1))
    return mix(mortar, picture, step(0.018, 0.040, edge))


def wall(rng: np.random.Generator, height: int = 224, width: int = 4096, courses: int = 5) -> Array:
    """A long stone wall of uneven blocks, weathered, with moss growing up from the foot (v = 0)."""
    rough, blotch = fractal(rng, height, width, 1.1, coarsest=6), fractal(rng, height, width, 1.9, coarsest=1)
    y, x = np.meshgrid(
        np.linspace(0, 1, height, dtype=np.float32),
        np.linspace(0, width / height, width, dtype=np.float32),
        indexing="ij",
    )
    rows = (y + 0.012 * blotch) * courses
    row = np.clip(np.floor(rows), 0, courses - 1).astype(int)
    count = 62
    cuts = np.sort((np.arange(count) + rng.uniform(-0.28, 0.28, (courses, count))) * (width / height) / count, axis=1)
    cell, gap = np.zeros_like(row), np.full(x.shape, 9, dtype=np.float32)
    for k in range(courses):
        place = x[0] + 0.01 * rough[height * k // courses]
        index = np.searchsorted(cuts[k], place)
        near = np.stack([np.abs(place - cuts[k][(index - 1) % count]), np.abs(place - cuts[k][index % count])]).min(0)
        cell = np.where(row == k, k * count + index[None] % count, cell)
        gap = np.where(row == k, near[None], gap)
    tone = rng.normal(0, 1, (2, courses * count + 1)).astype(np.float32)[:, cell]
    stone = ramp(
        [(-2.5, "5d5345"), (-1, "857862"), (0, "a39479"), (1, "bba98a"), (2.5, "d3c4a4")],
        0.9 * _shuffled(blotch, cell, rng) + 0.9 * tone[0] + 0.35 * rough,
    )
    stone = stone * mix(np.ones(3, np.float32), color("f4c9a4"), np.clip(0.5 * tone[1], 0, 1))
    joint = np.minimum(gap, np.minimum(rows % 1, 1 - rows % 1) / courses) + 0.004 * rough
    picture = mix(color("4b4136"), stone, step(0.004, 0.020, joint))
    moss = step(0.5, 1.6, blotch + 0.4 * rough + 1.9 * (0.35 - y))
    return mix(picture, mix(color("3c4423"), color("75793c"), np.clip(0.5 + 0.4 * rough, 0, 1)), 0.75 * moss)


def hills(
    rng: np.random.Generator, height: int = 640, width: int = 3584, low: float = -6.0, high: float = 9.0
) -> Array:
    """All around, ridge behind ridge dissolving into the air; the first row is `low` meters high, the last `high`."""
    z = np.linspace(low, high, height, dtype=np.float32)[:, None]
    clouds = fractal(rng, height, width, 1.7, 2.8, coarsest=1.5)
    wisps = fractal(rng, height, width, 1.2, 2.0, coarsest=6)
    bank = step(-0.4, 1.1, clouds + 0.35 * wisps + 0.3 * np.exp(-(((z - 5) / 2.2) ** 2)))
    lit = np.clip(0.55 + 0.35 * (np.roll(clouds, -9, axis=1) - clouds) / 0.25 + 0.22 * wisps, 0, 1)
    sky = ramp([(0, "f4dcb0"), (2.4, "e6d3b8"), (4.2, "a9c4d4"), (9, "6a97c0")], np.broadcast_to(z, (height, width)))
    picture = mix(sky, mix(color("b3a7a6"), color("fff8ea"), lit), 0.9 * bank)
    rough, soft = fractal(rng, height, width, 1.1, 1.4, coarsest=5), fractal(rng, height, width, 1.7, 2.0, coarsest=3)
    tones = ["a9bac4", "91a8b0", "7c978f", "6d8566", "5e7345", "4d6034", "3b4a26"]
    bases, rises = [2.9, 2.3, 1.5, 0.7, -0.2, -1.3, -2.6], [0.75, 0.6, 0.5, 0.42, 0.4, 0.35, 0.3]
    for k, (tone, base, rise) in enumerate(zip(tones, bases, rises, strict=True)):
        near = k / (len(tones) - 1)
        crest = base + rise * profile(rng, width, 1.5 - 0.35 * near, coarsest=3)
        ground = _ridge(rng, z, near, crest, color(tone), (rough, soft))
        edge = crest + _trees(rng, width, near) - z
        cover = step(-0.012, 0.012, edge)
        top = int(np.argmax(cover.max(axis=1)[::-1] > 0))  # nothing of the ridge reaches the rows above
        rows = slice(0, height - top)
        picture[rows] = mix(picture[rows], ground[rows], cover[rows])
    return picture


def _ridge(
    rng: np.random.Generator, z: Array, near: float, crest: Array, tone: Array, fields: tuple[Array, Array]
) -> Array:
    """(H, W, 3) the slopes below `crest` (W,); `near` is 0 for the farthest ridge and 1 for the nearest."""
    rough, soft = (np.roll(field, rng.integers(0, field.shape), axis=(0, 1)) for field in fields)
    other = np.roll(soft, rng.integers(0, soft.shape), axis=(0, 1))
    relief = (0.4 + 0.6 * near) * rough + (0.8 - 0.4 * near) * soft
    lit = tone * np.exp((0.06 + 0.26 * near) * relief)[..., None]
    groves = step(-0.3, 0.9, soft + 0.5 * rough)
    lit = mix(lit, lit * mix(color("d8e0dc"), color("5d7a3c"), near), 0.7 * groves)
    lit = mix(
        lit,
        mix(color("d2cfb8"), color("c2a55a"), near) * np.exp(0.1 * rough)[..., None],
        (0.2 + 0.25 * near) * step(0.6, 1.4, other),
    )
    mist = (0.8 - 0.62 * near) * step(0.2, 1.5, np.clip((crest - z) / (0.9 + 0.5 * near), 0, 2) + 0.15 * soft)
    return mix(lit, color("e9e2cf"), 0.85 * mist)


def _trees(rng: np.random.Generator, width: int, near: float) -> Array:
    """(width,) meters that cypresses and round crowns add to a crest; none far away."""
    added = np.zeros(width, dtype=np.float32)
    for _ in range(int(260 * near)):
        slender = rng.random() < 0.45
        half = rng.uniform(3, 5) if slender else rng.uniform(6, 16)
        tall = (rng.uniform(0.5, 1.0) if slender else rng.uniform(0.12, 0.35)) * (0.35 + 0.65 * near)
        x = np.arange(-int(half), int(half) + 1)
        bump = tall * np.sqrt(np.maximum(1 - (x / (half + 1)) ** 2, 0)) ** (1.5 if slender else 0.8)
        place = (rng.integers(width) + x) % width
        added[place] = np.maximum(added[place], bump * rng.uniform(0.85, 1.1, len(x)))
    return added
