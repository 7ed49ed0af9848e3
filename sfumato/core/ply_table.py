"""A PLY file to the columns of its `vertex` element: any encoding, any types, any elements around it (Turk 1994)."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError

__all__ = ["Table", "read_comments", "read_layout", "read_table"]

TYPES = {  # name in the header -> numpy, both generations of names
    **dict.fromkeys(["char", "int8"], "i1"),
    **dict.fromkeys(["uchar", "uint8"], "u1"),
    **dict.fromkeys(["short", "int16"], "i2"),
    **dict.fromkeys(["ushort", "uint16"], "u2"),
    **dict.fromkeys(["int", "int32"], "i4"),
    **dict.fromkeys(["uint", "uint32"], "u4"),
    **dict.fromkeys(["float", "float32"], "f4"),
    **dict.fromkeys(["double", "float64"], "f8"),
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
MAX_LINE = 1 << 16  # bytes; a longer header line is no PLY
MAX_LINES = 1 << 16


@dataclass(frozen=True)
class Table:
    """The vertex element, and the names of all elements in the file."""

    columns: dict[str, NDArray[np.generic]]  # name -> (N,), in the file's types; text is read as float64
    count: int  # N
    elements: tuple[str, ...]


@dataclass(frozen=True)
class _Property:
    name: str
    type: str  # numpy, without byte order
    length: str | None = None  # type of the length that a list starts with; None: not a list


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]

    @property
    def fixed(self) -> bool:
        return all(item.length is None for item in self.properties)

    @property
    def least_row(self) -> int:
        """Bytes that a row takes at least, in binary: a list may be empty."""
        return sum(np.dtype(item.length or item.type).itemsize for item in self.properties)

    def dtype(self, order: str) -> np.dtype[np.void]:
        return np.dtype([(item.name, order + item.type) for item in self.properties])


def read_table(path: Path) -> Table:
    """The vertex element of a PLY file. Raises InputError when the file is missing, damaged or no PLY."""
    try:
        with path.open("rb") as file:
            order, elements = _read_header(path, file)
            body = path.stat().st_size - file.tell()
            return _read_vertex(path, file, order, elements, body)
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def read_layout(path: Path) -> Table:
    """The same from the header alone, compared with the file's size: every column is empty. Raises as `read_table`."""
    try:
        with path.open("rb") as file:
            order, elements = _read_header(path, file)
            vertex = _check_vertex(path, order, elements, path.stat().st_size - file.tell())
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    columns: dict[str, NDArray[np.generic]] = {item.name: np.zeros(0, item.type) for item in vertex.properties}
    return Table(columns, vertex.count, tuple(element.name for element in elements))


def read_comments(path: Path) -> list[list[str]]:
    """The words of every comment in the header of a PLY file. Raises InputError when the file is missing or no PLY."""
    comments = []
    try:
        with path.open("rb") as file:
            _read_header(path, file)
            size = file.tell()
            file.seek(0)
            lines = file.read(size).decode("latin-1").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    for line in lines:
        words = line.split()
        if words[:1] == ["comment"]:
            comments.append(words[1:])
    return comments


def _read_header(path: Path, file: BinaryIO) -> tuple[str, list[_Element]]:
    if file.readline(MAX_LINE).strip() != b"ply":
        raise InputError(f"{path} is not a PLY file: its first line is not `ply`")
    order: str | None = None
    elements: list[_Element] = []
    for _ in range(MAX_LINES):
        line = file.readline(MAX_LINE)
        match words := line.decode("latin-1").split():
            case ["end_header"]:
                if order is None or not line.endswith(b"\n"):
                    break
                return order, elements
            case ["format", kind, _] if kind in ORDERS:
                order = ORDERS[kind]
            case ["element", name, count] if count.isdecimal() and len(count) < 19:
                elements.append(_Element(name, int(count), []))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= TYPES.keys():
                elements[-1].properties.append(_Property(name, TYPES[kind], TYPES[length]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(_Property(name, TYPES[kind]))
            case ["comment" | "obj_info", *_]:
                pass
            case []:
                if not line:
                    break
            case _:
                raise InputError(f"{path} has a PLY header line that says nothing known: {' '.join(words)[:80]!r}")
    raise InputError(f"{path} has a PLY header without its format or its end: the file is truncated or damaged")


def _check_vertex(path: Path, order: str, elements: list[_Element], body: int) -> _Element:
    """The vertex element; every count is checked against the file's size before anything is allocated for it."""
    names = tuple(element.name for element in elements)
    if "vertex" not in names:
        raise InputError(f"{path} has no element `vertex`, only {' '.join(names) or 'an empty header'}")
    vertex = elements[names.index("vertex")]
    columns = [item.name for item in vertex.properties]
    if not columns or len(set(columns)) < len(columns):
        raise InputError(f"{path} gives `vertex` no properties, or one of them twice")
    least = sum(element.count * _least_row(element, order) for element in elements[: names.index("vertex") + 1])
    if least > body + 1:  # the last line of text may lack its newline
        raise InputError(
            f"{path} is truncated: its header promises {vertex.count} vertices, which take at least {least} bytes, "
            f"and {body} follow; copy or download it again"
        )
    return vertex


def _read_vertex(path: Path, file: BinaryIO, order: str, elements: list[_Element], body: int) -> Table:
    vertex = _check_vertex(path, order, elements, body)
    names = tuple(element.name for element in elements)
    try:
        for element in elements[: names.index("vertex")]:
            _skip(file, order, element)
        return Table(_columns(file, order, vertex), vertex.count, names)
    except (ValueError, EOFError, OverflowError) as error:
        raise InputError(f"{path} is damaged: its {vertex.count} vertices cannot be read ({error})") from None


def _least_row(element: _Element, order: str) -> int:
    return element.least_row if order else max(1, 2 * len(element.properties))  # a digit and a separator each


def _skip(file: BinaryIO, order: str, element: _Element) -> None:
    if not order:
        for _ in range(element.count):
            file.readline()
    elif element.fixed:
        file.seek(element.count * element.least_row, 1)
    else:
        for _ in range(element.count):
            _walk_row(file, order, element)


def _columns(file: BinaryIO, order: str, element: _Element) -> dict[str, NDArray[np.generic]]:
    names = [item.name for item in element.properties]
    if element.count == 0:
        return {name: np.zeros(0) for name in names}
    if order and element.fixed:
        rows = np.fromfile(file, dtype=element.dtype(order), count=element.count)
        if len(rows) < element.count:
            raise EOFError(f"{len(rows)} of {element.count} rows are there")
        return {name: rows[name] for name in names}
    if element.fixed:
        lines = list(itertools.islice((line for line in file if line.strip()), element.count))
        if len(lines) < element.count:
            raise EOFError(f"{len(lines)} of {element.count} rows are there")
        table = np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
        if table.shape[1] != len(names):
            raise EOFError(f"rows have {table.shape[1]} numbers for {len(names)} properties")
    else:
        walk = _walk_row if order else _walk_line
        table = np.array([walk(file, order, element) for _ in range(element.count)], dtype=np.float64)
    return {name: table[:, index] for index, name in enumerate(names)}


def _walk_row(file: BinaryIO, order: str, element: _Element) -> list[float]:
    """One binary row's numbers, a list counting as its length; the file moves past it."""
    row = []
    for item in element.properties:
        first = np.dtype(order + (item.length or item.type))
        data = file.read(first.itemsize)
        if len(data) < first.itemsize:
            raise EOFError(f"the file ends inside element {element.name}")
        value = float(np.frombuffer(data, first)[0])
        row.append(value)
        if item.length is not None:
            if value < 0:
                raise ValueError(f"a list of length {value:g}")
            file.seek(int(value) * np.dtype(item.type).itemsize, 1)
    return row


def _walk_line(file: BinaryIO, order: str, element: _Element) -> list[float]:
    """The same for a line of text."""
    words = iter(file.readline().split())
    row = []
    try:
        for item in element.properties:
            row.append(float(next(words)))
            if item.length is not None:
                next(itertools.islice(words, int(row[-1]), int(row[-1])), None)
    except StopIteration:
        raise EOFError(f"the file ends inside element {element.name}") from None
    return row
