"""Rows of four bytes to lossless WebP images and back: what a SOG keeps its numbers in, a pixel for each row."""

import io
import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from sfumato.core.errors import BackendError, InputError

__all__ = ["MOST_ROWS", "decode", "encode", "image_size", "pixel_rows"]

MOST_SIDE = 16383  # pixels; WebP has 14 bits for a side
MOST_ROWS = (MOST_SIDE // 4 * 4) ** 2  # that `image_size` finds room for
EFFORT = 75  # of 100, of the lossless encoder: at 100 and method 6 files are 1 % smaller, and take 40 times as long
METHOD = 4  # of 6
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, OverflowError)  # what Pillow raises


def image_size(count: int) -> tuple[int, int]:
    """Width and height of the images of `count` Gaussians: nearly square, a width that 4 divides, never empty."""
    width = 4 * max(1, math.ceil(math.sqrt(count) / 4))
    return width, 4 * max(1, math.ceil(count / width / 4))


def encode(rows: NDArray[np.uint8], width: int) -> bytes:
    """(H * width, 4) red, green, blue, alpha to a lossless WebP. Raises BackendError where Pillow has no WebP."""
    if not features.check("webp"):
        raise BackendError("the Pillow installed here cannot write WebP, which SOG consists of; install its wheel")
    image = Image.fromarray(np.ascontiguousarray(rows).reshape(-1, width, 4), "RGBA")
    file = io.BytesIO()  # exact: else colors under an alpha of 0 are lost
    image.save(file, format="WEBP", lossless=True, exact=True, quality=EFFORT, method=METHOD)
    return file.getvalue()


def decode(path: Path, name: str, data: bytes, most: int) -> NDArray[np.uint8]:
    """(H, W, 4) of a WebP or PNG image of at most `most` pixels, which are counted before memory is taken.

    path and name are for the sentence. Raises InputError when the image is damaged, of another kind, or larger.
    """
    size = _size_told(data)
    if size is None:
        raise InputError(f"{path} is damaged: {name} is no WebP or PNG image; copy or download it again")
    if size[0] * size[1] > most:
        raise InputError(f"{path} is damaged: {name} has {size[0]} x {size[1]} pixels; wanted {most} at most")
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            if image.size != size:
                raise ValueError("two sizes")
            return np.asarray(image.convert("RGBA"))
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} is damaged: {name} cannot be decoded ({str(error)[:60]}); copy or download it again"
        ) from None


def pixel_rows(path: Path, name: str, image: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """(count, 4), row by row from the top left. Raises InputError when the image has fewer pixels."""
    height, width = image.shape[:2]
    if width * height < count:
        raise InputError(
            f"{path} is damaged: {name} has {width} x {height} pixels; wanted one for each of {count} Gaussians"
        )
    return image.reshape(-1, 4)[:count]


def _size_told(data: bytes) -> tuple[int, int] | None:
    """Width and height in the first bytes of a still or extended WebP, or a PNG.

    Pillow's decoder of WebP takes memory for the whole picture before it can be asked.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return struct.unpack(">II", data[16:24])
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind, body = data[12:16], data[20:]
    if kind == b"VP8L":  # RFC 9649: a signature, then two sides less one in 14 bits each
        bits = int.from_bytes(body[1:5], "little")
        return (bits & MOST_SIDE) + 1, (bits >> 14 & MOST_SIDE) + 1
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return width & MOST_SIDE, height & MOST_SIDE
    return None
