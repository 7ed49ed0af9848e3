"""A command that cannot be done: exit code 2, one sentence, and everything on the disk as it was."""

from pathlib import Path

import pytest

from sfumato.cli.main import main

__all__ = ["refuses"]


def refuses(capsys: pytest.CaptureFixture[str], words: list[str], *told: str) -> None:
    """Check that `words` are refused in a sentence that holds all of `told`, and change nothing in this folder."""
    before = _snapshot()
    capsys.readouterr()
    code = main(words)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("sfumato: ")
    assert err.count("\n") == 1, err
    assert all(part in err for part in told), err
    assert _snapshot() == before


def _snapshot() -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}
