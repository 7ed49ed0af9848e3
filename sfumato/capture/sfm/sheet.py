"""The contact sheet: all photos on one picture, in a green frame where the camera is known, in a red one where not."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sfumato.capture.sfm.result import PhotoRecord
from sfumato.capture.sfm.survey import THUMBNAIL
from sfumato.core.files import replacing

__all__ = ["SHEET", "write_sheet"]

SHEET = "contact.jpg"
FRAME = 4  # pixels
LINE = 14  # pixels; each photo has two lines of text, its name and why it was refused
CELL = (THUMBNAIL + 2 * FRAME + 8, THUMBNAIL + 2 * FRAME + 2 * LINE + 10)
GREEN, RED, PAPER, INK, ALARM = (46, 160, 67), (218, 54, 51), (250, 250, 248), (60, 60, 60), (180, 30, 30)


def write_sheet(folder: Path, table: Sequence[PhotoRecord], thumbnails: Mapping[str, NDArray[np.uint8]]) -> None:
    """Write contact.jpg. thumbnails: (h, w, 3) by name; a photo without one was unreadable and is shown as a blank."""
    columns = max(1, math.ceil(math.sqrt(len(table) * 1.5)))  # a sheet about as wide as a screen
    rows = max(1, math.ceil(len(table) / columns))
    sheet = Image.new("RGB", (columns * CELL[0], rows * CELL[1]), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, record in enumerate(table):
        left, top = (number % columns) * CELL[0] + 4, (number // columns) * CELL[1] + 4
        _draw(sheet, pen, font, (left, top), record, thumbnails.get(record.name))
    with replacing(folder / SHEET) as file:
        sheet.save(file, "JPEG", quality=88)


def _draw(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    corner: tuple[int, int],
    record: PhotoRecord,
    thumbnail: NDArray[np.uint8] | None,
) -> None:
    """One photo with its frame and its words."""
    left, top = corner
    picture = Image.new("RGB", (THUMBNAIL * 3 // 4, THUMBNAIL), (225, 225, 225))
    if thumbnail is not None:
        picture = Image.fromarray(thumbnail)
    width, height = picture.width + 2 * FRAME, picture.height + 2 * FRAME
    x, y = left + (THUMBNAIL + 2 * FRAME - width) // 2, top + THUMBNAIL + 2 * FRAME - height
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=GREEN if record.registered else RED)
    sheet.paste(picture, (x + FRAME, y + FRAME))
    below = top + THUMBNAIL + 2 * FRAME + 2
    middle = left + (THUMBNAIL + 2 * FRAME) // 2
    for line, (text, ink) in enumerate(((record.name, INK), (record.why, ALARM))):
        pen.text((middle, below + line * LINE), _fitted(pen, font, text), fill=ink, font=font, anchor="ma")


def _fitted(pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, text: str) -> str:
    """The text, or its two ends when it is too long for a cell."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    room, short, kept = CELL[0] - 8, text, len(text)
    while kept > 2 and pen.textlength(short, font=font) > room:
        kept -= 1
        short = f"{text[: kept // 2]}\u2026{text[len(text) - (kept - kept // 2) :]}"
    return short
