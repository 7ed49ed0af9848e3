"""Where results that are slow to compute are kept, and the name a set of files has there."""

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cache_folder", "fingerprint"]


def cache_folder() -> Path:
    """The user's cache folder for sfumato: `SFUMATO_CACHE` when set, else what the system has for it."""
    if chosen := os.environ.get("SFUMATO_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sfumato" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sfumato"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sfumato"


def fingerprint(paths: Iterable[Path], *settings: object) -> str:
    """16 hexadecimal digits that change when a file's place, size or time of change does, or a setting.

    Contents are not read: hashing gigabytes of photos would take longer than most of what is cached.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for path in paths:
        stat = path.stat()
        digest.update(os.fsencode(path.resolve()))  # names need not be UTF-8
        digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
