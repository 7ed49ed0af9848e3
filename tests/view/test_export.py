"""The scene and its viewer in one file: what is written, and that browsers open it from the disk and see the scene."""

import base64
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from firefox import find_firefox, probe

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.render.render import render
from sfumato.view.export import PIECE, export, find_camera, html_of
from sfumato.view.packed import most_important
from sfumato.view.page import Page, PageCamera
from sfumato.view.squeeze import expand

from browser import Watched
from scenes import crowd, straight

CAMERA = straight(96, 72, (90.0, 90.0))
START = PageCamera.of(CAMERA, "photos/a.jpg", "test", "views/a.jpg")
PAGE = Page("A crowd", cameras=[START, replace(START, name="photos/b.jpg")], start=START)


def scene_in(html: str) -> bytes:
    return b"".join(base64.b64decode(text) for text in re.findall(r"data-splat>([^<]*)<", html))


def test_what_is_in_the_file(tmp_path: Path, seed: int) -> None:
    given = crowd(1000, 3)
    given.means[3] = torch.nan
    done = export(tmp_path / "a.html", given, PAGE)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert (done.count, done.left_out, done.degree) == (999, 1, 3)
    assert done.bytes == (tmp_path / "a.html").stat().st_size
    assert done.scene_bytes <= 44 * 999  # with the elements around it
    assert done.scene_bytes > len(scene_in(html)) * 4 / 3
    assert len(expand(scene_in(html))) == 999
    assert "views/a.jpg" not in html
    assert "photos/b.jpg" in html
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    bare = replace(PAGE, cameras=[replace(camera, photo=None) for camera in PAGE.cameras])
    assert html_of(scene_in(html), bare) == html


def test_fewer(tmp_path: Path, seed: int) -> None:
    given = crowd(500, 3)
    done = export(tmp_path / "a.html", given, PAGE, sh_degree=1, max_gaussians=100)
    got = expand(scene_in((tmp_path / "a.html").read_text(encoding="utf-8")))
    assert (done.count, done.degree, len(got), got.degree) == (100, 1, 100, 1)
    kept = most_important(given, 100)
    assert torch.cdist(kept.means, got.means).min(dim=1).values.max() < 0.01


def test_blocks_join(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PIECE % 3 == 0
    monkeypatch.setattr("sfumato.view.export.PIECE", 300)
    export(tmp_path / "a.html", crowd(100, 0), PAGE)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert html.count("data-splat>") > 4
    assert len(expand(scene_in(html))) == 100


def test_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.html").write_text("before")
    with pytest.raises(InputError, match="no Gaussian that can be drawn"):
        export(tmp_path / "a.html", Gaussians.empty(), PAGE)

    def broken(name: str) -> str:
        raise InputError("a disk that is full")

    monkeypatch.setattr("sfumato.view.bundle.script_html", broken)
    with pytest.raises(InputError, match="full"):
        export(tmp_path / "a.html", crowd(10), PAGE)
    assert (tmp_path / "a.html").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_cameras_by_name_and_number() -> None:
    cameras = [replace(START, name=name) for name in ("left/0.jpg", "left/b.jpg", "right/b.jpg", "7")]
    for wanted, index in {"left/b.jpg": 1, "0.jpg": 0, "0": 0, "1": 1, "3": 3, "7": 3}.items():
        assert find_camera(cameras, wanted) is cameras[index]
    with pytest.raises(InputError, match=r"name of 2 cameras \(left/b\.jpg, right/b\.jpg\)"):
        find_camera(cameras, "b")
    for wanted in ("c", "4", "-1", "²"):
        with pytest.raises(InputError, match=r"give a name, such as left/0\.jpg, or a number from 0 to 3"):
            find_camera(cameras, wanted)
    with pytest.raises(InputError, match="comes without cameras"):
        find_camera([], "0")


def picture_psnr(pixels: bytes, gaussians: Gaussians) -> float:
    """Of RGBA pixels to our render of the original."""
    shown = np.frombuffer(pixels, np.uint8).reshape(CAMERA.height, CAMERA.width, 4)[..., :3]
    wanted = (render(gaussians, CAMERA).image.clamp(0, 1) * 255).round().numpy()
    return 10 * math.log10(255**2 / float(np.mean((shown - wanted) ** 2)))


@pytest.mark.parametrize(("degree", "least"), [(0, 40), (3, 35)])
def test_chromium_opens_it_from_disk(
    degree: int, least: float, tmp_path: Path, seed: int, browser_page: Watched
) -> None:
    """No server, no network, no complaint, and the picture is that of the original."""
    given = crowd(1500, degree, size=0.06)
    export(tmp_path / "a scene & more.html", given, replace(PAGE, title="</title><b>A crowd"))
    page = browser_page.page
    page.goto((tmp_path / "a scene & more.html").as_uri())
    page.wait_for_function("window.sfumato")
    page.evaluate("sfumato.ready")
    text = page.evaluate(
        """async () => {
          await sfumato.renderer.settle(sfumato.page.start);
          return Array.from(sfumato.renderer.pixels().data, (value) => String.fromCharCode(value)).join("");
        }"""
    )
    assert picture_psnr(text.encode("latin-1"), given) > least
    assert page.title().startswith("</title><b>A crowd")
    assert page.locator("b").count() == 0
    assert all(url.startswith(("file:", "blob:", "data:")) for url in browser_page.requests)


def test_chromium_says_what_is_damaged(tmp_path: Path, seed: int, open_page: Callable[..., Watched]) -> None:
    export(tmp_path / "a.html", crowd(200, 1), PAGE)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    text = re.sub(r"(data-splat>[^<]{500})[^<]{200}", r"\1", html)
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    watched = open_page()
    watched.page.goto((tmp_path / "a.html").as_uri())
    watched.page.get_by_text("its scene cannot be read; export or copy it again").wait_for()


def test_firefox_opens_it_from_disk(tmp_path: Path, seed: int) -> None:
    if find_firefox() is None:
        pytest.skip("NO FIREFOX: the exported file was not opened in it (on Debian: apt-get install firefox-esr xvfb)")
    given = crowd(500, 3, size=0.06)
    export(tmp_path / "a.html", given, PAGE)
    said = probe(tmp_path / "a.html", tmp_path)
    assert "/error" not in said, said["/error"]
    assert "/end" in said
    if b"no WebGL2" in said["/end"]:
        pytest.skip("FIREFOX WITHOUT WEBGL2: it runs the exported file, but cannot draw here (apt-get install xvfb)")
    assert picture_psnr(said["/pixels"], given) > 33
