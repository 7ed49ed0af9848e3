"""`sfumato view`: what it serves, what it says, what it refuses, and that Ctrl-C ends it at once."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from offerings import splat

from sfumato import formats
from sfumato.cli import browse
from sfumato.cli.browse import has_display
from sfumato.cli.main import main
from sfumato.cli.run import train_and_report
from sfumato.cli.view import _page_can_read as page_can_read
from sfumato.core.asset import Asset
from sfumato.core.scene import Scene
from sfumato.train import TrainConfig
from sfumato.view.opened import open_splat
from sfumato.view.server import Background, create_app

Tell = pytest.CaptureFixture[str]


def write_run(folder: Path) -> Path:
    """The least that is a run."""
    folder.mkdir(parents=True)
    splat(folder / "splat.ply")
    return folder


@pytest.fixture
def run(tmp_path: Path, toy: Callable[..., Scene]) -> Path:
    """A real run."""
    config = TrainConfig.make(steps=3, max_gaussians=60)
    train_and_report(toy(), tmp_path / "a run", config, "reference")
    return tmp_path / "a run"


def test_a_run_is_shown_with_its_cameras_and_photos(run: Path) -> None:
    page, files = open_splat(run)
    shown = page.to_json()
    assert page.title == "a run"
    assert shown["splat"] == {
        "url": "/splat/splat.ply",
        "name": "splat.ply",
        "bytes": (run / "splat.ply").stat().st_size,
    }
    assert [camera.photo for camera in page.cameras] == [f"/photos/{index}.jpg" for index in range(9)]
    assert [camera.split for camera in page.cameras].count("test") == 2
    assert page.start is not None
    assert page.start.pose() == page.cameras[0].pose()  # the first that was held out
    assert page.up == pytest.approx((0, -1, 0), abs=0.2)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert page.near == report["protocol"]["render"]["near"] < 0.2
    assert page.background == (0, 0, 0)
    with Background(create_app(page, files), port=0) as background:
        found = httpx.get(background.url + "splat/splat.ply", trust_env=False)
        assert found.content == (run / "splat.ply").read_bytes()
        found = httpx.get(background.url + "photos/3.jpg", trust_env=False)
        assert found.content == (run / "views" / "3.jpg").read_bytes()
        assert found.headers["content-type"] == "image/jpeg"
        for name in ("config.json", "report.json", "log.jsonl", "cameras.json", "views/3.jpg", "photos/9.jpg"):
            assert httpx.get(background.url + name, trust_env=False).status_code == 404


def test_a_run_of_earlier_days(tmp_path: Path) -> None:
    page, files = open_splat(write_run(tmp_path / "old"))
    assert (page.cameras, page.up, page.start, page.near) == ([], None, None, 0.2)
    assert list(files) == ["/splat/splat.ply"]
    (tmp_path / "old" / "report.json").write_text("[[[", encoding="utf-8")
    assert open_splat(tmp_path / "old")[0] == page
    protocol = {"protocol": {"background": [1, 0.5, 0], "render": {"near": 0.05, "antialiased": True}}}
    (tmp_path / "old" / "report.json").write_text(json.dumps(protocol), encoding="utf-8")
    page = open_splat(tmp_path / "old")[0]
    assert (page.background, page.near, page.antialiased) == ((1, 0.5, 0), 0.05, True)
    for damage in ({"background": [2, 0, 0], "render": 3}, {"background": "red", "render": {"near": -1}}):
        (tmp_path / "old" / "report.json").write_text(json.dumps({"protocol": damage}), encoding="utf-8")
        page = open_splat(tmp_path / "old")[0]
        assert (page.background, page.near) == ((0, 0, 0), 0.2)


def test_a_file_is_shown_alone(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run") / "splat.ply"
    (tmp_path / "run" / "cameras.json").write_text("damaged", encoding="utf-8")  # not looked at
    odd = tmp_path / "Ausflug & <b> 日本.PLY"
    path.rename(odd)
    page, files = open_splat(odd)
    assert page.title == odd.name
    assert page.splat is not None
    assert page.splat != "embedded"
    assert re.fullmatch(r"/splat/[A-Za-z0-9_-]+\.ply", page.splat.url)
    assert list(files) == [page.splat.url]


@pytest.mark.parametrize("suffix", [".compressed.ply", ".spz", ".glb", ".sog", ".npz"])
def test_of_another_format_the_page_gets_a_ply(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"my{suffix}"
    formats.write(path, formats.read_asset(splat(tmp_path / "a.ply")))
    with page_can_read(path) as (copy, said):
        assert formats.format_of(copy) is formats.ply
        assert formats.count(copy) == 20
        assert said["title"] == path.name
    assert not copy.exists()


def test_what_a_ply_says_in_its_comments_reaches_the_page(tmp_path: Path) -> None:
    asset = Asset(formats.read(splat(tmp_path / "a.ply")), antialiased=True, up=(0.0, 0.0, 1.0))
    formats.write(tmp_path / "b.ply", asset)
    with page_can_read(tmp_path / "b.ply") as (path, said):
        assert (path, said) == (tmp_path / "b.ply", {"antialiased": True, "up": (0, 0, 1)})


def test_a_ply_of_doubles_far_from_zero_is_brought_near(tmp_path: Path) -> None:
    head, body = splat(tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    rows = np.frombuffer(body, "<f4").reshape(20, -1).astype("<f8")
    rows[:, 0] += 3e6
    (tmp_path / "b.ply").write_bytes(head.replace(b" float ", b" double ") + b"end_header\n" + rows.tobytes())
    with page_can_read(tmp_path / "b.ply") as (path, _):
        assert formats.read(path).means.abs().max() < 1000


def test_links(tmp_path: Path, capsys: Tell) -> None:
    path = write_run(tmp_path / "run") / "splat.ply"
    outside = tmp_path / "outside"
    outside.mkdir()
    try:
        (outside / "link.ply").symlink_to(path)
        (tmp_path / "linked").symlink_to(tmp_path / "run")
    except OSError:
        pytest.skip("LINKS NOT TESTED: this user may not make them")
    assert open_splat(outside / "link.ply")[0].title == "link.ply"  # whoever names a link means what it leads to
    assert open_splat(tmp_path / "linked")[0].title == "run"
    path.rename(outside / "splat.ply")
    path.symlink_to(outside / "splat.ply")
    assert main(["view", str(tmp_path / "run")]) == 2
    assert "is a link that leads out of" in capsys.readouterr().err


def test_a_photo_that_is_a_link_outside_is_not_shown(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (run / "views" / "3.jpg").unlink()
    try:
        (run / "views" / "3.jpg").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("LINKS NOT TESTED: this user may not make them")
    page, files = open_splat(run)
    assert [camera.photo is None for camera in page.cameras].index(True) == 3
    assert "/photos/3.jpg" not in files


def truncated(path: Path) -> None:
    splat(path)
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path) -> None:
    formats.write(path, formats.read(splat(path))[:0])


REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "nothing": (lambda p: None, "nothing", "nothing is not there; give a splat's file, or the folder of a run"),
    "an empty folder": (lambda p: (p / "run").mkdir(), "run", "run is no folder of a run: it has no splat.ply"),
    "a folder of splats": (
        lambda p: [(p / "run").mkdir(), splat(p / "run" / "b.ply")],
        "run",
        f"give a splat's file, such as run{os.sep}b.ply",
    ),
    "an unfinished run": (
        lambda p: [(p / "run").mkdir(), (p / "run" / "config.json").touch()],
        "run",
        "run holds no splat yet: splat.ply is written when training ends",
    ),
    "text": (lambda p: (p / "a.ply").write_text("hello"), "a.ply", "a.ply is no PLY file"),
    "an empty file": (lambda p: (p / "a.ply").touch(), "a.ply", "a.ply is empty"),
    "another format": (
        lambda p: (p / "a.obj").write_text("v 0 0 0"),
        "a.obj",
        "a.obj is no splat, by what it begins with",
    ),
    "a truncated splat": (lambda p: truncated(p / "a.ply"), "a.ply", "a.ply is truncated: its header promises"),
    "no Gaussians": (lambda p: empty(p / "a.ply"), "a.ply", "a.ply shows nothing: it holds no Gaussians"),
    "a damaged splat of a run": (
        lambda p: truncated(write_run(p / "run") / "splat.ply"),
        "run",
        f"run{os.sep}splat.ply is truncated: its header promises",
    ),
    "damaged cameras": (
        lambda p: (write_run(p / "run") / "cameras.json").write_text("{"),
        "run",
        "cameras.json is damaged: it is no JSON; remove it to see the splat without cameras",
    ),
    "a port of no kind": (lambda p: splat(p / "a.ply"), "a.ply --port 65536", "--port must be 0 to 65535; got 65536"),
    "a host of nobody": (
        lambda p: splat(p / "a.ply"),
        "a.ply --host nowhere.invalid",
        "--host nowhere.invalid is no name or address",
    ),
    "an address of others": (lambda p: splat(p / "a.ply"), "a.ply --host 192.0.2.1", "cannot listen at 192.0.2.1"),
}


@pytest.mark.parametrize(("prepare", "line", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shown_gets_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Tell,
    prepare: Callable[[Path], object],
    line: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    assert main(["view", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sfumato: ")
    assert told in err
    assert err.count("\n") == 1


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What it has said since."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.wait(timeout=20)
    if process.stdout.closed:
        return "", ""
    with process.stdout as out, process.stderr as err:
        return out.read(), err.read()


@contextmanager
def viewing(repository: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A `sfumato view` of its own, and the address it says; its warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": str(repository), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    command = [sys.executable, "-W", "error", "-m", "sfumato", "view", *words]
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True, creationflags=flags
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        ended(process)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole groups of processes only")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_at_once(repository: Path, tmp_path: Path, number: int) -> None:
    write_run(tmp_path / "run")
    with viewing(repository, str(tmp_path / "run"), "--port", "0") as (process, url):
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/").status_code == 200
            began = time.perf_counter()
            process.send_signal(number)
            out, err = ended(process)
            assert time.perf_counter() - began < 10  # half a second where nothing else runs
        assert process.returncode == 0
        assert out == ""
        assert err.splitlines() == ["open this address; Ctrl-C ends the viewer", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole groups of processes only")
def test_two_viewers_and_one_for_others(repository: Path, tmp_path: Path) -> None:
    path = splat(tmp_path / "a.ply")
    with viewing(repository, str(path), "--port", "0", "--host", "0.0.0.0") as (first, url):
        port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=[\w-]{24}", url)
        assert port is not None
        assert httpx.get(url, trust_env=False).status_code == 200
        assert httpx.get(url.split("?")[0], trust_env=False).status_code == 403
        with viewing(repository, str(path), "--port", port[1], "--host", "0.0.0.0") as (second, other):
            assert int(other.split("/?")[0].split(":")[2]) > int(port[1])
            assert httpx.get(other, trust_env=False).status_code == 200
            second.send_signal(signal.SIGINT)
            assert f"port {port[1]} is taken, so this is port " in ended(second)[1]
        first.send_signal(signal.SIGINT)
        out, err = ended(first)
        assert out.endswith(f":{port[1]}/{url.split('/')[-1]}  from other machines\n")
        assert "whoever has this address and reaches this machine sees the splat and its photos" in err


def test_the_browser_is_opened_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Tell
) -> None:
    path = splat(tmp_path / "a.ply")
    opened: list[str] = []
    done = threading.Event()

    def interrupted(self: Background) -> None:
        raise KeyboardInterrupt

    def open_it(address: str) -> bool:
        opened.append(address)
        done.set()
        return True

    monkeypatch.setattr(Background, "wait", interrupted)
    monkeypatch.setattr("webbrowser.open", open_it)
    monkeypatch.setattr(browse, "has_display", lambda: True)
    assert main(["view", str(path), "--port", "0"]) == 0
    out, err = capsys.readouterr()
    assert done.wait(10)
    assert opened == [out.strip()]
    assert "opening the browser; Ctrl-C here ends the viewer" in err
    assert main(["view", str(path), "--port", "0", "--no-open"]) == 0
    monkeypatch.setattr(browse, "has_display", lambda: False)
    assert main(["view", str(path), "--port", "0"]) == 0
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("platform", "environment", "seen"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "a 1 b 2"}, False),
        ("win32", {}, True),
    ],
)
def test_where_a_browser_would_be_seen(platform: str, environment: dict[str, str], seen: bool) -> None:
    assert has_display(environment, platform) is seen


def test_counting_is_cheap_and_sees_what_reading_sees(tmp_path: Path, shared_data: Path) -> None:
    for path in sorted((shared_data / "splats").glob("*.ply")):
        try:
            wanted: object = len(formats.read(path))
        except ValueError as error:
            wanted = str(error)
        try:
            found: object = formats.count(path)
        except ValueError as error:
            found = str(error)
        assert found == wanted
