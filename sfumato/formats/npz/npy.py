"""Arrays of numpy's format NPY, versions 1 to 3, in a zip archive: what their headers say, checked, and the numbers."""

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from sfumato.core.errors import InputError
from sfumato.formats.limits import MOST_EXPANSION

__all__ = ["DAMAGES", "Array", "arrays_of", "write_header"]

# what zipfile raises for bytes that are no archive, are encrypted, or were made by a method it lacks
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
_MAGIC = b"\x93NUMPY"
_MOST_HEADER = 1 << 16  # bytes; those of plain arrays take 118
_STEP = 1 << 24  # bytes read at a time
# as numpy writes it; its own reader evaluates Python's literals, whose depth has no limit
_SHAPE = r"(?:[0-9]{1,18}(?:, ?|(?=\))))*"  # each number ends with a comma or the last: no two ways to read a line
_HEADER = re.compile(
    r"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \((" + _SHAPE + r")\),? *\}\s*", re.ASCII
)
_KINDS = re.compile(r"[<>=|]?(f[248]|U[0-9]{1,6})", re.ASCII)


@dataclass(frozen=True)
class Array:
    """A member of an archive that is an array, whose size is that of its shape."""

    member: str
    kind: np.dtype[np.generic]  # float or string
    shape: tuple[int, ...]
    by_column: bool  # Fortran's order
    start: int  # bytes of the header

    def copy_to(self, path: Path, archive: zipfile.ZipFile, target: Tensor) -> None:
        """Fill the float32 (N, M) target with as many numbers. Raises InputError when the member is damaged.

        What float32 cannot hold becomes infinite.
        """
        with _whole(path, archive, self) as file, np.errstate(over="ignore", invalid="ignore"):
            if self.by_column:
                numbers = self._numbers(path, file, math.prod(self.shape)).reshape(self.shape[::-1]).T
                target.copy_(from_numpy(numbers.astype(np.float32)).reshape(target.shape))
                return
            width = target.shape[1]
            rows = max(1, _STEP // (width * self.kind.itemsize))
            for first in range(0, len(target), rows):
                part = target[first : first + rows]
                numbers = self._numbers(path, file, part.numel()).astype(np.float32, copy=False)
                part.numpy()[:] = numbers.reshape(part.shape)

    def text(self, path: Path, archive: zipfile.ZipFile) -> str:
        """The one string that it is. Raises InputError when the member is damaged."""
        with _whole(path, archive, self) as file:
            return str(self._numbers(path, file, 1)[0])

    def _numbers(self, path: Path, file: IO[bytes], count: int) -> NDArray[np.generic]:
        data = file.read(count * self.kind.itemsize)
        if len(data) < count * self.kind.itemsize:
            raise InputError(f"{path} is truncated: its array {self.member} is not whole; copy or download it again")
        return np.frombuffer(data, self.kind, count)


def arrays_of(path: Path, archive: zipfile.ZipFile, names: Collection[str]) -> dict[str, Array]:
    """Those arrays of an open archive that have one of the names; the others are not looked at.

    Raises InputError when one is damaged, or of Python objects or other numbers than floats.
    """
    found = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    return {name: _array(path, archive, found[name]) for name in names if name in found}


def write_header(file: IO[bytes], descr: str, shape: tuple[int, ...]) -> None:
    """Write the header of an array in C's order."""
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """What a member's header says, checked against its size, and its size against that of the file."""
    name = info.filename
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: {name} must be stored or deflated, as numpy does; save it with numpy.savez")
    expansion = 1 if info.compress_type == zipfile.ZIP_STORED else MOST_EXPANSION
    if info.file_size > expansion * info.compress_size or info.compress_size > path.stat().st_size:
        told = f"{name} promises {info.file_size} bytes of {info.compress_size}"
        raise InputError(f"{path} is damaged: {told}; copy or download it again")
    with _damage_told(path, name), archive.open(info) as file:
        begin = file.read(12)
        if begin[:6] != _MAGIC or len(begin) < 12 or begin[6] not in (1, 2, 3):
            raise InputError(f"{path} is damaged: {name} is no array of numpy; copy or download it again")
        fixed, length = (10, struct.unpack_from("<H", begin, 8)[0]) if begin[6] == 1 else (12, 0)
        if fixed == 12:
            (length,) = struct.unpack("<I", begin[8:12])
        header = begin[fixed:] + file.read(max(0, min(length, _MOST_HEADER) - (12 - fixed)))
    text = header.decode("latin-1")
    found = _HEADER.fullmatch(text)
    kind = _KINDS.fullmatch(found[1]) if found else None
    if found is None or kind is None:
        what = f"of type {found[1]!r}" if found else "with a header that numpy does not write"
        raise InputError(f"{path}: {name} must be an array of float16, float32 or float64; got one {what}")
    shape = tuple(int(word) for word in found[3].replace(" ", "").split(",") if word)
    array = Array(name, np.dtype(found[1]), shape, found[2] == "True", fixed + length)
    needed = math.prod(shape) * array.kind.itemsize
    if array.start + needed != info.file_size:
        told = f"{name} of shape {shape} takes {needed} bytes, and has {info.file_size - array.start}"
        raise InputError(f"{path} is damaged: {told}; copy or download it again")
    return array


@contextmanager
def _whole(path: Path, archive: zipfile.ZipFile, array: Array) -> Iterator[IO[bytes]]:
    """The member, open where its numbers begin; at the end, its checksum is compared."""
    with _damage_told(path, array.member), archive.open(array.member) as file:
        file.read(array.start)
        yield file
        file.read(1)  # there is none: this is when zipfile compares


@contextmanager
def _damage_told(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except DAMAGES as error:
        told = f"its array {name} cannot be unpacked ({str(error)[:80]})"  # it may quote bytes of the archive
        raise InputError(f"{path} is damaged: {told}; copy or download it again") from None
