"""Files that appear whole or not at all: written beside their place, flushed to the disk, then renamed."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["PART", "replacing", "replacing_path", "sweep", "write_text"]

PART = ".part"  # how the names end of files that are not whole yet
_LETTERS = 50  # of at most 4 bytes each; names may have 255 bytes, and some 20 are added
_FULL = ("ENOSPC", "EDQUOT", "EFBIG")  # what `write` fails with where no more fits, without a name


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write to, which becomes `path` when the block ends without an error.

    A crash, a full disk or an exception leaves whatever was at `path` before. Raises OSError as `open` does, which
    names the file also when the disk is full.
    """
    with replacing_path(path) as beside, beside.open("wb") as file:
        yield file


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """The name of a file to write, which becomes `path` when the block ends without an error; see `replacing`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    short = path.name[:_LETTERS]  # else a name that fits would not with what is added to it
    beside = path.with_name(f".{short}.{secrets.token_hex(4)}{PART}")  # the same folder: a rename never copies
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        if error.filename is None and errno.errorcode.get(error.errno or 0) in _FULL:
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with plain newlines, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def sweep(folder: Path) -> None:
    """Remove what crashes have left half written in a folder; nobody else may be writing there."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last; systems that cannot (Windows, some network disks) do it in their own time."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
