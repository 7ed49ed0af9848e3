"""The pretended GPU refuses what a real one would, and tells what makes the host wait."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from pretend import DEVICE, OnGPU, PretendGPU, WaitError, pretended


@pytest.fixture
def gpu() -> Iterator[PretendGPU]:
    with pretended() as gpu:
        yield gpu


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        assert gradient.device == x.device
        return gradient * y, gradient * x


def test_tensors_are_there_and_come_back(gpu: PretendGPU) -> None:
    here = torch.arange(4.0)
    there = here.to(DEVICE)
    assert (there.device, there.is_cuda, there.shape) == (DEVICE, True, (4,))
    assert there.to(DEVICE) is there.to(there) is there
    assert there.to(here).device == there.cpu().device == torch.device("cpu")
    assert torch.equal(there.cpu(), here)
    assert there.cpu().data_ptr() != there.memory.data_ptr()
    assert torch.full((2,), 3, device=DEVICE).tolist() == [3, 3]
    assert there.new_zeros(2).device == torch.zeros_like(there).device == DEVICE


def test_gradients_go_through_it_as_through_any(gpu: PretendGPU, seed: int) -> None:
    x, y = torch.randn(2, 5)
    gradients = []
    for device in ("cpu", DEVICE):
        a, b = x.clone().to(device).requires_grad_(), y.clone().to(device).requires_grad_()
        changed = a * 2
        changed[1:] = 3
        (Product.apply(a, b) + changed + (a[2:] ** 2).sum()).sum().backward()  # type: ignore[no-untyped-call]
        assert a.grad is not None
        assert b.grad is not None
        gradients.append((a.grad.cpu(), b.grad.cpu()))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])


def test_what_happens_in_place_is_seen_by_all_who_share(gpu: PretendGPU) -> None:
    whole = torch.zeros(4, device=DEVICE)
    part = whole.detach()[1:]
    assert part.add_(1) is part
    assert whole.tolist() == [0, 1, 1, 1]


MIXED: list[Callable[[Tensor], object]] = [
    lambda there: there + torch.ones(3),
    lambda there: torch.ones(3) * there,
    lambda there: torch.cat([there, torch.ones(1)]),
    lambda there: torch.where(torch.ones(3) > 0, there, 0),
    lambda there: there.index_select(0, torch.arange(2)),
    lambda there: torch.randn(3, device=DEVICE, generator=torch.Generator()),
    lambda there: torch.randn(3, generator=torch.Generator(DEVICE)),
]


@pytest.mark.parametrize("mix", MIXED)
def test_what_is_on_the_cpu_does_not_mix(gpu: PretendGPU, mix: Callable[[Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match="Expected"):
        mix(torch.ones(3, device=DEVICE))


def test_numbers_of_the_cpu_do(gpu: PretendGPU) -> None:
    assert (torch.ones(2, device=DEVICE) * torch.tensor(2.0)).tolist() == [2, 2]


def test_numpy_must_be_asked_for_on_the_cpu(gpu: PretendGPU) -> None:
    with pytest.raises(TypeError, match="numpy"):
        torch.ones(3, device=DEVICE).numpy()


WAITING: list[Callable[[Tensor], object]] = [
    lambda there: there.sum().item(),
    lambda there: bool(there.sum() > 0),
    lambda there: float(there.sum()),
    lambda there: there.tolist(),
    lambda there: there.cpu(),
    lambda there: there.to("cpu", torch.float64),
    lambda there: there.nonzero(),
    lambda there: there[there > 0],
    lambda there: there[torch.arange(2)],
    lambda there: there.masked_select(there > 0),
    lambda there: there.unique(),
    lambda there: torch.equal(there, there),
    lambda there: there.long().bincount(),
    lambda there: there.repeat_interleave(there.long()),
    lambda there: torch.tensor([1.0], device=DEVICE),
    lambda there: torch.ones(3).to(DEVICE),
    lambda there: torch.ones(3).to(DEVICE, non_blocking=True),  # not pinned
    lambda there: torch.ones(3).copy_(there, non_blocking=True),
    lambda there: torch.where(there > 0, there, torch.tensor(0.0)),
    lambda there: torch.cuda.synchronize(),
]


@pytest.mark.parametrize("wait", WAITING)
def test_whatever_waits_is_told(gpu: PretendGPU, wait: Callable[[Tensor], object]) -> None:
    there = torch.ones(3, device=DEVICE)
    wait(there)
    assert "test_pretend.py" in gpu.waits[-1]
    with gpu.no_waiting(), pytest.raises(WaitError):
        wait(there)


def test_whatever_does_not_is_not(gpu: PretendGPU) -> None:
    with gpu.no_waiting():
        there = torch.ones(3).pin_memory().to(DEVICE, non_blocking=True)
        there = torch.where(there > 0, there, 0).masked_fill_(there > 2, 0).sort(stable=True).values.cumsum(0)
        torch.empty(3, pin_memory=True).copy_(there, non_blocking=True)
        torch.cuda.Event().synchronize()
        random = torch.Generator(DEVICE).manual_seed(0)
        assert isinstance(torch.randn(3, device=there.device, generator=random) + there[1:].amax(), OnGPU)
    assert not gpu.waits
