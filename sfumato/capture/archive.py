"""Archives of photos or datasets (.zip .r3d .tar .tar.gz), unpacked once into the cache; what is unsafe is refused."""

import bz2
import gzip
import lzma
import os
import re
import secrets
import shutil
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sfumato.core.cache import fingerprint
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent

__all__ = ["is_archive", "unpacked"]

_SUFFIXES = (".zip", ".r3d", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
_FOREIGN = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"\x28\xb5\x2f\xfd": "zstd"}  # first bytes of what stays shut
_PACKED_TARS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_ALWAYS = 1 << 30  # bytes that any archive may unpack to
_RATIO = 100  # times its own size that a larger one may unpack to: photos hardly shrink, text shrinks tenfold
_MOST = 200_000  # files and folders
_SPARE = 64 << 20  # bytes that stay free on the disk
_STALE = 24 * 3600  # seconds after which a half unpacked folder belongs to nobody
_BLOCK = 1 << 20  # bytes read at once
_LONGEST = 64 << 20  # bytes that a tar may ask for at once: its extended headers are read as a whole
_NOTES = re.compile(r"(read[ _-]?me|licen[cs]e|copying|citation|attribution)\b", re.IGNORECASE)  # beside the data
_LITTER = (".ds_store", "thumbs.db", "desktop.ini")  # what file managers leave
# what reading a damaged archive raises: the modules promise no common error
_DAMAGE: tuple[type[Exception], ...] = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_DAMAGE += (struct.error, ValueError, KeyError, IndexError, OverflowError, RuntimeError, OSError, MemoryError)


@dataclass(frozen=True)
class _Entry:
    """Something in an archive."""

    name: str
    size: int  # bytes, as the archive says
    kind: str  # file, folder, link (or anything else that is neither)
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """True when `path` is a file whose name ends like an archive's, be it one that can be unpacked here or not."""
    return path.name.lower().endswith(_SUFFIXES) and path.is_file()


def unpacked(archive: Path, store: Path, progress: Progress = silent) -> Path:
    """The folder with what is in an archive; when all of that is in one folder, that folder.

    It is unpacked to store/archives, where the next call finds it; a crash leaves nothing that a call would find.
    Raises InputError when the archive is damaged, encrypted, of another kind, empty, would leave its folder, holds
    links or nothing but other archives, unpacks to suspiciously much or to more than the disk has free; or when the
    store cannot be written.
    """
    if not archive.is_file():
        raise InputError(f"{archive} is not there; give an archive of photos or of a dataset")
    place = store / "archives" / fingerprint([archive])
    if not place.is_dir():
        part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")  # the same folder: a rename never copies
        try:
            _sweep(place.parent)
            part.mkdir(parents=True)
            _unpack(archive, part, progress)
            _check_nested(archive, part)
            _settle(part, place)
        except OSError as error:
            why = error.strerror or str(error)
            raise InputError(f"{archive} cannot be unpacked into {store}: {why}; set SFUMATO_CACHE") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return _top(place)


def _sweep(folder: Path) -> None:
    """Remove what killed runs left half unpacked."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                shutil.rmtree(part, ignore_errors=True)


def _settle(part: Path, place: Path) -> None:
    """Give the whole folder its name, unless another run was faster."""
    try:
        part.replace(place)
    except OSError:
        if not place.is_dir():
            raise


def _top(folder: Path) -> Path:
    inside = [path for path in folder.iterdir() if not (path.name.startswith(".") or _NOTES.match(path.name))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Write the files of an archive below `folder`. Raises OSError when that cannot be written to."""
    limit = _limit(archive, folder)
    spent = files = seen = 0
    with _entries(archive, limit) as (entries, total):
        while (entry := _next(archive, entries)) is not None:
            seen += 1
            if seen > _MOST:
                raise InputError(f"{archive} holds more than {_MOST} files, which no dataset does")
            _check(archive, spent + entry.size, limit)
            parts = _safe(archive, entry.name)
            if entry.kind == "link":
                raise InputError(f"{archive} holds a link, {entry.name}; pack the files themselves")
            if entry.kind == "folder" or not parts:
                continue
            target = folder.joinpath(*parts)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    for block in _blocks(archive, entry):
                        spent += len(block)
                        _check(archive, spent, limit)
                        file.write(block)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise InputError(f"{archive} holds two things called {entry.name}; unpack it by hand") from None
            files += 1
            progress("unpacking", files, total)
    if not files:
        raise InputError(f"{archive} holds no files; pack it again")


def _check_nested(archive: Path, folder: Path) -> None:
    """Raise InputError when what was unpacked are archives, as of downloads that were packed again."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not _NOTES.match(path.name))
    first = next(files, None)
    if first and is_archive(first) and all(is_archive(path) for path in files):
        name = first.relative_to(folder).as_posix()
        raise InputError(f"{archive} holds an archive, {name}: unpack it and give that")


def _limit(archive: Path, folder: Path) -> tuple[int, str]:
    """How many bytes may be unpacked, and what it means when they are more."""
    plausible = max(_ALWAYS, _RATIO * archive.stat().st_size)
    free = shutil.disk_usage(folder).free - _SPARE
    if free < plausible:
        return free, f"of which the disk of {folder.parent} has {max(0, free) >> 20} MB free; free some space"
    return plausible, f"more than {_RATIO} times its size, as no photos do; unpack it by hand if you trust it"


def _check(archive: Path, size: int, limit: tuple[int, str]) -> None:
    if size > limit[0]:
        raise InputError(f"{archive} unpacks to {size >> 20} MB or more, {limit[1]}")


@contextmanager
def _damage(archive: Path) -> Iterator[None]:
    """Whatever is raised while an archive is read becomes one sentence."""
    try:
        yield
    except InputError:
        raise
    except NotImplementedError as error:
        raise InputError(
            f"{archive} is packed in a way that cannot be read here ({error}); unpack it by hand"
        ) from None
    except _DAMAGE as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive} is damaged or incomplete ({why}); copy or download it again") from None


def _next(archive: Path, entries: Iterator[_Entry]) -> _Entry | None:
    with _damage(archive):
        return next(entries, None)


def _blocks(archive: Path, entry: _Entry) -> Iterator[bytes]:
    with _damage(archive):
        stream = entry.open()
    if stream is None:
        return
    with stream:
        while True:
            with _damage(archive):
                block = stream.read(_BLOCK)
            if not block:
                return
            yield block


def _safe(archive: Path, name: str) -> list[str]:
    """The parts of a name, below the folder for sure; none for what operating systems add."""
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or re.match("[A-Za-z]:/", name):
        raise InputError(
            f"{archive} holds {name[:80]!r}, which would be written outside of its folder; do not trust it"
        )
    if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1].lower() in _LITTER:
        return []
    return [re.sub('[<>:"|?*]', "_", part) for part in parts] if os.name == "nt" else parts


@contextmanager
def _entries(archive: Path, limit: tuple[int, str]) -> Iterator[tuple[Iterator[_Entry], int]]:
    """What is in an archive, and how many things that are (0 when unknown before the end)."""
    with archive.open("rb") as file:
        head = file.read(8)
    for first, kind in _FOREIGN.items():
        if head.startswith(first):
            raise InputError(f"{archive} is a {kind} archive, which cannot be opened here; unpack it, give the folder")
    if head.startswith(b"PK") or archive.suffix.lower() in (".zip", ".r3d"):
        with _damage(archive):
            zipped = zipfile.ZipFile(archive)
        with zipped:
            infos = [info for info in zipped.infolist() if not info.filename.startswith("__MACOSX")]
            _check(archive, sum(info.file_size for info in infos), limit)
            yield (_of_zip(archive, zipped, info) for info in infos), len(infos)
    else:
        opener = next((opener for first, opener in _PACKED_TARS.items() if head.startswith(first)), open)
        with opener(archive, "rb") as plain:
            yield _of_tar(plain), 0


def _of_zip(archive: Path, zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    if info.flag_bits & 0x1:
        raise InputError(f"{archive} is encrypted; unpack it with its password, and give the folder")
    name = info.filename
    if not info.flag_bits & 0x800:  # not marked as UTF-8, which macOS writes all the same
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    mode = stat.S_IFMT(info.external_attr >> 16)
    is_odd = mode not in (0, stat.S_IFREG, stat.S_IFDIR)
    kind = "link" if is_odd else "folder" if info.is_dir() else "file"
    return _Entry(name, info.file_size, kind, lambda: zipped.open(info))


class _Modest:
    """A file that refuses to be read in huge blocks."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST:
            raise ValueError(f"a header of {size} bytes")
        return self.file.read(size)


def _of_tar(plain: IO[bytes]) -> Iterator[_Entry]:
    """The members of a tar, and an error when it ends before its end mark: tarfile takes that for the end."""
    modest: Any = _Modest(plain)
    with tarfile.open(fileobj=modest, mode="r:") as tar:
        for member in tar:
            kind = "file" if member.isreg() else "folder" if member.isdir() else "link"
            yield _Entry(member.name, member.size, kind, lambda member=member: tar.extractfile(member))  # type: ignore[misc]
        plain.seek(tar.offset)
        mark = plain.read(tarfile.BLOCKSIZE)
        if len(mark) < tarfile.BLOCKSIZE or any(mark):
            raise EOFError("the end is missing")
        plain.read(_BLOCK)  # the checksum of what it is packed with comes last
