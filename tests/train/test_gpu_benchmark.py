"""benchmarks/train_gpu.py without a GPU and without gsplat: that it runs, says what is missing, and reads right."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
# as much of gsplat's trainer as is used: looks at what it is given, leaves files of the names that it uses
TRAINER = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("strategy", choices=["default"])
for flag in ("--disable_viewer", "--disable_video"):
    parser.add_argument(flag, action="store_true", required=True)
for flag in ("--data_dir", "--result_dir"):
    parser.add_argument(flag, type=pathlib.Path)
for flag in ("--data_factor", "--test_every", "--eval_steps", "--save_steps"):
    parser.add_argument(flag, type=int)
parser.add_argument("--steps_scaler", type=float)
o = parser.parse_args()
assert (o.data_dir / "sparse" / "0" / "cameras.bin").is_file()
assert [p.name for p in (o.data_dir / f"images_{o.data_factor}").iterdir()] == ["a.png"]
last = int(o.eval_steps * o.steps_scaler) - 1
if last < 100:
    raise SystemExit("too few steps")
stats = o.result_dir / "stats"
stats.mkdir(parents=True)
for step in (99, last):
    (stats / f"train_step{step:04d}_rank0.json").write_text(json.dumps({"ellipse_time": step / 100, "num_GS": 7}))
(stats / f"val_step{last:04d}.json").write_text(
    json.dumps({"psnr": 30.5, "ssim": 0.9, "ellipse_time": 0.001, "num_GS": 8})
)
"""


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module(name)


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    (tmp_path / "examples").mkdir()
    file = tmp_path / "examples" / "simple_trainer.py"
    file.write_text(TRAINER, encoding="utf-8")
    (tmp_path / "data" / "sparse" / "0").mkdir(parents=True)
    (tmp_path / "data" / "sparse" / "0" / "cameras.bin").write_bytes(b"")
    (tmp_path / "data" / "images").mkdir()
    Image.new("RGB", (9, 6)).save(tmp_path / "data" / "images" / "a.jpg")
    return file


def test_gsplat_is_run_and_its_numbers_read(trainer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gsplat = benchmark("gsplat_trainer", monkeypatch)
    assert gsplat.find_trainer(tmp_path / "examples") == trainer
    assert gsplat.find_trainer(tmp_path) is None
    point = gsplat.train_gsplat(trainer, tmp_path / "data", 2, 12_000)
    assert (point.seconds, point.psnr, point.ssim, point.steps, point.gaussians) == (119.99, 30.5, 0.9, 12_000, 8)
    with pytest.raises(RuntimeError, match="too few steps"):
        gsplat.train_gsplat(trainer, tmp_path / "data", 2, 20)


def test_rows_have_means_and_how_far_repeats_lie_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    points = benchmark("training_points", monkeypatch)
    one = points.Point(9.96, 31.0, 0.9, 4000, 50_000)
    assert points.row("fox", "ours", [one]) == "| fox | ours | 10.0 | 31.00 | 0.9000 | 4,000 | 50,000 |"
    two = points.Point(10.36, 31.5, 0.92, 4000, 51_000)
    assert points.row("fox", "ours", [one, two]) == (
        "| fox | ours | 10.2 ± 0.2 | 31.25 ± 0.25 | 0.9100 | 4,000 | 50,500 |"
    )


def run(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "train_gpu.py", *flags]
    path = os.pathsep.join([str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300)


def test_it_runs(shared_data: Path) -> None:
    done = run(shared_data, "--smoke", "--backend", "cpu", "--rows", "fern")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| fern, 24x18 | sfumato, 3 steps") == 2, done.stdout
    assert "gsplat was not measured" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("nothing was measured: ")
    assert done.stderr.count("\n") == 1
