"""Gaussians to files and back: one module per format, found by the file's suffix.

A format is a module with SUFFIX, read and write, and one entry in FORMATS.
"""

from pathlib import Path
from typing import Protocol

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.formats import ply

__all__ = ["FORMATS", "Format", "read", "write"]


class Format(Protocol):
    """What a format's module offers."""

    SUFFIX: str  # lower case, with its dot

    def read(self, path: Path) -> Gaussians:
        """The Gaussians in the file; InputError when they cannot be read."""

    def write(self, path: Path, gaussians: Gaussians) -> None:
        """Write the file whole or not at all; OSError when the place cannot be written."""


FORMATS: tuple[Format, ...] = (ply,)


def read(path: Path | str) -> Gaussians:
    """The Gaussians in a file, as stored: no value is clamped, normalized or dropped.

    Raises InputError when no format has the suffix, or the file is missing, damaged or no splat.
    """
    path = Path(path)
    return _format_of("read", path).read(path)


def write(path: Path | str, gaussians: Gaussians) -> None:
    """Write Gaussians in the format of the suffix; the file appears whole or not at all.

    Raises InputError when no format has the suffix, OSError when the place cannot be written.
    """
    path = Path(path)
    _format_of("write", path).write(path, gaussians)


def _format_of(verb: str, path: Path) -> Format:
    for known in FORMATS:
        if path.name.lower().endswith(known.SUFFIX):
            return known
    suffixes = " ".join(known.SUFFIX for known in FORMATS)
    raise InputError(
        f"cannot {verb} {path}: no format for {path.suffix or 'a file without suffix'} (known: {suffixes})"
    )
