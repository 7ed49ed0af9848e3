"""docs/tools.md names every operation, property, reason and finding there is, and no flag that there is not."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from sfumato.cli.clean import Clean, Limits
from sfumato.cli.convert import Convert
from sfumato.cli.edit import Edit
from sfumato.cli.lint import Lint
from sfumato.cli.merge import Merge
from sfumato.cli.operations import OPERATIONS
from sfumato.cli.segment import Segment
from sfumato.cli.writing import Writing
from sfumato.edit.clean import REASONS
from sfumato.edit.condition import FUNCTIONS
from sfumato.edit.condition.properties import PROPERTIES


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs/tools.md").read_text(encoding="utf-8")


def codes(repository: Path) -> Iterator[str]:
    """Of findings: the first words of what lint makes."""
    for path in sorted((repository / "sfumato/edit/lint").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        yield from re.findall(r"Finding\(\s*\"([a-z0-9-]+)\"", text)
        yield from re.findall(r"_outside\(\w+, [\d.]+, \"([a-z0-9-]+)\"", text)


def test_everything_is_named(repository: Path, page: str) -> None:
    quoted = {word for code in re.findall(r"`([^`\n]+)`", page) for word in re.split(r"[ ,]+", code)}
    known = {*PROPERTIES, *FUNCTIONS, *(verb.flag for verb in OPERATIONS), *codes(repository)}
    assert len(known) > 80
    assert sorted(known - quoted) == []
    assert [reason for reason in REASONS if f"`{reason}`" not in page] == []


def test_every_flag_exists(page: str) -> None:
    verbs = (Convert, Edit, Clean, Merge, Segment, Lint, Limits, Writing)
    flags = {f"--{field.name.replace('_', '-')}" for verb in verbs for field in fields(verb)}
    flags |= {verb.flag for verb in OPERATIONS}
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) - flags) == []
