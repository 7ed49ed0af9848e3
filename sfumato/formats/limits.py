"""Bytes that nobody vouches for to bytes that are safe to read: claims are checked before memory is taken."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfumato.core.errors import InputError
from sfumato.core.sh import bases_of_degree
from sfumato.core.units import say_bytes

__all__ = ["FREE", "MOST_EXPANSION", "MOST_GAIN", "check_memory", "check_promise", "opened", "read_member"]

MOST_EXPANSION = 1032  # times that deflate can make bytes more (RFC 1951: 258 for a code of 2 bits)
FREE = 1 << 28  # bytes of memory that a packed file of any size may ask for: 1.1 million Gaussians of degree 3
MOST_GAIN = 100  # times its size that a larger one may: trained splats take 5 to 30 times the bytes they are packed in
_BRIEF = 60  # letters of what a library says


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """Inside, errors of the system become InputError in one sentence that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def check_promise(path: Path, count: int, needed: int, there: int) -> None:
    """Refuse a file that promises `count` Gaussians, which take `needed` bytes, and has fewer. Raises InputError."""
    if needed > there:
        raise InputError(
            f"{path} is truncated: it promises {count} Gaussians, which take {needed} bytes, and {there} follow; "
            "copy or download it again"
        )


def check_memory(path: Path, count: int, sh_degree: int, there: int, advice: str = "copy or download it again") -> None:
    """Refuse `there` packed bytes that promise so many Gaussians as to fill the memory, before any is taken.

    Raises InputError, whose sentence ends with the advice.
    """
    needed = count * 4 * (11 + 3 * bases_of_degree(sh_degree))
    if needed > FREE + MOST_GAIN * there:
        raise InputError(
            f"{path} is damaged, or made to fill the memory: its {there:,} bytes promise {count:,} Gaussians, which "
            f"take {say_bytes(needed)}, more than {MOST_GAIN} times as much; {advice}"
        )


def read_member(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a member of a zip archive, by its name alone: nothing is written anywhere.

    Raises InputError when it is not there, damaged, encrypted, or larger than `most` bytes, whatever its entry says.
    """
    try:
        if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is packed neither as it is nor by deflate")
        with archive.open(name) as file:
            data = file.read(most + 1)
    except KeyError:
        raise InputError(f"{path} has no member {name!r}; copy or download it again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        why = str(error)[:_BRIEF]  # it may quote bytes of the archive
        raise InputError(f"{path} is damaged: its member {name!r} cannot be unpacked ({why})") from None
    if len(data) > most:
        raise InputError(f"{path} holds a member {name!r} of more than {say_bytes(most)}; it is damaged")
    return data
