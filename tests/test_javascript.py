"""The viewer's JavaScript: types from JSDoc, unit tests in node's own runner, and the rules that let it be one file."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

IMPORT = re.compile(r"^import \{[^}]*\} from \"\./([\w.]+\.js)\";$", re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)
TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function\*?|class|const|let|var) (\w+)", re.MULTILINE)


@pytest.fixture
def modules(repository: Path) -> dict[str, str]:
    """The viewer's modules, name -> text."""
    folder = repository / "sfumato" / "view" / "web"
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.js"))}


def test_types(repository: Path) -> None:
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("NO TSC: the types of the JavaScript were not checked (npm install -g typescript)")
    done = subprocess.run([tsc, "-p", repository / "tests" / "web"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_units(repository: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NO NODE: the unit tests of the JavaScript did not run")
    tests = sorted((repository / "tests" / "web").glob("*.test.js"))
    assert tests
    done = subprocess.run([node, "--test", *tests], capture_output=True, text=True, check=False, cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_are_plain(modules: dict[str, str]) -> None:
    """`import { a } from "./b.js";` of names that are exported there, and nothing else."""
    exports = {name: set(EXPORT.findall(text)) for name, text in modules.items()}
    for name, text in modules.items():
        found = list(IMPORT.finditer(text))
        assert len(found) == len(re.findall(r"^import\b", text, re.MULTILINE)), name
        assert not re.search(r"\bimport\(", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)), name
        assert not re.search(r"^export (?:default|\{|\*)", text, re.MULTILINE), name
        for line in found:
            wanted = {word.strip() for word in re.sub(r".*\{|\}.*", "", line.group(), flags=re.DOTALL).split(",")}
            assert wanted - {""} <= exports[line.group(1)], f"{name} wants {wanted} of {line.group(1)}"


def test_names_are_unique(modules: dict[str, str]) -> None:
    """All modules become one script in an exported file."""
    names = Counter(name for text in modules.values() for name in set(TOP_LEVEL.findall(text)))
    assert [name for name, count in names.items() if count > 1] == []


def test_page_asks_for_all_its_modules_at_once(modules: dict[str, str], repository: Path) -> None:
    """Those that app.js needs, directly or not, or the browser learns of them only level by level."""
    needed, left = set[str](), ["app.js"]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += IMPORT.findall(modules[name])
    html = (repository / "sfumato" / "view" / "web" / "index.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r'<link rel="modulepreload" href="([\w.]+)">', html)) == sorted(needed)
