"""Which backend is taken and where its tensors live, on machines with and without a GPU that can be used."""

import types
from typing import Any

import pytest
import torch

from sfumato.core.errors import BackendError, SfumatoWarning
from sfumato.kernels import backends
from sfumato.kernels.backends import choose, load

pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: triton is not installed here")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A machine whose GPU has what the test says: capability, hip, and what Triton answers."""
    from sfumato.kernels.gpu import ready

    card = types.SimpleNamespace(capability=(9, 0), target=lambda: "sm_90", triton="3.10.0+git1")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(backends, "load", lambda name, device="cpu": types.SimpleNamespace())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Slide Rule 3000")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: card.capability)
    active = types.SimpleNamespace(get_current_target=lambda: card.target())
    runtime = types.SimpleNamespace(driver=types.SimpleNamespace(active=active))
    monkeypatch.setattr(ready, "triton", _Installed(card, runtime))
    ready._unusable.cache_clear()
    return card


class _Installed:
    """Triton as the card's description has it."""

    def __init__(self, card: types.SimpleNamespace, runtime: types.SimpleNamespace) -> None:
        self._card, self.runtime = card, runtime

    @property
    def __version__(self) -> str:
        return self._card.triton


def failing(error: Exception) -> Any:
    def target() -> str:
        raise error

    return target


def test_a_gpu_that_can_is_taken(gpu: types.SimpleNamespace) -> None:
    assert choose() == choose("gpu") == ("gpu", torch.device("cuda", 0))
    assert choose("cpu") == ("cpu", torch.device("cpu"))
    assert choose("reference") == ("reference", torch.device("cpu"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"capability": (6, 1)}, "it has compute capability 6.1, and 7.5 or newer is needed"),
        ({"triton": "3.5.1"}, r"Triton 3\.5\.1 is here, and 3\.6 or newer is needed; torch 2\.10 or newer brings it"),
        (
            {"target": failing(RuntimeError("Failed to find C compiler."))},
            r"apt install gcc.*Failed to find C compiler",
        ),
        ({"target": failing(OSError("libcuda.so cannot found!\nPossible files"))}, r"cannot talk to it \(libcuda.so"),
    ],
)
def test_a_gpu_that_cannot_is_left_idle_and_it_is_said(
    gpu: types.SimpleNamespace, change: dict[str, Any], why: str
) -> None:
    vars(gpu).update(change)
    with pytest.warns(SfumatoWarning, match=f"there is a GPU, but the CPU is used: .*Slide Rule 3000: .*{why}"):
        assert choose() == ("cpu", torch.device("cpu"))
    with pytest.raises(BackendError, match=why):
        choose("gpu")


def test_amd_has_no_compute_capability(gpu: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.capability = (1, 1)
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert choose()[0] == "gpu"


def test_no_gpu_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(backends, "load", lambda name, device="cpu": types.SimpleNamespace())
    assert choose() == ("cpu", torch.device("cpu"))
    with pytest.raises(BackendError, match="needs a GPU that torch sees, and it sees none; `sfumato doctor` says more"):
        choose("gpu")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose("gpu") == ("gpu", torch.device("cpu"))


def test_the_interpreter_leaves_a_gpu_idle(gpu: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works on the CPU, a thousand times slower: for whoever asks, not for those who have forgotten the variable."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose("gpu") == ("gpu", torch.device("cpu"))
    with pytest.warns(SfumatoWarning, match=r"there is a GPU, but the CPU is used: .*TRITON_INTERPRET=1 is set"):
        assert choose() == ("cpu", torch.device("cpu"))


def test_names_that_are_none() -> None:
    with pytest.raises(BackendError, match="no backend named 'abacus'"):
        choose("abacus")
    with pytest.raises(BackendError, match="no backend renders tensors on meta"):
        load("auto", "meta")
