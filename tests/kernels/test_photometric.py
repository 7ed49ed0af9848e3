"""The training loss on every backend: against a pixel-by-pixel one written out in plain Python, and by hand."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.kernels.backends import load

from scenes import few

KERNEL = [math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)]
WINDOW = [weight / sum(KERNEL) for weight in KERNEL]


def written_out(image: Tensor, target: Tensor, ssim_weight: float) -> float:
    """(1 - w) L1 + w (1 - SSIM) with Python's numbers and four loops; outside the picture all is 0."""
    height, width, _ = image.shape
    x, y = image.double().tolist(), target.double().tolist()
    l1, ssim = 0.0, 0.0
    for row in range(height):
        for column in range(width):
            for c in range(3):
                l1 += abs(x[row][column][c] - y[row][column][c])
                mx = my = mxx = myy = mxy = 0.0
                for v in range(max(0, row - 5), min(height, row + 6)):
                    for u in range(max(0, column - 5), min(width, column + 6)):
                        weight = WINDOW[v - row + 5] * WINDOW[u - column + 5]
                        a, b = x[v][u][c], y[v][u][c]
                        mx, my = mx + weight * a, my + weight * b
                        mxx, myy, mxy = mxx + weight * a * a, myy + weight * b * b, mxy + weight * a * b
                same = (2 * mx * my + 0.01**2) / (mx * mx + my * my + 0.01**2)
                same *= (2 * (mxy - mx * my) + 0.03**2) / (mxx - mx * mx + myy - my * my + 0.03**2)
                ssim += same
    numbers = 3 * height * width
    return (1 - ssim_weight) * l1 / numbers + ssim_weight * (1 - ssim / numbers)


@pytest.mark.parametrize("size", [(1, 1), (4, 7), (14, 17)], ids=str)
def test_loss_is_what_the_formula_says(backend: str, size: tuple[int, int], seed: int) -> None:
    target = torch.rand(*size, 3)
    image = (target + 0.2 * torch.rand(*size, 3)).clamp(0, 1)
    got = load(backend).photometric(image, target, 0.2)
    assert got.item() == pytest.approx(written_out(image, target, 0.2), rel=1e-5)


def test_l1_by_hand(backend: str) -> None:
    # |0.5 - 0.25|, |0.5 - 0.5|, |0.5 - 1|: mean 0.25
    image = torch.full((1, 1, 3), 0.5, requires_grad=True)
    loss = load(backend).photometric(image, torch.tensor([[[0.25, 0.5, 1.0]]]), 0.0)
    assert loss.item() == pytest.approx(0.25)
    loss.backward()
    torch.testing.assert_close(image.grad, torch.tensor([[[1.0, 0, -1]]]) / 3)


def test_equal_pictures_lose_nothing(backend: str, seed: int) -> None:
    target = torch.rand(few(backend, 13, 5), 18, 3)
    image = target.clone().requires_grad_()
    loss = load(backend).photometric(image, target, 0.2)
    assert abs(loss.item()) < 1e-6
    loss.backward()
    assert image.grad is not None
    assert image.grad.abs().max() < 1e-5


def test_bytes_are_fractions_of_255(backend: str, seed: int) -> None:
    height = few(backend, 13, 5)
    target = torch.randint(0, 256, (height, 18, 3), dtype=torch.uint8)
    image = torch.rand(height, 18, 3)
    from_bytes = load(backend).photometric(image, target, 0.2)
    from_floats = load(backend).photometric(image, target.float() / 255, 0.2)
    torch.testing.assert_close(from_bytes, from_floats, rtol=1e-6, atol=0)


def test_pictures_of_different_sizes_are_refused(backend: str) -> None:
    with pytest.raises(InputError, match=r"same shape; got \(4, 5, 3\) and \(5, 4, 3\)"):
        load(backend).photometric(torch.zeros(4, 5, 3), torch.zeros(5, 4, 3), 0.2)
