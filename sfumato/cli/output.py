"""The folder a run writes to: what it may replace, whether it can be written, and that one run at a time uses it."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sfumato.core.errors import InputError
from sfumato.core.files import sweep
from sfumato.core.limits import free_disk
from sfumato.core.units import say_bytes

__all__ = [
    "CHECKPOINTS",
    "REPORT",
    "RUN",
    "check_output",
    "check_room",
    "check_writable",
    "clear",
    "locked",
    "taken_disk",
]

CHECKPOINTS = "checkpoints"
REPORT = ("report.json", "report.md", "report.html", "compare")
RUN = ("splat.ply", *REPORT, "log.jsonl", "config.json", CHECKPOINTS, "cameras.json")
SPARE = 200 * 10**6  # bytes on the disk, besides splat and checkpoints, for pictures and the log
_LOCK = ".lock"
_HELD: set[str] = set()  # folders that this process has locked
_OWN = {"compare": ("*.png",), CHECKPOINTS: ("step-*.safetensors", "step-*.json")}


def check_output(folder: Path, force: bool, source: Path, files: Sequence[str] = RUN) -> None:
    """Refuse a folder that holds any of `files`, or cannot be written, or is the source; changes nothing.

    Raises InputError in one sentence.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} must be a folder for results; it is a file, choose another name")
    if folder.resolve() == source.resolve():
        raise InputError(f"{folder} is where the photos are; choose another folder for results")
    if (folder / _LOCK).exists():
        with locked(folder):
            pass
    held = [name for name in files if (folder / name).exists()]
    if held and not force:
        add = "--resume to go on with it, or --force" if files == RUN and "config.json" in held else "--force"
        told = f"{folder} already holds a run or its report ({', '.join(held)})"
        raise InputError(f"{told}; choose another, or add {add} to replace it")
    check_writable(folder)
    check_room(folder, 0)


def check_writable(place: Path) -> None:
    """Refuse a file or folder that cannot be written, or made, where it is; changes nothing. Raises InputError."""
    parent = next(above for above in (place, *place.absolute().parents) if above.exists())
    try:
        with tempfile.TemporaryFile(dir=parent if parent != place or place.is_dir() else place.absolute().parent):
            pass
    except OSError as error:
        raise InputError(f"{place} cannot be written: {error.strerror}; choose another place") from None


def check_room(folder: Path, needed: int) -> None:
    """Refuse a disk without room for `needed` bytes and what pictures take. Raises InputError in one sentence."""
    free = free_disk(folder)
    if free < needed + SPARE:
        raise InputError(
            f"{folder} has {say_bytes(free)} free on its disk, and {say_bytes(needed + SPARE)} are needed; make room "
            "or choose another place"
        )


def taken_disk(folder: Path) -> int:
    """Bytes of the files in a folder; 0 when it is not there."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())


def clear(folder: Path, files: Sequence[str] = RUN) -> None:
    """Make the folder and remove `files` of an earlier run, and nothing else; with cameras.json its pictures go."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras, scores = "cameras.json" in files, set(REPORT) <= set(files)
    if cameras or scores:
        from sfumato.view.views import VIEWS, own_pictures  # torch comes with it, and a refusal needs none

        for picture in own_pictures(folder):
            if cameras or picture.name.endswith(".render.jpg"):  # scores, and what they are of
                picture.unlink(missing_ok=True)
        with suppress(OSError):
            (folder / VIEWS).rmdir()
    for name in files:
        path = folder / name
        if path.is_dir():
            sweep(path)
            for pattern in _OWN[name]:
                for own in path.glob(pattern):
                    own.unlink()
            with suppress(OSError):  # it holds something of somebody else
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process can lock the folder; a killed process leaves it free.

    A folder that had to be made, and is left empty, is removed again. Inside of itself it does nothing. Raises
    InputError when another process has the folder.
    """
    name = str(folder.resolve())
    if name in _HELD:
        yield
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    with path.open("a+b") as file:
        try:
            _lock(file.fileno())
        except OSError:
            raise InputError(f"{folder} is in use by another run; wait for it, or choose another folder") from None
        _HELD.add(name)
        try:
            yield
        finally:
            _HELD.discard(name)
            with suppress(OSError):  # Windows does not remove what is open; there the empty file stays
                path.unlink()
                for place in made:
                    place.rmdir()


def _lock(handle: int) -> None:
    """Raise OSError when another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
                return  # a disk without locks, in a network mostly: nobody can have one
            raise
        if os.fstat(handle).st_nlink == 0:  # the last holder has just removed the file
            raise OSError("the lock's file is gone")
