"""Archives: what comes out, only once, whole or not at all; what is refused, and that nothing leaves the folder."""

import io
import os
import re
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import truncations

from sfumato.capture import archive as archives
from sfumato.capture.archive import is_archive, unpacked
from sfumato.core.errors import InputError

FILES = {"images/a.jpg": b"a" * 5000, "images/sub dir/ä.png": b"b" * 100, "transforms.json": b"{}"}
Pack = Callable[[Path, dict[str, bytes]], Path]


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    mode = {".tgz": "w:gz", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


KINDS = [(zipped, ".zip"), (zipped, ".r3d"), (tarred, ".tar"), (tarred, ".tar.gz"), (tarred, ".tgz")]
KINDS += [(tarred, ".tar.bz2"), (tarred, ".tar.xz")]
each_kind = pytest.mark.parametrize(("pack", "suffix"), KINDS, ids=[suffix for _, suffix in KINDS])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(path: Path, store: Path, message: str) -> None:
    """`unpacked` refuses in one sentence, and leaves nothing."""
    with pytest.raises(InputError, match=message) as caught:
        unpacked(path, store)
    assert "\n" not in str(caught.value)
    assert not (store / "archives").exists() or not list((store / "archives").iterdir())


@each_kind
def test_what_comes_out(tmp_path: Path, pack: Pack, suffix: str) -> None:
    path = pack(tmp_path / f"data{suffix}", FILES)
    assert is_archive(path)
    seen: list[int] = []
    folder = unpacked(path, tmp_path / "store", lambda stage, done, total: seen.append(done))
    assert contents(folder) == FILES
    assert seen == [1, 2, 3]
    assert [item.name for item in (tmp_path / "store" / "archives").iterdir()] == [folder.name]


@each_kind
def test_one_folder_at_the_top(tmp_path: Path, pack: Pack, suffix: str) -> None:
    path = pack(tmp_path / f"data{suffix}", {f"my scan/{name}": data for name, data in FILES.items()})
    folder = unpacked(path, tmp_path / "store")
    assert folder.name == "my scan"
    assert contents(folder) == FILES


@pytest.mark.parametrize("note", ["README.txt", "read me.md", "LICENSE", "License.pdf", "CITATION.cff"])
def test_one_folder_and_a_note(tmp_path: Path, note: str) -> None:
    path = zipped(tmp_path / "a.zip", {"scan/images/a.jpg": b"a", note: b"b"})
    assert unpacked(path, tmp_path / "store").name == "scan"
    path = zipped(tmp_path / "b.zip", {"scan/images/a.jpg": b"a", "transforms.json": b"b", note: b"c"})
    assert unpacked(path, tmp_path / "store").name != "scan"


def test_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", FILES)
    first = unpacked(path, tmp_path / "store")
    monkeypatch.setattr(archives, "_unpack", None)
    assert unpacked(path, tmp_path / "store") == first
    monkeypatch.undo()
    zipped(path, {"other.txt": b"new"})
    assert contents(unpacked(path, tmp_path / "store")) == {"other.txt": b"new"}


def test_what_operating_systems_add(tmp_path: Path) -> None:
    litter = {"__MACOSX/images/._a.jpg": b"x", ".DS_Store": b"x", "images/._a.jpg": b"x", "images/Thumbs.db": b"x"}
    path = zipped(tmp_path / "a.zip", {"images/a.jpg": b"a", **litter})
    folder = unpacked(path, tmp_path / "store")
    assert folder.name == "images"
    assert contents(folder) == {"a.jpg": b"a"}


def test_names_that_macos_does_not_mark(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"xx.jpg": b"a"})
    data = path.read_bytes().replace(b"xx.jpg", "ä.jpg".encode())  # UTF-8 without the flag that says so
    path.write_bytes(data)
    assert contents(unpacked(path, tmp_path / "store")) == {"ä.jpg": b"a"}


def test_names_of_windows(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"images/a.jpg": b"a", "b.txt": b"b"})
    path.write_bytes(path.read_bytes().replace(b"images/a.jpg", b"images\\a.jpg"))
    assert contents(unpacked(path, tmp_path / "store")) == {"images/a.jpg": b"a", "b.txt": b"b"}


@each_kind
@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a/../../evil", "C:/evil", "C:\\evil", "..\\evil"])
def test_nothing_leaves_the_folder(tmp_path: Path, pack: Pack, suffix: str, name: str) -> None:
    path = pack(tmp_path / f"a{suffix}", {"good.txt": b"", name: b"x"})
    refused(path, tmp_path / "store", "outside of its folder")
    assert not list(tmp_path.rglob("evil"))


def test_links_in_zips(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", tmp_path / "store", "holds a link, link")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tars(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("odd")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(member)
    refused(tmp_path / "a.tar", tmp_path / "store", "holds a link, odd")


@each_kind
def test_bombs(tmp_path: Path, pack: Pack, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_ALWAYS", 100_000)
    monkeypatch.setattr(archives, "_RATIO", 1 if suffix == ".tar" else 10)
    zeros = {"a": bytes(60_000), "b": bytes(60_000)}
    path = pack(tmp_path / f"a{suffix}", zeros)
    if suffix == ".tar":  # it does not shrink anything: a hole of zeros does
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo("hole")
            member.size = 1 << 40
            file.addfile(member)
    refused(path, tmp_path / "store", r"unpacks to \d+ MB or more, more than")


def test_a_bomb_that_lies_about_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers promise little: no more than that is ever written."""
    monkeypatch.setattr(archives, "_ALWAYS", 100_000)
    path = zipped(tmp_path / "a.zip", {"a": bytes(5_000_000)})
    data = path.read_bytes().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    refused(path, tmp_path / "store", "damaged or incomplete")


def test_more_than_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {"a": bytes(5_000_000)})
    usage = archives.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=(64 << 20) + 1_000_000))
    refused(path, tmp_path / "store", "of which the disk of .* has 0 MB free")


def test_a_huge_header_of_a_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extended headers are read as a whole: a gigabyte of zeros, packed, must not become memory."""
    monkeypatch.setattr(archives, "_LONGEST", 10_000)
    with tarfile.open(tmp_path / "a.tgz", "w:gz", format=tarfile.PAX_FORMAT) as file:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * 50_000}
        file.addfile(member)
    refused(tmp_path / "a.tgz", tmp_path / "store", "damaged or incomplete")


def test_encrypted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"abc"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of both headers
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    refused(path, tmp_path / "store", "is encrypted; unpack it with its password")


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("a.jpg", b"some photo")
    path.write_bytes(path.read_bytes().replace(b"some photo", b"same photo"))
    refused(path, tmp_path / "store", "damaged or incomplete .*CRC")


def test_an_unknown_compression(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"abc"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(mark) + at] = 77
    path.write_bytes(data)
    refused(path, tmp_path / "store", "in a way that cannot be read here")


@each_kind
def test_truncated(tmp_path: Path, pack: Pack, suffix: str) -> None:
    path = pack(tmp_path / f"a{suffix}", {f"{i}.bin": os.urandom(600) for i in range(9)})
    for part in truncations(path):
        if suffix == ".tar" and part >= 14:  # only the padding behind the end mark is gone
            assert len(contents(unpacked(path, tmp_path / f"store {part}"))) == 9
        else:
            refused(path, tmp_path / "store", "damaged or incomplete")
    assert len(contents(unpacked(path, tmp_path / "store"))) == 9


@pytest.mark.parametrize(("head", "kind"), [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01", "rar")])
def test_other_kinds(tmp_path: Path, head: bytes, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(head + bytes(100))
    assert is_archive(path)
    refused(path, tmp_path / "store", f"is a {kind} archive, which cannot be opened here; unpack it")


@each_kind
def test_empty(tmp_path: Path, pack: Pack, suffix: str) -> None:
    refused(pack(tmp_path / f"a{suffix}", {}), tmp_path / "store", "holds no files")


@each_kind
def test_an_archive_in_an_archive(tmp_path: Path, pack: Pack, suffix: str) -> None:
    inner = pack(tmp_path / f"inner{suffix}", FILES).read_bytes()
    for files in ({f"in/inner{suffix}": inner}, {f"in/inner{suffix}": inner, "in/z.zip": inner, "in/README.md": b"x"}):
        told = rf"a\.zip holds an archive, in/inner{re.escape(suffix)}: unpack it and give that$"
        refused(zipped(tmp_path / "a.zip", files), tmp_path / "store", told)
    zipped(tmp_path / "b.zip", {**FILES, "depth.zip": inner})
    assert "depth.zip" in contents(unpacked(tmp_path / "b.zip", tmp_path / "store"))


def test_two_things_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a", b"2")
    refused(tmp_path / "a.zip", tmp_path / "store", "two things called a")
    refused(zipped(tmp_path / "b.zip", {"a": b"1", "a/b": b"2"}), tmp_path / "store", "two things called a/b")


def test_not_there_and_not_archives(tmp_path: Path) -> None:
    refused(tmp_path / "a.zip", tmp_path / "store", "is not there")
    assert not is_archive(tmp_path / "a.zip")
    (tmp_path / "b.zip").mkdir()
    assert not is_archive(tmp_path / "b.zip")
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    assert not is_archive(tmp_path / "a.txt")


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot be unpacked into .*; set SFUMATO_CACHE"):
        unpacked(zipped(tmp_path / "a.zip", FILES), tmp_path / "store")


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C leaves nothing; what a killed run left goes when it is a day old."""
    path = zipped(tmp_path / "a.zip", FILES)

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpacked(path, tmp_path / "store", stop)
    place = tmp_path / "store" / "archives"
    assert list(place.iterdir()) == []
    for name, age in ((".old.part", 2 * 86400), (".new.part", 60)):
        (place / name).mkdir()
        os.utime(place / name, (time.time() - age,) * 2)
    assert contents(unpacked(path, tmp_path / "store")) == FILES
    assert sorted(item.name for item in place.iterdir() if item.name.startswith(".")) == [".new.part"]


def test_another_run_was_faster(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", FILES)
    first = unpacked(path, tmp_path / "other")
    place = tmp_path / "store" / "archives" / first.name

    def overtake(stage: str, done: int, total: int) -> None:
        if done == 3:
            place.mkdir()
            (place / "theirs").write_bytes(b"")

    assert contents(unpacked(path, tmp_path / "store", overtake)) == {"theirs": b""}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from(KINDS), st.integers(0, 20_000), st.binary(min_size=1, max_size=8))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, kind: tuple[Pack, str], at: int, change: bytes) -> None:
    folder = tmp_path_factory.mktemp("archive_any")
    path = kind[0](folder / f"a{kind[1]}", FILES)
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at : at + len(change)] = change
    path.write_bytes(data)
    with suppress(InputError):
        assert contents(unpacked(path, folder / "store"))


def test_too_many_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST", 2)
    refused(zipped(tmp_path / "a.zip", FILES), tmp_path / "store", "more than 2 files")
