"""A real browser for tests: where Chromium is, a small server for pages, and a page that notices every complaint."""

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# software GL, and none of the conversations that Chromium begins by itself
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


class Watched:
    """A Playwright page that remembers what went wrong: console errors and warnings, exceptions, foreign requests."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.expected: list[str] = []  # parts of complaints that a test causes on purpose
        self.requests: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def foreign(self) -> list[str]:
        """Requests that left the machine; blob: and data: are the page itself."""
        home = ("127.0.0.1", "localhost", "::1", None)
        return [url for url in self.requests if urlsplit(url).hostname not in home]

    def check(self) -> None:
        """Assert that nothing was complained of but what the test expected, and that nothing left the machine."""
        unexpected = [c for c in self.complaints if not any(part in c for part in self.expected)]
        assert unexpected == []
        assert self.foreign() == []


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve_files(folder: Path) -> Iterator[str]:
    """The URL of a plain file server for `folder`, as `python -m http.server` would be."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
