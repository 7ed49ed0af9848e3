"""Points of surveyors: .las (ASPRS LAS 1.0 to 1.4) to positions and colors and back; .laz through laspy, an extra."""

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.scene import Points
from sfumato.formats.limits import opened

__all__ = ["MAGIC", "count_las", "read_las", "write_las"]

MAGIC = b"LASF"
# where red begins in a record of each point format that has colors (LAS 1.4 R15, tables 7 to 17)
RED = {2: 20, 3: 28, 5: 28, 7: 30, 8: 30, 10: 30}
LENGTHS = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # of a record of each point format, bytes, at least
HEADER = 227  # bytes, of versions 1.0 to 1.2
GRAY = 128  # of points without colors
FARTHEST = 1e9  # units, of a step and of where they begin: the squares of what is made of them fit into float32
PACKED = 0x80  # a bit of the point format, in .laz
MOST_PACKING = 10  # points of a .laz per byte of it: laser scans have some 0.2
PART = 1 << 18  # points at a time
FINEST = 2_000_000_000  # steps from one end to the other: 31 bits


@dataclass(frozen=True)
class _Header:
    count: int
    point_format: int
    length: int  # of a record, bytes
    start: int  # of the first record
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    packed: bool


def read_las(path: Path) -> Points:
    """The points of a .las or .laz file: float64 positions in its coordinates, uint8 colors, gray where it has none.

    Points that are withheld or of any class are among them. Raises InputError when the file is damaged or cut, or is a
    .laz and laspy is not installed.
    """
    header = _header(path)
    xyz, start = np.empty((header.count, 3)), 0
    rgb: NDArray[Any] = np.full((header.count, 3), GRAY, np.uint16)
    for records in _packed_records(path, header) if header.packed else _records(path, header):
        rows = slice(start, start + len(records))
        whole = np.ascontiguousarray(records[:, :12]).view("<i4")
        xyz[rows] = whole * np.array(header.scales) + np.array(header.offsets)
        if header.point_format in RED:
            at = RED[header.point_format]
            rgb[rows] = np.ascontiguousarray(records[:, at : at + 6]).view("<u2")
        start += len(records)
    if rgb.size and rgb.max() > 255:  # 16 bits, as the standard says; else a program wrote bytes
        rgb = (rgb / 257).round()
    return Points(torch.from_numpy(xyz), torch.from_numpy(rgb.astype(np.uint8)))


def count_las(path: Path) -> int:
    """How many points the header promises. Raises InputError as `read_las` does for what the header shows."""
    return _header(path).count


def write_las(path: Path, points: Points) -> None:
    """Write LAS 1.2 of point format 2, whole or not at all, as .laz where the name ends so: steps as fine as fit.

    Raises InputError when a .laz is asked for and laspy is not installed, OSError when it cannot be written.
    """
    data = _las_bytes(points)
    if path.name.lower().endswith(".laz"):
        (laspy, _), target = _laspy(path), io.BytesIO()
        laspy.read(io.BytesIO(data)).write(target, do_compress=True)
        data = target.getvalue()
    with replacing(path) as file:
        file.write(data)


def _las_bytes(points: Points) -> bytes:
    xyz, N = points.xyz.double().cpu().numpy(), len(points)
    low, high = (xyz.min(axis=0), xyz.max(axis=0)) if N else (np.zeros(3), np.zeros(3))
    offsets = np.floor(low)
    widest = float((high - offsets).max())
    scale = 10.0 ** math.ceil(math.log10(max(widest, 1e-9) / FINEST))
    rows = np.zeros(N, [("xyz", "<i4", 3), ("rest", "V8"), ("rgb", "<u2", 3)])
    rows["xyz"] = np.round((xyz - offsets) / scale)
    rows["rgb"] = points.rgb.cpu().numpy().astype(np.uint16) * 257
    header = struct.pack("<4sHH16sBB32s32sHHHII", MAGIC, 0, 0, b"", 1, 2, b"OTHER", b"sfumato", 0, 0, HEADER, HEADER, 0)
    header += struct.pack("<BHI5I", 2, LENGTHS[2], N, N, 0, 0, 0, 0)
    header += struct.pack("<12d", *[scale] * 3, *offsets, *[end[i] for i in range(3) for end in (high, low)])
    return header + rows.tobytes()


def _header(path: Path) -> _Header:
    with opened(path), path.open("rb") as file:
        data, size = file.read(375), path.stat().st_size
    if len(data) < HEADER or data[:4] != MAGIC:
        raise InputError(f"{path} is no whole LAS file: its header is cut or does not begin with LASF; copy it again")
    minor, length = data[25], struct.unpack_from("<H", data, 105)[0]
    start, kind, count = struct.unpack_from("<I", data, 96)[0], data[104], struct.unpack_from("<I", data, 107)[0]
    if minor >= 4 and len(data) >= 255 and not count:
        count = struct.unpack_from("<Q", data, 247)[0]
    numbers = struct.unpack_from("<6d", data, 131)
    packed, kind = bool(kind & PACKED), kind & ~(PACKED | 0x40)
    if kind >= len(LENGTHS) or length < LENGTHS[kind] or not all(abs(value) < FARTHEST for value in numbers):
        told = f"points of format {kind} in {length} bytes, in steps of {numbers[:3]} from {numbers[3:]}"
        raise InputError(f"{path} is damaged: its header describes {told}; copy or download it again")
    most = MOST_PACKING * size if packed else (size - start) // length
    if count > most or start > size:
        told = f"it promises {count} points of {length} bytes from byte {start} on, and has {size} bytes"
        raise InputError(f"{path} is truncated: {told}; copy or download it again")
    return _Header(count, kind, length, start, numbers[:3], numbers[3:], packed)


def _records(path: Path, header: _Header) -> Iterator[NDArray[np.uint8]]:
    """(rows, length) bytes at a time."""
    with opened(path), path.open("rb") as file:
        file.seek(header.start)
        for start in range(0, header.count, PART):
            rows = min(PART, header.count - start)
            yield np.fromfile(file, np.uint8, rows * header.length).reshape(rows, header.length)


def _packed_records(path: Path, header: _Header) -> Iterator[NDArray[np.uint8]]:
    laspy, lazrs = _laspy(path)
    _check_packed(path, header)
    known = (
        laspy.errors.LaspyException,
        lazrs.LazrsError,
        ValueError,
        EOFError,
        OverflowError,
        RuntimeError,
        LookupError,
    )
    got = 0
    try:
        with laspy.open(path, laz_backend=laspy.LazBackend.Lazrs) as reader:  # the parallel one believes any size
            for part in reader.chunk_iterator(PART):
                records = np.ascontiguousarray(part.array).view(np.uint8).reshape(len(part.array), -1)
                got += len(records)
                if got > header.count:
                    break
                yield records
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except BaseException as error:  # a panic of lazrs is no Exception
        if not isinstance(error, (*known, struct.error)) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{path} is damaged: its points cannot be unpacked ({error}); copy it again") from None
    if got != header.count:
        raise InputError(f"{path} is damaged: it has {got} of {header.count} points; copy or download it again")


def _check_packed(path: Path, header: _Header) -> None:
    """Counts that laspy would believe: of variable records, and of the chunks of points."""
    with opened(path), path.open("rb") as file:
        data, size = file.read(375), path.stat().st_size
        records = struct.unpack_from("<I", data, 100)[0]
        extended = struct.unpack_from("<I", data, 243)[0] if data[25] >= 4 and len(data) >= 247 else 0
        file.seek(header.start)
        table = int.from_bytes(file.read(8), "little", signed=True)
        table = table if 0 < table < size - 8 else size - 8
        file.seek(table)
        chunks = int.from_bytes(file.read(8)[4:], "little")
    if max(records * 54, extended * 60, chunks) > size:  # bytes that each takes at least
        told = f"it promises {records} records before its points, {extended} behind and {chunks} chunks"
        raise InputError(f"{path} is damaged: {told}, in {size} bytes; copy or download it again")


def _laspy(path: Path) -> tuple[Any, Any]:
    """laspy, and what it unpacks with."""
    try:
        import laspy
        import lazrs  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(f"{path} needs laspy to be packed or unpacked: pip install 'sfumato[las]'") from None
    return laspy, lazrs
