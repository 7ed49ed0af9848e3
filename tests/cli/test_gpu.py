"""The verbs on a machine with a GPU, which is pretended: where they compute, what they say, what they refuse."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sfumato.cli.main import main
from sfumato.formats import read

from on_gpu import machine_with_gpu
from pretend import PretendGPU


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGPU]:
    with machine_with_gpu() as gpu:
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: 123_456_789)
        yield gpu


def trained(dataset: Path, out: Path, *flags: str) -> dict:
    assert main(["train", str(dataset), "-o", str(out), "--steps", "12", *flags]) == 0
    report: dict = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def test_a_run_from_photos_to_a_film(
    gpu: PretendGPU, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """train, eval, render: all of it on the GPU, without asking for it."""
    out = tmp_path / "out"
    report = trained(dataset, out)
    said = capsys.readouterr().err
    assert "the GPU's memory, of" in said
    assert "kernels" in said
    protocol, memory = report["protocol"], report["train"]["memory"]
    assert protocol["backend"] == "gpu"
    assert protocol["gpu"]["name"] == "Pretended GPU"
    assert protocol["gpu"]["compute_capability"] == "9.0"
    assert protocol["peak_gpu_memory_bytes"] == 123_456_789
    assert (
        0 < memory["gpu_predicted_peak_bytes"] == sum(memory["gpu_parts_bytes"].values()) <= memory["gpu_budget_bytes"]
    )
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The GPU&#x27;s memory: " in page or "The GPU's memory: " in page
    assert "123 MB measured at the highest" in page

    splat = str(out / "splat.ply")
    assert main(["eval", splat, str(dataset), "-o", str(tmp_path / "scores")]) == 0
    scores = json.loads((tmp_path / "scores" / "report.json").read_text(encoding="utf-8"))
    assert scores["test"]["psnr"] == pytest.approx(report["test"]["psnr"], abs=1e-3)
    assert scores["protocol"]["backend"] == "gpu"
    assert main(["render", splat, "--scene", str(dataset), "-o", str(tmp_path / "films")]) == 0
    assert main(["render", splat, "-o", str(tmp_path / "one.png"), "--size", "64", "48"]) == 0
    assert len(list((tmp_path / "films").iterdir())) == 9


def test_a_run_is_gone_on_with_where_it_was(gpu: PretendGPU, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert trained(dataset, out, "--deterministic")["train"]["config"]["deterministic"] is True
    assert main(["train", str(dataset), "-o", str(out), "--extend", "5"]) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["train"]["steps"] == 17
    assert report["train"]["config"]["deterministic"] is True
    assert report["protocol"]["backend"] == "gpu"


def test_the_cpu_when_it_is_asked_for(gpu: PretendGPU, dataset: Path, tmp_path: Path) -> None:
    report = trained(dataset, tmp_path / "out", "--backend", "cpu")
    assert report["protocol"]["backend"] == "cpu"
    assert "gpu" not in report["protocol"]
    assert "gpu_budget_bytes" not in report["train"]["memory"]
    assert gpu.waits == []  # nobody has asked the GPU for anything


def test_what_does_not_fit_onto_the_gpu_is_said_before(
    gpu: PretendGPU, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = ("--max-gaussians", "1000000")
    report = trained(dataset, tmp_path / "out", *many, "--gpu-memory", "400MB")
    said = " ".join(capsys.readouterr().err.split())
    cap = report["train"]["config"]["max_gaussians"]
    assert 10_000 <= cap < 1_000_000
    given_up = f"at most {cap:,} Gaussians instead of 1,000,000, to stay within 400 MB of the GPU's memory"
    assert said.count(given_up) == 1
    assert len(read(tmp_path / "out" / "splat.ply")) <= cap
    assert main(["train", str(dataset), "-o", str(tmp_path / "b"), "--gpu-memory", "100MB"]) == 2
    assert "of the GPU's memory here" in capsys.readouterr().err
    assert main(["train", str(dataset), "-o", str(tmp_path / "b"), "--gpu-memory", "1MB"]) == 2
    assert "--gpu-memory must be at least 100 MB, such as 4GB; got '1MB'" in capsys.readouterr().err


def test_memory_of_a_gpu_that_is_not_used(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(dataset), "-o", str(tmp_path), "--backend", "cpu", "--gpu-memory", "4GB"]
    assert main(words) == 2
    told = "sfumato: --gpu-memory is for a GPU, and backend 'cpu' computes here; leave it out\n"
    assert capsys.readouterr().err == told


def test_a_gpu_that_is_full(
    gpu: PretendGPU, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*words: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of")

    monkeypatch.setattr("pretend_backend.bin", full)
    assert main(["train", str(dataset), "-o", str(tmp_path / "out"), "--steps", "3"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("sfumato: there is not enough memory on the GPU; close other programs")
