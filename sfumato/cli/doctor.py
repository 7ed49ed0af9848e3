"""`sfumato doctor`: what works on this machine, and how to repair what does not."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from sfumato.cli.doctor_gpu import GPU, gpu_findings
from sfumato.cli.flags import parse
from sfumato.core.limits import container_cores, container_memory, usable_cores

__all__ = ["Doctor", "Finding", "examine", "main"]

OLDEST = (3, 10)  # of Python
LITTLE_MEMORY = 4 * 2**30  # bytes; photos of 4 megapixels and 200,000 Gaussians fit in half of it
PATIENCE = 120  # seconds that a library may take to be imported

# Each library is tried in a process of its own: one that was built for another processor ends it without a word.
PROBES = {
    "torch": "import torch; found = {'version': torch.__version__}",
    "gpu": GPU,
    "cpu": """
from sfumato.kernels.backends import load
backend = load('cpu')
import numba
from sfumato.kernels.cpu import simd, threads
found = {'version': numba.__version__, 'lanes': simd.LANES, 'threads': threads.threads(),
         'cache': str(threads.cache_folder()), 'compiled': backend.is_prepared()}
""",
    "pictures": "import PIL, safetensors, numpy; found = {'version': PIL.__version__}",
    "sfm": "import pycolmap; found = {'version': pycolmap.__version__}",
    "video": """
import av
known = av.codecs_available
found = {'version': av.__version__, 'encoder': 'libx264' in known, 'decoder': 'h264' in known}
""",
    "machine": """
from sfumato.evaluate.machine import processor, total_memory
found = {'processor': processor(), 'memory': total_memory()}
""",
}
BEFORE, AFTER = "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n", "\nprint('\\n' + json.dumps(found))"


@dataclass(frozen=True)
class Doctor:
    """Say what works on this machine, and how to repair what does not.

    The exit code is 0 when training can run here, 1 when it cannot.
    """

    json: bool = False
    """As JSON, for programs."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "note", "missing"]  # note: it works, but there is something to know
    found: str
    fix: str = ""  # what to do, where something can be done
    needed: bool = False  # nothing can be trained without it


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Doctor, words)
    findings = examine()
    able = not any(finding.needed and finding.state == "missing" for finding in findings)
    if flags.json:
        print(json.dumps({"can_train": able, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _show(findings, able)
    return 0 if able else 1


def examine(probe: Callable[[str], dict[str, Any]] | None = None) -> list[Finding]:
    """Look at everything; `probe` takes a name in PROBES to what the library says of itself, or {"error": ...}."""
    with ThreadPoolExecutor(len(PROBES)) as pool:
        said = dict(zip(PROBES, pool.map(probe or _probe, PROBES), strict=True))
    return [
        _python(),
        _torch(said["torch"]),
        _pictures(said["pictures"]),
        *_backends(said["torch"], said["cpu"]),
        *(Finding(*found) for found in gpu_findings(said["torch"], said["gpu"])),
        _cores(said["cpu"], said["machine"].get("processor") or platform.machine()),
        _memory(said["machine"].get("memory")),
        _sfm(said["sfm"]),
        _video(said["video"]),
        _extras(),
        Finding("LPIPS", "note", "needs weights, which no package brings", "sfumato eval --lpips FILE.pth"),
    ]


def _probe(name: str) -> dict[str, Any]:
    """What a process that imports the library prints, or why it could not."""
    command = [sys.executable, "-c", BEFORE + PROBES[name] + AFTER, json.dumps(sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode == 0 and done.stdout:
        answer: dict[str, Any] = json.loads(done.stdout.decode("utf-8", "replace").splitlines()[-1])
        return answer
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == 1 and lines:
        return {"error": lines[-1]}
    return {"error": f"importing it ends Python with code {done.returncode}"}


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    if sys.version_info < OLDEST:
        return Finding("Python", "missing", found, "install Python 3.10 or newer", needed=True)
    return Finding("Python", "ok", found, needed=True)


def _torch(said: dict[str, Any]) -> Finding:
    if "error" in said:
        return Finding("torch", "missing", said["error"], "pip install --force-reinstall torch", needed=True)
    return Finding("torch", "ok", said["version"], needed=True)


def _pictures(said: dict[str, Any]) -> Finding:
    if "error" in said:
        return Finding(
            "pillow, safetensors", "missing", said["error"], "pip install pillow safetensors numpy", needed=True
        )
    return Finding("pillow, safetensors", "ok", said["version"], needed=True)


def _backends(torch: dict[str, Any], cpu: dict[str, Any]) -> list[Finding]:
    """The backends of processors, and what the fast one uses."""
    reference = Finding("backend reference", "ok", "plain torch, slow: for checking")
    if "error" in torch:
        reference = Finding("backend reference", "missing", "needs torch", "repair torch first")
    if "error" in cpu:
        fix = "repair torch first" if "error" in torch else "pip install --force-reinstall numba"
        return [Finding("backend cpu", "missing", cpu["error"], fix, needed=True), reference]
    lanes = f"{cpu['lanes']} numbers at a time ({_instructions(cpu['lanes'])})"
    compiled = Finding("compiled kernels", "ok", cpu["cache"])
    if not cpu["compiled"]:
        place = "set SFUMATO_CACHE to a folder that can be written" if not _writable(cpu["cache"]) else ""
        compiled = Finding("compiled kernels", "note", f"made at first use, about half a minute: {cpu['cache']}", place)
    threading = f"{cpu['threads']} Python threads of its own, without OpenMP, TBB or Numba's threading layers"
    return [
        Finding("backend cpu", "ok", f"Numba {cpu['version']}", needed=True),
        Finding("vectors", "ok", lanes),
        Finding("threads", "ok", threading),
        compiled,
        reference,
    ]


def _instructions(lanes: int) -> str:
    if "SFUMATO_SIMD" in os.environ:
        return "forced by SFUMATO_SIMD"
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "NEON"
    return "AVX2 or AVX-512" if lanes == 16 else "SSE"


def _writable(folder: str) -> bool:
    there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.exists())
    return os.access(there, os.W_OK)


def _cores(cpu: dict[str, Any], processor: str) -> Finding:
    usable, share = usable_cores(), container_cores()
    found = f"{usable} of {os.cpu_count()} usable, {processor}"
    if share is not None:
        found += f"; the container grants the time of {share:g}"
    if cpu.get("threads", 0) > usable:
        return Finding("cores", "note", found, f"SFUMATO_THREADS={usable} avoids threads that wait for their turn")
    return Finding("cores", "ok", found)


def _memory(total: int | None) -> Finding:
    limit = container_memory()
    least = min((number for number in (total, limit) if number), default=None)
    if least is None:
        return Finding("memory", "note", "nobody tells how much there is")
    found = f"{least / 2**30:.1f} GiB"
    if total and limit and limit < total:
        found += f", granted by the container of {total / 2**30:.1f} GiB in the machine"
    if least < LITTLE_MEMORY:
        return Finding("memory", "note", found, "train with --downscale 2 or a smaller --max-gaussians")
    return Finding("memory", "ok", found)


def _sfm(said: dict[str, Any]) -> Finding:
    if "error" in said:
        fix = "pip install --force-reinstall pycolmap (datasets with known cameras need none)"
        return Finding("cameras from photos", "missing", said["error"], fix)
    return Finding("cameras from photos", "ok", f"pycolmap {said['version']}")


def _video(said: dict[str, Any]) -> Finding:
    fix = "pip install --force-reinstall --only-binary :all: av"
    if "error" in said:
        return Finding("video", "missing", said["error"], fix)
    lacking = [f"no H.264 {part}" for part in ("encoder", "decoder") if not said[part]]
    if lacking:
        return Finding("video", "missing", f"PyAV {said['version']} has {' and '.join(lacking)}", fix)
    return Finding("video", "ok", f"PyAV {said['version']}, H.264 in and out")


def _extras() -> Finding:
    """What the extras add that are not part of a plain installation."""
    adds = {"HEIC": ("heic", "pillow_heif"), "EXR": ("hdr", "OpenEXR"), "TIFF of floats": ("hdr", "tifffile")}
    adds |= {"TensorBoard": ("tensorboard", "tensorboard"), "LAZ": ("las", "laspy")}
    if sys.version_info >= (3, 11):  # of usd-core
        adds["OpenUSD"] = ("usd", "pxr")
    lacking = [name for name, (_, module) in adds.items() if find_spec(module) is None]
    there = ", ".join(name for name in adds if name not in lacking)
    if not lacking:
        return Finding("extras", "ok", there)
    extras = ",".join(sorted({adds[name][0] for name in lacking}))
    found = f"{there + '; ' if there else ''}without {', '.join(lacking)}"
    return Finding("extras", "note", found, f"pip install 'sfumato[{extras}]'")


def _show(findings: Sequence[Finding], able: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    import sfumato

    console = Console(highlight=False)
    colors = {"ok": "green", "note": "yellow", "missing": "red"}
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=False, pad_edge=False)
    for finding in findings:
        fix = f"\n[bold]{escape(finding.fix)}[/]" if finding.fix else ""
        color = colors[finding.state]
        table.add_row(f"[{color}]{finding.state}[/]", finding.name, escape(finding.found) + fix)
    console.print(f"[bold]sfumato {sfumato.__version__}[/]\n")
    console.print(table)
    needed = ", ".join(finding.name for finding in findings if finding.needed and finding.state == "missing")
    console.print(
        "\n[green]training can run here[/]" if able else f"\n[red]training cannot run here without {needed}[/]"
    )
