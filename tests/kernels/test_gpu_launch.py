"""Before a launch: which tensors are refused, and in whose context Triton finds those that are not."""

import importlib
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from sfumato.core.errors import BackendError

pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: Triton is not installed (pip install triton)")
module: Any = importlib.import_module("sfumato.kernels.gpu.launch")


@pytest.mark.parametrize("current", [0, 1])
def test_kernels_run_where_their_tensors_are(monkeypatch: pytest.MonkeyPatch, current: int) -> None:
    entered: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(entered.append(device)))
    with module._current(torch.device("cuda", 1)), module._current(torch.device("cpu")):
        pass
    assert entered == ([] if current == 1 else [torch.device("cuda", 1)])


def test_tensors_of_the_wrong_kind_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_reachable", lambda device: device.type == "cpu")
    here, there = torch.zeros(2), torch.zeros(2, device="meta")
    module.check(here, here)
    with pytest.raises(BackendError, match=r"float32 tensors on a GPU; got torch.float64 on cpu"):
        module.check(here, here.double())
    with pytest.raises(BackendError, match=r"float32 tensors on a GPU; got torch.float32 on meta"):
        module.check(here, there)
    monkeypatch.setattr(module, "_reachable", lambda device: True)
    with pytest.raises(BackendError, match=r"tensors of one GPU; got cpu and meta"):
        module.check(here, there)


def test_only_what_lies_otherwise_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_reachable", lambda device: True)
    straight, turned = torch.zeros(2, 3), torch.zeros(2, 3).T
    first, second = module.checked(straight, turned)
    assert first is straight
    assert second.is_contiguous()
    assert torch.equal(second, turned)
