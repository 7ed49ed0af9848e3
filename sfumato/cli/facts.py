"""A splat's file, which has been read without complaint, to what it is made of, from its first bytes."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfumato.edit.lint.facts import FileFacts

__all__ = ["facts_of"]

HEAD = 1 << 20  # bytes: readers allow long headers
SPZ = b"NGSP"


def facts_of(path: Path, name: str) -> "FileFacts":
    """What the file of the format `name` is made of."""
    from sfumato.cli.writing import bytes_of
    from sfumato.edit.lint.facts import FileFacts

    size = bytes_of(path)
    if path.is_dir():
        return FileFacts(name, size)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if name in ("PLY", "compressed PLY"):
        return _ply(name, size, head)
    if name == "SPZ":
        return _spz(size, head)
    return FileFacts(name, size)


def _spz(size: int, head: bytes) -> "FileFacts":
    from sfumato.edit.lint.facts import FileFacts

    gzipped = head[:2] == b"\x1f\x8b"
    if gzipped:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 16)
    version = int.from_bytes(head[4:8], "little") if head[:4] == SPZ else None
    return FileFacts("SPZ", size, version, gzipped)


def _ply(name: str, size: int, head: bytes) -> "FileFacts":
    from sfumato.edit.lint.facts import FileFacts

    lines: list[bytes] = []
    at = 0
    while (end := head.find(b"\n", at)) >= 0:
        lines.append(head[at : end + 1])
        at = end + 1
        if lines[-1].strip() == b"end_header":
            break
    words = [line.decode("latin-1").split() for line in lines]
    elements = tuple(line[1] for line in words if line[:1] == ["element"] and len(line) > 1)
    element, properties = "", []
    for line in words:
        element = line[1] if line[:1] == ["element"] and len(line) > 1 else element
        if element == "vertex" and line[:1] == ["property"] and len(line) > 2:
            properties.append(line)
    known = ("ply", "format", "element", "property", "comment", "end_header")
    return FileFacts(
        name,
        size,
        order=next((line[1] for line in words if line[:1] == ["format"] and len(line) > 1), ""),
        types=tuple(dict.fromkeys(line[1] for line in properties)),
        columns=tuple(line[-1] for line in properties),
        elements=elements,
        lists=any(line[:2] == ["property", "list"] for line in words),
        odd_lines=tuple(dict.fromkeys(line[0][:20] for line in words if line and line[0] not in known)),
        header_bytes=at,
        returns=any(line.endswith(b"\r\n") for line in lines),
    )
