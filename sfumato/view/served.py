"""One file, on the disk or in memory, to its answer over HTTP: whole, a range, or not again (RFC 9110)."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from sfumato.core.errors import InputError

__all__ = ["TYPES", "DiskFile", "MemoryFile", "media_type", "not_found"]

CHUNK = 1 << 18  # bytes that are read at a time
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_OPENING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_RANGE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class MemoryFile:
    """Bytes that never change."""

    content: bytes
    type: str

    async def answer(self, request: Request) -> Response:
        """The response to GET or HEAD."""
        tag = f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'
        kind, headers, start, stop = _plan(request, len(self.content), tag, self.type)
        return Response(self.content[start:stop], kind, headers)


@dataclass(frozen=True)
class DiskFile:
    """A regular file inside a folder, which it does not leave by a link, neither now nor later."""

    path: Path  # resolved
    type: str

    @classmethod
    def inside(cls, folder: Path, path: Path) -> "DiskFile":
        """The file for the table. Raises InputError when it is none, or lies outside the folder."""
        real = path.resolve()
        if not real.is_file():
            raise InputError(f"{path} is not there, or no file")
        if not real.is_relative_to(folder.resolve()):
            raise InputError(f"{path} is a link that leads out of {folder}; give the file itself")
        return cls(real, media_type(real.name))

    async def answer(self, request: Request) -> Response:
        """The response to GET or HEAD; 404 when the file has gone, or became something else."""
        try:
            file, size, changed = await run_in_threadpool(self._open)
        except OSError:
            return not_found()
        kind, headers, start, stop = _plan(request, size, f'"{size:x}-{changed:x}"', self.type)
        if start == stop:
            file.close()
            return Response(b"", kind, headers)
        return StreamingResponse(_chunks(file, start, stop), kind, headers)

    def _open(self) -> tuple[BinaryIO, int, int]:
        """The open file, its bytes, and when it changed, ns. Raises OSError where a link has come into its path."""
        handle = os.open(self.path, _OPENING)
        file = os.fdopen(handle, "rb")
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or self.path.resolve() != self.path:
                raise OSError(errno.ELOOP, "it is no plain file any more")
        except BaseException:
            file.close()
            raise
        return file, found.st_size, found.st_mtime_ns


def media_type(name: str) -> str:
    """The Content-Type of a file, by its suffix."""
    return TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def not_found() -> Response:
    """Nothing is at this address."""
    return PlainTextResponse("There is nothing here.\n", 404)


async def _chunks(file: BinaryIO, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from start to stop; fewer when the file has been cut, which ends the connection."""
    with file:
        await run_in_threadpool(file.seek, start)
        while start < stop:
            chunk = await run_in_threadpool(file.read, min(CHUNK, stop - start))
            if not chunk:
                return
            start += len(chunk)
            yield chunk


def _plan(request: Request, size: int, tag: str, type: str) -> tuple[int, dict[str, str], int, int]:
    """Status, headers, and which bytes, from start to stop."""
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
    if _names(request.headers.get("if-none-match", ""), tag):
        return 304, headers, 0, 0
    headers["Content-Type"] = type
    start, stop, status = 0, size, 200
    asked = request.headers.get("range")
    if asked and request.method == "GET" and request.headers.get("if-range", tag) == tag:
        found = _range(asked, size)
        if found is not None and found[0] >= found[1]:
            return 416, {**headers, "Content-Range": f"bytes */{size}", "Content-Length": "0"}, 0, 0
        if found is not None:
            start, stop = found
            status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    return (status, headers, 0, 0) if request.method == "HEAD" else (status, headers, start, stop)


def _names(condition: str, tag: str) -> bool:
    """True when If-None-Match holds the tag; weak ones are as good here (RFC 9110, 13.1.2)."""
    words = [word.strip().removeprefix("W/") for word in condition.split(",")]
    return tag in words or words == ["*"]


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; empty when nothing of it is there. None: to be ignored, as several are."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not any(found.groups()) or len(asked) > 100:
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return min(int(first), size), min(int(last) + 1, size) if last else size
