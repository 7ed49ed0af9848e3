"""Point clouds in PLY files, text or binary of either byte order, to points with colors."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.shot import points_from_arrays
from sfumato.core.errors import InputError
from sfumato.core.scene import Points

__all__ = ["read_point_cloud"]

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST_HEADER = 1 << 16  # bytes
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_GRAY = 128  # of points without colors


def read_point_cloud(path: Path) -> Points:
    """The vertices of a PLY file: float64 positions and uint8 colors, gray where it has none.

    Colors may be bytes, 16-bit numbers or floats in [0, 1]. Points that are not finite are dropped. Raises InputError
    when the file is not PLY, is cut, or has no x, y and z.
    """
    try:
        data = path.read_bytes()
        table = _vertices(data)
        names = table.dtype.names or ()
        if not {"x", "y", "z"} <= set(names):
            raise ValueError(f"its vertices have no x, y and z but {' '.join(names) or 'nothing'}")
        with np.errstate(invalid="ignore"):  # a NaN of the kind that signals stays one
            xyz = np.stack([table[name].astype(np.float64) for name in "xyz"], axis=1)
        return points_from_arrays(xyz, _colors(table))
    except (ValueError, KeyError, IndexError, OverflowError, OSError) as error:
        raise InputError(f"{path} is not a whole PLY file of points ({error}); export it again") from None


def _vertices(data: bytes) -> NDArray[Any]:
    """The table of vertices; only elements of one length may come before them."""
    end = re.search(rb"end_header *\r?\n", data[:_LONGEST_HEADER])
    if not data.startswith(b"ply") or end is None:
        raise ValueError("it has no PLY header")
    lines = data[: end.start()].decode("utf-8", errors="replace").splitlines()
    words = [line.split() for line in lines if line.split()[:1] not in ([], ["comment"], ["obj_info"])]
    order = next((_ORDERS.get(row[1]) for row in words if row[0] == "format" and len(row) > 1), None)
    if order is None:
        raise ValueError(f"its format must be one of {', '.join(_ORDERS)}")
    return _find_vertices(words, order, data, end.end())


def _find_vertices(words: list[list[str]], order: str, data: bytes, at: int) -> NDArray[Any]:
    """Walk over the elements as far as the vertices, which begin at byte `at` when they are the first."""
    elements: list[tuple[str, int, list[list[str]]]] = []
    for row in words:
        if row[0] == "element" and len(row) == 3:
            elements.append((row[1], int(row[2]), []))
        elif row[0] == "property" and len(row) >= 3 and elements:
            elements[-1][2].append(row[1:])
    lines_before = 0
    for name, count, properties in elements:
        if count < 0:
            raise ValueError(f"its element {name} claims {count} entries")
        if name == "vertex":
            dtype = np.dtype([(row[-1], (order or "<") + _TYPES[row[0]]) for row in properties])
            return _binary(data, at, count, dtype) if order else _text(data[at:], lines_before, count, dtype)
        if order:  # a list's KeyError says that it is one
            at += count * sum(np.dtype(_TYPES[row[0]]).itemsize for row in properties)
        lines_before += count
    raise ValueError("it has no vertices")


def _binary(data: bytes, at: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if count * dtype.itemsize > len(data) - at:
        raise ValueError(f"it claims {count} vertices, more than its {len(data)} bytes hold")
    return np.frombuffer(data, dtype, count, at)


def _text(data: bytes, skipped: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    lines = data.decode("ascii", errors="replace").splitlines()[skipped : skipped + count]
    if len(lines) < count:
        raise ValueError(f"it claims {count} vertices, but has {len(lines)} lines of them")
    names = dtype.names or ()
    rows = [tuple(map(float, line.split())) for line in lines]
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"a vertex has not {len(names)} numbers")
    numbers = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    table = np.empty(count, np.dtype([(name, "f8") for name in names]))
    for column, name in enumerate(names):
        scale = 1 / np.iinfo(dtype[name]).max if name in _names_of_colors() and dtype[name].kind in "iu" else 1
        table[name] = numbers[:, column] * scale
    return table


def _names_of_colors() -> set[str]:
    return {name for names in _COLORS for name in names}


def _colors(table: NDArray[Any]) -> NDArray[np.uint8]:
    """(M, 3): whole numbers fill their type's range, floats [0, 1]."""
    for names in _COLORS:
        if set(names) <= set(table.dtype.names or ()):
            columns = [table[name] for name in names]
            scales = [255 / np.iinfo(column.dtype).max if column.dtype.kind in "iu" else 255 for column in columns]
            rgb = np.stack([c * s for c, s in zip(columns, scales, strict=True)], axis=1)
            return np.nan_to_num(rgb).clip(0, 255).round().astype(np.uint8)
    return np.full((len(table), 3), _GRAY, np.uint8)
