"""Where and with what numbers were made: versions, commit, processor, memory; asked without failing anywhere."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import torch

from sfumato.core.limits import container_cores, container_memory, usable_cores

__all__ = ["commit", "gpu", "machine", "peak_gpu_memory", "peak_memory", "processor", "total_memory", "versions"]

_NVIDIA = "/proc/driver/nvidia/version"
_AMD = "/sys/module/amdgpu/version"


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
    """Processor, cores this process may use, memory in bytes, what a container grants of both, system."""
    granted = {"container_cores": container_cores(), "container_memory_bytes": container_memory()}
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "memory_bytes": total_memory(),
        **{name: value for name, value in granted.items() if value is not None},
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


def total_memory() -> int:
    """Bytes of memory in the machine, whatever a container grants of it."""
    return int(psutil.virtual_memory().total)


def peak_memory() -> int:
    """The most bytes of memory that this process held at once."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others kilobytes


def gpu(device: torch.device) -> dict[str, object]:
    """A GPU's name, memory in bytes, kind, and the versions of what stands between it and Python."""
    found = torch.cuda.get_device_properties(device)
    about: dict[str, object] = {"name": torch.cuda.get_device_name(device), "memory_bytes": int(found.total_memory)}
    if torch.version.hip:
        about |= {"architecture": getattr(found, "gcnArchName", "unknown"), "rocm": torch.version.hip}
    else:
        major, minor = torch.cuda.get_device_capability(device)
        about |= {"compute_capability": f"{major}.{minor}", "cuda": torch.version.cuda}
    return {**about, "driver": _driver(), "triton": _version("triton", "triton-windows", "pytorch-triton-rocm")}


def peak_gpu_memory(device: torch.device) -> int:
    """The most bytes of a GPU's memory that tensors of this process held at once."""
    return int(torch.cuda.max_memory_allocated(device))


def _driver() -> str | None:
    """The version of the GPU's driver; None where nobody tells."""
    if torch.version.hip:
        return _first_line(Path(_AMD))
    asked = _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return asked.splitlines()[0].strip() if asked else _first_line(Path(_NVIDIA))


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def _version(*packages: str) -> str | None:
    """Of the first of these packages that is installed."""
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _output(command: list[str]) -> str | None:
    """What a small program says, or None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, encoding="utf-8")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
