"""A look at every photo before the work: whether it can be read, whose camera it shares, how sharp it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.capture.photos import Header, map_photos, read_header
from sfumato.core.errors import InputError
from sfumato.core.image import read_image
from sfumato.core.limits import threads_for
from sfumato.core.progress import Progress

__all__ = ["BYTES", "THUMBNAIL", "Look", "Refused", "look_at_all", "sharpness"]

THUMBNAIL = 128  # pixels, the longer side
LONGER_SIDE = 1600  # pixels; larger photos are judged as they look at this size
FINE, COARSE = 2, 8  # pixels a block, between which sharpness is told; single pixels hold noise
BYTES = 20  # a pixel while a photo is decoded: Pillow's four, again in sRGB, three for NumPy; 16 bits take more
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
    """Decode every photo once: better to learn now than after the solving that one cannot be trained on.

    As many at once as memory has room for.
    """

    def read(name: str) -> Header | Refused:
        if not name.isascii() and name != name.encode("utf-8", "ignore").decode("utf-8"):
            return Refused(name, "its name is not UTF-8: rename it")  # pycolmap takes no other
        try:
            return read_header(photos / name)
        except InputError as error:
            return Refused(name, str(error))

    def look(name: str) -> Look | Refused:
        header = headers[name]
        try:
            return header if isinstance(header, Refused) else _look(photos, name, header)
        except InputError as error:
            return Refused(name, str(error))

    headers = dict(zip(names, map_photos(read, names, "reading headers", progress), strict=True))
    sizes = [_decoded(name, header) for name, header in headers.items() if isinstance(header, Header)]
    looks = map_photos(look, names, "checking photos", progress, threads_for(BYTES * max(sizes, default=1)))
    return [one for one in looks if isinstance(one, Look)], [one for one in looks if isinstance(one, Refused)]


def _look(photos: Path, name: str, header: Header) -> Look:
    pixels = read_image(photos / name, _shrink(name, header)).numpy()
    camera = (Path(name).parent.as_posix(), header.width, header.height, header.lens)
    sharp, contrast = sharpness(pixels, (header.height, header.width))
    return Look(name, camera, (header.width, header.height), sharp, contrast, _thumbnail(pixels))


def _shrink(name: str, header: Header) -> int:
    """How many times smaller a JPEG is decoded: two or more of its pixels then fill the blocks of `sharpness`."""
    block = FINE * _step((header.height, header.width))
    is_jpeg = Path(name).suffix.lower() in (".jpg", ".jpeg")
    return next((times for times in (8, 4, 2) if is_jpeg and block >= 2 * times and block % times == 0), 1)


def _decoded(name: str, header: Header) -> int:
    """Pixels that are decoded."""
    return header.width * header.height // _shrink(name, header) ** 2


def _step(size: tuple[int, int]) -> int:
    return max(1, -(-max(size) // LONGER_SIDE))


def sharpness(pixels: NDArray[np.uint8], size: tuple[int, int] | None = None) -> tuple[float, float]:
    """How sharp the edges of a (H, W, 3) photo are along the axis where they are least so, and their contrast.

    size: height and width of the photo when it was decoded at a fraction of them.

    A sharp edge is as steep between blocks of 2 pixels as between blocks of 8; a blurred one is a quarter as steep.
    """
    whole = size or pixels.shape[:2]
    width = max(1, round(FINE * _step((whole[0], whole[1])) * max(pixels.shape[:2]) / max(whole)))
    blocks = _blocks(pixels[..., 1], width) / np.float32(255)  # green is most of what is seen, and no sum is needed
    fine = _edges(blocks, EDGES * FINE / COARSE)
    coarse = _edges(_blocks(blocks, COARSE // FINE), EDGES)
    return min(a / max(b, 1e-6) for a, b in zip(fine, coarse, strict=True)), max(coarse)


def _blocks(gray: NDArray[Any], size: int) -> _Gray:
    """Means over blocks, float32; what is left at the ends is dropped."""
    rows, columns = (max(1, side // size) for side in gray.shape)
    part = gray[: rows * size, : columns * size]
    height, width = part.shape[0] // rows, part.shape[1] // columns  # `size`, but for photos smaller than a block
    means: _Gray = (
        part[: rows * height, : columns * width].reshape(rows, height, columns, width).mean((1, 3), dtype=np.float32)
    )
    return means


def _edges(gray: _Gray, share: float) -> tuple[float, float]:
    """The difference between neighbours that only a share of them exceeds, down and across."""
    found = [np.abs(np.diff(gray, axis=axis)) for axis in (0, 1)]
    return tuple(float(np.quantile(one, 1 - share)) if one.size else 0.0 for one in found)  # type: ignore[return-value]


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, max(pixels.shape[:2]) // (8 * THUMBNAIL))  # of what is much larger, some pixels are enough
    picture = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step, :3]))
    picture.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2.0)
    return np.array(picture)
