"""FileFacts: what a splat's file is made of, as far as it matters to the programs that read it."""

from dataclasses import dataclass

__all__ = ["FileFacts"]


@dataclass(frozen=True)
class FileFacts:
    """What whoever reads the file's first bytes can say; what does not concern its format stays as it is here."""

    format: str = "PLY"  # NAME of its module in formats
    bytes: int = 0
    version: int | None = None  # SPZ
    gzipped: bool = False  # SPZ to version 3
    order: str = "binary_little_endian"  # PLY: as its header says
    types: tuple[str, ...] = ("float",)  # PLY: of the vertices' columns, each once
    columns: tuple[str, ...] = ()  # PLY: of the vertices
    elements: tuple[str, ...] = ("vertex",)  # PLY
    lists: bool = False  # PLY: some column is a list
    odd_lines: tuple[str, ...] = ()  # PLY: what its header has besides format, element, property and comment
    header_bytes: int = 0  # PLY
    returns: bool = False  # PLY: the header's lines end as on Windows
