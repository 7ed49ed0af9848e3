"""From our launches through Triton's compiler to the driver, as on a GPU, though without one: what is never done twice.

The interpreter does not go this way, and compiling ahead (test_gpu_static.py) leaves out how arguments decide what is
compiled. On a GPU a kernel that is compiled in the middle of training makes everybody wait for seconds.
"""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
MOST_PROGRAMS = (2**31 - 1, 2**16 - 1, 2**16 - 1)  # of a grid, on any NVIDIA card
MOST_THREADS = 2**32 - 1  # of a grid's side, on AMD's
MOST_LANES = 256  # of a program of ours

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="GPU BACKEND NOT TESTED: there is no Triton here to compile its kernels (Linux on x86-64 has one)",
)


@cache
def happened(case: str) -> dict[str, dict[str, Any]]:
    """What jitted.py notes, step by step."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(TESTS / "jitted.py"), case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    steps: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return steps


def test_every_kernel_gets_as_far_as_the_driver() -> None:
    steps = happened("changing")
    for name in ("first", "first by autograd"):
        assert len(steps[name]["launches"]) >= 10
    assert len(set(steps["first"]["new"] + steps["first by autograd"]["new"])) == 13


def test_numbers_that_change_all_the_time_compile_nothing_again() -> None:
    new = {name: step["new"] for name, step in happened("changing").items() if not name.startswith("first")}
    assert new.pop("30 million, 8K") == ["bin._emit"]  # so many tiles need keys of 32 bits
    assert len(new) > 15
    assert not any(new.values()), new


def test_grids_are_such_that_cards_take_them() -> None:
    for name in ("20 million, 4K", "30 million, 8K"):
        launches = happened("changing")[name]["launches"]
        assert len(launches) == 10
        for kernel, grid in launches:
            assert all(0 < count <= most for count, most in zip(grid, MOST_PROGRAMS, strict=True)), (kernel, grid)
            assert grid[0] * MOST_LANES <= MOST_THREADS, (kernel, grid)


def test_ordinary_trainings_need_only_what_was_compiled_ahead() -> None:
    steps = happened("prepared")
    assert len(steps["ahead"]["new"]) > 20
    for density in ("adaptive", "mcmc"):
        assert not steps[density]["new"]
