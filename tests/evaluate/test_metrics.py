"""PSNR and SSIM against hand-computed values and their definitions."""

import math

import pytest
import torch

from sfumato.core.errors import ShapeError
from sfumato.evaluate.metrics import MAX_PSNR, psnr, ssim


def test_psnr_by_hand() -> None:
    target = torch.zeros(4, 5, 3, dtype=torch.uint8)
    assert psnr(torch.full((4, 5, 3), 0.1), target) == pytest.approx(20, abs=1e-5)  # -10 log10(0.01)
    image = torch.zeros(4, 5, 3)
    image[0, 0, 0] = 1
    assert psnr(image, target) == pytest.approx(10 * math.log10(60), abs=1e-5)  # one of 60 numbers is off by 1


def test_values_are_clamped_before_they_are_compared(backend: str) -> None:
    white = torch.full((16, 16, 3), 255, dtype=torch.uint8)
    assert psnr(torch.full((16, 16, 3), 1.7), white) == MAX_PSNR
    assert ssim(torch.full((16, 16, 3), 1.7), white, backend) == pytest.approx(1, abs=1e-5)


def test_equal_images_have_the_highest_scores(backend: str, seed: int) -> None:
    target = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8)
    assert psnr(target.float() / 255, target) == MAX_PSNR
    assert ssim(target.float() / 255, target, backend) == pytest.approx(1, abs=1e-5)


def test_ssim_by_definition(backend: str, seed: int) -> None:
    """Every window by a plain loop over pixels, in float64 (Wang et al. 2004, Eq. 13)."""
    image, target = torch.rand(13, 12, 3), torch.rand(13, 12, 3)
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(weights, weights) / weights.sum() ** 2
    padded = [torch.nn.functional.pad(x.double(), (0, 0, 5, 5, 5, 5)) for x in (image, target)]
    values = []
    for row in range(13):
        for column in range(12):
            for color in range(3):
                x, y = (p[row : row + 11, column : column + 11, color] for p in padded)
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
                cov = (window * x * y).sum() - mx * my
                top = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
                values.append(top / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert ssim(image, target, backend) == pytest.approx(torch.stack(values).mean().item(), abs=2e-5)


def test_shapes_and_types_are_checked() -> None:
    with pytest.raises(ShapeError, match="target must be"):
        psnr(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3))
    with pytest.raises(ShapeError, match="image must be floats"):
        ssim(torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(4, 4, 3))
