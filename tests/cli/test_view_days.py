"""Bad days of looking: ports, disks, numbers and names that `view`, `export` and `train --view` meet."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from offerings import splat
from PIL import Image

from sfumato import formats
from sfumato.cli.main import main
from sfumato.core.files import replacing
from sfumato.view.opened import open_splat
from sfumato.view.server import Background, create_app

Tell = pytest.CaptureFixture[str]

pytestmark = pytest.mark.filterwarnings("always::sfumato.core.errors.SfumatoWarning")  # they are sentences, too


@pytest.fixture(autouse=True)
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a splat in it, to stand in, with the cache elsewhere."""
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.chdir(tmp_path)
    splat(Path("a.ply"))
    return tmp_path


def refusal(tell: Tell, words: list[str]) -> str:
    """The one sentence that is said."""
    tell.readouterr()
    assert main(words) == 2
    out, err = tell.readouterr()
    assert out == ""
    assert err.startswith("sfumato: ")
    assert err.count("\n") == 1
    return err.removeprefix("sfumato: ").rstrip()


@pytest.mark.parametrize(
    ("number", "port", "advice"),
    [
        (errno.EACCES, 80, "ports below 1024 are the system's, give another --port, such as 7007"),
        (errno.EACCES, 8080, "give another --host or --port"),
        (errno.EADDRNOTAVAIL, 80, "--host must be an address of this machine, such as 127.0.0.1 or 0.0.0.0"),
    ],
)
def test_a_port_that_is_not_given(
    capsys: Tell, monkeypatch: pytest.MonkeyPatch, number: int, port: int, advice: str
) -> None:
    class Refused(socket.socket):
        def bind(self, address: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refused)
    monkeypatch.setattr(sys, "platform", "linux")  # Windows' EACCES is a port that is taken
    said = refusal(capsys, ["view", "a.ply", "--port", str(port)])
    assert said == f"cannot listen at 127.0.0.1, port {port}: {os.strerror(number)}; {advice}"


@pytest.mark.parametrize("words", [["--port", "80"], ["--host", "0.0.0.0"], ["--no-open"]])
def test_a_page_that_nobody_asked_for(capsys: Tell, words: list[str]) -> None:
    assert refusal(capsys, ["train", "photos", "-o", "out", *words]).endswith("give --view too")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole groups of processes only")
def test_ctrl_c_leaves_no_connection_open() -> None:
    main_thread = threading.main_thread().ident or 0
    press = threading.Timer(0.2, lambda: signal.pthread_kill(main_thread, signal.SIGINT))
    with Background(create_app(*open_splat(Path("a.ply"))), port=0) as background:
        client = socket.create_connection(("127.0.0.1", background.port), 10)
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        press.start()
        with pytest.raises(KeyboardInterrupt):
            background.wait()
    with client:
        client.setblocking(False)
        assert client.recv(1) == b""  # the server has closed it already, and has ended


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of 64 kB; the test is skipped where it cannot be mounted."""
    disk = place / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("SMALL DISK NOT TESTED: tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_has_a_name(capsys: Tell, small_disk: Path) -> None:
    assert refusal(capsys, ["export", "a.ply", "disk/a.html"]) == f"{Path('disk/a.html')}: No space left on device"
    assert list(small_disk.iterdir()) == []


def test_only_what_has_no_name_is_given_one(place: Path) -> None:
    for number, name, wanted in (
        (errno.ENOSPC, None, str(place / "x")),
        (errno.ENOSPC, "other", "other"),
        (errno.ECONNRESET, None, None),
    ):
        with pytest.raises(OSError, match="why") as caught, replacing(place / "x"):
            raise OSError(number, "why", name) if name else OSError(number, "why")
        assert caught.value.filename == wanted
        assert [path.name for path in place.iterdir()] == ["a.ply"]


def test_a_degree_that_no_page_shows_is_said(capsys: Tell) -> None:
    gaussians = formats.read("a.ply")
    formats.write("four.ply", replace(gaussians, shN=torch.zeros(len(gaussians), 24, 3)))
    assert main(["export", "four.ply", "four.html"]) == 0
    out, err = capsys.readouterr()
    assert err == "sfumato: four.ply has spherical harmonics of degree 4; a page shows them up to 3\n"
    assert "of degree 3" in out
    assert main(["export", "a.ply", "three.html"]) == 0
    assert capsys.readouterr().err == ""


NAMES = ("a b", "Füchsin 日本", "it's", 'the "fox"', "50% #1 & <b>", "</script><script>alert(1)</script>")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind(capsys: Tell, name: str) -> None:
    if sys.platform == "win32" and set(name) & set('"<>/'):
        pytest.skip("NAME NOT TESTED: Windows has none such")
    run = Path(name.replace("/", "∕"))
    run.mkdir()
    splat(run / "splat.ply")
    for words in (["view", str(run), "--host", "nowhere.invalid"], ["export", str(run), str(run / "o.txt")]):
        refusal(capsys, words)  # after everything else was read
    assert main(["export", str(run), str(run / f"{run.name}.html"), "--title", name]) == 0
    text = (run / f"{run.name}.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert re.search(r"<title>(?!</title>)", text)


@pytest.mark.parametrize("line", ["--port 65536", "--port -1", "--host nowhere.invalid", "--host 192.0.2.1"])
def test_a_page_that_cannot_be_served_stops_a_training(dataset: Path, place: Path, capsys: Tell, line: str) -> None:
    words = ["train", str(dataset), "-o", "out", "--steps", "2", "--backend", "reference", "--view", *line.split()]
    assert main(words) == 2
    said = [text for text in capsys.readouterr().err.splitlines() if text.startswith("sfumato: ")]
    assert len(said) == 1
    assert line.split()[1] in said[0]
    assert not (place / "out" / "splat.ply").exists()


def test_one_photo_is_counted_as_one(place: Path, capsys: Tell) -> None:
    (place / "in").mkdir()
    Image.new("RGB", (64, 48)).save(place / "in" / "a.jpg")
    assert "in holds 1 photo, and finding cameras needs 3" in refusal(capsys, ["train", "in", "-o", "out", "--view"])
