"""The wheel: pure Python, with every file of the package and nothing else."""

import subprocess
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling import build


@pytest.fixture
def wheel(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zipfile.ZipFile:
    monkeypatch.chdir(repository)
    name = build.build_wheel(str(tmp_path))
    assert name.endswith("-py3-none-any.whl")  # no compiled code
    return zipfile.ZipFile(tmp_path / name)


def test_wheel_holds_the_package(wheel: zipfile.ZipFile, repository: Path) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "sfumato"], cwd=repository, capture_output=True, text=True, check=False
    )
    if listing.returncode or not listing.stdout:
        pytest.skip("NOT A CHECKOUT: git does not list the package's files, so the wheel was not compared with them")
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert set(listing.stdout.split("\n")[:-1]) <= packed
    assert "sfumato/py.typed" in packed
    assert [name for name in packed if not name.startswith("sfumato/") or "__pycache__" in name] == []
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_metadata_installs_without_constraints(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert {line.split(">=")[0] for line in needed} >= {"torch", "numba", "numpy", "pycolmap", "av", "pillow", "tyro"}
    assert [line for line in needed if "==" in line or "<" in line or "@" in line] == []  # pins are in constraints.txt


def test_command_is_declared(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert b"sfumato = sfumato.cli.main:main" in wheel.read(name)
