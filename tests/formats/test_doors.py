"""What may lie where a splat is looked for: pipes, devices, folders, links, locked files, files of another name."""

import os
import sys
from pathlib import Path

import pytest

from sfumato import formats
from sfumato.core.errors import InputError

from scenes import crowd

pytestmark = pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")  # of colors that are clamped
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows has no such thing")
READERS = [formats.read_asset, formats.count]


def refusal(path: Path) -> str:
    """The sentence of every reader."""
    said = set()
    for reader in READERS:
        with pytest.raises(InputError) as caught:
            reader(path)
        said.add(str(caught.value))
    (sentence,) = said
    assert "\n" not in sentence
    return sentence.replace(str(path), "PATH")


@POSIX
@pytest.mark.parametrize("name", ["a.ply", "a.splat", "a.ksplat", "a"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path / name).startswith("PATH is a device or a pipe, which cannot be read more than once; save")


@POSIX
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_a_device_has_no_end(tmp_path: Path, device: str) -> None:
    link = tmp_path / "a.splat"  # a name that would be believed
    link.symlink_to(device)
    assert refusal(link).startswith("PATH is a device or a pipe")


@pytest.mark.parametrize("suffix", [".ply", ".splat", ".ksplat", ".npz", ".spz", ".glb", ".usda", ".las", ".sog"])
def test_folders_and_empty_files_of_any_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    assert refusal(tmp_path / f"folder{suffix}").startswith("PATH is a folder; give the splat's file")
    (tmp_path / f"empty{suffix}").touch()
    assert refusal(tmp_path / f"empty{suffix}") == "PATH is empty; export or download it again"


@POSIX
def test_links(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.ply", crowd(5, degree=0))
    for name, target in {"good": "a.ply", "dead": "b.ply", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(tmp_path / target)
    assert len(formats.read(tmp_path / "good")) == 5
    assert refusal(tmp_path / "dead") == "PATH is not there"
    assert refusal(tmp_path / "loop").startswith("PATH cannot be read: Too many levels")


@POSIX
def test_locked_files_and_folders(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("NOT TESTED: nothing is locked for root")
    folder = tmp_path / "folder"
    folder.mkdir()
    formats.write(folder / "a.ply", crowd(5, degree=0))
    (folder / "a.ply").chmod(0)
    assert refusal(folder / "a.ply") == "PATH cannot be read: Permission denied"
    folder.chmod(0)
    try:
        assert refusal(folder / "a.ply") == "PATH cannot be read: Permission denied"
    finally:
        folder.chmod(0o700)


def test_names_that_no_system_takes(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 300 + ".ply")).startswith(("PATH cannot be read: ", "PATH is not there"))


@pytest.mark.parametrize("suffix", [".ply", ".splat", ".ksplat", ".npz", ".spz", ".sog", ".glb", ".laz", ".txt", ""])
def test_a_file_is_what_it_holds_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    names = {"a.ply": "PLY", "a.compressed.ply": "compressed PLY", "a.points.ply": "point cloud", "a.npz": "numpy"}
    names |= {"a.splat": ".splat", "a.ksplat": ".ksplat", "a.spz": "SPZ", "a.glb": "glTF", "a.las": "point cloud"}
    for name, kind in names.items():
        formats.write(tmp_path / name, crowd(60, degree=0))
        other = tmp_path / f"other{suffix}"
        other.write_bytes((tmp_path / name).read_bytes())
        asset = formats.read_asset(other)
        assert (asset.format, len(asset)) == (kind, 60)


def test_a_header_longer_than_most(tmp_path: Path) -> None:
    for name in ("a.compressed.ply", "a.points.ply", "a.ply"):
        formats.write(tmp_path / name, crowd(60, degree=1).with_degree(0))
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data.replace(b"element", b"comment " + b"x" * 60_000 + b"\n" + b"element", 1))
        kind = formats.format_of(tmp_path / name)
        long = (
            (tmp_path / name)
            .read_bytes()
            .replace(b"element", (b"comment " + b"y" * 60_000 + b"\n") * 2 + b"element", 1)
        )
        (tmp_path / name).write_bytes(long)
        assert len(long) > 180_000  # others look at the first 128 KB, as should we at least
        assert formats.format_of(tmp_path / name) is kind
        assert len(formats.read(tmp_path / name)) == 60
