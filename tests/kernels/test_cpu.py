"""The CPU backend as a citizen of the machine: threads, other processes, forks, and vectors of every width."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sfumato.core.errors import BackendError, InputError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.stages import AdamStep, RenderSettings

from scenes import RATES, askew, broken_crowd, crowd, draw, step_once

threads = pytest.importorskip("sfumato.kernels.cpu.threads", reason="CPU BACKEND NOT TESTED: it cannot be imported")

SETTINGS = RenderSettings(probe="absolute", antialiased=True)


@pytest.fixture
def set_threads() -> Iterator[object]:
    before = threads.threads()
    yield threads.set_threads
    threads.set_threads(before)


Inputs = tuple[Gaussians, Tensor]


def inputs(seed: int) -> Inputs:
    torch.manual_seed(seed)
    return crowd(2000, 2, size=0.06), torch.rand(90, 120, 3)


def bits(scene: Inputs) -> list[bytes]:
    """Everything a training step computes, to the last bit."""
    gaussians, target = scene
    after, moments, loss = step_once("cpu", gaussians, askew(120, 90), target, SETTINGS, AdamStep(RATES, 1))
    tensors = [*after, *moments.mean, *moments.square, loss]
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


def test_same_bits_on_any_number_of_threads(set_threads, seed: int) -> None:
    scene = inputs(seed)
    set_threads(1)
    wanted = bits(scene)
    for count in (2, 3, 7):
        set_threads(count)
        for _ in range(3):
            assert bits(scene) == wanted, f"{count} threads"


def test_two_python_threads_at_once(set_threads, seed: int) -> None:
    set_threads(2)
    scenes = [inputs(seed + number) for number in range(3)]
    wanted = [bits(scene) for scene in scenes]
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(8):
            try:
                if bits(scenes[number]) != wanted[number]:
                    wrong.append(number)
            except BaseException as error:
                wrong.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_a_busy_machine_slows_it_down_in_proportion(set_threads, seed: int) -> None:
    """Threads that spin while they wait collapse when others want the cores: a hundredfold was measured elsewhere."""
    set_threads(os.cpu_count() or 1)
    scene = inputs(seed)
    wanted = bits(scene)

    def best() -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            assert bits(scene) == wanted
            times.append(time.perf_counter() - began)
        return min(times)

    quiet = best()
    spin = "import time\nend = time.time() + 60\nwhile time.time() < end: pass"
    others = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        busy = best()
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert busy < 20 * quiet + 0.2, f"{1e3 * quiet:.0f} ms quiet, {1e3 * busy:.0f} ms busy"


def run(script: str, folder: Path, **variables: str) -> str:
    """What a fresh Python prints; it can import scenes."""
    places = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), **variables}
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


AFTER_FORK = """
import hashlib, os, sys, torch
torch.set_num_threads(1)
from sfumato.kernels.cpu.threads import set_threads
from scenes import askew, crowd, draw
set_threads(3)
torch.manual_seed(0)
gaussians, camera = crowd(3000, 1), askew(200, 150)
picture = lambda: hashlib.sha256(draw("cpu", gaussians, camera)[0].numpy().tobytes()).hexdigest()
before = picture()
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, picture().encode())
    os._exit(0)
os.close(write)
in_child = os.read(read, 100).decode()
assert os.waitpid(child, 0)[1] == 0
print(before == in_child == picture())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_renders(tmp_path: Path) -> None:
    """A child has none of its parent's threads: waiting for them would never end."""
    assert run(AFTER_FORK, tmp_path).strip() == "True"


AT_EXIT = """
import torch
from sfumato.kernels.cpu.threads import set_threads
from scenes import askew, crowd, draw
set_threads(4)
draw("cpu", crowd(500, 0), askew(64, 64))
print("drawn")
"""


def test_process_ends_by_itself(tmp_path: Path) -> None:
    assert run(AT_EXIT, tmp_path).strip() == "drawn"


WIDTH = """
import torch
from sfumato.kernels.cpu import simd
from scenes import RATES, askew, broken_crowd, step_once, draw
from sfumato.kernels.stages import AdamStep, RenderSettings
torch.manual_seed(0)
gaussians, target = broken_crowd(300), torch.rand(37, 53, 3)
after, moments, loss = step_once("cpu", gaussians, askew(53, 37), target, RenderSettings(), AdamStep(RATES, 1))
*picture, splats = draw("cpu", gaussians, askew(53, 37))
torch.save([simd.LANES, picture, list(moments.mean), loss, int(splats.nonfinite)], "result.pt")
"""
# the processor that Numba compiles for, oldest that has vectors of this width
WIDTHS = {"4": "nehalem", "8": "haswell", "16": "haswell"}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86-64 processors are forced")
@pytest.mark.parametrize("lanes", WIDTHS)
def test_every_width(lanes: str, tmp_path: Path) -> None:
    """A training step compiled for older processors, against the reference in float64."""
    run(WIDTH, tmp_path, SFUMATO_SIMD=lanes, NUMBA_CPU_NAME=WIDTHS[lanes])
    width, picture, mean, loss, nonfinite = torch.load(tmp_path / "result.pt", weights_only=True)
    assert width == int(lanes)
    assert nonfinite == 6  # one number in each field is none; whatever the width, it shows nowhere else

    torch.manual_seed(0)
    gaussians, target = broken_crowd(300).to(torch.float64), torch.rand(37, 53, 3).double()
    camera, settings = askew(53, 37).to(torch.float64), RenderSettings()
    _, moments, wanted_loss = step_once("reference", gaussians, camera, target, settings, AdamStep(RATES, 1))
    wanted = draw("reference", gaussians, camera)
    assert loss.item() == pytest.approx(wanted_loss.item(), rel=1e-5)
    for got, exact in zip(picture[:2], wanted[:2], strict=True):
        apart = (got.double() - exact).abs()
        assert int((apart > 1e-5).sum()) <= 6  # alpha within rounding of alpha_min
        assert apart.max() < 4 * settings.alpha_min
    for got, exact, name in zip(mean, moments.mean, gaussians.names(), strict=True):
        assert (got.double() - exact).norm() <= 2e-3 * exact.norm(), name


def test_wrong_width_is_refused(tmp_path: Path) -> None:
    script = "from sfumato.kernels.backends import load\ntry:\n    load('cpu')\nexcept Exception as e:\n    print(e)"
    said = run(script, tmp_path, SFUMATO_SIMD="5")
    assert "SFUMATO_SIMD must be 4, 8 or 16; got '5'" in said


def test_wrong_number_of_threads_is_refused(set_threads) -> None:
    with pytest.raises(BackendError, match="number of threads must be at least 1; got 0"):
        set_threads(0)


def test_lists_of_another_backend_are_refused(seed: int) -> None:
    gaussians, camera, settings = crowd(5, 0), askew(20, 20), RenderSettings()
    splats = load("cpu").project(gaussians, camera, settings)
    lists = load("reference").bin(splats, 20, 20, settings)
    with pytest.raises(InputError, match="its own bin"):
        load("cpu").blend(splats, lists, torch.zeros(3), settings)
