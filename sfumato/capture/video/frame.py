"""One decoded frame of a video in, an upright sRGB picture with square pixels out."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfumato.capture.video.tonemap import BT2020, HLG, PQ, srgb_table

__all__ = ["Matrix", "degrees", "display_matrix", "gray", "rgb", "to_photo", "transfer_of"]

Matrix = tuple[float, float, float, float]  # (a, b, c, d): shown x = a x + c y, shown y = b x + d y, y down
UPRIGHT: Matrix = (1, 0, 0, 1)
BT709, BT601, UNKNOWN = 1, 5, 2  # matrix coefficients of ITU-T H.273; swscale's numbers are the same
MPEG, JPEG = 1, 2  # ranges of samples: 16 to 235, 0 to 255
BILINEAR = 2
CAREFUL = 4 | 0x2000 | 0x4000 | 0x40000  # swscale: bicubic, color at full resolution in and out, accurate rounding


def display_matrix(frame: Any, tag: str | None) -> Matrix:
    """How the frame is to be shown: its display matrix, else `tag`, degrees clockwise as older files have it."""
    for data in frame.side_data:
        if "DISPLAYMATRIX" in str(data.type):
            a, b, _, c, d = (int(value) / 65536 for value in np.frombuffer(bytes(data), dtype=np.int32)[:5])
            return (a, b, c, d) if abs(a * d - b * c) > 1e-3 else UPRIGHT
    try:
        angle = math.radians(float(tag or 0))
    except ValueError:
        return UPRIGHT
    return math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)


def degrees(matrix: Matrix) -> int:
    """The turn clockwise, in [0, 360)."""
    return round(math.degrees(math.atan2(matrix[1], matrix[0]))) % 360


def gray(frame: Any, longer: int) -> NDArray[np.uint8]:
    """(H, W), as stored, with a longer side of that many pixels."""
    scale = longer / max(frame.width, frame.height)
    width, height = (max(16, round(side * scale)) for side in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="gray", interpolation=BILINEAR)
    return np.asarray(small.to_ndarray())


def rgb(frame: Any, aspect: float = 1.0) -> NDArray[np.uint8]:
    """(H, W, 3), as stored, but with square pixels: R'G'B' in the video's own transfer and primaries.

    aspect: width of a stored pixel over its height.
    """
    name = frame.format.name
    is_rgb = frame.format.is_rgb or name.startswith(("pal", "gray", "mono"))
    full = frame.color_range == JPEG or name.startswith("yuvj")
    wide = round(frame.width * aspect) if abs(aspect - 1) > 0.01 else frame.width
    picture = frame.reformat(
        width=wide,
        format="rgb24",
        interpolation=CAREFUL,
        src_colorspace=None if is_rgb else _coefficients(frame),
        src_color_range=None if is_rgb else JPEG if full else MPEG,
        dst_color_range=JPEG,
    )
    return np.asarray(picture.to_ndarray())


def _coefficients(frame: Any) -> int:
    """swscale's number of the matrix between RGB and YUV; what is not said goes by the size, as players do."""
    said = int(frame.colorspace)
    if said in (BT709, 4, BT601, 7, 9):
        return said
    if said in (6, 10):  # as BT.601; as BT.2020
        return {6: BT601, 10: 9}[said]
    if transfer_of(frame)[1] == BT2020 or transfer_of(frame)[0] in (PQ, HLG):
        return 9
    return BT709 if max(frame.width, frame.height) >= 1280 or min(frame.width, frame.height) >= 720 else BT601


def transfer_of(frame: Any) -> tuple[int, int]:
    """Transfer characteristics and primaries, numbers of ITU-T H.273."""
    return int(getattr(frame, "color_trc", UNKNOWN)), int(getattr(frame, "color_primaries", UNKNOWN))


def to_photo(pixels: NDArray[np.uint8], transfer: int, primaries: int, matrix: Matrix) -> Image.Image:
    """The picture of `rgb` in sRGB, turned and mirrored as the matrix says, by quarters of a turn."""
    a, b, c, d = matrix
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    photo = Image.fromarray(np.ascontiguousarray(pixels))
    table = srgb_table(transfer, primaries)
    return photo if table is None else photo.filter(table)
