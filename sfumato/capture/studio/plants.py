"""Plants: branches, roses, leaves and bushes, each of many small curved leaves that let light through."""

import numpy as np

from sfumato.capture.studio.noise import Array, color, mix
from sfumato.capture.studio.shapes import Mesh, frame_of, lathe, leaf, tube

__all__ = ["bouquet", "fallen_petals", "shrub"]

UP = np.array([0.0, 0.0, 1.0])


def bouquet(rng: np.random.Generator, mouth: Array) -> list[Mesh]:
    """Olive branches and roses that spread from the `mouth` (3,) of a vase."""
    parts: list[Mesh] = []
    for k in range(17):
        angle = 2 * np.pi * (k * 0.381966 + 0.03 * rng.normal())
        flowers = k % 2 == 0
        lean, tall = (
            (rng.uniform(0.08, 0.22), rng.uniform(0.14, 0.30))
            if flowers
            else (rng.uniform(0.10, 0.28), rng.uniform(0.20, 0.42))
        )
        t = np.linspace(0, 1, 12)[:, None]
        out = np.array([np.cos(angle), np.sin(angle), 0])
        wiggle = 0.02 * np.sin(6 * t + rng.uniform(0, 6)) * np.array([-out[1], out[0], 0])
        path = mouth + 0.03 * t * out + lean * t**1.7 * out + (tall * t - 0.10 * lean * t**3) * UP + wiggle
        parts.append(tube(path, np.linspace(0.0035, 0.0018, 12), "bark"))
        parts += _sprig(rng, path[:9]) + _rose(rng, path[-1], path[-1] - path[-3]) if flowers else _sprig(rng, path)
    return parts


def _sprig(rng: np.random.Generator, path: Array) -> list[Mesh]:
    """Leaves in pairs along a branch."""
    leaves: list[Mesh] = []
    tone = rng.uniform(0, 1)
    for t in np.linspace(0.28, 1, 11):
        place = t * (len(path) - 1)
        k = min(int(place), len(path) - 2)
        along = path[k + 1] - path[k]
        base = path[k] + (place - k) * along
        along = along / np.linalg.norm(along)
        spin = rng.uniform(0, 2 * np.pi)
        for turn in (spin, spin + np.pi):
            direction = frame_of(along) @ np.array([np.cos(turn), np.sin(turn), 0]) + along * rng.uniform(0.3, 1.0)
            tint = mix(color("c8d8a8"), color("f4f0c8"), float(np.clip(tone + rng.normal(0, 0.3), 0, 1)))
            size = rng.uniform(0.045, 0.075) * (1.1 - 0.35 * t)
            leaves.append(leaf(base, direction, UP, (size, 0.32 * size), rng.uniform(0.1, 0.9), "leaf", tint))
    return leaves


def _rose(rng: np.random.Generator, center: Array, axis: Array) -> list[Mesh]:
    """Whorls of petals, the inner ones closed, the outer ones open."""
    frame = frame_of(axis + rng.normal(0, 0.25 * np.linalg.norm(axis), 3))
    tint = color(["f7cfc0", "f2a890", "fbeadb", "e07a70", "f6c25e"][rng.integers(5)])
    petals: list[Mesh] = []
    whorls = ((4, 3.4, 0.040, -1.2), (5, 2.0, 0.045, -1.0), (6, 1.15, 0.050, -0.7), (7, 0.6, 0.053, -0.1))
    for ring, (count, rise, size, curl) in enumerate(whorls):
        for k in range(count):
            angle = 2 * np.pi * (k + 0.5 * ring) / count + rng.normal(0, 0.1)
            direction = frame @ np.array([np.cos(angle), np.sin(angle), rise])
            shade = tint * (0.80 + 0.07 * ring) * rng.uniform(0.92, 1.05)
            petals.append(leaf(center, direction, frame[:, 2], (size, 1.05 * size), curl, "petal", shade))
    return petals


def fallen_petals(rng: np.random.Generator, center: Array, count: int) -> list[Mesh]:
    """Petals and leaves that lie around `center` (3,) on a table."""
    parts: list[Mesh] = []
    for k in range(count):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.36)
        base = center + np.array([radius * np.cos(angle), radius * np.sin(angle), 0.006])
        if np.hypot(*base[:2]) > 0.55:
            continue
        direction = np.array([*rng.normal(size=2), 0.1])
        tint = color(["f2a890", "fbeadb", "e07a70", "f6c25e"][rng.integers(4)])
        if k % 3:
            parts.append(leaf(base, direction, UP, (0.038, 0.030), rng.uniform(-0.2, 0.5), "petal", tint))
        else:
            parts.append(leaf(base, direction, UP, (0.055, 0.018), 0.3, "leaf", color("dfe0a8")))
    return parts


def shrub(rng: np.random.Generator) -> list[Mesh]:
    """A clipped bush in a clay pot, on the floor at the origin."""
    outline = [(0, 0.01), (0.15, 0), (0.16, 0.02), (0.21, 0.28), (0.20, 0.32), (0.245, 0.34), (0.25, 0.40)]
    outline += [(0.22, 0.40), (0.21, 0.37)]
    parts = [lathe(outline, "clay", 40, 30), lathe([(0.215, 0.375), (0.1, 0.385), (0, 0.38)], "soil", 24, 5)]
    parts.append(tube(np.array([[0, 0, 0.36], [0.01, 0.01, 0.5], [0, 0, 0.66]]), 0.022, "bark", 8))
    for _ in range(480):
        out = rng.normal(size=3)
        out /= np.linalg.norm(out)
        base = 0.72 * UP + 0.31 * out * rng.uniform(0.70, 1.0)
        tint = mix(color("7fa060"), color("d8e094"), float(rng.random()))
        size = rng.uniform(0.07, 0.115)
        parts.append(
            leaf(base, out + rng.normal(0, 0.6, 3), out, (size, 0.55 * size), rng.uniform(0, 0.8), "leaf", tint, 3)
        )
    return parts
