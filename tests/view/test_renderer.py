"""The viewer's renderer in a real browser: the same picture as our kernels, and no picture is ever lost."""

import base64
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sfumato import formats
from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import sh0_from_rgb
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render
from sfumato.view import packed

from browser import Watched

Picture = NDArray[np.uint8]

PAGE = b"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="margin:0">
<canvas id="canvas"></canvas><script type="module">
import { Renderer } from "./renderer.js";
import { readWire } from "./wire.js";
const renderer = window.renderer = new Renderer(document.getElementById("canvas"));
window.read = async (name) => readWire(await (await fetch(name)).arrayBuffer()).rows;
window.show = async (name) => renderer.replace(await read(name));
const text = (bytes) => {
  let letters = "";
  for (let i = 0; i < bytes.length; i += 8192) letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(letters);
};
window.picture = () => text(renderer.pixels().data);
window.settled = async (camera) => { await renderer.settle(camera); return picture(); };
window.error = () => renderer.gl.getError();
window.ready = true;
</script>"""


def plain(camera: Camera) -> dict[str, Any]:
    """The camera as the viewer's modules have it."""
    K = camera.K.tolist()
    viewmat = camera.viewmat.flatten().tolist()
    return {
        "viewmat": viewmat,
        "K": [K[0][0], K[1][1], K[0][2], K[1][2]],
        "width": camera.width,
        "height": camera.height,
    }


def psnr(a: Picture, b: Picture) -> float:
    return 10 * math.log10(255**2 / max(1e-9, float(np.mean((a.astype(float) - b.astype(float)) ** 2))))


class Screen:
    """A page with nothing but a canvas and its renderer."""

    def __init__(self, watched: Watched, url: str) -> None:
        self.watched = watched
        self.page = watched.page
        self.page.goto(f"{url}/canvas.html")
        self.page.wait_for_function("window.ready")

    def look(self, **look: object) -> None:
        self.page.evaluate("look => Object.assign(renderer.look, look)", look)

    def settled(self, camera: Camera) -> Picture:
        """The finished picture, (H, W, 3)."""
        return self._picture(self.page.evaluate("camera => settled(camera)", plain(camera)), camera)

    def drawn(self, camera: Camera) -> Picture:
        """The picture of one draw with what is there."""
        text = self.page.evaluate("camera => (renderer.draw(camera), picture())", plain(camera))
        return self._picture(text, camera)

    def _picture(self, text: str, camera: Camera) -> Picture:
        assert self.page.evaluate("error()") == 0
        data = np.frombuffer(base64.b64decode(text), np.uint8).reshape(camera.height, camera.width, 4)
        assert (data[..., 3] == 255).all()
        return data[..., :3]


@pytest.fixture
def open_screen(browser_page: Watched, serve_folder: Callable[..., str]) -> Callable[..., Screen]:
    """A function that opens a page with scenes beside it, name -> Gaussians, and shows the first."""

    def open_with(**scenes: Gaussians) -> Screen:
        files = {name: packed.to_bytes(packed.pack(gaussians)) for name, gaussians in scenes.items()}
        screen = Screen(browser_page, serve_folder(**{"canvas.html": PAGE}, **files))
        for name in list(scenes)[:1]:
            screen.page.evaluate("name => show(name)", name)
        return screen

    return open_with


def cloud(count: int, degree: int, seed: int = 7) -> Gaussians:
    """Gaussians of all sizes and shapes in a ball around the origin."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    return Gaussians(
        means=normal(count, 3),
        quats=normal(count, 4),
        log_scales=-3.0 + 0.8 * normal(count, 3),
        logit_opacities=2 * normal(count),
        sh0=sh0_from_rgb(0.5 + 0.25 * normal(count, 1, 3)),
        shN=0.15 * normal(count, (degree + 1) ** 2 - 1, 3),
    )


def single(rgb: tuple[float, float, float] = (0.9, 0.4, 0.2), scale: float = 0.3) -> Gaussians:
    """One round, nearly opaque Gaussian at the origin."""
    return balls([(0.0, 0.0, 0.0)], [rgb], scale)


def balls(means: list[tuple[float, float, float]], colors: list[tuple[float, float, float]], scale: float) -> Gaussians:
    """Round, nearly opaque Gaussians."""
    count = len(means)
    return Gaussians(
        means=torch.tensor(means),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), math.log(scale)),
        logit_opacities=torch.full((count,), 6.0),
        sh0=sh0_from_rgb(torch.tensor(colors))[:, None],
        shN=torch.zeros(count, 0, 3),
    )


def seen_from(
    position: tuple[float, float, float], focal: float = 200.0, width: int = 240, height: int = 180
) -> Camera:
    target, up = torch.zeros(3), torch.tensor([0.0, -1.0, 0.0])
    return Camera.look_at(torch.tensor(position), target, up, focal, width, height)


def expected(gaussians: Gaussians, camera: Camera, background: float = 0.0, antialiased: bool = False) -> Picture:
    """Our kernels' picture in 8 bits."""
    settings = RenderSettings(antialiased=antialiased)
    with torch.no_grad():
        image = render(gaussians, camera, settings, torch.full((3,), background)).image
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


CAMERAS = {
    "outside": seen_from((0.5, -1.0, -5.0)),
    "inside, wide": seen_from((0.3, 0.1, -0.4), focal=70.0),
    "off-centre principal point": Camera(
        seen_from((2.0, 1.0, -4.0)).viewmat, torch.tensor([[190.0, 0, 60], [0, 230, 150], [0, 0, 1]]), 240, 180
    ),
    "tele": seen_from((-6.0, -3.0, -9.0), focal=900.0),
}


@pytest.mark.parametrize(("degree", "least"), [(0, 40.0), (1, 38.0), (2, 38.0), (3, 38.0)])
def test_soft_splats_are_our_kernels_picture(open_screen: Callable[..., Screen], degree: int, least: float) -> None:
    gaussians = cloud(3000, degree)
    screen = open_screen(scene=gaussians)
    for name, camera in CAMERAS.items():
        assert psnr(screen.settled(camera), expected(gaussians, camera)) > least, name
    if degree not in (0, 3):
        return
    screen.look(antialiased=True, background=[0.7, 0.7, 0.7])
    for name, camera in CAMERAS.items():
        assert psnr(screen.settled(camera), expected(gaussians, camera, 0.7, antialiased=True)) > least, name


@pytest.mark.parametrize("marks", [True, False])
def test_finished_pixels_are_left_alone(open_screen: Callable[..., Screen], marks: bool) -> None:
    """In many short ranges, and behind many opaque Gaussians, the picture is still the same."""
    gaussians = cloud(20_000, 0)
    gaussians.logit_opacities.add_(3)
    screen = open_screen(scene=gaussians)
    screen.page.evaluate("marks => Object.assign(renderer.painter.tuning, {marks, first: 1})", marks)
    camera = CAMERAS["outside"]
    assert psnr(screen.settled(camera), expected(gaussians, camera)) > 40


def test_trained_splat(open_screen: Callable[..., Screen], shared_data: Path) -> None:
    gaussians = formats.read(shared_data / "splats" / "inria_9080.ply")
    middle = gaussians.means.median(dim=0).values
    distance = 2.5 * float((gaussians.means - middle).norm(dim=1).median())
    position = middle + torch.tensor([0.3, -0.3, -1.0]) * distance
    camera = Camera.look_at(position, middle, torch.tensor([0.0, -1.0, 0.0]), 300.0, 320, 240)
    screen = open_screen(scene=gaussians)
    assert psnr(screen.settled(camera), expected(gaussians, camera)) > 38
    screen.look(degree=0)
    flat = gaussians.with_degree(0)
    assert psnr(screen.settled(camera), expected(flat, camera)) > 40


def test_sliders(open_screen: Callable[..., Screen]) -> None:
    """Opacity, size and exposure do to the picture what they do to the numbers."""
    gaussians = cloud(2000, 0)
    screen = open_screen(scene=gaussians)
    camera = CAMERAS["outside"]
    screen.look(opacity=0.5, size=0.6)
    changed = Gaussians(
        gaussians.means,
        gaussians.quats,
        gaussians.log_scales + math.log(0.6),
        torch.logit(0.5 * gaussians.opacities),
        gaussians.sh0,
        gaussians.shN,
    )
    assert psnr(screen.settled(camera), expected(changed, camera)) > 40
    screen.look(opacity=1, size=1)
    plainly = screen.settled(camera).astype(float)
    screen.look(exposure=1)
    assert screen.settled(camera).mean() > 1.2 * plainly.mean()
    screen.look(exposure=0)
    assert (screen.settled(camera) == plainly).all()


def test_parts_and_replacement(open_screen: Callable[..., Screen]) -> None:
    """Parts are shown as they come; a new cloud takes the old one's place only when it is sorted."""
    gaussians = cloud(5000, 1)
    first, second = gaussians[:2048], gaussians[2048:]
    screen = open_screen(other=single(), first=first, second=second)
    camera = CAMERAS["outside"]
    before = screen.settled(camera)
    assert psnr(before, expected(single(), camera)) > 40
    screen.page.evaluate("renderer.begin(5000, 1)")
    assert (screen.drawn(camera) == before).all()
    screen.page.evaluate("async () => renderer.add(await read('first'))")
    assert psnr(screen.settled(camera), expected(first, camera)) > 38
    screen.page.evaluate("async () => renderer.add(await read('second'))")
    assert psnr(screen.settled(camera), expected(gaussians, camera)) > 38
    statistics = screen.page.evaluate("renderer.statistics")
    assert statistics["gaussians"] == 5000
    assert 0 < statistics["bytes"] / (5 * 1024) < 40
    screen.page.evaluate("renderer.clear()")
    assert (screen.settled(camera) == 0).all()


def ray_cast(gaussians: Gaussians, camera: Camera, deviations: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which ellipsoid each pixel sees, -1: none, and how far a pixel is from seeing another, as a margin."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    K = camera.K.double().numpy()
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    rotation, translation = camera.viewmat[:3, :3].double().numpy(), camera.viewmat[:3, 3].double().numpy()
    nearest = np.full(x.shape, np.inf)
    who = np.full(x.shape, -1)
    for i in range(len(gaussians)):
        mean = rotation @ gaussians.means[i].double().numpy() + translation
        own = (gaussians.rotations[i].double().numpy().T @ rotation.T) / (
            deviations * gaussians.scales[i].double().numpy()[:, None]
        )
        ray, middle = rays @ own.T, own @ mean
        a, b, c = (ray**2).sum(-1), ray @ middle, middle @ middle - 1
        under = b * b - a * c
        depth = (b - np.sqrt(np.maximum(under, 0))) / a
        hit = (under >= 0) & (depth > 0.2) & (depth < nearest)
        nearest[hit], who[hit] = depth[hit], i
    shifted = [np.roll(who, shift, axis) for shift in (-1, 1) for axis in (0, 1)]
    inner = np.logical_and.reduce([other == who for other in shifted])
    return who, inner


def test_ellipsoids_are_cut_where_they_meet(open_screen: Callable[..., Screen]) -> None:
    """Against a ray caster: the same ellipsoid in every pixel but those at edges."""
    colors = [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (1.0, 1.0, 0), (1.0, 0, 1.0), (0, 1.0, 1.0)]
    means = [(-0.5, 0, 0), (0.3, 0.1, 0.2), (0, 0.5, -0.3), (0.6, -0.4, 0.4), (-0.4, -0.6, 0.5), (0, 0, 0.9)]
    random = torch.Generator().manual_seed(3)
    round_ones = balls(means, colors, 1.0)
    gaussians = Gaussians(
        round_ones.means,
        torch.randn(6, 4, generator=random),
        torch.log(torch.rand(6, 3, generator=random) * 0.4 + 0.05),
        *[round_ones.logit_opacities, round_ones.sh0, round_ones.shN],
    )
    stored = packed.unpack(packed.pack(gaussians))
    screen = open_screen(scene=gaussians)
    screen.look(kind="ellipsoids", deviations=1.5)
    for camera in [CAMERAS["off-centre principal point"], seen_from((0.9, -0.7, -1.6), focal=80.0)]:
        who, inner = ray_cast(stored, camera, 1.5)
        picture = screen.settled(camera)
        codes = (picture > 60) @ np.array([1, 2, 4])
        names = {code: i for i, code in enumerate([1, 2, 4, 3, 5, 6])} | {0: -1}
        got = np.vectorize(lambda code, names=names: names.get(code, -2))(codes)
        assert len(np.unique(who)) > 4
        assert (got == who)[inner].all()
        assert (got == who).mean() > 0.97


def test_centers(open_screen: Callable[..., Screen]) -> None:
    """A round point where each center projects, the nearer one in front."""
    means = [(-0.8, 0.3, 0.0), (0.5, 0.5, 1.0), (0.0, -0.6, -1.0), (0.0, -0.6, 0.5)]
    colors = [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (1.0, 1.0, 0)]
    camera = seen_from((0.0, -0.6, -4.0))
    screen = open_screen(scene=balls(means, colors, 0.1))
    screen.look(kind="centers", pointSize=7)
    picture = screen.settled(camera)
    assert 3 * 30 < (picture.max(axis=-1) > 0).sum() < 3 * 45  # discs of about 38 pixels, one of them hidden
    for mean, color in list(zip(means, colors, strict=True))[:3]:
        x, y, z = (camera.K @ (camera.viewmat[:3, :3] @ torch.tensor(mean) + camera.viewmat[:3, 3])).tolist()
        assert np.abs(picture[int(y / z), int(x / z)] - 255.0 * np.array(color)).max() < 12


def test_crossfade(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen(scene=single())
    camera = seen_from((0.0, 0.0, -3.0))
    soft = screen.settled(camera)
    screen.look(kind="ellipsoids", fadeMs=400)
    screen.page.evaluate("window.stale = 0; renderer.onstale = () => stale++")
    screen.drawn(camera)
    assert screen.page.evaluate("renderer.stale && stale > 0")
    screen.page.wait_for_timeout(500)
    faded = screen.drawn(camera)
    assert not screen.page.evaluate("renderer.stale")
    assert (faded == screen.settled(camera)).all()
    screen.look(kind="soft", fadeMs=0)
    assert (screen.drawn(camera) == soft).all()


@pytest.mark.parametrize("kind", ["soft", "ellipsoids", "centers"])
def test_nothing_and_one(open_screen: Callable[..., Screen], kind: str) -> None:
    screen = open_screen()
    screen.look(kind=kind, background=[0.2, 0.4, 0.6], fadeMs=0)
    camera = seen_from((0.0, 0.0, -2.0))
    assert (screen.settled(camera) == [51, 102, 153]).all()
    assert screen.page.evaluate("camera => renderer.pick(camera, 5, 5)", plain(camera)) is None
    assert screen.page.evaluate("renderer.bounds().radius") == 1


def test_resize(open_screen: Callable[..., Screen]) -> None:
    gaussians = single()
    screen = open_screen(scene=gaussians)
    for width, height in [(240, 180), (97, 301), (1, 1), (480, 64), (240, 180)]:
        camera = seen_from((0.1, 0.2, -2.0)).resized(width, height)
        picture = screen.settled(camera)
        assert psnr(picture, expected(gaussians, camera)) > 40
        assert screen.page.evaluate("[renderer.canvas.width, renderer.canvas.height]") == [width, height]


def test_canvas_shows_what_pixels_say(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen(scene=single())
    camera = seen_from((0.3, 0.2, -2.0))
    picture = screen.settled(camera)
    text = screen.page.evaluate(
        """camera => {
          const paper = new OffscreenCanvas(camera.width, camera.height).getContext("2d");
          renderer.draw(camera);
          paper.drawImage(renderer.canvas, 0, 0);
          const data = paper.getImageData(0, 0, camera.width, camera.height).data;
          return btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""));
        }""",
        plain(camera),
    )
    shown = np.frombuffer(base64.b64decode(text), np.uint8).reshape(camera.height, camera.width, 4)[..., :3]
    assert (shown == picture).all()


def test_lost_context_comes_back(open_screen: Callable[..., Screen]) -> None:
    """The picture returns by itself, with lines and all, and a cloud that came meanwhile is shown."""
    gaussians = cloud(2000, 2)
    screen = open_screen(scene=gaussians, other=single())
    screen.watched.expected.append("CONTEXT_LOST")
    camera = CAMERAS["outside"]
    screen.page.evaluate(
        "renderer.setLines('box', {positions: new Float32Array([-1, 0, 0, 1, 0, 0]), color: [1, 1, 1, 1]})"
    )
    before = screen.settled(camera)
    screen.page.evaluate(
        """() => {
          window.told = [];
          renderer.onlost = () => told.push("lost");
          renderer.onrestored = () => told.push("restored");
          window.loser = renderer.gl.getExtension("WEBGL_lose_context");
          loser.loseContext();
        }"""
    )
    screen.page.wait_for_function("told.length === 1")
    screen.page.evaluate("camera => renderer.draw(camera)", plain(camera))
    screen.page.evaluate("loser.restoreContext()")
    screen.page.wait_for_function("told.length === 2")
    assert screen.page.evaluate("told") == ["lost", "restored"]
    assert (screen.settled(camera) == before).all()

    screen.page.evaluate("loser.loseContext()")
    screen.page.wait_for_function("told.length === 3")
    screen.page.evaluate("show('other')")
    screen.page.evaluate("renderer.setLines('box', null)")
    screen.page.evaluate("loser.restoreContext()")
    assert psnr(screen.settled(camera), expected(single(), camera)) > 40


def test_pick_and_bounds(open_screen: Callable[..., Screen]) -> None:
    """A wall of flat Gaussians is hit on its surface; a few floaters far away do not move the bounds."""
    side = torch.linspace(-1, 1, 30)
    grid = torch.cartesian_prod(side, side)
    wall = torch.stack([grid[:, 0], grid[:, 1], 0.5 * grid[:, 0]], dim=1)  # slanted: z = x / 2
    far = torch.tensor([[900.0, 0, 0], [0, -700, 0]])
    count = len(wall) + len(far)
    turn = math.atan2(-0.5, 1.0) / 2  # about y, so that the flat axis z points out of the wall
    gaussians = Gaussians(
        means=torch.cat([wall, far]),
        quats=torch.tensor([[math.cos(turn), 0, math.sin(turn), 0]]).repeat(count, 1),
        log_scales=torch.log(torch.tensor([[0.06, 0.06, 0.002]])).repeat(count, 1),
        logit_opacities=torch.full((count,), 2.0),
        sh0=torch.zeros(count, 1, 3),
        shN=torch.zeros(count, 0, 3),
    )
    screen = open_screen(scene=gaussians)
    camera = seen_from((0.4, -0.3, -4.0))
    screen.settled(camera)
    for x, y in [(120.5, 90.5), (100.5, 70.5), (150.5, 110.5)]:
        point = screen.page.evaluate("([camera, x, y]) => renderer.pick(camera, x, y)", [plain(camera), x, y])
        assert abs(point[2] - 0.5 * point[0]) < 0.02
        back = camera.K @ (camera.viewmat[:3, :3] @ torch.tensor(point) + camera.viewmat[:3, 3])
        assert (back[:2] / back[2] - torch.tensor([x, y])).abs().max() < 0.01
    assert screen.page.evaluate("camera => renderer.pick(camera, 3, 3)", plain(camera)) is None
    bounds = screen.page.evaluate("renderer.bounds()")
    assert max(abs(value) for value in bounds["middle"]) < 0.1
    assert 0.8 < bounds["radius"] < 2
    assert all(abs(value) < 1.2 for value in bounds["low"] + bounds["high"])


def test_lines_are_faint_behind_things(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen(scene=single((0.0, 0.0, 0.0), scale=0.4))
    camera = seen_from((0.0, 0.0, -4.0))
    positions = "positions: new Float32Array([-2, 0, depth, 2, 0, depth])"
    line = f"depth => renderer.setLines('line', {{{positions}, color: [1, 1, 0, 1]}})"
    for kind in ["soft", "ellipsoids"]:
        screen.look(kind=kind, background=[0, 0, 0])
        screen.page.evaluate(line, -1.5)
        front = screen.settled(camera)[90, 120]
        screen.page.evaluate(line, 1.5)
        picture = screen.settled(camera)
        behind, beside = picture[90, 120], picture[90, 60]
        assert front[0] > 150
        assert 10 < behind[0] < 90
        assert beside[0] > 150
        assert (picture[..., 2] < 30).all()
    screen.page.evaluate("renderer.setLines('line', null)")
    assert (screen.settled(camera)[90, 60] == 0).all()


BROKEN_WORKERS = {
    "refused": "throw new Error('none here');",
    "not there": "setTimeout(() => this.onerror(new Event('error')));",
}


@pytest.mark.parametrize("how", BROKEN_WORKERS)
def test_without_worker(open_screen: Callable[..., Screen], how: str) -> None:
    """Where no worker starts, the page sorts by itself."""
    screen = open_screen(scene=single())
    counts = screen.page.evaluate(
        """async (breaks) => {
          const { Sorter } = await import("./sorter.js");
          window.Worker = class { constructor() { this.start(); } postMessage() {} terminate() {} };
          window.Worker.prototype.start = new Function(breaks);
          const counts = [];
          const sorter = new Sorter((reply) => counts.push(reply.count));
          sorter.begin(1, 1024);
          sorter.append(1, await read("scene"));
          const view = { viewmat: [1,0,0,0, 0,1,0,0, 0,0,1,4, 0,0,0,1], K: [50, 50, 25, 25], width: 50, height: 50,
            near: 0.2, size: 1, margin: 0 };
          await sorter.exactly({ id: 1, version: 1, view });
          return counts;
        }""",
        BROKEN_WORKERS[how],
    )
    assert counts == [1]
