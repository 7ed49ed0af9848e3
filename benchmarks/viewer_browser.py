"""A viewer's page in a fresh Chromium with software GL -> what it took to show a scene: times, bytes, pictures."""

import base64
import functools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import torch
from torch import Tensor

from sfumato.core.errors import InputError

__all__ = ["PACKAGES", "Found", "Site", "Viewer", "fetch_modules", "find_chromium", "measure", "serve"]

HERE = Path(__file__).resolve().parent
WEB = HERE.parent / "sfumato" / "view" / "web"
PACKAGES = {"three": "0.187.0", "@sparkjsdev/spark": "2.2.0"}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--enable-precise-memory-info",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
EMPTY_PAGE = '<script type="application/json" id="page">{}</script>'
MINUTES = 60_000  # ms


def find_chromium() -> str:
    """The path of an installed Chromium. Raises InputError, which says what to install, where there is none."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise InputError("no Chromium on the PATH; install one (on Debian: apt-get install chromium)")
    return found


def fetch_modules(folder: Path | None) -> Path:
    """A node_modules folder with PACKAGES in their versions: `folder` if given, else fetched once by npm.

    Raises InputError when the folder has others, or npm is missing or fails.
    """
    if folder is not None:
        if other := _wrong(folder):
            raise InputError(f"{folder} must hold {_specifiers()}; got {other}")
        return folder
    place = Path(tempfile.gettempdir()) / "sfumato-benchmark-viewer"
    modules = place / "node_modules"
    if not _wrong(modules):
        return modules
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            f"npm, which fetches {_specifiers()}, is not on the PATH; install it (on Debian: apt-get install npm), "
            "give a node_modules folder by --modules, or measure only sfumato by --viewers sfumato"
        )
    place.mkdir(exist_ok=True)
    (place / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(place), *_specifiers().split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"npm could not fetch {_specifiers()}: {done.stderr.strip().splitlines()[-1:]}")
    return modules


def _specifiers() -> str:
    return " ".join(f"{name}@{version}" for name, version in PACKAGES.items())


def _wrong(modules: Path) -> str:
    """What of PACKAGES `modules` has in another version or not at all; empty when all is right."""
    found = {}
    for name in PACKAGES:
        path = modules / name / "package.json"
        found[name] = json.loads(path.read_text(encoding="utf-8"))["version"] if path.exists() else "nothing"
    return " ".join(f"{name}@{found[name]}" for name in PACKAGES if found[name] != PACKAGES[name])


@dataclass(frozen=True)
class Site:
    """What one server shows: scenes by name, and where three.js and Spark are."""

    url: str
    scenes: Path
    page: dict[str, Any]  # the description that the whole page of sfumato gets; empty until a scene is chosen


@contextmanager
def serve(scenes: Path, modules: Path | None) -> Iterator[Site]:
    """A plain file server on loopback for the pages of all viewers and the folder of scenes."""
    page: dict[str, Any] = {}
    roots = {"bench": HERE / "viewer", "web": WEB, "scenes": scenes} | ({"modules": modules} if modules else {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, roots, page))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{server.server_address[1]}", scenes, page)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many modules
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012

    def __init__(self, roots: dict[str, Path], page: dict[str, Any], *rest: Any) -> None:
        self.roots, self.page = roots, page
        super().__init__(*rest)

    def translate_path(self, path: str) -> str:
        root, _, rest = urlsplit(path).path.lstrip("/").partition("/")
        return str(self.roots[root] / rest) if root in self.roots and ".." not in rest else "/nothing here"

    def do_GET(self) -> None:
        if self.path != "/web/":
            super().do_GET()
            return
        text = (WEB / "index.html").read_text(encoding="utf-8")
        body = text.replace(EMPTY_PAGE, EMPTY_PAGE.replace("{}", json.dumps(self.page))).encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Viewer:
    """A page to measure. `settings` differ from the viewer's own; `bare` pages are driven by viewer/harness.js."""

    name: str
    path: str
    settings: dict[str, Any] = field(default_factory=dict)
    bare: bool = True


@dataclass
class Found:
    """What one load of one viewer showed. Times in ms, memory in bytes."""

    first: float = 0.0  # navigation to the first picture: 1 % of the pixels are not background
    complete: float = 0.0  # navigation to the whole scene, sorted for the camera
    moving: list[float] = field(default_factory=list)  # from frame to frame, the camera moving
    moving_draws: list[float] = field(default_factory=list)  # of it in draw, until a pixel could be read
    still: list[float] = field(default_factory=list)
    moving_cpu: float = 0.0  # ms of all cores for one moving frame, in all of the browser's processes
    complete_cpu: float = 0.0  # the same from navigation until the whole scene is shown
    sorts: list[float] = field(default_factory=list)  # in the sort worker, or to it and back
    read_backs: list[float] = field(default_factory=list)  # of depths from the GPU, which Spark sorts by
    gpu: float = 0.0  # the most that textures, buffers and renderbuffers held at once
    heap: float = 0.0  # of JavaScript on the page's thread, garbage collected
    renderer_process: float = 0.0  # memory of its own, workers and typed arrays included
    gpu_process: float = 0.0  # software GL keeps its textures here
    gaussians: int = 0  # that the page says it loaded
    drawn: int = 0
    pictures: list[Tensor] = field(default_factory=list)  # (H, W, 3) uint8, one for each camera that was asked for


def measure(
    driver: Any,
    site: Site,
    viewer: Viewer,
    scene: str,
    path: Sequence[dict[str, Any]],
    stills: int,
    shown: Sequence[int],
) -> Found:
    """One load of `scene` in a fresh browser: to the first camera of `path`, then along it, then standing still.

    `shown`: the cameras of `path` whose settled pictures are wanted. Raises InputError when the page complains.
    """
    start = path[0]
    size = {"width": start["width"], "height": start["height"]}
    site.page.update(_page(scene, site.scenes / scene, start))
    browser = driver.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
    try:
        context = browser.new_context(viewport=size, device_scale_factor=1)
        context.set_default_timeout(10 * MINUTES)
        _wake(context)
        context.add_init_script(path=HERE / "viewer" / "watch.js")
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(f"{m.text} {m.location['url']}") if m.type == "error" else None)
        asked = {"splat": f"/scenes/{scene}", "camera": start, "settings": viewer.settings}
        fragment = f"#{quote(json.dumps(asked))}" if viewer.bare else ""
        before = _cpu()
        page.goto(f"{site.url}{viewer.path}{fragment}", wait_until="commit")
        _wait(page, viewer, complaints)
        found = _times(page)
        found.complete_cpu = _cpu() - before
        if viewer.bare:
            _drive(page, found, path, stills, shown)
        _weigh(page, context, found)
        return found
    finally:
        browser.close()


def _wake(context: Any) -> None:
    """Start what starts once in a browser's life, the process that draws above all: it belongs to no page."""
    page = context.new_page()
    page.evaluate("""() => {
        const gl = document.createElement("canvas").getContext("webgl2");
        gl.clear(gl.COLOR_BUFFER_BIT);
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    }""")
    page.wait_for_timeout(500)
    page.close()


def _page(scene: str, file: Path, start: dict[str, Any]) -> dict[str, Any]:
    """The description of a page that shows nothing but the scene, as sfumato's server would fill it in."""
    splat = {"url": f"/scenes/{scene}", "name": scene, "bytes": file.stat().st_size}
    plain = {"title": scene, "up": None, "background": [0, 0, 0], "near": 0.2, "antialiased": False, "cameras": []}
    return {**plain, "splat": splat, "start": start, "live": False}


def _wait(page: Any, viewer: Viewer, complaints: list[str]) -> None:
    deadline = time.monotonic() + 600
    while page.evaluate("watch.complete") is None:
        if complaints or time.monotonic() > deadline:
            raise InputError(f"{viewer.name} showed no picture: {complaints or 'ten minutes were not enough'}")
        page.wait_for_timeout(50)


def _times(page: Any) -> Found:
    return Found(**page.evaluate("({first: watch.first, complete: watch.complete})"))


def _weigh(page: Any, context: Any, found: Found) -> None:
    """Memory once garbage is collected."""
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    page.wait_for_timeout(300)
    found.gpu, found.heap = page.evaluate("[watch.peak, performance.memory.usedJSHeapSize]")
    memory = _own_memory()
    found.renderer_process, found.gpu_process = memory["renderer"], memory["gpu-process"]


def _processes() -> Iterator[tuple[str, psutil.Process]]:
    """The browser's processes with their kinds; the one that started the others has none."""
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue  # it ended meanwhile, or is not ours to look at
        if "--use-angle=swiftshader" in words or any(word.startswith("--type=") for word in words):
            yield next((word.removeprefix("--type=") for word in words if word.startswith("--type=")), ""), process


def _cpu() -> float:
    """Milliseconds of processor time that the browser has used so far, ended processes left out."""
    total = 0.0
    for _, process in _processes():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return 1e3 * total


def _own_memory() -> dict[str, float]:
    """Bytes that only this process has, of the page's and the GPU's; of many renderers the largest."""
    found = {"renderer": 0.0, "gpu-process": 0.0}
    for kind, process in _processes():
        try:
            if kind in found:
                found[kind] = max(found[kind], process.memory_full_info().uss)
        except psutil.Error:
            continue
    return found


def _drive(page: Any, found: Found, path: Sequence[dict[str, Any]], stills: int, shown: Sequence[int]) -> None:
    found.pictures = [_picture(page.evaluate("camera => bench.picture(camera)", path[i])) for i in shown]
    page.evaluate("path => bench.frames(path)", [*path[:2]])  # warms up
    before = _cpu()
    moved = page.evaluate("path => bench.frames(path)", list(path))
    found.moving, found.moving_draws = moved["frames"], moved["draws"]
    found.moving_cpu = (_cpu() - before) / len(path)
    page.evaluate("camera => bench.picture(camera)", path[0])
    found.still = page.evaluate("path => bench.frames(path)", [path[0]] * stills)["frames"]
    statistics = page.evaluate("bench.statistics()")
    found.sorts, found.read_backs = statistics["sorts"]["worker"], statistics["sorts"]["readBack"]
    found.gaussians, found.drawn = statistics["gaussians"] or 0, statistics["drawn"]


def _picture(read: dict[str, Any]) -> Tensor:
    flat = torch.frombuffer(bytearray(base64.b64decode(read["pixels"])), dtype=torch.uint8)
    return flat.reshape(read["height"], read["width"], 4).flip(0)[..., :3].clone()
