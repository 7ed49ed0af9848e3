"""Compiling ahead: each step of it runs, it is told how far it is, and remembered that it was done."""

import importlib
from pathlib import Path

import pytest

from pretend import pretended

pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: triton is not installed here")

module = importlib.import_module("sfumato.kernels.gpu.prepare")  # the package's own prepare is the function


def test_kernels_are_launched_once_and_it_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    every = module._steps()
    monkeypatch.setattr(module, "_steps", lambda: [every[0], every[-1]])  # in the interpreter, each takes its time
    monkeypatch.setattr(module, "interpreted", lambda: False)
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path))
    with pretended() as gpu:
        assert not module.is_prepared()
        module.prepare(lambda *words: told.append(words))
        assert module.is_prepared()
        assert module.marker().is_relative_to(tmp_path)
    assert told == [("compiling kernels (once)", done, 2) for done in range(3)]
    assert len(set(gpu.launches)) >= 8
    assert [why for why in gpu.waits if "synchronize" in why]


def test_the_interpreter_needs_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(module, "_steps", lambda: pytest.fail("nothing is to be compiled"))
    module.prepare()
    assert module.is_prepared()
