"""Bytes a Gaussian and decibels lost, per scene and format, to a picture (SVG) with a panel per scene."""

import math
from html import escape

__all__ = ["plot"]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 330, 300, 58, 34, 12, 46  # of a panel, and of what surrounds its axes, px
BYTES = (8.0, 320.0)  # the horizontal axis, logarithmic
LOST = (0.001, 10.0)  # dB, the vertical axis, logarithmic; what lost less, or gained, lies at its lower end
COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#444444", "#0aa5b5", "#c2185b")


def plot(points: list[tuple[str, str, float, float]]) -> str:
    """An SVG of (scene, format, bytes a Gaussian, dB lost); down and to the left is better."""
    scenes = list(dict.fromkeys(scene for scene, *_ in points))
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(dict.fromkeys(name for _, name, *_ in points))}
    panels = [
        _panel(i, scene, [point[1:] for point in points if point[0] == scene], colors) for i, scene in enumerate(scenes)
    ]
    width = WIDTH * len(scenes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(panels)}</svg>\n"
    )


def _panel(number: int, scene: str, points: list[tuple[str, float, float]], colors: dict[str, str]) -> str:
    parts = [f'<g transform="translate({number * WIDTH} 0)">']
    parts.append(f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14" fill="#222">{escape(scene)}</text>')
    for value in (10, 20, 50, 100, 200):
        x = _x(value)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle" fill="#555">{value}</text>')
    for value in (0.001, 0.01, 0.1, 1, 10):
        y = _y(value)
        label = f"{value:g}" if value > LOST[0] else f"≤ {value:g}"
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{label}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle" fill="#222">bytes a Gaussian</text>')
    if number == 0:
        side = f"translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"
        parts.append(f'<text transform="{side}" text-anchor="middle" fill="#222">dB lost on held-out photos</text>')
    taken: list[tuple[float, float, float]] = []
    for name, size, lost in sorted(points, key=lambda point: point[1]):
        x, y = _x(size), _y(lost)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colors[name]}"/>')
        parts.append(_label(name, x, y, colors[name], taken))
    return "".join(parts) + "</g>"


def _label(name: str, x: float, y: float, color: str, taken: list[tuple[float, float, float]]) -> str:
    """The format's name beside its point, moved up until it covers no other one."""
    width = 6.0 * len(name)
    right = x + 7 + width < WIDTH - RIGHT
    left = x + 7 if right else x - 7 - width
    line = y + 4
    while any(abs(line - other) < 11 and left < end and start < left + width for start, end, other in taken):
        line -= 11
    taken.append((left, left + width, line))
    place = f'x="{x + 7:.1f}"' if right else f'x="{x - 7:.1f}" text-anchor="end"'
    return f'<text {place} y="{line:.1f}" fill="{color}">{escape(name)}</text>'


def _x(size: float) -> float:
    share = math.log(min(max(size, BYTES[0]), BYTES[1]) / BYTES[0]) / math.log(BYTES[1] / BYTES[0])
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(lost: float) -> float:
    share = math.log(min(max(lost, LOST[0]), LOST[1]) / LOST[0]) / math.log(LOST[1] / LOST[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
