"""Fixtures of tests that look at the viewer in a real browser."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from browser import FLAGS, Watched, find_chromium, serve_files

VIEWPORT = {"width": 480, "height": 360}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium with software GL; the test is skipped, loudly, where there is none."""
    path = find_chromium()
    if path is None:
        pytest.skip("NO CHROMIUM: the viewer was not tested in a browser (on Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="NO PLAYWRIGHT: no browser was driven")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """A function that opens a watched page of its own context; all of them are checked when the test ends.

    Arguments are Playwright's for a context: viewport, color_scheme, reduced_motion, has_touch, ...
    """
    opened: list[Watched] = []
    contexts = []

    def new(**options: Any) -> Watched:
        context = chromium.new_context(**{"viewport": VIEWPORT, **options})
        context.set_default_timeout(60_000)
        contexts.append(context)
        opened.append(Watched(context.new_page()))
        return opened[-1]

    yield new
    for context in contexts:
        context.close()
    for watched in opened:
        watched.check()


@pytest.fixture
def browser_page(open_page: Callable[..., Watched]) -> Watched:
    """One watched page."""
    return open_page()


@pytest.fixture
def web(repository: Path) -> Path:
    """The folder of the viewer's modules."""
    return repository / "sfumato" / "view" / "web"


@pytest.fixture
def serve_folder(tmp_path: Path, web: Path) -> Iterator[Callable[..., str]]:
    """A function that serves the viewer's modules, with more files beside them (name -> bytes), and returns the URL."""
    with ExitStack() as stack:

        def serve(**files: bytes) -> str:
            folder = tmp_path / f"site{len(list(tmp_path.glob('site*')))}"
            shutil.copytree(web, folder)
            for name, data in files.items():
                (folder / name).write_bytes(data)
            return stack.enter_context(serve_files(folder))

        yield serve
