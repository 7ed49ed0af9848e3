"""The small pictures: wood, map, glaze, leather, peel and the rest, painted from noise: (H, W, 3) linear light."""

import numpy as np

from sfumato.capture.studio.noise import Array, color, fractal, mix, ramp, step

__all__ = [
    "bark",
    "brass",
    "chart",
    "clay",
    "earth",
    "glaze",
    "leaf_blade",
    "leather",
    "majolica",
    "pages",
    "peel",
    "petal",
    "soil",
    "veined",
    "wood",
]


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """x and y in [0, 1), each (height, width)."""
    y, x = np.meshgrid(
        (np.arange(height, dtype=np.float32) + 0.5) / height,
        (np.arange(width, dtype=np.float32) + 0.5) / width,
        indexing="ij",
    )
    return x, y


def _line(distance: Array, half_width: Array | float, soft: float) -> Array:
    """1 on a line, 0 away from it, for the `distance` to its middle."""
    return 1 - step(-soft, soft, np.abs(distance) - half_width)


def wood(rng: np.random.Generator, texels: int = 1024, planks: int = 9) -> Array:
    """A walnut table top: planks of different trees, rings drawn out along x, pores, a few old stains."""
    x, y = _grid(texels, texels)
    warp, grain = fractal(rng, texels, texels, 1.9, 3.0), fractal(rng, texels, texels, 0.8, 16, coarsest=12)
    stain = fractal(rng, texels, texels, 2.1)
    plank = np.floor(y * planks + 0.004 * warp).astype(int) % planks
    shift = rng.uniform(-40, 40, planks).astype(np.float32)[plank]
    tone = rng.normal(0, 0.55, planks).astype(np.float32)[plank]
    heart = rng.uniform(0.2, 0.8, planks).astype(np.float32)[plank]
    across = y * planks % 1 - heart
    rings = np.sin(34 * np.sqrt(across**2 + (0.10 * (x - 0.4 + 0.02 * shift)) ** 2) + 1.15 * warp + shift)
    figure = 0.75 * rings + 0.6 * grain + 0.5 * warp + tone
    picture = ramp([(-2.6, "36190f"), (-1, "5d3019"), (0.1, "854d2a"), (1.1, "a46a3c"), (2.6, "c58f5c")], figure)
    picture *= np.exp(0.10 * stain)[..., None]
    pores = step(1.5, 2.3, fractal(rng, texels, texels, 0.5, 10, coarsest=40))
    picture = mix(picture, color("26120a"), 0.6 * pores)
    seam = np.minimum(y * planks % 1, 1 - y * planks % 1) / planks
    return mix(color("1d0f08"), picture, step(0.0006, 0.0026, seam))


def chart(rng: np.random.Generator, height: int = 768, width: int = 1024) -> Array:
    """An old sea chart: coasts, contours, depths, a graticule, a wind rose, a scale along the edge."""
    x, y = _grid(height, width)
    x = x * width / height
    land = fractal(rng, height, width, 2.05, coarsest=2) + 0.05
    paper, fibre = fractal(rng, height, width, 1.7), fractal(rng, height, width, 0.6, coarsest=20)
    slope = np.gradient(land, axis=1) - np.gradient(land, axis=0)
    shade = np.clip(slope / slope.std(), -2.5, 2.5)
    ground = ramp([(0, "d9c58f"), (0.5, "cdb27a"), (1.0, "b59560"), (1.7, "96714a"), (2.6, "e8dcc0")], land)
    ground *= np.exp(0.10 * shade)[..., None]
    water = ramp([(-2.4, "86a6a0"), (-1, "9fb9aa"), (-0.3, "bccab0"), (0, "d5d4b4")], land)
    picture = mix(water, ground, step(-0.02, 0.02, land))
    steep = np.maximum(np.hypot(*np.gradient(land)), 0.004)
    contours = _line((land * 5 + 0.5) % 1 - 0.5, 0.8 * 5 * steep.clip(0, 0.02), 0.02)
    picture = mix(picture, color("7a5230"), 0.55 * contours * (land > 0))
    for level in (-0.06, -0.13, -0.21):
        picture = mix(picture, color("46707a"), 0.6 * _line((land - level) / steep, 0.7, 0.6))
    picture = mix(picture, color("3c2414"), 0.9 * _line(land / steep, 1.2, 0.7))
    lines = np.maximum(_line((x * 6) % 1 - 0.5, 0.005, 0.004), _line((y * 6) % 1 - 0.5, 0.005, 0.004))
    picture = mix(picture, color("5a3a28"), 0.45 * lines)
    picture = _wind_rose(picture, x - 1.02, y - 0.68)
    picture = _chart_edge(picture, x, y, width / height)
    picture *= np.exp(0.09 * paper + 0.045 * fibre)[..., None]
    return mix(picture, color("8c6a40"), 0.5 * step(1.3, 2.6, paper))


def _wind_rose(picture: Array, x: Array, y: Array) -> Array:
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    for points, reach, tone in ((16, 0.10, "9a7a4a"), (8, 0.15, "2f5560"), (4, 0.20, "8e2f22")):
        turn = (angle / (2 * np.pi) * points) % 1 - 0.5
        edge = reach * (1 - np.abs(turn) * 2) ** 1.7 + 0.02
        dark = mix(color(tone), color("e9dcb6"), (turn > 0).astype(np.float32) * 0.8)
        picture = mix(picture, dark, 1 - step(-0.002, 0.002, radius - edge))
    rays = _line(((angle / (2 * np.pi) * 32) % 1 - 0.5) * radius * 0.2, 0.0008, 0.0006)
    picture = mix(picture, color("6b4630"), 0.5 * rays * (radius > 0.05))
    return mix(
        picture,
        color("5c2f1c"),
        0.9 * np.maximum(_line(radius - 0.21, 0.003, 0.0015), _line(radius - 0.225, 0.0015, 0.001)),
    )


def _chart_edge(picture: Array, x: Array, y: Array, aspect: float) -> Array:
    edge = np.minimum(np.minimum(x, aspect - x), np.minimum(y, 1 - y))
    along = np.where(np.minimum(x, aspect - x) < np.minimum(y, 1 - y), y, x)
    ticks = mix(color("e6d8b0"), color("4a2f1c"), step(-0.1, 0.1, np.sin(along * 2 * np.pi * 17).astype(np.float32)))
    picture = mix(picture, ticks, ((edge > 0.030) & (edge < 0.046)).astype(np.float32))
    for place, half in ((0.030, 0.002), (0.046, 0.002), (0.056, 0.003)):
        picture = mix(picture, color("4a2f1c"), 0.9 * _line(edge - place, half, 0.001))
    return mix(color("d4bd8a"), picture, step(0.026, 0.030, edge))


def majolica(rng: np.random.Generator, height: int = 768, width: int = 1024) -> Array:
    """Blue and ochre on white tin glaze: tendrils, petals and borders, no two alike; v runs up the vase."""
    x, y = _grid(height, width)
    bend, sway = fractal(rng, height, width, 2.3, coarsest=2), fractal(rng, height, width, 2.3, coarsest=2)
    crackle, blot = fractal(rng, height, width, 1.2, coarsest=16), fractal(rng, height, width, 1.6)
    white = ramp([(-2, "d9dcd6"), (0, "ece9dd"), (2, "f6f1e4")], blot + 0.3 * crackle)
    cobalt = ramp([(-2, "14245e"), (0, "24449a"), (2, "4a78c4")], blot + 0.7 * crackle)
    ochre = ramp([(-2, "a8641c"), (0, "d0922c"), (2, "e8b850")], blot + 0.7 * crackle)
    phase = 2 * np.pi * 5 * x + 0.8 * bend
    scroll = np.sin(phase + 1.7 * np.sin(2 * np.pi * 6 * y + 0.7 * sway)) + 0.55 * np.sin(
        2 * phase - 2 * np.pi * 9 * y + sway
    )
    picture = mix(white, cobalt, 0.92 * _line(scroll - 0.15, 0.20, 0.05))
    picture = mix(picture, cobalt, 0.8 * step(0.95, 1.1, scroll))
    petals = np.sin(phase * 2 + bend) * np.sin(2 * np.pi * 12 * y + sway)
    picture = mix(picture, ochre, 0.95 * step(0.80, 0.88, petals) * (scroll < 0.9))
    dots = np.sin(2 * np.pi * 46 * x + 1.5 * bend) * np.sin(2 * np.pi * 34 * y + 1.5 * sway)
    picture = mix(picture, cobalt, 0.75 * step(0.72, 0.86, dots) * step(0.35, 0.5, -scroll))
    for low, high, teeth in ((0.0, 0.11, 20), (0.60, 0.70, 26), (0.86, 1.0, 18)):
        picture = _border(picture, x, (y - low) / (high - low), teeth, (white, cobalt, ochre), bend)
    cracks = _line(crackle, 0.05, 0.04) * step(-0.4, 0.4, blot)
    return mix(picture, color("8c8a80"), 0.30 * cracks)


def _border(picture: Array, x: Array, y: Array, teeth: int, inks: tuple[Array, Array, Array], bend: Array) -> Array:
    white, cobalt, ochre = inks
    wave = np.abs((x * teeth + 0.12 * bend) % 1 - 0.5) * 2
    band = mix(cobalt, white, step(-0.06, 0.06, 0.75 - 0.5 * wave - y) * step(-0.06, 0.06, y - 0.22))
    eye = (wave - 1) ** 2 + ((y - 0.5) * 1.6) ** 2
    band = mix(band, ochre, 1 - step(0.05, 0.10, eye))
    band = mix(band, ochre, np.maximum(_line(y - 0.08, 0.045, 0.02), _line(y - 0.92, 0.045, 0.02)))
    return mix(picture, band, ((y > 0) & (y < 1)).astype(np.float32))


def leather(rng: np.random.Generator, dark: str, light: str, height: int = 384, width: int = 512) -> Array:
    """A tooled book cover: worn leather, gilded frame, a medallion of knots."""
    x, y = _grid(height, width)
    x = x * width / height
    aspect = width / height
    worn, grain = fractal(rng, height, width, 1.6), fractal(rng, height, width, 0.8, coarsest=14)
    picture = mix(color(dark), color(light), np.clip(0.45 + 0.22 * worn + 0.16 * grain, 0, 1))
    gold = ramp([(-2, "6e4a14"), (0, "b98d35"), (2, "ecd08a")], grain + worn)
    edge = np.minimum(np.minimum(x, aspect - x), np.minimum(y, 1 - y))
    radius, angle = np.hypot(x - aspect / 2, y - 0.5), np.arctan2(y - 0.5, x - aspect / 2)
    tooled = np.maximum(_line(edge - 0.07, 0.008, 0.004), _line(edge - 0.16, 0.005, 0.003))
    knots = np.sin(60 * x + 0.8 * worn) * np.sin(60 * y + 0.8 * grain * 0.3)
    tooled = np.maximum(tooled, step(0.45, 0.6, knots) * ((edge > 0.085) & (edge < 0.148)))
    rose = 0.20 + 0.05 * np.cos(angle * 8 + 0.6 * worn)
    tooled = np.maximum(tooled, _line(radius - rose, 0.010, 0.004))
    tooled = np.maximum(tooled, step(0.3, 0.5, np.cos(angle * 12) * np.cos(radius * 75)) * (radius < rose - 0.02))
    return mix(picture, gold, tooled * step(-1.7, -0.6, worn))


def pages(rng: np.random.Generator, height: int = 96, width: int = 512) -> Array:
    """The cut edges of a book's pages, lines along x."""
    lines = fractal(rng, height, width, 0.7, 30, coarsest=3)
    spots = fractal(rng, height, width, 1.3)
    return ramp([(-2.5, "6e5634"), (-0.5, "b89a68"), (0.5, "d9c293"), (2.5, "f0e2bd")], lines + 0.25 * spots)


def peel(rng: np.random.Generator, tones: tuple[str, ...], height: int = 256, width: int = 512) -> Array:
    """The skin of a fruit, from the darkest to the lightest of four `tones`: pores, a green shoulder, small scars."""
    blush, pores = fractal(rng, height, width, 1.9, coarsest=1), fractal(rng, height, width, 0.7, coarsest=20)
    _, y = _grid(height, width)
    picture = ramp(list(zip((-2.4, -0.6, 0.6, 2.4), tones, strict=True)), blush + 0.5 * pores)
    picture = mix(picture, color("8e9a3a"), 0.6 * step(0.55, 1.6, 0.6 * blush + 1.9 * (y - 0.5)))
    scars = step(1.5, 2.3, fractal(rng, height, width, 1.2, 0.7, coarsest=8))
    picture = mix(picture, color(tones[0]) * 0.6, 0.7 * scars)
    return mix(picture, color("4a3a1c"), step(0.955, 0.975, y))


def clay(rng: np.random.Generator, height: int = 384, width: int = 768) -> Array:
    """A fired pot: turning marks, lime bloom, soot."""
    turned, blotch = fractal(rng, height, width, 1.0, 20, coarsest=4), fractal(rng, height, width, 1.7)
    grit = fractal(rng, height, width, 0.8, coarsest=16)
    picture = ramp(
        [(-2.4, "5e2c1c"), (-0.8, "8e4a30"), (0.5, "b0684a"), (2.4, "d39a78")], 0.5 * turned + 0.7 * blotch + 0.4 * grit
    )
    bloom = step(0.7, 1.9, fractal(rng, height, width, 1.4) + 0.5 * grit)
    picture = mix(picture, color("cdb8a0"), 0.6 * bloom)
    return mix(picture, color("39231a"), 0.6 * step(1.5, 2.3, grit))


def brass(rng: np.random.Generator, height: int = 32, width: int = 1024) -> Array:
    """A brass band with engraved degrees and a patina."""
    x, y = _grid(height, width)
    worn = fractal(rng, height, width, 1.3, coarsest=1)
    picture = ramp([(-2.2, "5a4018"), (-0.6, "a8842f"), (0.5, "c9a548"), (2.2, "e8cf86")], worn)
    fine, coarse = (x * 120) % 1 < 0.30, (x * 24) % 1 < 0.10
    marks = np.where(coarse, (y > 0.12) & (y < 0.72), fine & (y > 0.12) & (y < 0.40))
    return mix(picture, color("33220c"), 0.8 * marks.astype(np.float32))


def earth(rng: np.random.Generator, height: int = 256, width: int = 512) -> Array:
    """A small painted globe."""
    land = fractal(rng, height, width, 2.0, coarsest=1) + 0.1
    fine = fractal(rng, height, width, 1.0, coarsest=8)
    picture = mix(
        ramp([(-2, "1f4650"), (0, "4a8088")], land + 0.3 * fine),
        ramp([(0, "c9a860"), (1, "a2673a"), (2, "e6d6ac")], land + 0.3 * fine),
        step(-0.03, 0.03, land),
    )
    return mix(picture, color("2c1a10"), 0.8 * _line(land, 0.05, 0.03))


def glaze(rng: np.random.Generator, height: int = 256, width: int = 512) -> Array:
    """A running copper glaze, sea green over rust."""
    run, speck = fractal(rng, height, width, 1.7, 0.35, coarsest=1), fractal(rng, height, width, 0.9, coarsest=10)
    picture = ramp(
        [(-2.2, "0e2f33"), (-0.7, "175a58"), (0.4, "2f8a7c"), (1.3, "74b79a"), (2.4, "c98f4e")], run + 0.35 * speck
    )
    return mix(picture, color("3c1f10"), 0.7 * step(1.6, 2.3, speck))


def veined(rng: np.random.Generator, height: int = 512, width: int = 1024) -> Array:
    """Marble, light with gray and rust veins."""
    warp, cloud = fractal(rng, height, width, 2.0, coarsest=2), fractal(rng, height, width, 1.5)
    fine = fractal(rng, height, width, 1.0, coarsest=12)
    picture = ramp([(-2.2, "a79f95"), (-0.5, "cfc8bb"), (0.6, "e2dccf"), (2.2, "f1ece2")], cloud + 0.3 * fine)
    for ink, level, width_of in (("5e5b58", 0.1, 0.05), ("8b6a4a", 0.9, 0.07), ("6e6c6a", -0.8, 0.05)):
        vein = _line(warp + 0.10 * fine - level, width_of + 0.03 * np.clip(cloud, 0, 2), 0.05)
        picture = mix(picture, color(ink), 0.75 * vein)
    return picture


def soil(rng: np.random.Generator, texels: int = 256) -> Array:
    """Potting soil with pebbles."""
    lumps, pebbles = fractal(rng, texels, texels, 1.0, coarsest=5), fractal(rng, texels, texels, 1.1, coarsest=14)
    picture = ramp([(-2.2, "150d08"), (0, "38261a"), (2.2, "6a4e38")], lumps)
    return mix(picture, color("b5a68e"), step(1.2, 1.7, pebbles))


def bark(rng: np.random.Generator, height: int = 64, width: int = 256) -> Array:
    """Stems and twigs."""
    return ramp([(-2, "2f2214"), (0, "6b5232"), (2, "a08a5e")], fractal(rng, height, width, 1.0, coarsest=3))


def leaf_blade(rng: np.random.Generator, height: int = 64, width: int = 32) -> Array:
    """A leaf with its midrib along v and side veins."""
    x, y = _grid(height, width)
    cloud = fractal(rng, height, width, 1.3, coarsest=1)
    picture = ramp([(-2, "3c5228"), (0, "5b7638"), (2, "86a055")], cloud)
    veins = np.maximum(_line(x - 0.5, 0.05, 0.04), 0.5 * _line(((y - np.abs(x - 0.5)) * 7) % 1 - 0.5, 0.10, 0.08))
    return mix(picture, color("c3cf8e"), 0.6 * veins)


def petal(rng: np.random.Generator, height: int = 64, width: int = 64) -> Array:
    """A petal, deeper at its foot (v = 0)."""
    _, y = _grid(height, width)
    streak = fractal(rng, height, width, 1.1, 0.2, coarsest=2)
    return mix(color("e9b9a0"), color("fffaf2"), np.clip(0.35 + 0.8 * y + 0.10 * streak, 0, 1))
