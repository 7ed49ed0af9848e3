"""The command line from outside: exit codes, one-sentence errors, help that is there at once."""

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from offerings import splat

import sfumato
from sfumato.cli import main as command
from sfumato.cli.main import VERBS, main
from sfumato.core.errors import InputError, SfumatoWarning


def run(repository: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-X", "importtime", "-m", "sfumato", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=cwd, check=False, timeout=60, encoding="utf-8"
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["--version"]])
def test_help_and_version_import_next_to_nothing(repository: Path, words: list[str]) -> None:
    done = run(repository, *words)
    assert done.returncode == 0
    assert done.stdout.startswith("sfumato 0.1.0")
    for heavy in ("torch", "numpy", "tyro", "rich", "numba", "av", "pycolmap", "starlette", "uvicorn"):
        assert f"| {heavy}\n" not in done.stderr
        assert f" {heavy}\n" not in done.stderr


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", ["train", "sfm", "eval", "render", "view", "info"])
def test_help_of_a_verb_needs_no_torch(repository: Path, verb: str) -> None:
    done = run(repository, verb, "--help")
    assert done.returncode == 0
    assert f"usage: sfumato {verb}" in done.stdout
    assert " torch\n" not in done.stderr


def test_train_has_the_flags_that_scripts_rely_on(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "-o --output --steps --seconds --quality --downscale --holdout --strategy --max-gaussians --seed"
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out.replace(",", " ").split()
    assert [flag for flag in (flags + " --backend --force").split() if flag not in shown] == []


def test_version_is_that_of_the_package(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sfumato {sfumato.__version__}\n"
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{sfumato.__version__}"' in text or "dynamic" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "sfumato: no verb 'trian'; did you mean 'train'?"),
        (["xyzzy"], "sfumato: no verb 'xyzzy'; known: train sfm eval render view export convert "),
        (["info", "none.ply"], "sfumato: none.ply is not there"),
        (["info", "scene.obj"], "sfumato: scene.obj is not there"),
        (["train", "x", "-o", "y", "--steps", "5", "--seconds", "5"], "sfumato: give --steps or --seconds, not both"),
        (["train", "x", "-o", "y", "--steps", "0"], "sfumato: steps must be at least 1"),
        (["train", "x", "-o", "y", "--downscale", "0.5"], "sfumato: --downscale must be at least 1; got 0.5"),
        (["train", "x", "-o", "y", "--downscale", "nan"], "sfumato: --downscale must be at least 1; got nan"),
        (["train", "x", "-o", "y", "--holdout", "1"], "sfumato: --holdout must be 0 (none) or at least 2; got 1"),
        (["train", ".", "-o", "."], "is where the photos are"),
        (["render", "none.ply", "-o", "a.gif"], "sfumato: cannot write a.gif: wanted a folder, or"),
        (["render", "none.ply", "-o", "a.mp4", "--frames", "0"], "sfumato: --frames must be at least 1"),
        (["render", "none.ply", "-o", "a.mp4", "--fps", "-3"], "sfumato: --fps must be above 0"),
        (["render", "none.ply", "-o", "a.mp4"], "sfumato: none.ply is not there"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("sfumato: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["train"],
        ["train", "x"],
        ["train", "x", "-o", "y", "--what"],
        ["train", "x", "-o", "y", "--steps", "many"],
        ["train", "x", "-o", "y", "--strategy", "best"],
        ["train", "x", "-o", "y", "--backend", "gpu"],
        ["info"],
        ["info", "a.ply", "b.ply"],
    ],
)
def test_bad_flags_are_exit_code_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err


def verb(action: Exception | int | type[BaseException]) -> ModuleType:
    module = ModuleType("sfumato.cli.info")

    def run(words: Sequence[str]) -> int:
        if isinstance(action, int):
            return action
        raise action

    module.main = run  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        (0, 0, ""),
        (130, 130, ""),
        (KeyboardInterrupt, 130, "sfumato: interrupted"),
        (InputError("no"), 2, "sfumato: no"),
        (OSError(errno.ENOSPC, "No space left on device", "out/splat.ply"), 2, "sfumato: out/splat.ply: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 2, "sfumato: out: Permission denied"),
        (MemoryError(), 2, "sfumato: there is not enough memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            2,
            "sfumato: there is not enough memory",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of"),
            2,
            "sfumato: there is not enough memory on the GPU; close other programs that use it, or try",
        ),
        (
            torch.OutOfMemoryError("HIP out of memory. Tried to allocate 20.00 GiB"),
            2,
            "sfumato: there is not enough memory on the GPU",
        ),
        (RuntimeError("Triton Error [CUDA]: out of memory"), 2, "sfumato: there is not enough memory on the GPU"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 1, "this is a bug in sfumato"),
        (ZeroDivisionError("by zero"), 1, "this is a bug in sfumato"),
        (RuntimeError("something"), 1, "RuntimeError: something"),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: Exception | int | type[BaseException],
    code: int,
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, "sfumato.cli.info", verb(action))
    assert command.main(["info"]) == code
    shown = capsys.readouterr().err
    assert words in shown
    assert ("Traceback" in shown) == (code == 1)


def test_public_names_are_there_and_import_nothing_before(repository: Path) -> None:
    script = (
        "import sys, sfumato; before = set(sys.modules);"
        "assert not before & {'torch', 'numpy', 'numba', 'av', 'pycolmap', 'rich', 'tyro'}, before;"
        "print(*sfumato.__all__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=repository, check=True, encoding="utf-8"
    )
    assert done.stdout.split() == sfumato.__all__
    assert dir(sfumato) == sorted(sfumato.__all__)


@pytest.mark.parametrize(
    "first", ["sfumato.render.path", "sfumato.evaluate.metrics", "sfumato.train.config", "sfumato"]
)
def test_rooms_are_functions_and_packages_in_any_order_of_imports(repository: Path, first: str) -> None:
    script = (
        f"import {first}, sfumato, inspect\n"
        "from sfumato.render import orbit\n"
        "from sfumato.core.camera import Camera\n"
        "import torch\n"
        "camera = Camera(torch.eye(4), torch.eye(3), 2, 3)\n"
        "picture = sfumato.render(sfumato.Gaussians.empty(), camera, backend='reference')\n"
        "assert picture.image.shape == (3, 2, 3)\n"
        "assert sfumato.render.path.orbit is orbit\n"
        "assert 'camera' in inspect.signature(sfumato.render).parameters\n"
        "import sfumato.evaluate\n"
        "assert sfumato.evaluate.evaluate.__doc__\n"
        "from sfumato import evaluate, render, train\n"
        "assert callable(evaluate) and callable(render) and callable(train)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=repository, check=True, timeout=120)


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rendr'"):
        _ = sfumato.rendr


def test_own_warnings_are_sentences(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = ModuleType("sfumato.cli.info")

    def warn(words: Sequence[str]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("3 photos are left out", SfumatoWarning, stacklevel=2)
            warnings.warn("something else", UserWarning, stacklevel=2)
        return 0

    module.main = warn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sfumato.cli.info", module)
    others: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *more, **named: others.append(str(message)))
    before = warnings.showwarning
    assert main(["info"]) == 0
    assert warnings.showwarning is before
    assert capsys.readouterr().err == "sfumato: 3 photos are left out\n"
    assert others == ["something else"]


def test_a_name_that_a_console_has_no_letters_for_is_no_bug(repository: Path, tmp_path: Path) -> None:
    path = splat(tmp_path / "狐.ply")
    command = [sys.executable, "-m", "sfumato", "info", str(path)]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(repository)}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"\u72d0.ply")
