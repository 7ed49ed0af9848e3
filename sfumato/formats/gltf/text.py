"""The JSON of a glTF file to an object of Python within limits, and its values to numbers or to words of a sentence."""

import json
import math
from pathlib import Path
from typing import Any

from sfumato.core.errors import InputError
from sfumato.core.units import say_bytes

__all__ = ["AGAIN", "MOST_JSON", "MOST_TEXT", "as_whole", "is_finite", "parsed", "say"]

MOST_JSON = 1 << 26  # bytes of JSON in a .glb, whose numbers lie outside of it
MOST_TEXT = 1 << 29  # bytes of a .gltf, whose JSON may hold the numbers too
MOST_VALUES = 1 << 20  # in either: each takes up to some 250 bytes as an object; 7,000 splats of degree 3 have as many
AGAIN = "export or download it again"


def parsed(path: Path, text: bytes, most: int) -> dict[str, Any]:
    """The object that is in at most `most` bytes of JSON. Raises InputError when there is none, or more than that."""
    if len(text) > most:
        told = f"has more than {say_bytes(most)} of JSON"
        raise InputError(f"{path} {told}, which is not read; export it as .glb, with its numbers in the binary part")
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:  # none of them is a letter of base64
        raise InputError(f"{path} has more than {MOST_VALUES:,} values in its JSON, which is not read; export it again")
    try:
        found = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of letters, of JSON, of numbers with thousands of digits
        told = str(error).splitlines()[0][:100]
        raise InputError(f"{path} is damaged: its JSON cannot be read ({told}); {AGAIN}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: its JSON must be an object; {AGAIN}")
    return found


def as_whole(value: object) -> int | None:
    """The whole number >= 0 that a value of JSON is, or None; 3.0 is one as well."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def is_finite(value: object) -> bool:
    """True for a number of JSON that float64 holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int of 400 digits
        return False


def say(value: object) -> str:
    """A value of JSON in at most 60 letters."""
    text = repr(value) if not isinstance(value, list | dict) else f"{type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else f"{text[:57]}..."
