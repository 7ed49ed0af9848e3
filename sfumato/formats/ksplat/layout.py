"""Where a .ksplat file keeps what: headers and bytes per Gaussian to offsets that are safe to read, and back to bytes.

A main header of 4096 bytes, 1024 for each section, then section by section: lengths of the buckets that are not full,
centers of all buckets, and the Gaussians' records. As SplatBuffer of mkkellogg's GaussianSplats3D (2024) reads it.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.core.sh import bases_of_degree
from sfumato.formats.limits import check_promise

__all__ = [
    "CENTER_BYTES",
    "HEADER",
    "MAX_DEGREE",
    "VERSION",
    "WIDEST",
    "Layout",
    "Section",
    "bucket_ends",
    "headers",
    "read_layout",
    "record",
]

HEADER, SECTION = 4096, 1024  # bytes
VERSION = (0, 1)  # the only one there has been
MAX_DEGREE = 2
CENTER_BYTES = 12  # three float32
WIDEST = 1.5  # harmonics at level 2 when the header has no bounds, as the reader there has it
RANGE = 32767  # steps from the center of a bucket to its face, when the header has none
_MAIN = struct.Struct("<2B2x4IH2x5f")
_PART = struct.Struct("<4IfH2x4IH")


@dataclass(frozen=True)
class Section:
    """A run of Gaussians with the same degree of harmonics."""

    rows: int
    degree: int = 0
    full: int = 0  # buckets of bucket_size rows, before the others
    partial: int = 0  # buckets of any length
    buckets: int = 0  # of both kinds, or more
    bucket_size: int = 256
    block: float = 5.0  # world units, edge of the cube that a bucket's means lie in
    steps: int = RANGE  # of means, from a bucket's center to its face
    start: int = 0  # bytes, in the file

    def table_bytes(self) -> int:
        """Bytes of the buckets' lengths and centers."""
        return 4 * self.partial + CENTER_BYTES * self.buckets


@dataclass(frozen=True)
class Layout:
    """What the headers of a file say."""

    level: int  # 0: floats. 1: 16 bits. 2: harmonics in 8 bits
    low: float  # of harmonics at level 2
    high: float
    sections: tuple[Section, ...]

    @property
    def rows(self) -> int:
        """Gaussians of all sections."""
        return sum(section.rows for section in self.sections)

    @property
    def degree(self) -> int:
        """The highest of the sections' degrees."""
        return max((section.degree for section in self.sections), default=0)


def record(level: int, degree: int) -> np.dtype[np.void]:
    """How a Gaussian is packed; `sh` runs over all of red, green and blue of degree 1, then those of degree 2."""
    harmonics = 3 * (bases_of_degree(degree) - 1)
    mean, number = ("<f4", "<f4") if level == 0 else ("<u2", "<f2")
    fields = [("mean", mean, 3), ("scale", number, 3), ("quat", number, 4), ("rgba", "u1", 4)]
    return np.dtype([*fields, ("sh", "u1" if level == 2 else number, (harmonics,))])


def headers(layout: Layout) -> bytes:
    """The bytes that such a file begins with."""
    count = len(layout.sections)
    begin = (*VERSION, count, count, layout.rows, layout.rows, layout.level, 0, 0, 0, layout.low, layout.high)
    parts = [_MAIN.pack(*begin).ljust(HEADER, b"\0")]
    for section in layout.sections:
        size = section.table_bytes() + section.rows * record(layout.level, section.degree).itemsize
        buckets = (section.bucket_size, section.buckets, section.block, CENTER_BYTES, section.steps)
        part = _PART.pack(section.rows, section.rows, *buckets, size, section.full, section.partial, section.degree)
        parts.append(part.ljust(SECTION, b"\0"))
    return b"".join(parts)


def read_layout(path: Path, file: BinaryIO) -> Layout:
    """The headers of an open file, every count checked against its size.

    How many Gaussians a viewer had loaded when it saved the file is of no interest: all of them are there. Raises
    InputError when the file is truncated, of another version, or holds what this one cannot.
    """
    size = path.stat().st_size
    begin = file.read(HEADER)
    if len(begin) < HEADER:
        raise _truncated(path, f"its header takes {HEADER} bytes, and it has {len(begin)}")
    major, minor, count, _, _, _, level, *_, low, high = _MAIN.unpack_from(begin)
    if (major, minor) != VERSION or level > 2:
        told = f"version {major}.{minor} at level {level}"
        raise InputError(
            f"{path} is no .ksplat of version 0.1 at level 0, 1 or 2, but {told}; convert its source again"
        )
    if HEADER + count * SECTION > size:
        raise _truncated(path, f"{count} sections take {count * SECTION} bytes of headers, and it has {size}")
    start = HEADER + count * SECTION
    sections = []
    for section in _sections(path, level, file.read(count * SECTION)):
        sections.append(Section(**{**vars(section), "start": start}))
        needed = section.table_bytes() + section.rows * record(level, section.degree).itemsize
        check_promise(path, section.rows, needed, size - start)
        start += needed
    return Layout(level, _bound(low, -WIDEST), _bound(high, WIDEST), tuple(sections))


def bucket_ends(path: Path, section: Section, partial: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(full + partial,) the first row after each bucket. Raises InputError when rows are left that are in none."""
    lengths = np.concatenate([np.full(section.full, section.bucket_size, np.int64), partial.astype(np.int64)])
    ends = lengths.cumsum()
    held = int(ends[-1]) if len(ends) else 0
    if held < section.rows:
        raise InputError(f"{path} is damaged: its buckets hold {held} of {section.rows} Gaussians; download it again")
    return ends


def _sections(path: Path, level: int, data: bytes) -> Iterator[Section]:
    """What each header of a section says, checked for sense."""
    for values in _PART.iter_unpack(b"".join(data[at : at + _PART.size] for at in range(0, len(data), SECTION))):
        _, rows, bucket_size, buckets, block, center_bytes, steps, _, full, partial, degree = values
        section = Section(rows, degree, full, partial, buckets, bucket_size, block, steps or RANGE)
        if degree > MAX_DEGREE:
            raise InputError(f"{path} has harmonics of degree {degree}; a .ksplat holds up to {MAX_DEGREE}")
        if buckets and center_bytes != CENTER_BYTES:
            raise InputError(f"{path} has buckets of {center_bytes} bytes; wanted {CENTER_BYTES}; download it again")
        if level and rows and not (0 < block < math.inf and full + partial <= buckets):
            told = f"{full} full and {partial} other buckets of edge {block:g}, and {buckets} centers"
            raise InputError(f"{path} is damaged: it says that it has {told}; download it again")
        yield section


def _bound(value: float, default: float) -> float:
    return value if value and not math.isnan(value) else default  # 0 is none, as in the reader of its maker


def _truncated(path: Path, told: str) -> InputError:
    return InputError(f"{path} is truncated: {told}; copy or download it again")
