"""A PLY file to the columns of its elements, a part at a time: any encoding, any types, any elements (Turk 1994)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError

__all__ = ["Columns", "Element", "Header", "Property", "check_size", "parse_header", "read_header", "read_parts"]

Columns = dict[str, NDArray[np.generic]]  # name -> (rows,), in the file's types; text is read as float64

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
PART = 1 << 14  # rows: few enough that a part stays in the processor's cache, from the file to where it belongs


@dataclass(frozen=True)
class Property:
    """A column, or a list in every row."""

    name: str
    type: str  # numpy, without byte order
    length: str | None = None  # type of the length that a list starts with; None: not a list


@dataclass(frozen=True)
class Element:
    """A table of the file."""

    name: str
    count: int  # rows
    properties: list[Property]

    @property
    def types(self) -> dict[str, str]:
        """Column -> its type as numpy writes it, without byte order; lists are no columns."""
        return {item.name: item.type for item in self.properties if item.length is None}

    @property
    def fixed(self) -> bool:
        """Whether all rows are equally long: there are no lists."""
        return all(item.length is None for item in self.properties)

    @property
    def least_row(self) -> int:
        """Bytes that a row takes at least, in binary: a list may be empty."""
        return sum(np.dtype(item.length or item.type).itemsize for item in self.properties)


@dataclass(frozen=True)
class Header:
    """What a PLY file says before its numbers."""

    order: str  # byte order as numpy writes it; empty: text
    elements: tuple[Element, ...]
    comments: tuple[str, ...]  # what follows `comment`, without spaces around it
    start: int  # bytes to where the first element begins

    def __getitem__(self, name: str) -> Element:
        return next(element for element in self.elements if element.name == name)

    def __contains__(self, name: object) -> bool:
        return any(element.name == name for element in self.elements)


def read_header(path: Path) -> Header:
    """The header of a PLY file that has vertices, whose bytes are all there.

    Raises InputError when the file is missing or no PLY, or its header is damaged or promises more than it holds.
    """
    try:
        with path.open("rb") as file:
            header = parse_header(path, file)
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if "vertex" not in header:
        names = " ".join(element.name for element in header.elements)
        raise InputError(f"{path} has no element `vertex`, only {names or 'an empty header'}")
    check_size(path, header, "vertex")
    return header


def read_parts(path: Path, header: Header, name: str, rows: int = PART) -> Iterator[Columns]:
    """The columns of an element, at most `rows` rows at a time; those of a part may share memory with no other.

    Raises InputError when the file cannot be read, or is damaged.
    """
    element = header[name]
    try:
        with path.open("rb") as file:
            file.seek(header.start)
            for before in itertools.takewhile(lambda other: other.name != name, header.elements):
                _skip(file, header.order, before)
            for start in range(0, element.count, rows):
                yield _columns(file, header.order, element, min(rows, element.count - start))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, OverflowError) as error:
        told = f"its {element.count} {'vertices' if name == 'vertex' else f'rows of {name}'} cannot be read"
        raise InputError(f"{path} is damaged: {told} ({error})") from None


def parse_header(path: Path, file: BinaryIO) -> Header:
    """The header that the file stands at; afterwards it stands behind it. Raises InputError, which names the path."""
    if file.readline(MAX_LINE).strip() != b"ply":
        raise InputError(f"{path} is not a PLY file: its first line is not `ply`")
    order: str | None = None
    elements: list[Element] = []
    comments: list[str] = []
    for _ in range(MAX_LINES):
        line = file.readline(MAX_LINE)
        match words := line.decode("latin-1").split():
            case ["end_header"]:
                if order is None or not line.endswith(b"\n"):
                    break
                return Header(order, tuple(elements), tuple(comments), file.tell())
            case ["format", kind, _] if kind in ORDERS:
                order = ORDERS[kind]
            case ["element", name, count] if count.isdecimal() and len(count) < 19:
                elements.append(Element(name, int(count), []))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= TYPES.keys():
                elements[-1].properties.append(Property(name, TYPES[kind], TYPES[length]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind]))
            case ["comment", *_]:
                comments.append(line.decode("utf-8", errors="replace").strip()[len("comment") :].strip())
            case ["obj_info", *_]:
                pass
            case []:
                if not line:
                    break
            case _:
                raise InputError(f"{path} has a PLY header line that says nothing known: {' '.join(words)[:80]!r}")
    raise InputError(f"{path} has a PLY header without its format or its end: the file is truncated or damaged")


def check_size(path: Path, header: Header, name: str) -> None:
    """Refuse an element without columns, or whose rows, with those before it, are more than the file holds.

    This comes before anything is allocated for it. Raises InputError.
    """
    element = header[name]
    columns = [item.name for item in element.properties]
    if not columns or len(set(columns)) < len(columns):
        raise InputError(f"{path} gives `{name}` no properties, or one of them twice")
    upto = [other.name for other in header.elements].index(name) + 1
    least = sum(other.count * _least_row(other, header.order) for other in header.elements[:upto])
    body = path.stat().st_size - header.start
    if least > body + (not header.order):  # the last line of text may lack its newline
        what = f"{element.count} vertices" if name == "vertex" else f"{element.count} rows of {name}"
        raise InputError(
            f"{path} is truncated: its header promises {what}, which take at least {least} bytes, "
            f"and {body} follow; copy or download it again"
        )


def _least_row(element: Element, order: str) -> int:
    return element.least_row if order else max(1, 2 * len(element.properties))  # a digit and a separator each


def _skip(file: BinaryIO, order: str, element: Element) -> None:
    if not order:
        for _ in range(element.count):
            file.readline()
    elif element.fixed:
        file.seek(element.count * element.least_row, 1)
    else:
        for _ in range(element.count):
            _walk_row(file, order, element)


def _columns(file: BinaryIO, order: str, element: Element, count: int) -> Columns:
    names = [item.name for item in element.properties]
    if order and element.fixed:
        rows = np.fromfile(file, dtype=[(item.name, order + item.type) for item in element.properties], count=count)
        if len(rows) < count:
            raise EOFError(f"{len(rows)} of {count} rows are there")
        return {name: rows[name] for name in names}
    if element.fixed:
        lines = list(itertools.islice((line for line in file if line.strip()), count))
        if len(lines) < count:
            raise EOFError(f"{len(lines)} of {count} rows are there")
        table = np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
        if table.shape[1] != len(names):
            raise EOFError(f"rows have {table.shape[1]} numbers for {len(names)} properties")
    else:
        walk = _walk_row if order else _walk_line
        table = np.array([walk(file, order, element) for _ in range(count)], dtype=np.float64)
    return {name: table[:, index] for index, name in enumerate(names)}


def _walk_row(file: BinaryIO, order: str, element: Element) -> list[float]:
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


def _walk_line(file: BinaryIO, order: str, element: Element) -> list[float]:
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
