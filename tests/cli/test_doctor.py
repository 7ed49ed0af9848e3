"""`sfumato doctor`: what it says of a whole machine, of each thing that can be broken, and with which exit code."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sfumato.cli import doctor
from sfumato.cli.doctor import PROBES, Finding, examine
from sfumato.cli.doctor_gpu import GPU
from sfumato.cli.main import main
from sfumato.core.limits import container_cores, container_memory, usable_cores

from on_gpu import machine_with_gpu

WHOLE: dict[str, dict[str, Any]] = {
    "torch": {"version": "2.13.0"},
    "gpu": {
        "cuda": None,
        "hip": None,
        "interpreted": False,
        "hidden": {},
        "hardware": None,
        "triton_error": "ModuleNotFoundError: No module named 'triton'",
        "seen": False,
        "warned": [],
        "auto": "cpu",
        "idle": [],
    },
    "cpu": {"version": "0.68.1", "lanes": 16, "threads": 1, "cache": "/cache/abc-16", "compiled": True},
    "pictures": {"version": "13.0"},
    "sfm": {"version": "4.2.1"},
    "video": {"version": "18.1.0", "encoder": True, "decoder": True},
    "machine": {"processor": "Slide rule", "memory": 32 * 2**30},
}


def found(**changes: dict[str, Any]) -> dict[str, Finding]:
    """Findings by name on a machine that differs from a whole one in what is given."""
    said = {**WHOLE, **changes}
    return {finding.name: finding for finding in examine(lambda name: said[name])}


def test_a_whole_machine() -> None:
    findings = found()
    assert {f.state for f in findings.values()} <= {"ok", "note"}
    assert findings["vectors"].found.startswith("16 numbers at a time")
    assert findings["threads"].found.startswith("1 Python threads of its own, without OpenMP")
    assert "Slide rule" in findings["cores"].found
    assert set(WHOLE) == set(PROBES)


@pytest.mark.parametrize(
    ("probe", "name", "fix", "stops"),
    [
        ("torch", "torch", "install --force-reinstall torch", True),
        ("pictures", "pillow, safetensors", "pip install pillow safetensors", True),
        ("cpu", "backend cpu", "install --force-reinstall numba", True),
        ("sfm", "cameras from photos", "install --force-reinstall pycolmap", False),
        ("video", "video", "av", False),
    ],
)
def test_each_library_that_is_broken_has_a_fix(
    probe: str, name: str, fix: str, stops: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {**WHOLE, probe: {"error": "ImportError: it is not there"}}
    monkeypatch.setattr(doctor, "_probe", lambda name: broken[name])
    assert main(["doctor"]) == int(stops)
    shown = " ".join(capsys.readouterr().out.split())
    assert "ImportError: it is not there" in shown
    assert f"training cannot run here without {name}" in shown if stops else "training can run here" in shown
    finding = found(**{probe: broken[probe]})[name]
    assert (finding.state, finding.needed) == ("missing", stops)
    assert fix in finding.fix


def test_no_torch_is_blamed_once() -> None:
    findings = found(torch={"error": "gone"}, cpu={"error": "gone"})
    assert findings["backend cpu"].fix == findings["backend reference"].fix == "repair torch first"
    assert findings["backend gpu"].fix == "repair torch first"


NVIDIA = {"name": "H200", "memory_bytes": 139 * 2**30, "compute_capability": "9.0", "cuda": "12.8", "driver": "570.1"}
AMD = {"name": "MI300X", "memory_bytes": 192 * 2**30, "architecture": "gfx942:sramecc+", "rocm": "7.1", "driver": None}
SEEN = {
    "cuda": "12.8",
    "hip": None,
    "interpreted": False,
    "hidden": {},
    "hardware": "nvidia",
    "triton": "3.7.1",
    "seen": True,
    "warned": [],
    "gpu": NVIDIA,
    "free": 100 * 2**30,
    "count": 1,
    "auto": "gpu",
    "idle": [],
    "apart": 1e-7,
}


def without(said: dict[str, Any], *names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**said, **changes}.items() if name not in names}


def test_a_gpu_that_computes() -> None:
    findings = found(gpu=SEEN)
    assert findings["GPU"].state == findings["backend gpu"].state == findings["backend auto"].state == "ok"
    told = "H200, compute capability 9.0, 139.0 GiB (100.0 free), CUDA 12.8, driver 570.1"
    assert findings["GPU"].found == told
    assert findings["backend gpu"].found == "Triton 3.7.1, draws what the reference draws"
    assert findings["backend auto"].found.startswith("the GPU computes")
    assert "the first of 2" in found(gpu={**SEEN, "count": 2})["GPU"].found


def test_amd_says_its_architecture() -> None:
    finding = found(gpu={**SEEN, "gpu": AMD, "cuda": None, "hip": "7.1"})["GPU"]
    assert finding.state == "ok"
    assert finding.found == "MI300X, gfx942:sramecc+, 192.0 GiB (100.0 free), ROCm 7.1"
    older = found(gpu={**SEEN, "gpu": {**AMD, "architecture": "gfx906"}, "hip": "7.1"})["GPU"]
    assert older.state == "note"
    assert "gfx90a, gfx942, gfx1100, gfx1201 only" in older.found


@pytest.mark.parametrize(
    ("said", "state", "told", "fix"),
    [
        ({}, "note", "no NVIDIA or AMD GPU is here", ""),
        (
            {"hardware": "nvidia"},
            "missing",
            "of NVIDIA, but this torch is built for the CPU",
            "the CUDA build of torch",
        ),
        ({"hardware": "amd"}, "missing", "of AMD, but this torch is built for the CPU", "the ROCm build of torch"),
        (
            {"hardware": "nvidia", "cuda": "13.0", "why": "The NVIDIA driver on your system is too old"},
            "missing",
            "torch sees no GPU: The NVIDIA driver on your system is too old",
            "update the GPU's driver; in a container",
        ),
        ({"hardware": "amd", "hip": "7.1"}, "missing", "it does not say why", "the groups render and video"),
        ({"cuda": "13.0"}, "note", "no driver of one (CUDA build of torch)", ""),
        ({"cuda": "13.0", "hidden": {"CUDA_VISIBLE_DEVICES": ""}}, "note", "hides some", "unset CUDA_VISIBLE_DEVICES"),
        ({"interpreted": True}, "note", "there is no Triton (ModuleNotFoundError", "unset TRITON_INTERPRET"),
        (without(SEEN, "gpu", seen=False, interpreted=True, auto="cpu"), "note", "a thousand times slower", "unset"),
        (without(SEEN, "triton", "apart", triton_error="gone", auto="cpu"), "missing", "gone", "pip install triton"),
        (without(SEEN, interpreted=True, auto="cpu"), "note", "thousand times slower", "unset TRITON_INTERPRET"),
        (without(SEEN, "apart", auto="cpu", idle=["it is too old"]), "missing", "it is too old", ""),
        (without(SEEN, "apart", failed="no kernel image is here"), "missing", "no kernel image", "is not for this GPU"),
        (without(SEEN, "apart", failed="boom"), "missing", "cannot draw: boom", "add --backend cpu"),
        ({**SEEN, "apart": 0.5}, "missing", "another picture than the reference: 0.5 apart", "add --backend cpu"),
        ({**SEEN, "apart": float("nan")}, "missing", "another picture than the reference: nan", "add --backend cpu"),
        ({"error": "importing it ends Python with code -11"}, "note", "with code -11", "report it"),
    ],
)
def test_why_the_gpu_does_not_compute(said: dict[str, Any], state: str, told: str, fix: str) -> None:
    said = said if "seen" in said or "error" in said else {**WHOLE["gpu"], **said}
    findings = found(gpu=said)
    finding = findings["backend gpu"]
    assert finding.state == state
    assert told in finding.found
    assert fix in finding.fix
    assert not finding.needed
    if "error" not in said:
        repaired = said["auto"] == "cpu"
        assert findings["backend auto"].state == ("ok" if repaired else "note")
        assert findings["backend auto"].found.startswith(f"the {said['auto'].upper()} computes")


def test_a_gpu_is_asked_to_draw() -> None:
    """What the process of its own does on a machine with a GPU, done here on a pretended one."""
    answers: dict[str, Any] = {}
    with machine_with_gpu():
        exec(GPU, answers)
    said = json.loads(json.dumps(answers["found"]))
    assert said["seen"]
    assert said["auto"] == "gpu"
    assert said["apart"] < 1e-5
    assert set(SEEN) <= set(said)
    assert found(gpu={**said, "interpreted": False})["backend gpu"].state == "ok"


def test_video_without_an_encoder() -> None:
    assert found(video={**WHOLE["video"], "encoder": False})["video"].found == "PyAV 18.1.0 has no H.264 encoder"


def test_kernels_that_are_not_compiled_yet(tmp_path: Path) -> None:
    cpu = {**WHOLE["cpu"], "compiled": False, "cache": str(tmp_path / "a" / "b")}
    assert found(cpu=cpu)["compiled kernels"].state == "note"
    assert found(cpu=cpu)["compiled kernels"].fix == ""


def test_more_threads_than_cores() -> None:
    finding = found(cpu={**WHOLE["cpu"], "threads": 10_000})["cores"]
    assert finding.fix.startswith(f"SFUMATO_THREADS={usable_cores()} ")


def test_little_memory() -> None:
    assert "--downscale" in found(machine={"memory": 2**30})["memory"].fix
    assert found(machine={"error": "gone"})["memory"].state in ("ok", "note")  # the container may still tell


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """All the tests run here, so training can."""
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["can_train"]
    states = {finding["name"]: finding["state"] for finding in said["findings"]}
    assert states["torch"] == states["backend cpu"] == states["cameras from photos"] == states["video"] == "ok"


def test_a_library_that_ends_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.PROBES, "sfm", "import os; os._exit(3)")
    monkeypatch.setitem(doctor.PROBES, "video", "import no_such_library")
    assert doctor._probe("sfm") == {"error": "importing it ends Python with code 3"}
    assert doctor._probe("video") == {"error": "ModuleNotFoundError: No module named 'no_such_library'"}


def groups(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A pretended tree of control groups."""
    for name, text in files.items():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(text, encoding="utf-8")
    (folder / "membership").write_text(membership, encoding="utf-8")
    return folder / "tree", folder / "membership"


def test_limits_of_version_2(tmp_path: Path) -> None:
    """The least of the group's and its parents' limits counts."""
    files = {
        "a/b/memory.max": "max\n",
        "a/memory.max": "1000\n",
        "memory.max": "2000\n",
        "a/b/cpu.max": "150000 100000\n",
        "a/cpu.max": "max 100000\n",
    }
    place = groups(tmp_path, "0::/a/b\n", files)
    assert container_memory(*place) == 1000
    assert container_cores(*place) == 1.5


def test_limits_of_version_1(tmp_path: Path) -> None:
    files = {
        "memory/x/memory.limit_in_bytes": "5000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cpu/cpu.cfs_quota_us": "50000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    place = groups(tmp_path, "4:memory:/x\n3:cpu,cpuacct:/\n0::/\n", files)
    assert container_memory(*place) == 5000
    assert container_cores(*place) == 0.5


def test_no_limits(tmp_path: Path) -> None:
    place = groups(tmp_path, "", {"memory.max": "7"})
    assert container_memory(*place) is container_cores(*place) is None
    assert container_memory(tmp_path / "gone", tmp_path / "gone") is None
    assert usable_cores() >= 1


def test_extras_that_are_not_installed_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    usd = ", OpenUSD" if sys.version_info >= (3, 11) else ""
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert found()["extras"] == Finding("extras", "ok", "HEIC, EXR, TIFF of floats, TensorBoard, LAZ" + usd)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("OpenEXR", "tifffile") else object())
    finding = found()["extras"]
    assert (finding.state, finding.found) == ("note", f"HEIC, TensorBoard, LAZ{usd}; without EXR, TIFF of floats")
    assert finding.fix == "pip install 'sfumato[hdr]'"
