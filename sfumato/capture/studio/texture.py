"""Textures: painted pictures in, antialiased colors at any place and scale out."""

from dataclasses import dataclass

import numpy as np

from sfumato.capture.studio.noise import Array

__all__ = ["Texture", "bilinear"]


def bilinear(picture: Array, u: Array, v: Array) -> Array:
    """(n, C) of `picture` (H, W, C) at u, v in [0, 1]: around the edge along u, up to it along v."""
    height, width = picture.shape[:2]
    x = u * width - np.float32(0.5)
    y = np.clip(v * height - np.float32(0.5), 0, height - 1)
    left, top = np.floor(x), np.floor(y)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    x0 = left.astype(np.int64) % width
    x1 = np.where(x0 == width - 1, 0, x0 + 1)
    y0 = top.astype(np.int64) * width
    y1 = np.minimum(top.astype(np.int64) + 1, height - 1) * width
    flat = picture.reshape(height * width, -1)
    upper = flat[y0 + x0] * (1 - fx) + flat[y0 + x1] * fx
    lower = flat[y1 + x0] * (1 - fx) + flat[y1 + x1] * fx
    return np.asarray(upper + fy * (lower - upper))


@dataclass(frozen=True)
class Texture:
    """A picture and its halvings (mipmaps, Williams 1983)."""

    levels: tuple[Array, ...]  # each (H, W, 3) linear light, half the one before

    @classmethod
    def of(cls, picture: Array) -> "Texture":
        """All halvings of `picture` (H, W, 3) down to 2 texels a side."""
        levels: list[Array] = [np.ascontiguousarray(picture, dtype=np.float32)]
        while min(levels[-1].shape[:2]) >= 4:
            p = levels[-1]
            p = p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2]
            levels.append((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4)
        return cls(tuple(levels))

    def at(self, u: Array, v: Array, footprint: Array) -> Array:
        """(n, 3) at u, v in [0, 1], averaged over about `footprint` (n,) texels of the first level."""
        level = np.log2(np.maximum(footprint, 1e-6)) + 0.5
        level = np.clip(level.astype(np.int64), 0, len(self.levels) - 1)
        colors = np.empty((len(u), 3), dtype=np.float32)
        for k in range(int(level.min(initial=99)), int(level.max(initial=-1)) + 1):
            rows = np.flatnonzero(level == k)
            colors[rows] = bilinear(self.levels[k], u[rows], v[rows] % 1)
        return colors
