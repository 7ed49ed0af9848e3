"""Help as a newcomer sees it: in 80 columns, each default said once."""

import re

import pytest

from sfumato.cli.main import VERBS, main


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_80_columns(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*verb.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if len(line) > 80] == []
    words = " ".join(line.strip("│ ") for line in said.splitlines())
    assert re.findall(r"\(default: [^()]*\)\.? *\(default: [^()]*\)", words) == []
