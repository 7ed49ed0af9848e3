"""The container of SPZ files (Niantic Labs), versions 1 to 4: headers, planar blocks of bytes, extension records."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.core.limits import usable_cores
from sfumato.core.sh import MAX_DEGREE, bases_of_degree
from sfumato.core.units import say_bytes
from sfumato.formats.limits import check_memory, check_promise, opened
from sfumato.formats.spz.frames import Frames, packed_frame
from sfumato.formats.spz.gzip_stream import GZIP_MAGIC, Gunzip, gzip_pieces, read_note

__all__ = ["FACTS", "Blocks", "Header", "is_spz", "opened_blocks", "write_blocks"]

FACTS = 0x5F6D0001  # type of the one record that is our own
_MAGIC = b"NGSP"
_ANTIALIASED, _RECORDED, _TREE = 1, 2, 0x80  # bits of the header's flags; the last is Spark's
_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, Gaussians, degree, fractional bits, flags, streams
_TABLE_OF_4 = struct.Struct("<I12x")  # version 4 alone: where the table of its streams is
_ENTRY = struct.Struct("<QQ")  # of that table: a stream's bytes, packed and unpacked
_RECORD = struct.Struct("<II")  # type, bytes that follow
_NEWEST = 4
_MOST_FRACTION = 31  # bits: with more, nothing is left of 24
_MOST_RECORDS = 1 << 24  # bytes


@dataclass(frozen=True)
class Header:
    """What an SPZ file says before its numbers."""

    version: int  # 1 to 4
    count: int  # Gaussians
    degree: int  # of the spherical harmonics, 0 to 4
    fractional_bits: int  # of the 24 of a position
    antialiased: bool
    tree: bool = False  # Spark's levels of detail: opacities are halved, and children are counted after the blocks
    recorded: bool = False  # there are extension records

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes per Gaussian of each block: positions, opacities, colors, scales, rotations, harmonics."""
        positions = 6 if self.version == 1 else 9
        rotations = 3 if self.version < 3 else 4
        return (positions, 1, 3, 3, rotations, 3 * (bases_of_degree(self.degree) - 1))

    @property
    def size(self) -> int:
        """Bytes of all blocks together."""
        return self.count * sum(self.widths)


class _Stream(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


class Blocks:
    """The blocks of an open file, read from the first to the last in pieces of any length."""

    def __init__(
        self, path: Path, header: Header, stream: _Stream, records: bytes | None = None, note: bytes = b""
    ) -> None:
        self.header = header
        self._path, self._stream, self._records, self._note = path, stream, records, note

    def take(self, rows: int, width: int) -> NDArray[np.uint8]:
        """(rows, width) the next bytes. Raises InputError when they are damaged, or fewer."""
        taken = np.empty(rows * width, dtype=np.uint8)
        if _filled(self._stream, taken.data) < len(taken):
            raise InputError(
                f"{self._path} is truncated: it promises {self.header.count} Gaussians, which take {self.header.size} "
                "bytes unpacked, and ends before; copy or download it again"
            )
        return taken.reshape(rows, width)

    def finish(self) -> dict[int, bytes]:
        """The extension records by type, once all blocks have been taken; of two of a type, the later.

        Raises InputError when they are damaged, or the file's checksum is not that of what was taken.
        """
        rest = memoryview(bytearray(_MOST_RECORDS + 1))
        length = _filled(self._stream, rest)  # to the end, where the checksum is
        if length == len(rest):
            raise InputError(f"{self._path} is damaged: more than {say_bytes(length)} follow its Gaussians")
        found = {FACTS: self._note} if self._note else {}
        if self.header.recorded:
            found |= _split(self._path, bytes(rest[:length]) if self._records is None else self._records)
        return found


def is_spz(head: bytes) -> bool:
    """Whether a file that begins with these bytes is SPZ of any version; never raises."""
    if head[:2] != GZIP_MAGIC:
        return head.startswith(_MAGIC)
    start = bytearray(len(_MAGIC))
    try:
        _filled(Gunzip(Path(), BytesIO(head)), memoryview(start))
    except InputError:
        return False
    return start == _MAGIC


@contextmanager
def opened_blocks(path: Path) -> Iterator[Blocks]:
    """The blocks of an SPZ file, while it is open.

    Raises InputError when its beginning is damaged, or promises more than so many bytes can hold.
    """
    with opened(path), path.open("rb") as file:
        there = path.stat().st_size
        head = file.read(_HEADER.size)
        file.seek(0)
        if head[:2] == GZIP_MAGIC:
            note = read_note(file)
            file.seek(0)
            stream = Gunzip(path, file)
            header, _ = _read_header(path, stream)
            check_memory(path, header.count, header.degree, there)
            yield Blocks(path, header, stream, note=note)
            return
        header, streams = _read_header(path, file)
        if header.version == _NEWEST:
            yield _blocks_of_4(path, file, header, streams, there)
        else:  # a body that nobody packed, as in other programs' tests
            check_promise(path, header.count, header.size, there - _HEADER.size)
            yield Blocks(path, header, file)


def write_blocks(
    file: BinaryIO, header: Header, blocks: Sequence[NDArray[np.uint8]], records: Mapping[int, bytes]
) -> None:
    """Write an SPZ file of version 2, 3 (gzip) or 4 (zstd). Raises OSError when it cannot be written.

    In versions 2 and 3 the FACTS go to the header of gzip: three.js and GaussianSplats3D refuse files of those
    versions that go on after their blocks.
    """
    note = b""
    if header.version < _NEWEST:
        records = dict(records)
        note = records.pop(FACTS, b"")
    said = b"".join(_RECORD.pack(kind, len(data)) + data for kind, data in records.items())
    flags = _ANTIALIASED * header.antialiased | _RECORDED * bool(records)
    full = [block.reshape(-1).data for block in blocks if block.size]
    streams = len(full) if header.version == _NEWEST else 0
    start = _HEADER.pack(_MAGIC, header.version, header.count, header.degree, header.fractional_bits, flags, streams)
    if header.version < _NEWEST:
        for piece in gzip_pieces([memoryview(start), *full, memoryview(said)], note):
            file.write(piece)
        return
    frames = [packed_frame(block, usable_cores()) for block in full]
    file.write(start + _TABLE_OF_4.pack(_HEADER.size + _TABLE_OF_4.size + len(said)) + said)
    for frame, block in zip(frames, full, strict=True):
        file.write(_ENTRY.pack(len(frame), len(block)))
    for frame in frames:
        file.write(frame)


def _read_header(path: Path, stream: _Stream) -> tuple[Header, int]:
    """The header of 16 bytes that all versions have, and how many streams version 4 says there are."""
    start = bytearray(_HEADER.size)
    if (length := _filled(stream, memoryview(start))) < len(start):
        raise InputError(f"{path} is truncated: an SPZ header has {len(start)} bytes; got {length}")
    magic, version, count, degree, fraction, flags, streams = _HEADER.unpack(start)
    if magic != _MAGIC:
        raise InputError(f"{path} is no SPZ file: it must begin with {_MAGIC!r}; got {magic!r}")
    if not 1 <= version <= _NEWEST:
        raise InputError(f"{path} is SPZ of version {version}; save it as one of the versions 1 to {_NEWEST}")
    if degree > MAX_DEGREE:
        raise InputError(f"{path} is damaged: its degree of harmonics must be 0 to {MAX_DEGREE}; got {degree}")
    if fraction > _MOST_FRACTION:
        raise InputError(f"{path} is damaged: its fractional bits must be 0 to {_MOST_FRACTION}; got {fraction}")
    tree = bool(flags & _TREE) and version < _NEWEST
    return Header(version, count, degree, fraction, bool(flags & _ANTIALIASED), tree, bool(flags & _RECORDED)), streams


def _blocks_of_4(path: Path, file: BinaryIO, header: Header, streams: int, there: int) -> Blocks:
    """Version 4: the table of its streams must say what the header implies, and the streams must be there."""
    place = file.read(_TABLE_OF_4.size)
    if len(place) < _TABLE_OF_4.size:
        raise InputError(f"{path} is truncated: it ends in its header; copy or download it again")
    start = _HEADER.size + _TABLE_OF_4.size
    (table,) = _TABLE_OF_4.unpack(place)
    end = table + streams * _ENTRY.size
    if not start <= table <= end <= there:
        raise InputError(f"{path} is truncated or damaged: its table of streams must be within its {there} bytes")
    check_memory(path, header.count, header.degree, there)
    records = file.read(table - start) if header.recorded else b""
    file.seek(table)
    entries = list(_ENTRY.iter_unpack(file.read(end - table)))
    if [size for _, size in entries if size] != [
        header.count * width for width in header.widths if header.count * width
    ]:
        raise InputError(f"{path} is damaged: its streams' lengths must be those of {header.count} Gaussians")
    if (missing := end + sum(packed for packed, _ in entries) - there) > 0:
        raise InputError(f"{path} is truncated: {missing} bytes of its streams are missing; copy or download it again")
    return Blocks(path, header, Frames(path, file, end, entries), records)


def _split(path: Path, data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        kind, length = _RECORD.unpack_from(data, place) if len(data) - place >= _RECORD.size else (0, len(data))
        place += _RECORD.size
        if length > len(data) - place:
            raise InputError(f"{path} is damaged: its extension records must end where their lengths say")
        yield kind, data[place : place + length]
        place += length


def _filled(stream: _Stream, buffer: memoryview) -> int:
    """How many bytes of the buffer could be filled: fewer than it has when the stream ends."""
    place = 0
    while place < len(buffer) and (length := stream.readinto(buffer[place:])):
        place += length
    return place
