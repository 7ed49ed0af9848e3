"""Gaussians to files and back: one module per format, found by the file's suffix.

A format is a module with SUFFIX, read and write, and one entry in FORMATS.
"""

from pathlib import Path
from typing import Protocol

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.formats import ply

__all__ = ["FORMATS", "Format", "count", "origin_of", "read", "write"]

_Origin = tuple[float, float, float]
_ZERO = (0.0, 0.0, 0.0)


class Format(Protocol):
    """What a format's module offers."""

    SUFFIX: str  # lower case, with its dot

    def read(self, path: Path) -> Gaussians:
        """The Gaussians in the file; InputError when they cannot be read."""

    def count(self, path: Path) -> int:
        """How many Gaussians the file says it holds, without reading them; InputError as far as that shows damage."""

    def origin_of(self, path: Path) -> _Origin:
        """Where the file says that its zero is in the source's world; zero when it says nothing."""

    def write(self, path: Path, gaussians: Gaussians, origin: _Origin) -> None:
        """Write the file whole or not at all; OSError when the place cannot be written."""


FORMATS: tuple[Format, ...] = (ply,)


def read(path: Path | str) -> Gaussians:
    """The Gaussians in a file, as stored: no value is clamped, normalized or dropped.

    Raises InputError when no format has the suffix, or the file is missing, damaged or no splat.
    """
    path = Path(path)
    return _format_of("read", path).read(path)


def count(path: Path | str) -> int:
    """How many Gaussians a file says it holds, at the cost of its first bytes.

    Raises InputError as `read` does, for what can be seen without reading them: no splat, or fewer bytes than promised.
    """
    path = Path(path)
    return _format_of("read", path).count(path)


def origin_of(path: Path | str) -> _Origin:
    """The `Scene.origin` that `write` was given, float64: add it to the means for the coordinates of the source.

    Zero when the file says nothing. Raises InputError as `read` does.
    """
    path = Path(path)
    return _format_of("read", path).origin_of(path)


def write(path: Path | str, gaussians: Gaussians, origin: _Origin = _ZERO) -> None:
    """Write Gaussians in the format of the suffix; the file appears whole or not at all.

    origin: of the scene they belong to, kept in the file; the means are written as they are, for in single precision
    a place on a map would not be exact. Raises InputError when no format has the suffix, OSError when the place
    cannot be written.
    """
    path = Path(path)
    _format_of("write", path).write(path, gaussians, origin)


def _format_of(verb: str, path: Path) -> Format:
    for known in FORMATS:
        if path.name.lower().endswith(known.SUFFIX):
            return known
    if verb == "read" and path.is_dir():
        raise InputError(f"{path} is a folder; give the splat's file, such as {path / 'splat.ply'}")
    suffixes = " ".join(known.SUFFIX for known in FORMATS)
    raise InputError(
        f"cannot {verb} {path}: no format for {path.suffix or 'a file without suffix'} (known: {suffixes})"
    )
