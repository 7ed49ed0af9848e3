"""The page's loader in a real browser: a server's file, a dropped one, bytes, and what goes wrong on the way."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfumato import formats
from sfumato.view.packed import pack, to_bytes

from browser import Watched
from scenes import crowd

PAGE = b"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module">
import { Loader, sourceName } from "./load.js";
const loader = new Loader();
window.open = (source, limit, cancel) => new Promise((resolve) => {
  const told = { rows: [], share: 0, begun: null, name: sourceName(source) };
  loader.open(source, {
    limit,
    onbegin: (scene) => { told.begun = scene; if (cancel) { loader.cancel(); setTimeout(resolve, 300, told); } },
    onrows: (rows) => told.rows.push([rows.count, rows.degree, rows.geometry.length]),
    onprogress: (share) => (told.share = share),
    ondone: (scene) => resolve({ ...told, done: scene }),
    onfail: (sentence) => resolve({ ...told, sentence }),
  });
});
window.early = (source, wait) => new Promise((resolve) => {
  const told = { order: [], waiting: 0 };
  loader.prepare(source);
  setTimeout(() => {
    told.waiting = loader.early.length;
    loader.open(source, {
      onbegin: () => told.order.push("begin"),
      onrows: (rows) => told.order.push(rows.count),
      ondone: ({ count }) => resolve({ ...told, count }),
      onfail: (sentence) => resolve({ ...told, sentence }),
    });
  }, wait);
});
window.bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
window.loaded = true;
</script>"""


@pytest.fixture
def bytes_of_ply(tmp_path: Path, seed: int) -> bytes:
    formats.write(tmp_path / "a.ply", crowd(5000, 1))
    return (tmp_path / "a.ply").read_bytes()


def test_loader(bytes_of_ply: bytes, browser_page: Watched, serve_folder: Callable[..., str]) -> None:
    page = browser_page.page
    snapshot = to_bytes(pack(crowd(100, 2)))
    text = base64.b64encode(bytes_of_ply).decode()
    files: dict[str, Any] = {
        "a.ply": bytes_of_ply,
        "cut.ply": bytes_of_ply[:-1],
        "hello.jpg": b"hello",
        "s.bin": snapshot,
    }
    page.goto(serve_folder(**{"load.html": PAGE, **files}) + "/load.html")
    page.wait_for_function("window.loaded")

    whole = page.evaluate("open({ url: 'a.ply?x=1' })")
    assert whole["begun"] == {"type": "begin", "count": 5000, "degree": 1, "shown": 5000, "name": "a.ply"}
    assert whole["rows"] == [[4096, 1, 4 * 4096], [904, 1, 4 * 1024]]
    assert (whole["share"], whole["done"]["note"], whole["name"]) == (1, "", "a.ply")

    dropped = page.evaluate("text => open({ file: new File([bytesOf(text)], 'drop.ply') })", text)
    assert (dropped["rows"], dropped["name"]) == (whole["rows"], "drop.ply")

    limited = page.evaluate("text => open({ bytes: bytesOf(text).buffer, name: 'b' }, 1000)", text)
    assert limited["rows"] == [[1000, 1, 4 * 1024]]
    assert "can show 1,000 of the 5,000 Gaussians" in limited["done"]["note"]

    assert page.evaluate("open({ url: 's.bin' })")["rows"] == [[100, 2, 4 * 1024]]
    assert "4,999 of 5,000 Gaussians are there" in page.evaluate("open({ url: 'cut.ply' })")["done"]["note"]
    assert page.evaluate("open({ url: 'hello.jpg' })")["sentence"].startswith("hello.jpg is not a PLY file")

    browser_page.expected.append("404")
    assert "the server answered 404" in page.evaluate("open({ url: 'not%20there.ply' })")["sentence"]
    browser_page.expected.append("ERR_CONNECTION_REFUSED")
    refused = page.evaluate("open({ url: 'http://127.0.0.1:9/a.ply' })")
    assert refused["sentence"] == "a.ply could not be fetched: there is no connection to the server."

    cancelled = page.evaluate("open({ url: 'a.ply' }, Infinity, true)")
    assert "done" not in cancelled
    assert cancelled["rows"] == []


@pytest.mark.parametrize("wait", [0, 1500])
def test_what_is_read_before_it_is_opened(
    wait: int, bytes_of_ply: bytes, browser_page: Watched, serve_folder: Callable[..., str]
) -> None:
    """Whether all has come by then or nothing has, it is told in order; and so is what went wrong."""
    page = browser_page.page
    page.goto(serve_folder(**{"load.html": PAGE, "a.ply": bytes_of_ply, "cut.ply": b"ply"}) + "/load.html")
    page.wait_for_function("window.loaded")
    whole = page.evaluate("wait => early({ url: 'a.ply' }, wait)", wait)
    assert (whole["order"], whole["count"]) == (["begin", 4096, 904], 5000)
    assert (whole["waiting"] > 0) == (wait > 0)
    assert "sentence" in page.evaluate("wait => early({ url: 'cut.ply' }, wait)", wait)
    again = page.evaluate("open({ url: 'a.ply' }, 1000)")
    assert again["rows"] == [[1000, 1, 4 * 1024]], "one that was not prepared is told how many may come"
