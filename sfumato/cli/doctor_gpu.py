"""What a machine's GPU says of itself to what `sfumato doctor` says: which backend is taken, and why not the GPU."""

import platform
import sys
from collections.abc import Iterator
from typing import Any, Literal

__all__ = ["GPU", "gpu_findings"]

_State = Literal["ok", "note", "missing"]
_Finding = tuple[str, _State, str, str]  # name, state, found, fix

CARD = "GPU"
BACKEND = "backend gpu"
AUTO = "backend auto"
GET_STARTED = "https://pytorch.org/get-started/locally"
APART = 1e-4  # of a picture from the reference's, at the most
HOW_CUDA = f"install the CUDA build of torch: {GET_STARTED} has the command for this system and driver"
HOW_ROCM = f"install the ROCm build of torch: {GET_STARTED} has the command for this system"
OF_AMD = ("gfx90a", "gfx942", "gfx1100", "gfx1201")  # that every kernel is compiled for in tests

# What is asked in a process of its own. The last question is a picture: a kernel that compiles, runs and is right.
GPU = """
import os, shutil, sys, warnings
from pathlib import Path
import torch

found = {"cuda": torch.version.cuda, "hip": torch.version.hip, "interpreted": os.environ.get("TRITON_INTERPRET") == "1"}
found["hidden"] = {
    name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    if name in os.environ
}
nvidia = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists() or Path("/dev/dxg").exists()
amd = Path("/dev/kfd").exists() or shutil.which("rocminfo")
found["hardware"] = "nvidia" if nvidia else "amd" if amd else None
try:
    import triton
    found["triton"] = triton.__version__
except Exception as error:
    found["triton_error"] = f"{type(error).__name__}: {error}"
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    found["seen"] = torch.cuda.is_available()
    if not found["seen"] and (torch.version.cuda or torch.version.hip):
        try:
            torch.cuda.init()
        except Exception as error:
            found["why"] = " ".join(str(error).split())
found["warned"] = [" ".join(str(warning.message).split()) for warning in heard]
if found["seen"]:
    from sfumato.evaluate.machine import gpu
    device = torch.device("cuda", torch.cuda.current_device())
    found["gpu"] = gpu(device)
    found["free"], found["count"] = torch.cuda.mem_get_info(device)[0], torch.cuda.device_count()
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    from sfumato.kernels.backends import choose
    found["auto"] = choose("auto")[0]
found["idle"] = [" ".join(str(warning.message).split()) for warning in heard]
if found["auto"] == "gpu":
    from sfumato.core.camera import Camera
    from sfumato.core.gaussians import Gaussians
    from sfumato.render.render import render
    means, quats = torch.tensor([[0.1, 0.2, 2.0]]), torch.tensor([[1.0, 0.2, 0.1, 0.3]])
    logits, colors = torch.tensor([1.0]), torch.tensor([[[0.5, 0.1, -0.2]]])
    one = Gaussians(means, quats, torch.tensor([[-1.5, -1.0, -2.0]]), logits, colors, torch.zeros(1, 0, 3))
    camera = Camera(torch.eye(4), torch.tensor([[20.0, 0, 16], [0, 20, 16], [0, 0, 1]]), 32, 32)
    try:
        pictures = [render(one.to(place), camera, backend=name).image.cpu()
                    for name, place in (("gpu", device), ("reference", "cpu"))]
        found["apart"] = (pictures[0] - pictures[1]).abs().max().item()
    except Exception as error:
        found["failed"] = f"{type(error).__name__}: " + " ".join(str(error).split())[:300]
"""


def gpu_findings(torch: dict[str, Any], said: dict[str, Any]) -> Iterator[_Finding]:
    """The card, its backend, and what `auto` takes, from what the libraries say of themselves."""
    if "error" in torch or "error" in said:
        fix = "repair torch first" if "error" in torch else "report it, with this table"
        yield BACKEND, "note", "needs torch" if "error" in torch else said["error"], fix
        return
    if said["seen"]:
        yield _card(said)
    yield _backend(said)
    yield _auto(said)


def _card(said: dict[str, Any]) -> _Finding:
    gpu = said["gpu"]
    kind = f"compute capability {gpu['compute_capability']}" if "compute_capability" in gpu else gpu["architecture"]
    through = f"CUDA {gpu['cuda']}" if "cuda" in gpu else f"ROCm {gpu['rocm']}"
    found = f"{gpu['name']}, {kind}, {gpu['memory_bytes'] / 2**30:.1f} GiB ({said['free'] / 2**30:.1f} free), {through}"
    found += f", driver {gpu['driver']}" if gpu["driver"] else ""
    if said["count"] > 1:
        found += f"; the first of {said['count']}, and only it is used"
    architecture = gpu.get("architecture", "").partition(":")[0]
    if architecture and architecture not in OF_AMD:
        return CARD, "note", f"{found}; kernels are compiled in tests for {', '.join(OF_AMD)} only", ""
    return CARD, "ok", found, ""


def _backend(said: dict[str, Any]) -> _Finding:
    """Whether the GPU can compute, or what is in the way, and how to remove it."""
    version = f"Triton {said['triton']}" if "triton" in said else ""
    if not said["seen"]:
        return _unseen(said)
    if "triton_error" in said:
        package = "triton-windows" if sys.platform == "win32" else "triton"
        return BACKEND, "missing", said["triton_error"], f"pip install {package}"
    if said["interpreted"]:
        told = f"{version}, but TRITON_INTERPRET=1 is set: kernels are interpreted on the CPU, a thousand times slower"
        return BACKEND, "note", told, "unset TRITON_INTERPRET"
    if said["auto"] != "gpu":
        return BACKEND, "missing", "; ".join(said["idle"]) or "it cannot be used", ""
    if "failed" in said:
        return BACKEND, "missing", f"{version} cannot draw: {said['failed']}", _repair(said["failed"])
    if not said["apart"] <= APART:
        told = f"{version} draws another picture than the reference: {said['apart']:.2g} apart, of 1"
        return BACKEND, "missing", told, "report it, with this table; until then add --backend cpu"
    return BACKEND, "ok", f"{version}, draws what the reference draws", ""


def _repair(error: str) -> str:
    if "no kernel image" in error:
        return f"this build of torch is not for this GPU; {HOW_CUDA}"
    return "report it, with this table; until then add --backend cpu"


def _unseen(said: dict[str, Any]) -> _Finding:
    """Why torch sees no GPU."""
    hidden = next((f"{name}={value}" for name, value in said["hidden"].items()), None)
    built = said["cuda"] or said["hip"]
    if said["interpreted"]:
        told = "TRITON_INTERPRET=1 is set: --backend gpu is interpreted on the CPU, a thousand times slower"
        if "triton_error" in said:
            told = f"TRITON_INTERPRET=1 is set, which is for tests, and there is no Triton ({said['triton_error']})"
        return BACKEND, "note", told, "unset TRITON_INTERPRET"
    if platform.system() == "Darwin":
        return BACKEND, "note", "for NVIDIA's and AMD's cards; on a Mac, the CPU computes", ""
    if built and hidden is not None:
        return (
            BACKEND,
            "note",
            f"torch sees no GPU, and {hidden} hides some or all",
            f"unset {hidden.partition('=')[0]}",
        )
    if said["hardware"] is None:
        build = f"{'CUDA' if said['cuda'] else 'ROCm'} build of torch" if built else "build of torch for the CPU alone"
        return BACKEND, "note", f"no NVIDIA or AMD GPU is here, or no driver of one ({build})", ""
    if not built:
        told = f"there is a GPU of {said['hardware'].upper()}, but this torch is built for the CPU alone"
        return BACKEND, "missing", told, HOW_CUDA if said["hardware"] == "nvidia" else HOW_ROCM
    why = said.get("why") or "; ".join(said["warned"]) or "it does not say why"
    fix = "install or update the GPU's driver; in a container, start it with the GPU (docker run --gpus all)"
    if said["hip"]:
        fix = "install or update ROCm's driver, and be in the groups render and video"
    return BACKEND, "missing", f"torch sees no GPU: {why}", fix


def _auto(said: dict[str, Any]) -> _Finding:
    computes = {"gpu": "the GPU computes", "cpu": "the CPU computes"}[said["auto"]]
    if said["auto"] == "gpu" and ("failed" in said or not said["apart"] <= APART):
        return (
            AUTO,
            "note",
            f"{computes}, but not as it should: see backend gpu",
            "add --backend cpu until it is repaired",
        )
    return AUTO, "ok", f"{computes} unless --backend says otherwise", ""
