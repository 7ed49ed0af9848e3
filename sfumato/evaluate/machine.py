"""Where and with what numbers were made: versions, commit, processor, memory; asked without failing anywhere."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

__all__ = ["commit", "machine", "peak_memory", "processor", "total_memory", "versions"]


def versions() -> dict[str, str]:
    """Versions of Python and of what computes; a package that is not installed says so."""
    found = {"python": platform.python_version()}
    for package in ("sfumato", "torch", "numba", "numpy", "pillow"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    if found["sfumato"] == "not installed":  # run from a checkout
        import sfumato

        found["sfumato"] = sfumato.__version__
    return found


def commit() -> str | None:
    """The commit of the checkout that is running, with `-dirty` when files differ; None outside a checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():  # an installed package may lie inside somebody else's repository
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return _output(command)


def machine() -> dict[str, object]:
    """Processor, cores this process may use, memory in bytes, system."""
    return {
        "processor": processor(),
        "cores": _cores(),
        "memory_bytes": total_memory(),
        "system": platform.platform(terse=True),
        "architecture": platform.machine(),
    }


def processor() -> str:
    """The processor's name as its maker writes it, or the architecture where nobody tells."""
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        names = [
            line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")) and ":" in line
        ]
        name = names[0] if names else None
    elif sys.platform == "darwin":
        name = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    else:
        name = platform.processor()
    return name or platform.machine() or "unknown"


def total_memory() -> int | None:
    """Bytes of memory in the machine; None where nobody tells."""
    if sys.platform == "win32":
        return _windows_memory()[0]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def peak_memory() -> int | None:
    """The most bytes of memory that this process held at once; None where nobody tells."""
    if sys.platform == "win32":
        return _windows_memory()[1]
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others kilobytes


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def _output(command: list[str]) -> str | None:
    """What a small program says, or None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, encoding="utf-8")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _windows_memory() -> tuple[int | None, int | None]:
    """Bytes in the machine, and the most this process held: two questions to Windows' own library."""
    if sys.platform != "win32":
        return None, None
    import ctypes
    from ctypes import wintypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = [
            ("length", wintypes.DWORD),
            ("load", wintypes.DWORD),
            *(
                (name, ctypes.c_uint64)
                for name in ("total", "free", "page", "free_page", "virtual", "free_virtual", "more")
            ),
        ]

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS."""

        _fields_ = [
            ("length", wintypes.DWORD),
            ("faults", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "e", "f")),
        ]

    status, counters = Status(length=ctypes.sizeof(Status)), Counters(length=ctypes.sizeof(Counters))
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    question = kernel.K32GetProcessMemoryInfo
    question.argtypes = [wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD]
    total = status.total if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None
    known = question(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.length)
    return total, counters.peak if known else None
