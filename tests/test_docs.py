"""README.md and docs/: every link leads somewhere, every path and command that is named exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML = re.compile(r"<(?:img|a|video|source)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
CODE_BLOCK = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
ROOTS = ("sfumato/", "tests/", "benchmarks/", "docs/", ".ci/")


def pages(root: Path) -> list[Path]:
    return [path for path in (root / "README.md", *sorted((root / "docs").glob("**/*.md"))) if path.exists()]


def slug(heading: str) -> str:
    """The anchor that a forge makes of a heading."""
    plain = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    named = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    return named | {slug(heading) for heading in re.findall(r"^#+\s+(.*?)\s*#*$", text, re.MULTILINE)}


def broken_links(root: Path, page: Path) -> Iterator[str]:
    text = CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    prose = INLINE_CODE.sub("", text)
    for link in LINK.findall(prose) + HTML.findall(prose):
        if re.match(r"[a-z]+:", link):  # another site: not looked at, tests need no network
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_relative_to(root.resolve()):
            yield f"{page.name}: {link} leads out of the repository"
        elif not target.exists():
            yield f"{page.name}: {link} is not there"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page.name}: {link} names no heading of {target.name}"


def missing_paths(root: Path, page: Path) -> Iterator[str]:
    """Paths of the repository named in `code` or in a block of commands."""
    text = page.read_text(encoding="utf-8")
    named = {word for code in INLINE_CODE.findall(CODE_BLOCK.sub("", text)) for word in code.split()}
    named |= {word for block in CODE_BLOCK.finditer(text) for word in re.split(r"[\s\"'`(),]+", block.group())}
    for word in sorted(named):
        path = re.sub(r"(::|:\d).*$", "", word).rstrip(".,;:")
        if path.startswith(ROOTS) and not re.search(r"[*<>{}$…]|\.\.\.", path):
            exists = any(root.glob(path.rstrip("/")))
            if not exists:
                yield f"{page.name}: `{word}` is not there"


def test_links_resolve(repository: Path) -> None:
    assert [line for page in pages(repository) for line in broken_links(repository, page)] == []


def test_named_paths_exist(repository: Path) -> None:
    assert [line for page in pages(repository) for line in missing_paths(repository, page)] == []


def test_make_targets_exist(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    for page in pages(repository):
        for target in re.findall(r"\bmake ([a-z]+)\b(?=`|$)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name} names `make {target}`"


def test_versions_are_those_that_make_installs(repository: Path) -> None:
    exact = (repository / "constraints.txt").read_text(encoding="utf-8").split()
    named = [word for page in pages(repository) for word in re.findall(r"[\w-]+==[\w.]*\w", page.read_text("utf-8"))]
    assert named
    assert [word for word in named if word not in exact] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a](gone.md)", "gone.md is not there"),
        ('![p](img/gone.png "t")', "img/gone.png is not there"),
        ('<img src="gone.png">', "gone.png is not there"),
        ("[a](#no-heading)", "names no heading"),
        ("[a](../outside.md)", "leads out of the repository"),
        ("`sfumato/gone.py`", "`sfumato/gone.py` is not there"),
        ("```\npython benchmarks/gone.py --x\n```", "`benchmarks/gone.py` is not there"),
    ],
)
def test_checks_can_fail(tmp_path: Path, text: str, complaint: str) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# A heading, `code`\n[fine](#a-heading-code)\n{text}\n", encoding="utf-8")
    found = [*broken_links(tmp_path, page), *missing_paths(tmp_path, page)]
    assert [complaint in line for line in found] == [True], found
