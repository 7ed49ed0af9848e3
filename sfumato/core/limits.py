"""What a container or a scheduler lets this process use: cores and bytes of memory, as Linux control groups say."""

import os
from pathlib import Path

__all__ = ["container_cores", "container_memory", "usable_cores"]

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
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
