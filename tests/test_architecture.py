"""The house's rules, read from the syntax trees: floors, who may import what, no talk below cli, public names."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FLOORS = (
    ("core",),
    ("kernels",),
    ("capture", "render", "formats", "edit"),
    ("train", "evaluate", "mesh", "view"),
    ("cli",),
)
FLOOR_OF_ROOM = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# library -> the places that may import it, at the top of a file or inside a function
LIBRARIES = {
    "numba": ("kernels/cpu/",),
    "llvmlite": ("kernels/cpu/",),
    "triton": ("kernels/gpu/",),
    "pycolmap": ("capture/",),
    "av": ("capture/video/", "render/video.py"),
    "argparse": ("cli/",),
    "tyro": ("cli/",),
    "rich": ("cli/",),
    "zstandard": ("formats/",),
    "laspy": ("formats/", "core/"),
    "pxr": ("formats/",),
    "starlette": ("view/",),
    "uvicorn": ("view/",),
    "websockets": ("view/",),
}
NOT_AT_IMPORT = (
    "numba",
    "llvmlite",
    "triton",
    "pycolmap",
    "av",
    "tyro",
    "rich",
    "starlette",
    "uvicorn",
    "zstandard",
    "laspy",
    "pxr",
    "torch._dynamo",
    "torch._inductor",
)

# a rule: path inside the package and its tree -> complaints
Rule = Callable[[str, ast.Module], Iterator[str]]


def imports(tree: ast.AST) -> Iterator[tuple[int, str, list[str]]]:
    """(line, module, names) of every import wherever it stands; `import a.b` has no names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and _is_import_function(node.func):
            argument = node.args[0]
            if isinstance(argument, ast.JoinedStr):  # f"sfumato.kernels.{name}": what is known of it
                argument = argument.values[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value.rstrip("."), []


def _is_import_function(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def keep_to_floors(path: str, tree: ast.Module) -> Iterator[str]:
    """A room imports itself and lower floors, never a neighbour; files outside the rooms import what they like."""
    room = path.split("/")[0] if "/" in path else None
    if room is not None and room not in FLOOR_OF_ROOM:
        yield f"1: no floor for the room {room}; give it one in FLOORS"
        return
    for line, module, names in imports(tree):
        if module.startswith("."):
            yield f"{line}: relative import; write the whole name"
        if room is None or module.split(".")[0] != "sfumato":
            continue
        for target in [module.split(".")[1]] if "." in module else names:
            if target not in FLOOR_OF_ROOM:
                yield f"{line}: {room} imports sfumato.{target}, the roof"
            elif target != room and FLOOR_OF_ROOM[target] >= FLOOR_OF_ROOM[room]:
                yield f"{line}: {room} imports {target}, which is not on a lower floor"


def keep_libraries_home(path: str, tree: ast.Module) -> Iterator[str]:
    for line, module, _ in imports(tree):
        homes = LIBRARIES.get(module.split(".")[0])
        if homes and not path.startswith(homes):
            yield f"{line}: imports {module}, which belongs in {' and '.join(homes)}"


def stay_silent(path: str, tree: ast.Module) -> Iterator[str]:
    if path.startswith("cli/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input"):
            yield f"{node.lineno}: calls {node.func.id}; only cli talks"


def open_with_a_sentence(path: str, tree: ast.Module) -> Iterator[str]:
    first = (ast.get_docstring(tree) or "").split("\n\n")[0]
    if not first.endswith(".") or re.search(r"[.!?]\s+[A-Z]", first):
        yield f"1: the docstring must open with one sentence; got {first!r}"


def list_public_names(path: str, tree: ast.Module) -> Iterator[str]:
    """__all__ holds every public function, class and variable; CONSTANTS and letters only when others use them."""
    defined, imported = _names(tree)
    listed = _all(tree)
    if listed is None:
        if public := sorted(name for name in defined if not name.startswith("_")):
            yield f"1: no __all__, but public names {public}"
        return
    if len(listed) != len(set(listed)):
        yield "1: __all__ names something twice"
    may = defined | (imported if path.endswith("__init__.py") else set())
    if unknown := sorted(set(listed) - may - {"__version__"}):
        yield f"1: __all__ lists {unknown}, which this module does not define"
    letters = {name for name in defined if len(name) == 1}  # short for a library's function: f = np.float32
    missing = sorted(n for n in defined - letters - set(listed) if not n.startswith("_") and not n.isupper())
    if missing:
        yield f"1: {missing} must be in __all__ or begin with an underscore"


def _names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Names a module defines at its top level, and names it imports there."""
    defined: set[str] = set()
    imported: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imported |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            imported |= _names(ast.Module(node.body, []))[1]  # what the package imports when it is first used
    return defined - {"__all__"}, imported


def _all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


RULES: tuple[Rule, ...] = (
    keep_to_floors,
    keep_libraries_home,
    stay_silent,
    open_with_a_sentence,
    list_public_names,
)


def parse(package: Path) -> dict[str, ast.Module]:
    """Path inside the package -> tree, for every module."""
    paths = sorted(package.rglob("*.py"))
    return {path.relative_to(package).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def complaints(package: Path, rules: tuple[Rule, ...] = RULES) -> list[str]:
    trees = parse(package)
    return [f"{path}:{text}" for path, tree in trees.items() for rule in rules for text in rule(path, tree)]


def borrowed_privately(package: Path) -> list[str]:
    """Names imported from a module of ours that its __all__ does not list."""
    trees = parse(package)
    found = []
    for path, tree in trees.items():
        for line, module, names in imports(tree):
            parts = module.split(".")[1:]
            if module.split(".")[0] != "sfumato":
                continue
            source = next((p for p in ("/".join([*parts, "__init__.py"]), "/".join(parts) + ".py") if p in trees), None)
            if source is None:
                found.append(f"{path}:{line}: imports {module}, which does not exist")
                continue
            listed = set(_all(trees[source]) or ())
            for name in names:
                folder = "/".join([*parts, name])
                is_module = f"{folder}.py" in trees or f"{folder}/__init__.py" in trees
                if name not in listed and not is_module and name != "__version__":
                    found.append(f"{path}:{line}: imports {name}, which {source} does not list in __all__")
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(repository: Path, rule: Rule) -> None:
    assert complaints(repository / "sfumato", (rule,)) == []


def test_modules_use_only_what_others_offer(repository: Path) -> None:
    assert borrowed_privately(repository / "sfumato") == []


def test_import_is_light() -> None:
    """`import sfumato` loads no kernel compiler, no SfM, no video, no terminal library."""
    script = "import json, sys, sfumato; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)
    heavy = [name for name in NOT_AT_IMPORT if name in loaded]
    assert heavy == []
    assert "sfumato" in loaded


GOOD = {
    "core/nouns.py": '"""Nouns."""\n__all__ = ["noun"]\n_hidden = WIDTH = 1\ndef noun(): pass\n',
    "kernels/cpu/fast.py": '"""Fast; it needs numba."""\nimport numba\n__all__ = []\n',
    "core/__init__.py": '"""Nouns only."""\n',
    "train/loop.py": '"""Loop."""\nfrom sfumato.core.nouns import noun\nfrom sfumato.core import nouns\n',
    "cli/main.py": '"""Talk."""\nimport tyro\n__all__ = []\nprint(1)\n',
}
BAD = {
    "core/up.py": ('"""Up."""\nfrom sfumato.kernels import cpu\n', "core imports kernels"),
    "core/roof.py": ('"""Roof."""\nfrom sfumato import render\nfrom sfumato import train_it\n', "the roof"),
    "train/side.py": ('"""Side."""\ndef _f():\n    import sfumato.evaluate.metrics\n', "train imports evaluate"),
    "edit/spell.py": (
        '"""Spell."""\nimport importlib\nimportlib.import_module("sfumato.cli.main")\n',
        "edit imports cli",
    ),
    "attic/box.py": ('"""Box."""\n', "no floor for the room attic"),
    "render/near.py": ('"""Near."""\nfrom .render import _f\n', "relative import"),
    "render/jit.py": ('"""Jit."""\ndef _f():\n    import numba.core\n', "imports numba.core"),
    "render/path.py": ('"""Path."""\nimport av\n', "imports av"),
    "capture/loud.py": ('"""Loud."""\nprint("x")\n', "calls print"),
    "formats/silent.py": ("import os\n", "must open with one sentence"),
    "formats/chatty.py": ('"""One thing. And another."""\n', "must open with one sentence"),
    "mesh/open.py": ('"""Open."""\ndef door(): pass\n', "no __all__"),
    "mesh/short.py": ('"""Short."""\n__all__ = []\ndef door(): pass\n', "must be in __all__"),
    "mesh/long.py": ('"""Long."""\nimport os\n__all__ = ["os"]\n', "which this module does not define"),
}


def build(package: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_rules_let_good_code_pass(tmp_path: Path) -> None:
    package = build(tmp_path / "sfumato", GOOD)
    assert complaints(package) == []
    assert borrowed_privately(package) == []


@pytest.mark.parametrize("name", BAD)
def test_rules_find_bad_code(tmp_path: Path, name: str) -> None:
    text, complaint = BAD[name]
    package = build(tmp_path / "sfumato", {**GOOD, name: text})
    found = complaints(package)
    assert any(complaint in line for line in found), found
    assert all(line.startswith(name) for line in found), found


def test_private_borrowing_is_found(tmp_path: Path) -> None:
    thief = '"""Thief."""\nfrom sfumato.core.nouns import _hidden\nfrom sfumato.core.gone import x\n'
    package = build(tmp_path / "sfumato", {**GOOD, "kernels/thief.py": thief})
    assert borrowed_privately(package) == [
        "kernels/thief.py:2: imports _hidden, which core/nouns.py does not list in __all__",
        "kernels/thief.py:3: imports sfumato.core.gone, which does not exist",
    ]
