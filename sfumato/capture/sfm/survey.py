"""A look at every photo before the work: whether it can be read, whose camera it shares, how sharp it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.capture.photos import map_photos, read_header
from sfumato.core.errors import InputError
from sfumato.core.image import read_image
from sfumato.core.progress import Progress

__all__ = ["THUMBNAIL", "Look", "Refused", "look_at_all", "sharpness"]

THUMBNAIL = 128  # pixels, the longer side
LONGER_SIDE = 1600  # pixels; larger photos are judged as they look at this size
FINE, COARSE = 2, 8  # pixels a block, between which sharpness is told; single pixels hold noise
EDGES = 0.01  # share of the coarse blocks that lie on the strongest edges; of finer ones fewer lie on the same edges


_Gray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Look:
    """A photo that can be read."""

    name: str
    camera: tuple[object, ...]  # equal for photos that share a camera: folder, size and EXIF's words of the lens
    size: tuple[int, int]  # width, height in pixels
    sharpness: float  # 0.8 and more: sharp; 0.5: blurred by two pixels; 0.25: by many
    contrast: float  # of the strongest edges, in [0, 1]; 0: one color
    thumbnail: NDArray[np.uint8]  # (h, w, 3)


@dataclass(frozen=True)
class Refused:
    """A photo that cannot be read."""

    name: str
    why: str


def look_at_all(photos: Path, names: Sequence[str], progress: Progress) -> tuple[list[Look], list[Refused]]:
    """Decode every photo once: better to learn now than after the solving that one cannot be trained on."""

    def look(name: str) -> Look | Refused:
        if not name.isascii() and name != name.encode("utf-8", "ignore").decode("utf-8"):
            return Refused(name, "its name is not UTF-8: rename it")  # pycolmap takes no other
        try:
            header = read_header(photos / name)
            pixels = read_image(photos / name)[..., :3].numpy()
        except InputError as error:
            return Refused(name, str(error))
        camera = (Path(name).parent.as_posix(), header.width, header.height, header.lens)
        sharp, contrast = sharpness(pixels)
        return Look(name, camera, (header.width, header.height), sharp, contrast, _thumbnail(pixels))

    looks = map_photos(look, names, "checking photos", progress)
    return [one for one in looks if isinstance(one, Look)], [one for one in looks if isinstance(one, Refused)]


def sharpness(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """How sharp the edges of a (H, W, 3) photo are along the axis where they are least so, and their contrast.

    A sharp edge is as steep between blocks of 2 pixels as between blocks of 8; a blurred one is a quarter as steep.
    """
    step = max(1, -(-max(pixels.shape[:2]) // LONGER_SIDE))
    gray = pixels[..., 1] / np.float32(255)  # green is most of what is seen, and no sum is needed
    coarse = _edges(_blocks(gray, COARSE * step), EDGES)
    fine = _edges(_blocks(gray, FINE * step), EDGES * FINE / COARSE)
    return min(a / max(b, 1e-6) for a, b in zip(fine, coarse, strict=True)), max(coarse)


def _blocks(gray: _Gray, size: int) -> _Gray:
    """Means over blocks; what is left at the ends is dropped."""
    rows, columns = (max(1, side // size) for side in gray.shape)
    part = gray[: rows * size, : columns * size]
    height, width = part.shape[0] // rows, part.shape[1] // columns  # `size`, but for photos smaller than a block
    means: _Gray = part[: rows * height, : columns * width].reshape(rows, height, columns, width).mean((1, 3))
    return means


def _edges(gray: _Gray, share: float) -> tuple[float, float]:
    """The difference between neighbours that only a share of them exceeds, down and across."""
    found = [np.abs(np.diff(gray, axis=axis)) for axis in (0, 1)]
    return tuple(float(np.quantile(one, 1 - share)) if one.size else 0.0 for one in found)  # type: ignore[return-value]


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2.0)
    return np.array(picture)
