"""PSNR and SSIM against hand-computed values and their definitions."""

import math

import pytest
import torch

from sfumato.core.errors import ShapeError
from sfumato.core.scene import EMPTY, IGNORED, SHOWN
from sfumato.evaluate.metrics import MAX_PSNR, STRIP, excluded, psnr, ssim, unmasked
from sfumato.kernels.reference.photometric import ssim_map


def test_psnr_by_hand() -> None:
    target = torch.zeros(4, 5, 3, dtype=torch.uint8)
    assert psnr(torch.full((4, 5, 3), 0.1), target) == pytest.approx(20, abs=1e-5)  # -10 log10(0.01)
    image = torch.zeros(4, 5, 3)
    image[0, 0, 0] = 1
    assert psnr(image, target) == pytest.approx(10 * math.log10(60), abs=1e-5)  # one of 60 numbers is off by 1


def test_masked_ssim_in_strips_is_that_of_the_whole(backend: str, seed: int) -> None:
    """Photos of one strip, several, and a row more or less."""
    for height in (3, STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 4, 3 * STRIP):
        image, target = torch.rand(height, 20, 3), torch.randint(0, 256, (height, 20, 3), dtype=torch.uint8)
        mask = torch.where(torch.rand(height, 20) < 0.5, IGNORED, SHOWN).to(torch.uint8)
        mask[0, 0] = SHOWN
        filled = unmasked(image, target, mask)
        wanted = ssim_map(filled, target.float() / 255)[:, mask == SHOWN].mean().item()
        assert ssim(image, target, backend, mask) == pytest.approx(wanted, abs=1e-5), height


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


def half(value: int, height: int = 24, width: int = 30) -> torch.Tensor:
    mask = torch.full((height, width), SHOWN, dtype=torch.uint8)
    mask[:, : width // 2] = value
    return mask


def test_ignored_pixels_are_in_no_mean(backend: str, seed: int) -> None:
    """Whatever is drawn where the mask ignores, the numbers are the same, and those of the rest."""
    target = torch.randint(0, 256, (24, 30, 3), dtype=torch.uint8)
    image = (target.float() / 255 + 0.1 * torch.randn(24, 30, 3)).clamp(0, 1)
    spoiled = image.clone()
    spoiled[:, :15] = torch.rand(24, 15, 3)
    mask = half(IGNORED)
    assert psnr(spoiled, target, mask) == pytest.approx(psnr(image[:, 15:], target[:, 15:]), abs=1e-6)
    assert psnr(spoiled, target, mask) == psnr(image, target, mask)
    assert ssim(spoiled, target, backend, mask) == ssim(image, target, backend, mask)
    assert abs(psnr(spoiled, target) - psnr(image, target)) > 1
    target_left = torch.cat([target[:, :15].float() / 255, image[:, 15:]], dim=1)  # what the windows see
    wanted = ssim_map(target_left, target.float() / 255)[:, :, 15:].mean().item()
    assert ssim(spoiled, target, backend, mask) == pytest.approx(wanted, abs=1e-6)


def test_a_perfect_render_of_what_counts_is_perfect(backend: str, seed: int) -> None:
    target = torch.randint(0, 256, (24, 30, 3), dtype=torch.uint8)
    image = target.float() / 255
    image[:, :15] = 0
    assert psnr(image, target, half(IGNORED)) == MAX_PSNR
    assert ssim(image, target, backend, half(IGNORED)) == pytest.approx(1, abs=1e-5)
    assert torch.equal(unmasked(image, target, half(IGNORED)), target.float() / 255)
    assert unmasked(image, target, None) is image


@pytest.mark.parametrize("value", [SHOWN, EMPTY])
def test_empty_pixels_count(value: int, backend: str, seed: int) -> None:
    image, target = torch.rand(24, 30, 3), torch.randint(0, 256, (24, 30, 3), dtype=torch.uint8)
    assert psnr(image, target, half(value)) == pytest.approx(psnr(image, target), abs=1e-9)
    assert ssim(image, target, backend, half(value)) == pytest.approx(ssim(image, target, backend), abs=1e-5)


def test_shares_and_nothing() -> None:
    assert excluded(half(IGNORED)) == 0.5
    assert excluded(half(EMPTY)) == excluded(None) == 0
    nothing = torch.full((4, 4), IGNORED, dtype=torch.uint8)
    assert math.isnan(psnr(torch.zeros(4, 4, 3), torch.ones(4, 4, 3), nothing))
    with pytest.raises(ShapeError, match="mask must be"):
        psnr(torch.zeros(4, 4, 3), torch.ones(4, 4, 3), nothing[:3])
