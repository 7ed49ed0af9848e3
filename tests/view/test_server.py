"""The viewer's server over real sockets: files whole and in parts, and no path but those of its table."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import torch
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sfumato import formats
from sfumato.core.errors import InputError
from sfumato.core.scene import Points, Scene, View
from sfumato.view import server
from sfumato.view.opened import open_splat
from sfumato.view.page import Page
from sfumato.view.served import DiskFile, MemoryFile
from sfumato.view.server import Background, create_app, web_files
from sfumato.view.views import write_views

from browser import Watched
from scenes import askew, crowd

DATA = bytes(range(256)) * 4096  # 1 MiB: several chunks
SECRET = b"nobody may read this"


def make_run(place: Path) -> Path:
    """A folder with a file to serve, and files beside and above it that are not to be served."""
    folder = place / "run"
    folder.mkdir()
    (folder / "splat.ply").write_bytes(DATA)
    (folder / "empty.ply").write_bytes(b"")
    for secret in (folder / "secret.txt", place / "secret.txt"):
        secret.write_bytes(SECRET)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Such a folder, to change."""
    return make_run(tmp_path)


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def _hello(request: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


@pytest.fixture(scope="module")
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """The server of such a folder's splat."""
    run = make_run(tmp_path_factory.mktemp("served"))
    files: dict[str, DiskFile | MemoryFile] = {
        "/splat/a b é.ply": DiskFile.inside(run, run / "splat.ply"),
        "/empty": DiskFile.inside(run, run / "empty.ply"),
        "/photos/0.jpg": MemoryFile(b"jpeg", "image/jpeg"),
    }
    routes = [WebSocketRoute("/live", _echo), Route("/hello", _hello)]
    with Background(create_app(Page("a </script> title"), files, routes), port=0) as found:
        yield found


@pytest.fixture(scope="module")
def client(background: Background) -> Iterator[httpx.Client]:
    """Asks that server."""
    with httpx.Client(base_url=background.url, trust_env=False) as found:
        yield found


def raw(url: str, target: bytes, more: bytes = b"", method: bytes = b"GET") -> tuple[int, bytes]:
    """Status and everything that is sent for a request whose target nobody has tidied up."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        host = place.netloc.encode()
        connection.sendall(
            method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n" + more + b"\r\n"
        )
        told = b""
        while part := connection.recv(1 << 16):
            told += part
    return int(told.split()[1]), told


def test_the_page_has_its_description_in_it(client: httpx.Client) -> None:
    found = client.get("/")
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert '{"title":"a \\u003c/script\\u003e title",' in found.text
    assert client.get("/index.html").text == found.text
    assert client.get("/hello").text == "hello"


def test_modules_lie_beside_it(client: httpx.Client) -> None:
    for name, file in web_files().items():
        found = client.get(f"/{name}")
        assert found.status_code == 200, name
        assert name == "index.html" or found.content == file.content
    assert client.get("/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/camera.js").headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/hello", "/nothing", "/splat/a%20b%20%C3%A9.ply", "/photos/0.jpg"])
def test_every_answer_keeps_the_page_to_itself(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("connect-src") == f"'self' ws://127.0.0.1:{client.base_url.port}"
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "worker-src": "'self'",
        "media-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-cache"
    assert "server" not in headers


SPLAT = "/splat/a%20b%20%C3%A9.ply"


def test_a_file_whole(client: httpx.Client) -> None:
    found = client.get(SPLAT)
    assert found.content == DATA
    assert found.headers["content-length"] == str(len(DATA))
    assert found.headers["accept-ranges"] == "bytes"
    assert found.headers["content-type"] == "application/octet-stream"
    head = client.head(SPLAT, headers={"Range": "bytes=0-9"})  # a range is for GET alone
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(DATA))
    assert client.get("/empty").content == b""


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        (f"bytes=-{10**9}", 0, len(DATA)),
        (f"bytes=5-{10**30}", 5, len(DATA)),
        (f"bytes={len(DATA) - 1}-", len(DATA) - 1, len(DATA)),
        ("Bytes= 1-1", 1, 2),
        ("bytes=100000-900000", 100000, 900001),
    ],
)
def test_a_range(client: httpx.Client, asked: str, start: int, stop: int) -> None:
    found = client.get(SPLAT, headers={"Range": asked})
    assert found.status_code == 206
    assert found.content == DATA[start:stop]
    assert found.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert found.headers["content-length"] == str(stop - start)


def test_a_range_of_what_is_in_memory(client: httpx.Client) -> None:
    found = client.get("/photos/0.jpg", headers={"Range": "bytes=1-2"})
    assert (found.status_code, found.content, found.headers["content-range"]) == (206, b"pe", "bytes 1-2/4")


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", f"bytes={10**30}-", "bytes=-0"])
def test_a_range_of_nothing(client: httpx.Client, asked: str) -> None:
    found = client.get(SPLAT, headers={"Range": asked})
    assert (found.status_code, found.content) == (416, b"")
    assert found.headers["content-range"] == f"bytes */{len(DATA)}"
    assert client.get("/empty", headers={"Range": "bytes=0-"}).status_code == 416


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=", "bytes=-", "bytes=5-2", "lines=0-1", "bytes=a-b", "bytes=1", "bytes=-1-2", "x"]
)
def test_ranges_that_are_ignored(client: httpx.Client, asked: str) -> None:
    found = client.get(SPLAT, headers={"Range": asked})
    assert (found.status_code, len(found.content)) == (200, len(DATA))


@pytest.mark.parametrize("path", [SPLAT, "/", "/photos/0.jpg"])
def test_what_is_known_is_not_sent_again(client: httpx.Client, path: str) -> None:
    tag = client.get(path).headers["etag"]
    for known in (tag, f'W/{tag}, "x"', f'"x", {tag}', "*"):
        found = client.get(path, headers={"If-None-Match": known, "Range": "bytes=0-1"})
        assert (found.status_code, found.content, found.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert client.head(path, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": tag}).status_code == 206
    for stale in ('"x"', f"W/{tag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": stale}).status_code == 200


def test_a_file_that_changes_has_another_tag(run: Path) -> None:
    app = create_app(Page(""), {"/splat": DiskFile.inside(run, run / "splat.ply")})
    with Background(app, port=0) as background, httpx.Client(base_url=background.url, trust_env=False) as client:
        before = client.get("/splat")
        (run / "new").write_bytes(b"new")
        (run / "new").replace(run / "splat.ply")  # as a training does
        after = client.get("/splat", headers={"If-None-Match": before.headers["etag"]})
        assert (after.status_code, after.content) == (200, b"new")
        (run / "splat.ply").unlink()
        assert client.get("/splat").status_code == 404


TARGETS = [
    b"/secret.txt",
    b"/splat/secret.txt",
    b"/splat/../secret.txt",
    b"/splat/%2e%2e/secret.txt",
    b"/splat/%252e%252e/secret.txt",
    b"/splat/..%2fsecret.txt",
    b"/splat/..%5csecret.txt",
    b"/splat/..\\secret.txt",
    b"/../secret.txt",
    b"/../../../../../../../../etc/passwd",
    b"//etc/passwd",
    b"/%2fetc/passwd",
    b"/etc/passwd",
    b"/C:/Windows/win.ini",
    b"/splat/a%20b%20%C3%A9.ply%00",
    b"/splat/%00",
    b"/splat/a%20b%20%C3%A9.ply/../../secret.txt",
    b"/splat/a%20b%20%C3%A9.ply/",
    b"/splat/",
    b"/splat",
    b"/photos/..%2f..%2fserver.py",
    b"/web/index.html",
    b"/./style.css",
    b"/%ff%fe",
    b"/server.py",
    b"/../server.py",
    b"/__init__.py",
    b"/STYLE.CSS",
]


@pytest.mark.parametrize("target", TARGETS, ids=[target.decode() for target in TARGETS])
def test_no_other_path_is_reachable(background: Background, target: bytes) -> None:
    here = str(Path(__file__).parent).encode()
    for path in {target, here + target, b"/" + here + target}:
        status, told = raw(background.url, path)
        assert status in (400, 404), path
        assert SECRET not in told
        assert b"root:" not in told
        assert b"import" not in told
    status, told = raw(background.url, b"http://127.0.0.1" + target)  # a whole address for a target
    assert status in (400, 404)
    assert SECRET not in told


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("LINKS NOT TESTED: this user may not make them")


def test_links_that_lead_outside_are_refused_at_the_start(run: Path, tmp_path: Path) -> None:
    link(run / "file.ply", tmp_path / "secret.txt")
    link(run / "up", tmp_path)
    link(run / "inner.ply", run / "splat.ply")
    link(run / "round", run / "round")
    for name in ("file.ply", "up/secret.txt", "../secret.txt", "round", "nothing", "."):
        with pytest.raises((InputError, OSError, RuntimeError)):
            DiskFile.inside(run, run / name)
    assert DiskFile.inside(run, run / "inner.ply").path == (run / "splat.ply").resolve()


@pytest.mark.parametrize("swap", ["file", "folder", "pipe", "folder for file"])
def test_what_is_swapped_later_is_not_followed(run: Path, tmp_path: Path, swap: str) -> None:
    (run / "views").mkdir()
    path = run / "views" / "secret.txt"
    path.write_bytes(b"fine")
    with Background(create_app(Page(""), {"/photo": DiskFile.inside(run, path)}), port=0) as background:
        url = f"{background.url}photo"
        assert httpx.get(url, trust_env=False).content == b"fine"
        path.unlink()
        if swap == "file":
            link(path, tmp_path / "secret.txt")
        elif swap == "folder":
            path.parent.rmdir()
            link(path.parent, tmp_path)
            assert path.read_bytes() == SECRET
        elif swap == "pipe":
            if not hasattr(os, "mkfifo"):
                pytest.skip("PIPES NOT TESTED: this system has none that are files")
            os.mkfifo(path)  # opening it would wait for somebody who writes
        else:
            path.mkdir()
        found = httpx.get(url, trust_env=False, timeout=10)
        assert found.status_code == 404
        assert SECRET not in found.content


def test_all_addresses_are_those_of_both_kinds() -> None:
    try:
        background = Background(create_app(Page(""), {}), "::", port=0)
    except InputError:
        pytest.skip("IPV6 NOT TESTED: this machine has none")
    with background:
        assert background._socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        assert httpx.get(background.url, trust_env=False).status_code == 200


def test_only_looking_is_possible(background: Background) -> None:
    for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"X"):
        status, told = raw(background.url, b"/", method=method)
        assert status in (400, 405), method
        assert b"<html" not in told.lower()


def test_garbage_gets_an_answer_or_a_closed_door(background: Background, client: httpx.Client, seed: int) -> None:
    import random

    for _ in range(20):
        garbage = random.randbytes(300)
        with socket.create_connection(("127.0.0.1", background.port), timeout=10) as connection:
            connection.sendall(garbage + b"\r\n\r\n")
            connection.recv(1 << 16)
    with socket.create_connection(("127.0.0.1", background.port), timeout=10) as connection, suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 10**6)
        assert connection.recv(100)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert client.get("/hello").text == "hello"


def test_it_stops_promptly_with_open_connections(run: Path) -> None:
    before = threading.active_count()
    app = create_app(Page(""), {}, [WebSocketRoute("/live", _echo)])
    with Background(app, port=0) as background:
        place = ("127.0.0.1", background.port)
        with (
            socket.create_connection(place),
            httpx.Client(base_url=background.url, trust_env=False) as keeping,
            connect(background.url.replace("http", "ws") + "live", proxy=None) as live,
        ):
            keeping.get("/")
            live.send("a")
            assert live.recv(timeout=10) == "a"
            began = time.perf_counter()
            background.stop()
            assert time.perf_counter() - began < 2
            with pytest.raises(ConnectionClosed):
                live.recv(timeout=5)
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(place, timeout=1)
    assert threading.active_count() == before


def test_it_stops_while_a_file_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "large.ply"
    with path.open("wb") as file:
        file.truncate(1 << 28)  # a hole: no disk is used
    app = create_app(Page(""), {"/large": DiskFile.inside(tmp_path, path)})
    with Background(app, port=0) as background, socket.create_connection(("127.0.0.1", background.port)) as connection:
        connection.sendall(f"GET /large HTTP/1.1\r\nHost: localhost:{background.port}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        began = time.perf_counter()
        background.stop()
        assert time.perf_counter() - began < 2


def test_a_file_that_shrinks_ends_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "large.ply"
    path.write_bytes(bytes(1 << 25))
    with Background(create_app(Page(""), {"/large": DiskFile.inside(tmp_path, path)}), port=0) as background:
        with (
            httpx.Client(trust_env=False, timeout=10) as client,
            client.stream("GET", background.url + "large") as response,
        ):
            os.truncate(path, 10)
            with pytest.raises(httpx.RemoteProtocolError):
                response.read()
        assert httpx.get(background.url + "large", trust_env=False).content == bytes(10)


def test_ports(run: Path) -> None:
    app = create_app(Page(""), {})
    with Background(app, port=0) as first, Background(app, port=first.port) as second:
        assert first.port < second.port <= first.port + 100
        for background in (first, second):
            assert httpx.get(background.url, trust_env=False).status_code == 200
    with Background(app, port=first.port) as third:  # free again at once
        assert third.port == first.port
    with pytest.raises(InputError, match=r"--host nowhere\.invalid is no name or address"):
        Background(app, "nowhere.invalid")
    with pytest.raises(InputError, match=r"cannot listen at 192\.0\.2\.1, port"):
        Background(app, "192.0.2.1", port=7007)


def test_no_port_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TRIES", 1)
    with (
        Background(create_app(Page(""), {}), port=0) as background,
        pytest.raises(InputError, match=rf"no port from {background.port} to {background.port} is free"),
    ):
        Background(create_app(Page(""), {}), port=background.port)


def test_an_error_inside_is_no_page_of_secrets(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def fail(request: object) -> PlainTextResponse:
        raise RuntimeError("secret")

    with Background(create_app(Page(""), {}, [Route("/fail", fail)]), port=0) as background:
        found = httpx.get(background.url + "fail", trust_env=False)
        assert found.status_code == 500
        assert "secret" not in found.text
        assert httpx.get(background.url, trust_env=False).status_code == 200
    assert capfd.readouterr() == ("", "")  # a terminal where somebody trains is not the place


TRIAL = """
import { answer } from "./other.js";
const told = [answer];
told.push(await (await fetch("/photos/0.jpg")).text());
told.push(await new Promise((resolve, reject) => {
  const socket = new WebSocket(new URL("/live", location.href));
  socket.onopen = () => socket.send("through the socket");
  socket.onmessage = (event) => { resolve(event.data); socket.close(); };
  socket.onerror = () => reject(new Error("no socket"));
}));
told.push(await new Promise((resolve, reject) => {
  const worker = new Worker("./trial_worker.js", { type: "module" });
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = () => reject(new Error("no worker"));
}));
const canvas = document.createElement("canvas");
const picture = new Image();
picture.src = URL.createObjectURL(await new Promise((resolve) => canvas.toBlob(resolve)));
await picture.decode();
told.push(JSON.parse(document.getElementById("page").textContent).title,
  String(document.styleSheets[0].cssRules.length));
window.told = told;
document.body.id = "done";
"""
TRIAL_FILES = {
    "index.html": '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title>'
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="style.css">'
    '<script type="application/json" id="page">{}</script><script type="module" src="app.js"></script>'
    "</head><body></body></html>",
    "app.js": TRIAL,
    "other.js": 'export const answer = "from a module";',
    "trial_worker.js": 'import { answer } from "./other.js"; postMessage(`worker: ${answer}`);',
    "style.css": "body { color: red }",
}


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[Background]:
    """A small page that uses everything a viewer needs of the policy."""
    files = {name: MemoryFile(text.encode(), server.media_type(name)) for name, text in TRIAL_FILES.items()}
    monkeypatch.setattr(server, "web_files", lambda: files)
    table: dict[str, DiskFile | MemoryFile] = {"/photos/0.jpg": MemoryFile(b"a photo", "image/jpeg")}
    app = create_app(Page("</script><img src=x onerror=alert(1)>"), table, [WebSocketRoute("/live", _echo)])
    with Background(app, port=0) as background:
        yield background


def test_a_browser_gets_all_it_needs(open_page: Callable[..., Watched], trial: Background) -> None:
    watched = open_page()
    watched.page.goto(trial.url)
    watched.page.wait_for_selector("#done", state="attached")
    assert watched.page.evaluate("window.told") == [
        "from a module",
        "a photo",
        "through the socket",
        "worker: from a module",
        "</script><img src=x onerror=alert(1)>",
        "1",
    ]


def test_a_browser_is_kept_from_the_rest(open_page: Callable[..., Watched], trial: Background) -> None:
    watched = open_page()
    watched.page.goto(trial.url)
    watched.page.wait_for_selector("#done", state="attached")
    watched.expected += ["Content Security Policy"]
    refused = watched.page.evaluate("fetch('http://127.0.0.1:9/').then(() => false, () => true)")
    assert refused
    assert (
        watched.page.evaluate("""new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.injected = 1";
        document.body.append(script);
    })""")
        == "script-src-elem"
    )
    assert watched.page.evaluate("window.injected") is None


def test_a_foreign_page_gets_nothing(
    open_page: Callable[..., Watched], trial: Background, serve_folder: Callable[..., str]
) -> None:
    foreign = serve_folder(**{"foreign.html": b'<!doctype html><title>f</title><link rel="icon" href="data:,">'})
    watched = open_page()
    watched.expected += ["", "net::ERR"]  # the browser complains of each
    watched.page.goto(f"{foreign}/foreign.html")
    for url in (trial.url, trial.url.replace("127.0.0.1", "localhost")):
        assert watched.page.evaluate(f"fetch('{url}photos/0.jpg').then(() => 'read', () => 'refused')") == "refused"
        assert (
            watched.page.evaluate(f"fetch('{url}', {{mode: 'no-cors'}}).then(() => 'read', () => 'refused')")
            == "refused"
        )
        socket_url = url.replace("http", "ws") + "live"
        script = """(url) => new Promise((told) => {
            const socket = new WebSocket(url);
            socket.onopen = () => told("open");
            socket.onerror = () => told("refused");
        })"""
        assert watched.page.evaluate(script, socket_url) == "refused"


def test_the_viewer_opens_a_run(open_page: Callable[..., Watched], run: Path) -> None:
    formats.write(run / "splat.ply", crowd(200))
    camera = askew(64, 48)
    photo = torch.full((48, 64, 3), 128, dtype=torch.uint8)
    views = [View(f"{split}.png", camera, photo, split) for split in ("train", "test")]
    write_views(run, Scene(views, Points(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.uint8))))
    page, files = open_splat(run)
    with Background(create_app(page, files), port=0) as background:
        watched = open_page(viewport={"width": 320, "height": 240})
        watched.page.goto(background.url)
        shown = watched.page.evaluate("window.sfumato.ready.then(() => window.sfumato.renderer.statistics.gaussians)")
        assert shown == 200
        assert watched.page.evaluate("window.sfumato.page.cameras.length") == 2
        assert all(url.startswith((background.url, "blob:", "data:")) for url in watched.requests)
        assert any(url.endswith("/splat/splat.ply") for url in watched.requests)
        watched.page.close()  # before its server goes
