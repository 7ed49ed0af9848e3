"""Depth maps that were captured beside photos, to colored points for training to start from."""

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.capture.photos import map_photos
from sfumato.capture.shot import Shot, points_from_arrays
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.image import opened
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import Points

__all__ = ["DepthMap", "points_of"]

POINTS = 200_000  # over all photos: about what structure from motion finds in a room
_RELIABLE = 5.0  # metres; what the LiDAR of a phone reaches
_CONFIDENT = 255  # the highest of the levels 0, 54 and 255

_Row = tuple[NDArray[np.float64], NDArray[np.uint8]]


@dataclass(frozen=True)
class DepthMap:
    """The depth map of a pinhole shot: 16-bit millimetres along the optical axis, 0 where unknown."""

    shot: Shot
    depth: Path  # of the photo's shape, but smaller
    confidence: Path | None  # 8 bits, of the same size


def points_of(maps: Sequence[DepthMap], progress: Progress = silent) -> Points | None:
    """About POINTS points in the world on a grid in every map, where depth is reliable; None when there are none.

    Maps that cannot be read are passed over with one warning (SfumatoWarning); those of photos that cannot be read
    without a word, for these are reported when they are developed.
    """
    share = math.ceil(POINTS / max(1, len(maps)))
    rows = map_photos(lambda item: _unproject(item, share), maps, "reading depth maps", progress)
    unread = [item.depth for item, row in zip(maps, rows, strict=True) if row is None]
    if unread:
        told = f"{len(unread)} depth maps cannot be read (first: {unread[0]})"
        warnings.warn(f"{told}; points come from the others", SfumatoWarning, stacklevel=3)
    kept = [row for row in rows if row is not None and len(row[0])]
    if not kept:
        return None
    return points_from_arrays(np.concatenate([xyz for xyz, _ in kept]), np.concatenate([rgb for _, rgb in kept]))


def _unproject(item: DepthMap, share: int) -> _Row | None:
    """(M, 3) world points and (M, 3) colors of a map, M about `share` or less; None when it cannot be read."""
    with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        with Image.open(item.depth) as file:
            depth = np.asarray(file).astype(np.float64) / 1000
        if depth.ndim != 2:
            return None
        height, width = depth.shape
        try:
            colors = _small(item.shot.path, width, height)
        except InputError:
            return np.empty((0, 3)), np.empty((0, 3), dtype=np.uint8)
        usable = (depth > 0) & (depth <= _RELIABLE) & _trusted(item.confidence, width, height)
        step = max(1, math.ceil(math.sqrt(usable.sum() / share)))
        y, x = (places.ravel() for places in np.mgrid[step // 2 : height : step, step // 2 : width : step])
        seen = usable[y, x]
        x, y = x[seen], y[seen]
        z = depth[y, x]
        lens = item.shot.lens
        (fx, fy), (cx, cy) = lens.focals, lens.center
        u, v = (x + 0.5) * lens.width / width, (y + 0.5) * lens.height / height
        inside = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], axis=1)
        viewmat = item.shot.viewmat
        return (inside - viewmat[:3, 3]) @ viewmat[:3, :3], colors[y, x]
    return None


def _small(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) colors of a photo, decoded no larger than needed. Raises InputError when it is broken."""
    with opened(path) as file:
        file.draft("RGB", (width, height))
        return np.asarray(file.convert("RGB").resize((width, height), Image.Resampling.BOX))


def _trusted(path: Path | None, width: int, height: int) -> NDArray[np.bool_]:
    """(height, width) where the sensor was sure; everywhere when it did not say."""
    if path is not None:
        with Image.open(path) as file:
            if file.size == (width, height):
                levels = np.asarray(file.convert("L"))
                if (levels >= _CONFIDENT).any():
                    return levels >= _CONFIDENT
    return np.ones((height, width), dtype=np.bool_)
