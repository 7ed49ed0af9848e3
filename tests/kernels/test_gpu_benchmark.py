"""benchmarks/gpu.py runs to its end where there is no GPU: what it would measure, interpreted, on a tiny scene."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings

from scenes import askew, crowd

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
RIVALS = {
    "gsplat.py": '''
import torch
def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane, sh_degree, packed):
    """Nothing like the real one, but as differentiable; for the code that calls it."""
    assert colors.shape == (len(means), 16, 3) and sh_degree == 3
    assert viewmats.shape == (1, 4, 4) and Ks.shape == (1, 3, 3)
    value = means.mean() + quats.mean() + scales.mean() + opacities.mean() + colors.mean()
    return value.expand(1, height, width, 3), None, {}
''',
    "fused_ssim.py": """
def fused_ssim(image, target, padding):
    assert image.shape == target.shape and image.shape[1] == 3
    return (image * target).mean()
""",
}


def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = [*([str(path)] if path else []), str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=600)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_and_measures_nothing() -> None:
    done = run()
    assert done.returncode == 2, done.stderr
    assert done.stdout == "torch sees no GPU here: nothing was measured.\n"


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="GPU BACKEND NOT TESTED: there is no Triton here to interpret it"
)
def test_all_of_it_runs_interpreted(tmp_path: Path) -> None:
    for name, text in RIVALS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run("--smoke", "--repeats", "1", path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert stages == [
        "stage",
        "project, SH",
        "sort, tile lists",
        "blend",
        "L1 + D-SSIM and gradient",
        "blend backward",
        "project backward + Adam",
        "gsplat forward",
        "gsplat loss",
        "gsplat backward",
        "gsplat Adam",
    ]
    assert re.search(r"^blend: [1-9]\d* visits of \d\d instructions of sm_90$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^goal: times as fast as gsplat's step: .*, wanted 3: (reached|MISSED)$", done.stdout, re.MULTILINE
    )
    assert "gsplat: whole step" in done.stdout
    assert "against float64 on 4 tiles" in done.stdout
    assert ": right\n" in done.stdout


def test_wrong_results_are_noticed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from gpu_truth import compare

    stages, gaussians, camera = load("cpu"), crowd(150, 2), askew(60, 45)
    found = compare(gaussians, camera, RenderSettings(), stages, 8)
    assert found.good, found
    assert found.tiles == 8

    def darker(*arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        image, alpha, depth = stages.blend(*arguments)
        return 0.98 * image, alpha, depth

    def forgetful(*arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        image, alpha, depth = stages.blend(*arguments)
        return image.detach() + 0.9 * (image - image.detach()), alpha, depth

    for blend in (darker, forgetful):
        wrong = SimpleNamespace(project=stages.project, bin=stages.bin, blend=blend)
        assert not compare(gaussians, camera, RenderSettings(), wrong, 8).good, blend
