"""Bytes in words: "4GB" to a number, and a number to what people read."""

import re

from sfumato.core.errors import InputError

__all__ = ["parse_bytes", "say_bytes"]

_PREFIXES = "KMGT"
_LARGEST = 10**18  # bytes; a million TB
_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}{ending}": 1000 ** (i + 1) for i, prefix in enumerate(_PREFIXES) for ending in ("", "B")}
_UNITS |= {f"{prefix}{ending}": 1024 ** (i + 1) for i, prefix in enumerate(_PREFIXES) for ending in ("I", "IB")}


def parse_bytes(text: str) -> int:
    """The number of bytes in "4GB", "1.5 GiB", "800M" or "123456": GB is 10^9, GiB 2^30; case is nothing.

    Raises InputError when it is no such thing, no byte at all, or more than any machine has.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-zA-Z]*)\s*", text, re.ASCII)
    if match is None or match[2].upper() not in _UNITS:
        raise InputError(f"an amount of memory must be a number with a unit, such as 4GB or 1.5GiB; got {text!r}")
    amount = float(match[1]) * _UNITS[match[2].upper()]  # infinite when there are hundreds of digits
    if amount >= _LARGEST:
        said = text if len(text) <= 30 else f"{text[:20]}... ({len(text)} characters)"
        raise InputError(f"an amount of memory must be below a million TB; got {said!r}")
    if amount < 1:
        raise InputError(f"an amount of memory must be at least one byte; got {text!r}")
    return int(amount)


def say_bytes(amount: float) -> str:
    """Rounded to what people read: 960 MB, 1.23 GB (10^9)."""
    return f"{amount / 1e9:.2f} GB" if amount >= 999.5e6 else f"{amount / 1e6:.0f} MB"
