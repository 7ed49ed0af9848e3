"""Objects: where on the table a thing stands in, the shapes it is made of out."""

import numpy as np

from sfumato.capture.studio.noise import Array, fractal
from sfumato.capture.studio.shapes import Ball, Mesh, Patch, box, frame_of, lathe, sheet, tube

__all__ = ["Part", "armillary_sphere", "books", "candle", "chart", "egg_cup", "fruit_bowl", "orange", "plate", "vase"]

Part = Mesh | Patch | Ball
UPRIGHT = np.eye(3)


def vase(place: Array) -> tuple[Mesh, Array]:
    """A majolica vase, and the middle (3,) of its mouth."""
    outline = [(0, 0.004), (0.055, 0), (0.062, 0.012), (0.055, 0.03), (0.092, 0.10), (0.108, 0.17), (0.088, 0.24)]
    outline += [(0.050, 0.295), (0.046, 0.32), (0.066, 0.352), (0.060, 0.352), (0.040, 0.32), (0.042, 0.29)]
    return lathe(outline, "majolica", 72, 64).moved(UPRIGHT, place), place + np.array([0, 0, 0.30])


def books(place: Array) -> tuple[list[Patch], Array]:
    """Two books, and the middle (3,) of the upper cover."""
    lower = {"top": "green", "front": "pages", "side": "pages"}
    upper = {"top": "red", "front": "pages", "side": "pages"}
    low, high = place + np.array([0, 0, 0.026]), place + np.array([0.01, 0, 0.072])
    pile = [*box(low, (0.30, 0.22, 0.05), 0.5, lower), *box(high, (0.26, 0.19, 0.042), 0.15, upper)]
    return pile, high + np.array([-0.01, 0, 0.021])


def armillary_sphere(place: Array) -> list[Part]:
    """Rings of brass around a small globe: the circles of the heavens."""
    stand = [(0.062, 0), (0.066, 0.012), (0.035, 0.022), (0.014, 0.035), (0.022, 0.055), (0.010, 0.075), (0.008, 0.11)]
    center = place + np.array([0, 0, 0.245])
    tilt = frame_of(np.array([0.35, 0.18, 0.92]))
    poles = tilt[:, 2]
    parts: list[Part] = [
        lathe(stand, "brass", 40, 28).moved(UPRIGHT, place),
        tube(center + np.linspace(-0.165, 0.165, 5)[:, None] * poles, 0.0028, "brass", 8),
        Ball(center, 0.042, tilt, "earth"),
        _band(0.148, 0.014).moved(frame_of(np.array([1.0, 0.4, 0.0])), center),
    ]
    for radius, width, *axis in (
        (0.140, 0.016, 0, 0, 1),
        (0.134, 0.012, 1, 0, 0),
        (0.134, 0.012, 0, 1, 0),
        (0.128, 0.020, 0, 0.40, 0.92),
        (0.124, 0.009, 0.7, 0.7, 0),
    ):
        parts.append(_band(radius, width).moved(tilt @ frame_of(np.array(axis, dtype=np.float64)), center))
    return parts


def _band(radius: float, width: float) -> Mesh:
    """A flat ring around z, `width` meters tall and 3 mm thick."""
    h, t = width / 2, 0.0015
    return lathe([(radius - t, h), (radius - t, -h), (radius + t, -h), (radius + t, h), (radius - t, h)], "brass", 72)


def fruit_bowl(rng: np.random.Generator, place: Array) -> list[Part]:
    """Oranges in a bowl of wire."""
    angle, t = np.linspace(0, 2 * np.pi, 49), np.linspace(0, 1, 9)
    parts: list[Part] = []
    for level in np.linspace(0, 1, 5):
        radius, height = _bowl(level)
        circle = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(49, height)], axis=1)
        parts.append(tube(place + circle, 0.0045 if level == 1 else 0.003, "brass"))
    radius, height = _bowl(t)
    for a in np.linspace(0, 2 * np.pi, 20, endpoint=False):
        rib = np.stack([radius * np.cos(a), radius * np.sin(a), height], axis=1)
        parts.append(tube(place + rib, 0.0027, "brass", 5))
    spots = [(0.072, a, 0.052) for a in np.arange(5) * 2 * np.pi / 5]
    spots += [(0.040, a, 0.112) for a in 0.5 + np.arange(3) * 2 * np.pi / 3]
    for r, a, z in spots:
        parts.append(orange(rng, place + np.array([r * np.cos(a), r * np.sin(a), z]), rng.uniform(0.037, 0.041)))
    return parts


def _bowl(t: Array | float) -> tuple[Array, Array]:
    """Radius and height along a rib of the bowl, from its foot (t = 0) to its rim (t = 1)."""
    t = np.asarray(t)
    return 0.075 + 0.075 * t**0.6, 0.006 + 0.085 * t**1.3


def orange(rng: np.random.Generator, center: Array, radius: float, material: str = "orange") -> Ball:
    """A fruit whose stalk points somewhere up."""
    return Ball(center, radius, frame_of(rng.normal(size=3) + np.array([0, 0, 0.8])), material)


def plate(rng: np.random.Generator, place: Array) -> list[Part]:
    """Lemons and plums on a painted plate."""
    outline = [(0, 0.006), (0.05, 0.006), (0.085, 0.012), (0.13, 0.030), (0.132, 0.034), (0.085, 0.017), (0, 0.011)]
    parts: list[Part] = [lathe(outline[::-1], "plate", 64, 40).moved(UPRIGHT, place)]
    for k, (x, y, radius, material) in enumerate(
        (
            (0.035, 0.02, 0.034, "lemon"),
            (-0.035, 0.03, 0.033, "lemon"),
            (0.0, -0.045, 0.032, "lemon"),
            (0.062, -0.035, 0.022, "plum"),
            (-0.058, -0.028, 0.023, "plum"),
            (0.005, 0.078, 0.022, "plum"),
        )
    ):
        lift = 0.014 + radius + (0.004 if k > 2 else 0)
        parts.append(orange(rng, place + np.array([x, y, lift]), radius, material))
    parts.append(orange(rng, place + np.array([0.0, 0.008, 0.073]), 0.023, "plum"))
    return parts


def candle(place: Array) -> list[Part]:
    """A brass candlestick with a dripping candle."""
    stick = [(0, 0), (0.062, 0), (0.064, 0.008), (0.022, 0.018), (0.012, 0.04), (0.018, 0.06), (0.010, 0.08)]
    stick += [(0.009, 0.12), (0.020, 0.14), (0.034, 0.146), (0.034, 0.152), (0.016, 0.154), (0.0165, 0.175), (0, 0.175)]
    wax = [(0.013, 0.17), (0.0135, 0.20), (0.012, 0.25), (0.0125, 0.30), (0.011, 0.335), (0.006, 0.337), (0, 0.333)]
    wick = place + np.array([[0, 0, 0.33], [0.001, 0, 0.343], [0.003, 0.001, 0.352]])
    return [
        lathe(stick, "brass", 40, 70).moved(UPRIGHT, place),
        lathe(wax, "wax", 24, 24).moved(UPRIGHT, place),
        tube(wick, 0.0014, "bark", 5),
    ]


def egg_cup(place: Array) -> list[Part]:
    """A glazed ball on a foot of marble."""
    foot = [(0.062, 0), (0.064, 0.016), (0.040, 0.028), (0.030, 0.07), (0.036, 0.105), (0.052, 0.118), (0.050, 0.13)]
    foot += [(0, 0.13)]
    ball = Ball(place + np.array([0, 0, 0.194]), 0.068, frame_of(np.array([0.2, 0.3, 1])), "glaze")
    return [lathe(foot, "marble", 40, 40).moved(UPRIGHT, place), ball]


def chart(rng: np.random.Generator, place: Array, turn: float) -> Mesh:
    """A sea chart, turned by `turn` radians, whose corners curl up from the table."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 49), np.linspace(-0.5, 0.5, 37))
    wave = fractal(rng, 37, 49, 2.4, coarsest=1)
    curl = np.maximum(np.hypot(u, v) - 0.42, 0) ** 1.7
    lift = np.maximum(0.004 + 0.0016 * wave + 0.55 * curl * np.where(u * v > 0, 1.0, 0.5), 0.0015)
    x, y = 0.52 * u, 0.39 * v
    points = [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), lift]
    return sheet(np.stack(points, axis=-1) + place, "chart")
