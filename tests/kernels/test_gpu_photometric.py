"""The training loss in Triton, interpreted: strips, blocks of rows, layouts and limits that other backends lack."""

import importlib

import pytest
import torch
from torch import Tensor

from sfumato.core.errors import BackendError
from sfumato.kernels.backends import interpreted, load

pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: triton is not installed")
if not interpreted() and not torch.cuda.is_available():
    pytest.skip("GPU BACKEND NOT TESTED: no GPU, and TRITON_INTERPRET is not 1", allow_module_level=True)

module = importlib.import_module("sfumato.kernels.gpu.photometric")  # its package gives the function that name

DEVICE = "cpu" if interpreted() else "cuda"


def loss_and_gradient(image: Tensor, target: Tensor, ssim_weight: float = 0.2) -> tuple[Tensor, Tensor]:
    leaf = image.detach().to(DEVICE).requires_grad_()
    loss = module.photometric(leaf, target.to(DEVICE), ssim_weight)
    (3 * loss).backward()
    assert leaf.grad is not None
    return loss.detach().cpu(), leaf.grad.cpu()


def agrees(image: Tensor, target: Tensor) -> None:
    loss, gradient = loss_and_gradient(image, target)
    exact = image.detach().double().requires_grad_()
    wanted = load("reference").photometric(exact, target if target.dtype == torch.uint8 else target.double(), 0.2)
    (3 * wanted).backward()
    assert exact.grad is not None
    assert loss.item() == pytest.approx(wanted.item(), rel=2e-6)
    assert (gradient.double() - exact.grad).norm() <= 1e-4 * exact.grad.norm()


def test_strips_and_blocks_fit_together(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    # three strips, the middle one without a check of its borders, and three blocks of rows
    monkeypatch.setattr(module, "COLUMNS", 16)
    monkeypatch.setattr(module, "WARPS", 1)
    monkeypatch.setattr(module, "LEAST_ROWS", 4)
    assert module._shares(1, 9, 41) == (4, (3, 1, 3))
    agrees(torch.rand(9, 41, 1), torch.randint(0, 256, (9, 41, 1), dtype=torch.uint8))


def test_large_pictures_are_shared_among_enough_programs() -> None:
    assert module._shares(3, 2160, 3840) == (64, (30, 3, 34))
    assert module._shares(3, 1080, 1920) == (47, (15, 3, 23))
    assert module._shares(3, 1, 1) == (16, (1, 3, 1))


@pytest.mark.parametrize("layout", ["turned", "four channels", "every other column", "one color"])
def test_any_strides(layout: str, seed: int) -> None:
    image, target = torch.rand(4, 7, 3), torch.rand(4, 7, 3)
    target = {
        "turned": target.transpose(0, 1).contiguous().transpose(0, 1),
        "four channels": torch.rand(4, 7, 4)[..., :3],
        "every other column": torch.rand(4, 14, 3)[:, ::2],
        "one color": torch.tensor([0.1, 0.2, 0.3]).expand(4, 7, 3),
    }[layout]
    agrees(image, target)


def test_strides_past_32_bits(seed: int) -> None:
    row = 1_100_000_000  # twice that is past 2^31; only what is touched of the 3 GB becomes real
    try:
        memory = torch.empty(2 * row + 100, dtype=torch.uint8)
    except RuntimeError:
        pytest.skip("PICTURES PAST 2^31 BYTES NOT TESTED: no room for one")
    target = memory.as_strided((3, 5, 3), (row, 3, 1))
    target.copy_(torch.randint(0, 256, (3, 5, 3), dtype=torch.uint8))
    agrees(torch.rand(3, 5, 3), target)
    target = memory.as_strided((3, 5, 3), (5, 1, row))
    target.copy_(torch.randint(0, 256, (3, 5, 3), dtype=torch.uint8))
    agrees(torch.rand(3, 5, 3), target)


def test_without_a_gradient_it_is_the_same_loss(seed: int) -> None:
    image, target = torch.rand(2, 4, 6, 3)
    loss, _ = loss_and_gradient(image, target)
    assert torch.equal(module.photometric(image.to(DEVICE), target.to(DEVICE), 0.2).cpu(), loss)
    with torch.no_grad():
        leaf = image.to(DEVICE).requires_grad_()
        assert not module.photometric(leaf, target.to(DEVICE), 0.2).requires_grad


@pytest.mark.parametrize("ssim_weight", [0.0, 1.0])
def test_gradient_of_either_half(ssim_weight: float, seed: int) -> None:
    image, target = torch.rand(2, 3, 8, 3)
    _, gradient = loss_and_gradient(image, target, ssim_weight)
    exact = image.double().requires_grad_()
    (3 * load("reference").photometric(exact, target.double(), ssim_weight)).backward()
    assert exact.grad is not None
    assert (gradient.double() - exact.grad).norm() <= 1e-4 * exact.grad.norm()


def test_gradient_is_planar_and_backward_may_be_repeated(seed: int) -> None:
    image, target = torch.rand(2, 3, 5, 3).to(DEVICE)
    leaf = image.requires_grad_()
    loss = module.photometric(leaf, target, 0.2)
    first, again = (torch.autograd.grad(loss, leaf, retain_graph=True)[0] for _ in range(2))
    assert first.permute(2, 0, 1).is_contiguous()
    assert torch.equal(first, again)


def test_what_it_cannot_do_is_said() -> None:
    image = torch.zeros(2, 3, 3, device=DEVICE)
    with pytest.raises(BackendError, match="no gradient for target"):
        module.photometric(image, image.clone().requires_grad_(), 0.2)
    with pytest.raises(BackendError, match="float32"):
        module.photometric(image.double(), image, 0.2)
    with pytest.raises(BackendError, match="float32"):
        module.photometric(image, image.half(), 0.2)
