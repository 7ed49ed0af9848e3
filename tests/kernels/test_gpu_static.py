"""The machine code of the GPU's kernels, without a GPU: budgets hold, and whatever breaks one is noticed.

Kernels are compiled as benchmarks/gpu_static.py does for its tables, here for fewer targets.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
KERNELS = '''
import triton
import triton.language as tl

@triton.jit
def crowded(x, y, n, BLOCK: tl.constexpr):
    """Holds BLOCK / 32 numbers per thread all through its loop."""
    at = tl.arange(0, BLOCK)
    held = tl.load(x + at)
    for i in range(n):
        held = held * held + tl.load(x + i)
    tl.store(y + at, held)

@triton.jit
def foreign(x, y, n, BLOCK: tl.constexpr):
    """Has a line of NVIDIA's assembly for every card."""
    at = tl.arange(0, BLOCK)
    power = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [tl.load(x + at)], tl.float32, True, 1)
    tl.store(y + at, power)
'''

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="GPU BACKEND NOT TESTED: there is no Triton here to compile its kernels (Linux on x86-64 has one)",
)


def run(*command: str | Path, path: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, for Triton interprets or compiles from its import on. `path`: where to import more from."""
    paths = [*([str(path)] if path else []), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}
    command = (sys.executable, *map(str, command))
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=600)


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training step launches."""
    file = tmp_path_factory.mktemp("launches") / "launches.json"
    done = run(BENCHMARKS / "gpu_launches.py", file, "--few", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    return file


def compile_for(launches: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run(BENCHMARKS / "gpu_static.py", "--launches", launches, "--targets", *arguments, path=path)


def only(launches: Path, name: str, change: Callable[[dict[str, Any]], object], folder: Path) -> Path:
    """A file of the launches of one kernel, changed."""
    chosen = [launch for launch in json.loads(launches.read_text(encoding="utf-8")) if launch["name"] == name][:1]
    assert chosen, f"no kernel is named {name} any more"
    change(chosen[0])
    (folder / "one.json").write_text(json.dumps(chosen), encoding="utf-8")
    return folder / "one.json"


def own(folder: Path, *kernels: tuple[str, int]) -> Path:
    """A file of launches of the kernels above: name and BLOCK of each."""
    (folder / "test_kernels.py").write_text(KERNELS, encoding="utf-8")
    pointer = {"pointer": "fp32", "aligned": True}
    number = {"integer": "i32", "aligned": False, "one": False}
    common = {"module": "test_kernels", "options": {"warps": 1}, "of": "a test"}
    launches = [
        {**common, "name": name, "arguments": {"x": pointer, "y": pointer, "n": number, "BLOCK": {"constant": block}}}
        for name, block in kernels
    ]
    (folder / "own.json").write_text(json.dumps(launches), encoding="utf-8")
    return folder / "own.json"


def test_every_kernel_holds_its_budget(launches: Path) -> None:
    done = compile_for(launches, "sm_75", "sm_80", "sm_90", "sm_100", "gfx942")
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("project", "bin", "blend", "photometric", "adam"):
        assert f"\n{stage}" in done.stdout, f"nothing of {stage} was compiled"


def test_a_spill_is_noticed(launches: Path, tmp_path: Path) -> None:
    file = only(launches, "_forward", lambda launch: launch["options"].update(maxnreg=24), tmp_path)
    done = compile_for(file, "sm_90")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "on sm_90: stack of " in done.stdout


def test_kernels_that_hold_too_much_or_are_for_other_cards_are_noticed(tmp_path: Path) -> None:
    file = own(tmp_path, ("crowded", 2**8), ("crowded", 2**15), ("foreign", 2**8))
    done = compile_for(file, "sm_90", "gfx942", path=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = done.stdout.split(" break a budget\n")[1].splitlines()
    expected = [
        "test_kernels.crowded (BLOCK=32768, warps=1) on sm_90: stack of ",
        "test_kernels.crowded (BLOCK=32768, warps=1) on gfx942: stack of ",
        "test_kernels.foreign (BLOCK=256, warps=1) on gfx942: does not compile: ",
    ]
    assert len(broken) == 3, broken
    assert all(line.startswith(start) for line, start in zip(broken, expected, strict=True)), broken


def test_a_lower_budget_is_broken(launches: Path) -> None:
    lower = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import gpu_static; "
        "gpu_static.PER_VISIT['blend._forward'][16, 8] = 10; sys.exit(gpu_static.main())"
    )
    done = run("-c", lower, BENCHMARKS, "--launches", launches, "--targets", "sm_90", "--kernels", "blend._forward")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "instructions per visit, at most 10" in done.stdout


def test_a_visit_is_counted_as_by_hand() -> None:
    """An inner loop of five instructions, one of them an exponential, in an outer one, and a way for torn warps."""
    listing = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   IADD3 R2, R2, 0x20, RZ ;
        /*0020*/               @!P0 BRA `(.L_x_2) ;
.L_x_1:
        /*0030*/                   FFMA R3, R4, R5, R6 ;
        /*0040*/                   BRA.DIV `(.L_x_4) ;
        /*0050*/                   MUFU.EX2 R7, R3 ;
        /*0060*/                   FADD R8, R8, R7 ;
        /*0070*/                   BRA.U UP0, `(.L_x_1) ;
.L_x_2:
        /*0080*/               @P1 BRA `(.L_x_0) ;
        /*0090*/                   EXIT ;
.L_x_4:
        /*00a0*/                   FADD R8, R8, R8 ;
        /*00b0*/                   BRA `(.L_x_1) ;
.L_x_5:
        /*00c0*/                   BRA `(.L_x_5);
        /*00d0*/                   NOP;
"""
    specification = importlib.util.spec_from_file_location("gpu_machine_code", BENCHMARKS / "gpu_machine_code.py")
    assert specification
    assert specification.loader
    machine_code = importlib.util.module_from_spec(specification)
    sys.modules["gpu_machine_code"] = machine_code  # where dataclasses look for it
    specification.loader.exec_module(machine_code)
    code = machine_code.read_sass(listing)
    assert len(code[0]) == 13  # all but the NOP
    assert sorted(len(body) for body in machine_code.loops(*code)) == [5, 8]  # the spin at the end is never reached
    assert machine_code.per_exp2(code, "MUFU.EX2") == 5
