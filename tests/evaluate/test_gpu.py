"""Scores of pictures on a pretended GPU: those of the CPU, and pictures come back to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sfumato.core.image import to_uint8
from sfumato.core.scene import IGNORED, SHOWN, Picture, View
from sfumato.evaluate.compare import write_comparison
from sfumato.evaluate.lpips import ALEX, Lpips
from sfumato.evaluate.machine import gpu as described
from sfumato.evaluate.metrics import psnr, ssim
from sfumato.evaluate.report import ViewScore, evaluate
from sfumato.render.render import render

from on_gpu import machine_with_gpu
from pretend import OnGPU, PretendGPU
from scenes import crowd, straight


@pytest.fixture
def gpu() -> Iterator[PretendGPU]:
    with machine_with_gpu() as gpu:
        yield gpu


def test_scores_are_those_of_the_cpu(gpu: PretendGPU, seed: int, tmp_path: Path) -> None:
    """With and without a mask; who looks gets pictures of the CPU."""
    gaussians, camera = crowd(60, 1), straight(48, 40, (40.0, 40.0))
    photo = to_uint8(render(gaussians, camera, backend="cpu").image + 0.05 * torch.rand(40, 48, 3))
    mask = torch.full((40, 48), SHOWN, dtype=torch.uint8)
    mask[:20] = IGNORED
    views = [View("a", camera, photo), View("b", camera, Picture(photo, mask))]

    def look(view: View, image: Tensor, score: ViewScore) -> None:
        assert not isinstance(image, OnGPU)
        write_comparison(tmp_path / f"{view.name}.png", view, image, score)

    wanted = evaluate(gaussians, views, backend="cpu")
    found = evaluate(gaussians.to(gpu.device), views, on_view=look)
    assert [view.psnr for view in found.views] == [view.psnr for view in wanted.views]
    assert [view.ssim for view in found.views] == pytest.approx([view.ssim for view in wanted.views], abs=1e-6)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_metric_takes_photos_from_anywhere(gpu: PretendGPU, seed: int) -> None:
    image, photo = torch.rand(20, 24, 3), torch.rand(20, 24, 3)
    mask = torch.full((20, 24), SHOWN, dtype=torch.uint8)
    for target in (photo, to_uint8(photo)):
        for place in ("cpu", gpu.device):
            there = image.to(gpu.device), target.to(place)
            assert psnr(*there, mask) == psnr(image, target, mask)
            assert ssim(*there) == pytest.approx(ssim(image, target, "cpu"), abs=1e-6)


def test_lpips_compares_where_its_weights_are(gpu: PretendGPU, seed: int) -> None:
    layers = [nn.Conv2d(into, out, side) for out, into, side in ALEX.shapes]
    heads = [torch.rand(ALEX.shapes[tap][0]) for tap in ALEX.taps]
    kernels, biases = [layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers]  # type: ignore[union-attr]
    lpips = Lpips(ALEX, kernels, biases, heads)
    a, b = torch.rand(64, 70, 3), to_uint8(torch.rand(64, 70, 3))
    wanted = lpips(a, b)
    assert lpips(a.to(gpu.device), b) == wanted
    assert lpips.to(gpu.device)(a, b.to(gpu.device)) == pytest.approx(wanted, rel=1e-5)


def test_a_gpu_is_described(gpu: PretendGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    about = described(gpu.device)
    assert about["name"] == "Pretended GPU"
    assert about["compute_capability"] == "9.0"
    assert set(about) == {"name", "memory_bytes", "compute_capability", "cuda", "driver", "triton"}
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert set(described(gpu.device)) == {"name", "memory_bytes", "architecture", "rocm", "driver", "triton"}
