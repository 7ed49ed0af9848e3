"""docs/troubleshooting.md: every message that it quotes is one that the source can say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path("docs") / "troubleshooting.md"
GAP = "\0"  # where the source puts in what differs


def templates(source: str) -> Iterator[str]:
    """The strings of a module; parts of f-strings that are computed are gaps."""
    tree = ast.parse(source)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def quotes(page: str) -> Iterator[str]:
    """The pieces of the messages: `code` in the first column of tables; three dots stand for what differs."""
    for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE):
        for message in re.findall(r"`([^`]+)`", row):
            yield from (piece.strip(" ") for piece in message.split("...") if piece.strip(" "))


def unsaid(page: str, said: str) -> list[str]:
    return [piece for piece in quotes(page) if piece not in said]


@pytest.fixture(scope="module")
def said(request: pytest.FixtureRequest) -> str:
    """All strings of the package, a line each."""
    sources = sorted((request.config.rootpath / "sfumato").rglob("*.py"))
    return "\n".join(text for path in sources for text in templates(path.read_text(encoding="utf-8")))


def test_every_quoted_message_is_in_the_source(repository: Path, said: str) -> None:
    page = (repository / PAGE).read_text(encoding="utf-8")
    assert len(list(quotes(page))) > 80
    assert unsaid(page, said) == []


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("`... is not there; give a folder of photos, a video or a dataset`", []),
        ("`... is not here; give a folder`", ["is not here; give a folder"]),
        ("`is encrypted`, `is enchanted`", ["is enchanted"]),
    ],
)
def test_the_check_can_fail(said: str, message: str, missing: list[str]) -> None:
    assert unsaid(f"| message | means | do |\n|---|---|---|\n| {message} | x | y |\n", said) == missing


def test_computed_parts_are_gaps() -> None:
    assert list(templates('told = f"{path} is cut " f"at {place}; copy it again"')) == [
        f"{GAP} is cut at {GAP}; copy it again"
    ]
