"""Bytes a Gaussian and decibels lost, per scene and format, to a picture (SVG) with a panel per scene."""

import math
from html import escape

__all__ = ["plot"]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 330, 300, 58, 34, 12, 46  # of a panel, and of what surrounds its axes, px
BYTES = (8.0, 320.0)  # the horizontal axis, logarithmic
LOST = (0.001, 10.0)  # dB, the vertical axis, logarithmic; what lost less, or gained, lies at its lower end
COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#444444", "#0aa5b5", "#c2185b")

_Point = tuple[float, float, str]  # px, px, the format's name
_Box = tuple[float, float, float, float]  # left, top, right, bottom, px


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
    groups = _groups([(_x(size), _y(lost), name) for name, size, lost in points])
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y, _ in (point for group in groups for point in group)]
    for group in groups:
        for x, y, name in group:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colors[name]}"/>')
        parts.append(_label(group, colors[group[0][2]] if len(group) == 1 else "#222", taken))
    return "".join(parts) + "</g>"


def _groups(points: list[_Point]) -> list[list[_Point]]:
    """Points that lie upon each other share a label; those alone come first, since they have less choice."""
    groups: list[list[_Point]] = []
    for point in points:
        near = (g for g in groups if math.dist(g[0][:2], point[:2]) < 9)
        group = next(near, None)
        if group is None:
            groups.append([point])
        else:
            group.append(point)
    return sorted(groups, key=len)


def _label(group: list[_Point], color: str, taken: list[_Box]) -> str:
    """The names beside their point: the first place around it where they cover nothing."""
    x, y, _ = group[0]
    text = _joined([name for _, _, name in group])
    width = 5.8 * len(text)
    around = [(8, 0), (-8 - width, 0), (-width / 2, -14), (-width / 2, 14), (8, -14), (8, 14), (-8 - width, -14)]
    around += [(-8 - width, 14), (-width / 2, -26), (-width / 2, 26), (-width + 8, -14), (-width + 8, 14)]
    for right, down in around:
        box = (x + right, y + down - 6, x + right + width, y + down + 6)
        inside = box[0] > LEFT and box[2] < WIDTH - RIGHT and box[1] > TOP and box[3] < HEIGHT - BOTTOM
        if inside and not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken):
            break
    taken.append(box)
    return f'<text x="{box[0]:.1f}" y="{box[1] + 10:.1f}" fill="{color}">{escape(text)}</text>'


def _joined(names: list[str]) -> str:
    """ "SPZ 2, SPZ 3" as "SPZ 2, 3"."""
    parts: list[str] = []
    for name in sorted(names):
        family = name.rsplit(" ", 1)[0] + " "
        shorter = bool(parts) and name != family.strip() and parts[0].startswith(family)
        parts.append(name.removeprefix(family) if shorter else name)
    return ", ".join(parts)


def _x(size: float) -> float:
    share = math.log(min(max(size, BYTES[0]), BYTES[1]) / BYTES[0]) / math.log(BYTES[1] / BYTES[0])
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(lost: float) -> float:
    share = math.log(min(max(lost, LOST[0]), LOST[1]) / LOST[0]) / math.log(LOST[1] / LOST[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
