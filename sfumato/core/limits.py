"""What this process may still take of the machine: cores, memory and disk, as the system and its container say."""

import ctypes
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = [
    "available_memory",
    "container_cores",
    "container_memory",
    "free_disk",
    "release_memory",
    "taken_memory",
    "threads_for",
    "usable_cores",
]

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_PER_THREAD = 72 * 2**20  # bytes of addresses, mostly never touched: 8 MiB of stack, 64 MiB for the C library's heap
_UNLIMITED = 2**60  # version 1 writes a number about this large for "no limit"


def usable_cores() -> int:
    """Cores that this process may run on at once, at least 1: its affinity, and its container's share of time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = container_cores()
    return max(1, min(cores, int(share + 0.5))) if share else cores


def container_cores(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> float | None:
    """Cores' worth of processor time that the process's groups grant; None without a limit."""
    limits = []
    for folder in _folders("cpu", groups, membership):
        quota, period = _words(folder / "cpu.max") or (
            _word(folder / "cpu.cfs_quota_us"),
            _word(folder / "cpu.cfs_period_us"),
        )
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def container_memory(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """Bytes of memory that the process's groups grant; None without a limit."""
    limits = []
    for folder in _folders("memory", groups, membership):
        word = _word(folder / "memory.max") or _word(folder / "memory.limit_in_bytes")
        if word.isdigit() and int(word) < _UNLIMITED:
            limits.append(int(word))
    return min(limits, default=None)


def taken_memory() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def release_memory() -> None:
    """Hand memory that was freed, but that the C library keeps for later, back to the system; nothing where it cannot.

    Photos that are decoded by several threads leave up to 100 MB of it behind.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def available_memory(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Bytes of memory that this process may still take without swapping or being stopped, at least 0.

    The least of what the machine has free, what each of the process's control groups has left of its limit (copies
    of files count as free: the system drops them when it needs room), and what is left of RLIMIT_AS.
    """
    rooms = [int(psutil.virtual_memory().available)]
    for folder in _folders("memory", groups, membership):
        limit = _word(folder / "memory.max") or _word(folder / "memory.limit_in_bytes")
        used = _word(folder / "memory.current") or _word(folder / "memory.usage_in_bytes")
        if limit.isdigit() and used.isdigit() and int(limit) < _UNLIMITED:
            rooms.append(int(limit) - max(0, int(used) - _droppable(folder)))
    if (room := _address_space()) is not None:
        rooms.append(room)
    return max(0, min(rooms))


def threads_for(each: int, most: int = 8) -> int:
    """How many threads may work at once when each takes that many bytes: at least 1, together half of what is free."""
    return max(1, min(most, usable_cores(), available_memory() // 2 // max(1, each)))


def free_disk(path: Path) -> int:
    """Bytes free for this user on the disk where `path` is, or will be once it is made."""
    path = path.absolute()
    return shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists())).free


def _droppable(group: Path) -> int:
    """Bytes of a group's memory that are copies of files nobody looked at lately."""
    words = iter(_words(group / "memory.stat"))
    numbers = dict(zip(words, words, strict=False))
    return int(numbers.get("total_inactive_file") or numbers.get("inactive_file") or 0)  # version 1: with its children


def _address_space() -> int | None:
    """Bytes left of RLIMIT_AS (`ulimit -v`), less what threads to come will map; None where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    threads = 2 * usable_cores() + 2  # that load photos, that compute, and that decode ahead
    return limit - int(psutil.Process().memory_info().vms) - threads * _PER_THREAD


def _folders(controller: str, groups: Path, membership: Path) -> list[Path]:
    """The process's group and those around it: any of them may have a limit. Both versions of the interface."""
    folders = []
    for line in _read(membership).splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":  # version 2: one tree for everything
            root = groups / "unified" if (groups / "unified").is_dir() else groups
        elif controller in controllers.split(","):
            root = groups / controller
        else:
            continue
        group = root / path.strip("/")
        folders += [folder for folder in (group, *group.parents) if folder == root or root in folder.parents]
    return folders


def _word(path: Path) -> str:
    words = _words(path)
    return words[0] if words else ""


def _words(path: Path) -> list[str]:
    return _read(path).split()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # no such interface here
        return ""
