"""Firefox for tests, without a driver: a page from disk with a probe in it, which tells a local server what it sees."""

import base64
import hashlib
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# what a first start would otherwise do by itself; and software GL counts as GL
PREFERENCES = {
    "webgl.force-enabled": "true",
    "browser.shell.checkDefaultBrowser": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "toolkit.telemetry.enabled": "false",
    "app.normandy.enabled": "false",
    "browser.startup.homepage_override.mstone": '"ignore"',
}
PROBE = """
const send = (path, body) => fetch("$URL" + path, { method: "POST", mode: "no-cors", body });
addEventListener("error", (event) => send("/error", String(event.message)));
addEventListener("unhandledrejection", (event) => send("/error", String(event.reason)));
addEventListener("securitypolicyviolation", (event) => send("/error", event.violatedDirective + event.blockedURI));
addEventListener("load", async () => {
  const { renderer, page, ready } = window.sfumato;
  if (!renderer) return send("/end", document.body.innerText);
  await ready;
  await renderer.settle(page.start);
  const { data } = renderer.pixels();
  await send("/pixels", data);
  await send("/end", document.body.innerText);
});
"""


def find_firefox() -> str | None:
    """The path of an installed Firefox, or None."""
    return next((path for name in ("firefox-esr", "firefox") if (path := shutil.which(name))), None)


def probe(html: Path, folder: Path, seconds: float = 90) -> dict[str, bytes]:
    """Open a copy of a page of ours; returns what it said: "/pixels" of its start camera, "/end", maybe "/error".

    The page's policy is the page's own, but that the probe may run and speak to its server.
    """
    firefox = find_firefox()
    assert firefox is not None
    with _listening() as (url, heard), _display() as environment:
        script = PROBE.replace("$URL", url)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        text = html.read_text(encoding="utf-8")
        text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
        text = text.replace("connect-src ", f"connect-src {url} ", 1)
        text = text.replace("<style>", f"<script>{script}</script><style>", 1)
        (folder / "probed.html").write_text(text, encoding="utf-8")
        lines = [f'user_pref("{name}", {value});' for name, value in PREFERENCES.items()]
        profile = folder / "profile"
        profile.mkdir()
        (profile / "user.js").write_text("\n".join(lines))
        words = [firefox, "--headless", "--no-remote", "--profile", str(profile), (folder / "probed.html").as_uri()]
        quiet = subprocess.DEVNULL
        running = subprocess.Popen(words, env=environment, stdout=quiet, stderr=quiet)
        try:
            return _said(heard, seconds)
        finally:
            running.terminate()
            running.wait(30)


def _said(heard: "queue.Queue[tuple[str, bytes]]", seconds: float) -> dict[str, bytes]:
    said: dict[str, bytes] = {}
    end = time.monotonic() + seconds
    while "/end" not in said and "/error" not in said and (left := end - time.monotonic()) > 0:
        try:
            path, body = heard.get(timeout=left)
        except queue.Empty:
            break
        said[path] = body
    return said


@contextmanager
def _listening() -> Iterator[tuple[str, "queue.Queue[tuple[str, bytes]]"]]:
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _display() -> Iterator[dict[str, str]]:
    """An environment in which Firefox finds GL: even headless it asks the X server for it."""
    xvfb = shutil.which("Xvfb")
    if os.environ.get("DISPLAY") or xvfb is None:
        yield dict(os.environ)
        return
    read, write = os.pipe()
    words = [xvfb, "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    running = subprocess.Popen(words, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield {**os.environ, "DISPLAY": f":{numbers.readline().strip()}"}
    finally:
        running.terminate()
        running.wait(30)
