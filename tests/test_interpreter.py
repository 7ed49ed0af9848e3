"""The interpreter's shortcut: helpers find the language ready, and after a launch it is what it was."""

import pytest
import torch

from sfumato.kernels.backends import interpreted

from interpreter import patch_language_once

triton = pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: triton is not installed here")
tl = pytest.importorskip("triton.language")


@triton.jit
def twice(x):
    return x + x


@triton.jit
def fourfold(numbers, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(numbers + i, twice(twice(tl.load(numbers + i))))


@triton.jit
def broken(numbers):
    tl.store(numbers, twice(tl.load(numbers)) + tl.nothing)


def test_helpers_do_not_make_the_language_ready_again(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (interpreted() and patch_language_once()):
        pytest.skip("KERNELS ARE SLOW OR COMPILED: this Triton's interpreter is another, or not used")
    from triton.runtime import interpreter

    made: list[object] = []
    monkeypatch.setattr(interpreter, "_patch_lang_core", lambda *words, make=interpreter._patch_lang_core: (
        made.append(words), make(*words)
    ))  # fmt: skip
    before = [(name, getattr(module, name)) for module in (tl, tl.core, tl.tensor) for name in sorted(dir(module))]
    for _ in range(2):
        numbers = torch.arange(4.0)
        fourfold[(1,)](numbers, BLOCK=4)
        assert numbers.tolist() == [0, 4, 8, 12]
        with pytest.raises(Exception, match="nothing"):
            broken[(1,)](numbers)
    assert len(made) == 4  # one per launch
    after = [(name, getattr(module, name)) for module in (tl, tl.core, tl.tensor) for name in sorted(dir(module))]
    assert after == before
