"""The viewer's page in a real browser: everything a person does there, by pointer, by touch and by keyboard alone."""

import base64
import math
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sfumato import formats
from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.view.page import Page, PageCamera, SplatFile, embeddable

from browser import Watched

DESKTOP = {"width": 720, "height": 480}
PHONE = {"width": 390, "height": 844}
CANVAS = "canvas.scene"
VIEWER = "window.sfumato.viewer"
MIDDLE = (360, 240)  # of the canvas on a desktop

Opener = Callable[..., Watched]


def wall(side: int = 24) -> Gaussians:
    """A wall of opaque Gaussians in the plane z = 0, 2 wide and high, each corner in a color of its own."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="xy")
    means = torch.stack([x.flatten(), y.flatten(), torch.zeros(side * side)], 1)
    N = len(means)
    colors = torch.stack([(means[:, 0] + 1) / 2, (means[:, 1] + 1) / 2, torch.full((N,), 0.3)], 1)
    return Gaussians(
        means=means,
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(N, 1),
        log_scales=torch.full((N, 3), 0.06).log(),
        logit_opacities=torch.full((N,), 5.0),
        sh0=((colors - 0.5) / 0.28209479177387814)[:, None],
        shN=torch.zeros(N, 0, 3),
    )


@pytest.fixture(scope="module")
def splat(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The wall as a PLY file."""
    path = tmp_path_factory.mktemp("splat") / "wall.ply"
    formats.write(path, wall())
    return path.read_bytes()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The wall, ten times as large."""
    path = tmp_path_factory.mktemp("splat") / "large.ply"
    small = wall()
    formats.write(path, replace(small, means=10 * small.means, log_scales=small.log_scales + math.log(10)))
    return path.read_bytes()


def camera_at(position: tuple[float, float, float], width: int = 160, height: int = 120) -> Camera:
    """A camera that looks at the middle of the wall; -y is up."""
    up = torch.tensor([0.0, -1.0, 0.0])
    return Camera.look_at(torch.tensor(position), torch.zeros(3), up, 150.0, width, height)


def photo(width: int, height: int) -> bytes:
    """A green picture as JPEG."""
    data = BytesIO()
    Image.new("RGB", (width, height), (20, 200, 60)).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def shown(open_page: Opener, serve_folder: Callable[..., str], web: Path, splat: bytes) -> Callable[..., Watched]:
    """A function that opens the page with the wall, or another `page`, and waits for its picture."""

    def show(page: Page | None = None, query: str = "?file=wall.ply", **options: Any) -> Watched:
        index = (web / "index.html").read_text(encoding="utf-8")
        files = {"wall.ply": splat, "green.jpg": photo(160, 120)}
        if page is not None:
            files["index.html"] = index.replace('id="page">{}', f'id="page">{embeddable(page)}').encode("utf-8")
        url = serve_folder(**files)
        watched = open_page(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        watched.page.goto(f"{url}/{query}")
        watched.page.evaluate("window.sfumato.ready")
        return watched

    return show


def with_cameras() -> Page:
    """The wall with five cameras on a row in front of it, one of them held out, four with a photo."""
    cameras = [
        PageCamera.of(
            camera_at((x, -0.2, -4.0)), f"photo_{i}.jpg", "test" if i == 2 else "train", None if i == 3 else "green.jpg"
        )
        for i, x in enumerate((-2.0, -1.0, 0.0, 1.0, 2.0))
    ]
    return Page("wall", SplatFile("wall.ply", "wall.ply", 1), up=(0.0, -1.0, 0.0), cameras=cameras)


def pose(page: Any) -> dict[str, Any]:
    """Where the view is: its camera, and the distance to what it turns around."""
    return dict(page.evaluate(f"{VIEWER}.stage.pose"))


def position(page: Any) -> torch.Tensor:
    """(3,) of the view's camera."""
    viewmat = torch.tensor(pose(page)["camera"]["viewmat"], dtype=torch.float64).reshape(4, 4)
    return -viewmat[:3, :3].T @ viewmat[:3, 3]


def projected(page: Any, point: list[float]) -> torch.Tensor:
    """(2,) pixels of the canvas at which a point of the world is."""
    camera = page.evaluate(f"{VIEWER}.stage.screen")
    viewmat = torch.tensor(camera["viewmat"], dtype=torch.float64).reshape(4, 4)
    x, y, z = viewmat[:3, :3] @ torch.tensor(point, dtype=torch.float64) + viewmat[:3, 3]
    fx, fy, cx, cy = camera["K"]
    return torch.stack([fx * x / z + cx, fy * y / z + cy])


def rest(page: Any) -> None:
    """Wait until the view has come to rest and is drawn."""
    page.wait_for_function(f"() => {{ const s = {VIEWER}.stage; return !s.waiting && !s.flight && s.drawn === 1; }}")


def status(page: Any) -> str:
    """What the page says at its lower edge."""
    return str(page.get_by_role("status").first.text_content())


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """Whether they are no farther apart."""
    return bool((a - b).norm() <= tolerance)


def test_by_keyboard_alone(shown: Callable[..., Watched]) -> None:
    """Tab reaches every control, each has a name of its own, and keys do what the help says."""
    page = shown(with_cameras()).page
    page.locator(CANVAS).focus()
    names = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")
        if page.evaluate("document.activeElement === document.body") or name in names:
            break
        names.append(name)
        assert page.evaluate("document.activeElement.matches(':focus-visible')")
    reachable = page.locator("aside :is(button, input):visible")
    radios = page.locator("aside input[type=radio]")  # one stop of Tab for all of them
    assert len([name for name in names if name]) >= reachable.count() - radios.count() + 1, names
    for word in ("Opacity", "Background", "Next camera", "turntable", "Copy", "Help", "Statistics"):
        assert any(word in name for name in names), f"{word} is not among {names}"
    page.keyboard.press("2")
    assert page.get_by_role("radio", name="Ellipsoids").is_checked()
    assert page.evaluate("window.sfumato.renderer.look.kind") == "ellipsoids"
    page.get_by_role("radio", name="Ellipsoids").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.sfumato.renderer.look.kind") == "centers"
    page.keyboard.press("1")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys and gestures")
    assert dialog.is_visible()
    before = position(page)
    page.keyboard.press("ArrowRight")  # the dialog has the keys
    assert close(position(page), before, 1e-9)
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    page.locator(CANVAS).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    assert not close(position(page), before, 0.05)
    page.keyboard.press("r")
    rest(page)
    assert close(position(page), before, 1e-6)
    page.keyboard.press("h")
    assert page.get_by_role("slider", name="Opacity").is_hidden()
    page.keyboard.press("h")
    assert page.get_by_role("slider", name="Opacity").is_visible()


def test_settings_reach_the_picture(shown: Callable[..., Watched]) -> None:
    page = shown().page
    page.get_by_role("slider", name="Opacity").fill("0.5")
    page.get_by_role("slider", name="Exposure").fill("-1")
    page.get_by_label("Background").fill("#ff0000")
    page.get_by_role("switch", name="Antialiased").check()
    look = page.evaluate("window.sfumato.renderer.look")
    assert (look["opacity"], look["exposure"], look["background"], look["antialiased"]) == (0.5, -1, [1, 0, 0], True)
    assert page.get_by_role("slider", name="Opacity").get_attribute("aria-valuetext") == "50 %"
    page.get_by_role("switch", name="Statistics").check()
    page.wait_for_function("document.querySelector('.statistics').textContent.includes('576')")
    assert page.get_by_role("slider", name="SH degree").count() == 0  # this splat has no color by direction
    page.get_by_role("radio", name="Centers").check()
    assert page.get_by_role("slider", name="Point size").is_visible()
    assert page.get_by_role("slider", name="Deviations").count() == 0


def test_nothing_is_drawn_at_rest(shown: Callable[..., Watched]) -> None:
    page = shown().page
    rest(page)
    page.wait_for_timeout(400)
    counted = "r => { const draw = r.draw; r.draws = 0; r.draw = (c) => { r.draws++; draw.call(r, c); }; }"
    page.evaluate(f"({counted})(window.sfumato.renderer)")
    page.wait_for_timeout(400)
    page.mouse.move(200, 200)
    assert page.evaluate("window.sfumato.renderer.draws") == 0
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("window.sfumato.renderer.draws > 0")
    page.evaluate(f"[100, 100, 100].map((ms) => {VIEWER}.stage.adapt(ms))")  # frames are slow here
    counted = "r => { const draw = r.draw; r.widths = []; r.draw = (c) => { r.widths.push(c.width); draw(c); }; }"
    page.evaluate(f"({counted})(window.sfumato.renderer)")
    page.keyboard.press("ArrowLeft")
    rest(page)
    widths = page.evaluate("window.sfumato.renderer.widths")
    assert (widths[0], widths[-1]) == (DESKTOP["width"] // 2, DESKTOP["width"]), "small while moving, sharp at rest"


def test_pointer(shown: Callable[..., Watched]) -> None:
    """What is under the pointer stays there when zooming and moving; a turn keeps the distance; a double click goes."""
    page = shown().page
    rest(page)
    spot = (330.0, 180.0)
    point = page.evaluate(f"Array.from({VIEWER}.stage.pick({spot[0]}, {spot[1]}))")
    assert abs(point[2]) < 0.1, "the wall is at z = 0"
    assert close(projected(page, point), torch.tensor(spot), 1.5)
    page.mouse.move(*spot)
    before = position(page)
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"{VIEWER}.controls.wheel === 0")
    rest(page)
    assert close(projected(page, point), torch.tensor(spot), 1.5)
    near = torch.tensor(point, dtype=torch.float64)
    assert (position(page) - near).norm() < 0.8 * (before - near).norm()
    # move sideways
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(spot[0] + 40, spot[1] + 25, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert close(projected(page, point), torch.tensor([spot[0] + 40, spot[1] + 25]), 2.5)
    # turn
    old, distance = position(page), pose(page)["distance"]
    page.mouse.move(200, 200)
    page.mouse.down()
    page.mouse.move(260, 230, steps=4)
    page.mouse.up()
    assert pose(page)["distance"] == distance
    assert position(page)[0] < old[0] - 0.05, "the scene follows the pointer to the right: the camera goes to the left"
    assert position(page)[1] < old[1] - 0.05, "and down: the camera goes up, where -y is"
    # go there
    page.keyboard.press("r")
    rest(page)
    target = page.evaluate(f"Array.from({VIEWER}.stage.pick(300, 300))")
    page.mouse.dblclick(300, 300)
    rest(page)
    assert close(projected(page, target), torch.tensor(MIDDLE), 2.0)


def test_flying(shown: Callable[..., Watched]) -> None:
    page = shown().page
    start = position(page)
    page.keyboard.press("w")
    assert page.get_by_role("button", name="Fly through the scene").get_attribute("aria-pressed") == "true"
    assert "F ends it" in status(page)
    ahead = position(page)
    assert ahead[2] > start[2], "forward is along z here"
    page.keyboard.press("e")
    up = position(page)
    assert up[1] < ahead[1]
    page.mouse.move(200, 200)
    page.mouse.down()
    page.mouse.move(260, 200, steps=3)
    page.mouse.up()
    assert close(position(page), up, 1e-9), "the head turns, the camera stays"
    page.keyboard.press("f")
    assert page.get_by_role("button", name="Fly through the scene").get_attribute("aria-pressed") == "false"


def test_a_key_that_is_let_go_ends_its_movement(shown: Callable[..., Watched]) -> None:
    """Shift and = are +, which is gone when Shift goes first; a Mac says nothing of what is let go before Command."""
    page = shown().page
    page.keyboard.down("Shift")
    page.keyboard.down("Equal")
    page.keyboard.up("Shift")
    page.keyboard.up("Equal")
    assert page.evaluate(f"{VIEWER}.controls.held.size") == 0
    page.keyboard.down("w")
    assert page.evaluate(f"{VIEWER}.controls.held.size") == 1
    page.evaluate("window.dispatchEvent(new KeyboardEvent('keyup', { key: 'Meta', code: 'MetaLeft' }))")
    assert page.evaluate(f"{VIEWER}.controls.held.size") == 0
    page.keyboard.up("w")


def test_a_finger_in_flight_glides_on_as_it_went(shown: Callable[..., Watched]) -> None:
    page = shown(viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion="no-preference").page
    rest(page)
    ahead = f"{VIEWER}.stage.pose.camera.viewmat[8]"  # x of the direction of view
    script = f"""async () => {{
      const {{ controls, stage }} = {VIEWER};
      controls.fly(true);
      const found = [{ahead}];
      controls.slide(30, 0, false, true);
      found.push({ahead});
      controls.glide = {{ x: 2000, y: 0, pan: false, touch: true, time: 1 }};
      controls.coast(0.05);
      controls.glide.time = 0;
      found.push({ahead});
      return found;
    }}"""
    start, pulled, glided = page.evaluate(script)
    assert (pulled - start) * (glided - pulled) > 0


def test_a_view_that_moves_while_it_settles(shown: Callable[..., Watched]) -> None:
    """What is seen in the end is the newest view, not the one that was asked for before; a flight is at its end."""
    page = shown(reduced_motion="no-preference").page
    rest(page)
    page.evaluate(f"""() => {{
      const {{ stage, renderer }} = {VIEWER};
      const settle = renderer.settle.bind(renderer);
      renderer.settle = async (camera) => {{
        stage.set({{ ...stage.pose, camera: {{ ...stage.pose.camera, K: [90, 90, 80, 60] }} }});
        await new Promise((resolve) => setTimeout(resolve, 300)); // that view is drawn, and the page at rest
        await settle(camera);
      }};
      window.settled = stage.settle().then(() => (renderer.settle = settle));
    }}""")
    page.evaluate("window.settled")
    rest(page)
    wanted, drawn = page.evaluate(f"[{VIEWER}.stage.camera().K, window.sfumato.renderer.camera.K]")
    assert drawn == wanted
    page.evaluate(f"{VIEWER}.reset()")
    assert page.evaluate(f"{VIEWER}.stage.flight !== null")
    page.evaluate(f"{VIEWER}.settle()")
    assert page.evaluate(f"{VIEWER}.stage.pose.camera.K") == page.evaluate(
        f"{VIEWER}.firstPose({VIEWER}.stage.size).camera.K"
    )


def test_motion(shown: Callable[..., Watched]) -> None:
    """With motion a reset is seen on its way; without it is there at once, and looks do not fade."""
    moving = shown(reduced_motion="no-preference").page
    assert moving.evaluate("window.sfumato.renderer.look.fadeMs") > 0
    for _ in range(6):
        moving.keyboard.press("ArrowRight")
    moving.keyboard.press("r")
    assert moving.evaluate(f"{VIEWER}.stage.flight !== null")
    rest(moving)
    still = shown().page
    assert still.evaluate("window.sfumato.renderer.look.fadeMs") == 0
    start = position(still)
    for _ in range(6):
        still.keyboard.press("ArrowRight")
    still.keyboard.press("r")
    assert still.evaluate(f"{VIEWER}.stage.flight") is None
    assert close(position(still), start, 1e-9)


def test_the_focus_is_not_lost_with_the_panel(shown: Callable[..., Watched]) -> None:
    page = shown(with_cameras()).page
    page.get_by_role("slider", name="Opacity").focus()
    page.keyboard.press("h")
    folder = page.get_by_role("button", name="Controls")
    assert folder.evaluate("e => e === document.activeElement")
    page.keyboard.press("h")
    compare = page.get_by_role("button", name="Compare with photo")
    compare.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("slider", name="Compare photo and render").evaluate("e => e === document.activeElement")
    page.keyboard.press("Escape")
    assert compare.evaluate("e => e === document.activeElement")


def test_many_cameras_do_not_slow_the_sliders(shown: Callable[..., Watched]) -> None:
    """How large their frusta are is measured once, each camera against each."""
    page = shown(with_cameras()).page
    rest(page)
    page.evaluate(f"""() => {{
      const {{ gallery }} = {VIEWER};
      let size = gallery.size;
      window.measured = 0;
      const set = (value) => {{
        size = value;
        window.measured++;
      }};
      Object.defineProperty(gallery, "size", {{ get: () => size, set }});
    }}""")
    for _ in range(3):
        page.evaluate(f"{VIEWER}.change('exposure', 1)")
    assert page.evaluate("window.measured") == 0
    page.evaluate(f"{VIEWER}.gallery.replace([])")
    page.evaluate(f"{VIEWER}.change('exposure', 0)")
    assert page.evaluate("window.measured") == 1


def test_what_goes_wrong_with_a_screenshot_is_said(shown: Callable[..., Watched]) -> None:
    page = shown().page
    page.evaluate("() => { window.sfumato.renderer.pixels = () => { throw new Error('no memory'); }; }")
    page.keyboard.press("p")
    page.get_by_role("status").get_by_text("There is no picture: no memory").wait_for()


def test_a_link_restores_the_view(shown: Callable[..., Watched]) -> None:
    page = shown().page
    assert "#" not in page.url
    page.keyboard.press("3")
    page.get_by_role("slider", name="Point size").fill("7")
    page.locator(CANVAS).focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("location.hash.includes('points=7')")
    page.wait_for_timeout(300)
    there, link = position(page), page.url
    page.goto("about:blank")
    page.goto(link)
    page.evaluate("window.sfumato.ready")
    assert close(position(page), there, 1e-4)
    assert page.get_by_role("radio", name="Centers").is_checked()
    assert page.evaluate("window.sfumato.renderer.look.pointSize") == 7
    page.evaluate("location.hash = '#look=ellipsoids'")
    page.wait_for_function("window.sfumato.renderer.look.kind === 'ellipsoids'")


def test_a_picture_and_a_film(shown: Callable[..., Watched]) -> None:
    page = shown().page
    with page.expect_download() as saved:
        page.keyboard.press("p")
    assert saved.value.suggested_filename == "wall.png"
    with Image.open(saved.value.path()) as image:
        assert image.size == (DESKTOP["width"], DESKTOP["height"])
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 100
    with page.expect_download() as filmed:
        page.get_by_role("button", name="turntable").click()
        assert "Escape stops" in status(page)
        page.wait_for_timeout(700)
        page.keyboard.press("Escape")
    assert filmed.value.suggested_filename == "wall.webm"
    assert Path(filmed.value.path()).read_bytes()[:4] == b"\x1a\x45\xdf\xa3"  # EBML


def drop(page: Any, **files: bytes) -> None:
    """Let files fall onto the page."""
    texts = {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
    page.evaluate(
        """(texts) => {
            const dataTransfer = new DataTransfer();
            for (const [name, text] of Object.entries(texts)) {
                dataTransfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
            }
            for (const type of ["dragenter", "dragover", "drop"]) {
                document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
            }
        }""",
        texts,
    )


def test_files_are_dropped(shown: Callable[..., Watched], splat: bytes, large: bytes) -> None:
    """Nothing at first; a foreign and a truncated file get a sentence; a splat is shown; of several the first splat."""
    watched = shown(query="")
    page = watched.page
    assert page.get_by_role("heading", name="Drop a splat here").is_visible()
    assert page.get_by_role("slider").count() == 0
    with page.expect_file_chooser():
        page.get_by_role("button", name="Choose a file").click()
    alert = page.get_by_role("alert")
    drop(page, **{"letter.txt": b"Dear reader,\n" * 20})
    alert.get_by_text("letter.txt").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    assert page.get_by_role("heading", name="Drop a splat here").is_visible()
    drop(page, **{"head.ply": splat[:200]})
    alert.get_by_text("head.ply").wait_for()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open another file").click()
    chooser.value.set_files({"name": "wall.ply", "mimeType": "application/octet-stream", "buffer": splat})
    page.wait_for_function("window.sfumato.renderer.statistics.gaussians === 576")
    assert page.evaluate(f"document.activeElement === document.querySelector('{CANVAS}')"), "its button is gone"
    page.get_by_role("heading", name="wall.ply").wait_for()
    assert alert.count() == 0
    drop(page, **{"notes.txt": b"x", "second.ply": splat, "third.ply": splat})
    page.get_by_role("heading", name="second.ply").wait_for()
    page.get_by_role("status").get_by_text("3 files came; this is second.ply").wait_for()
    near = pose(page)["distance"]
    drop(page, **{"large.ply": large})
    page.wait_for_function(f"{VIEWER}.stage.pose.distance > {5 * near}")  # each scene is framed as large as it is
    drop(page, **{"half.ply": splat[: len(splat) // 2]})  # what is there of it is shown
    page.get_by_role("status").get_by_text("truncated").wait_for()
    drop(page, **{"letter.txt": b"Dear reader,\n" * 20})  # what is shown stays
    alert.get_by_text("letter.txt").wait_for()
    page.keyboard.press("Escape")
    assert alert.count() == 0
    assert page.locator(CANVAS).is_visible()


def test_a_file_that_shows_nothing_takes_nothing_away(shown: Callable[..., Watched], tmp_path: Path) -> None:
    """The scene, its name, its cameras and a training that goes on stay as they were."""
    page = shown(with_cameras()).page
    gaussians = wall(4)
    formats.write(tmp_path / "nan.ply", replace(gaussians, means=gaussians.means * math.nan))
    for name, data in {"letter.txt": b"Dear reader,\n" * 20, "nan.ply": (tmp_path / "nan.ply").read_bytes()}.items():
        drop(page, **{name: data})
        page.get_by_role("alert").get_by_text(name).wait_for()
        page.keyboard.press("Escape")
        assert page.get_by_role("heading", name="wall").is_visible()
        assert page.get_by_text("5 cameras").is_visible()
        assert page.evaluate(f"[{VIEWER}.local, {VIEWER}.renderer.cloud?.count]") == [False, 576]


def test_a_graphics_card_without_room(shown: Callable[..., Watched], splat: bytes, large: bytes) -> None:
    """Fewer Gaussians are tried, the most important; where none fit, that is said."""
    page = shown().page
    page.evaluate("""async () => {
      const { GraphicsError } = await import("./graphics.js");
      const { renderer } = window.sfumato;
      const begin = renderer.begin.bind(renderer);
      window.room = 300;
      renderer.begin = (count, degree) => {
        if (count > window.room) throw new GraphicsError("There is no room.");
        begin(count, degree);
      };
    }""")
    drop(page, **{"second.ply": splat})
    page.get_by_role("status").get_by_text("This device can show 288 of the 576 Gaussians").wait_for()
    page.evaluate("window.room = 0")
    drop(page, **{"large.ply": large})
    page.get_by_role("alert").get_by_text("There is no room.").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    assert page.get_by_role("heading", name="Drop a splat here").is_visible()
    page.evaluate("window.room = 1e9")
    drop(page, **{"second.ply": splat})
    page.get_by_role("status").get_by_text("576 Gaussians").wait_for()


def test_a_scene_that_cannot_be_sorted(shown: Callable[..., Watched], splat: bytes) -> None:
    """The worker that sorts has no memory for it: that is said, nothing waits for ever, and the next scene is shown."""
    page = shown().page
    page.evaluate("""() => {
      const { sorter } = window.sfumato.renderer;
      const begin = sorter.begin.bind(sorter);
      sorter.begin = (id) => {
        sorter.begin = begin;
        begin(id, 2 ** 50);
      };
    }""")
    drop(page, **{"second.ply": splat})
    page.get_by_role("alert").get_by_text("The Gaussians could not be sorted").wait_for()
    page.evaluate(f"{VIEWER}.settle()")
    drop(page, **{"third.ply": splat})
    page.wait_for_function("window.sfumato.renderer.cloud?.visible > 100")
    assert page.get_by_role("alert").count() == 0


def test_a_file_while_another_is_finished(shown: Callable[..., Watched], splat: bytes) -> None:
    """What is said of the first comes too late; a film of the old scene ends."""
    page = shown().page
    page.evaluate(f"""() => {{
      const settle = {VIEWER}.settle.bind({VIEWER});
      window.finishing = new Promise((begun) => {{
        {VIEWER}.settle = async () => {{
          {VIEWER}.settle = settle;
          begun();
          await new Promise((resolve) => (window.finish = resolve));
        }};
      }});
    }}""")
    page.evaluate(f"{VIEWER}.share.film()")
    drop(page, **{"second.ply": splat})
    page.evaluate("window.finishing")
    assert page.evaluate(f"{VIEWER}.share.turntable?.recorder.state ?? null") in (None, "inactive")
    drop(page, **{"letter.txt": b"Dear reader,\n" * 20})
    page.get_by_role("alert").get_by_text("letter.txt").wait_for()
    assert status(page) == ""
    page.evaluate("window.finish()")
    page.wait_for_timeout(50)
    assert status(page) == ""


def test_a_missing_or_foreign_file(shown: Callable[..., Watched]) -> None:
    watched = shown(query="?file=missing.ply")
    watched.expected.append("404")
    watched.page.get_by_role("alert").get_by_text("missing.ply").wait_for()
    watched.page.goto(re.sub(r"\?.*", "?file=100%25.ply", watched.page.url))
    watched.page.get_by_role("alert").get_by_text("100%.ply").wait_for()
    watched.page.goto(re.sub(r"\?.*", "?file=http://192.0.2.1/a.ply", watched.page.url))
    assert watched.page.get_by_role("heading", name="Drop a splat here").is_visible()


def test_cameras(shown: Callable[..., Watched]) -> None:
    """A frustum is clicked, the next ones are flown to, and photos are compared with the picture, exactly above it."""
    page = shown(with_cameras()).page
    cameras = page.evaluate("window.sfumato.page.cameras")
    assert close(position(page), torch.tensor([0.0, -0.2, -4.0], dtype=torch.float64), 1e-5), (
        "the middle one is the start"
    )
    page.get_by_role("switch", name="Show as frusta").check()
    for _ in range(5):
        page.keyboard.press("-")
    rest(page)
    spot = projected(page, [-1.0, -0.2, -4.0])
    page.mouse.click(*spot.tolist())
    rest(page)
    assert close(position(page), torch.tensor([-1.0, -0.2, -4.0], dtype=torch.float64), 1e-5)
    assert page.get_by_text("photo_1.jpg").first.is_visible()
    page.get_by_role("button", name="Next camera").click()
    assert page.get_by_text("3 of 5, held out").is_visible()
    page.keyboard.press("c")
    line = page.get_by_role("slider", name="Compare photo and render")
    assert line.evaluate("e => e === document.activeElement")
    rest(page)
    boxes = [page.locator(name).bounding_box() for name in (CANVAS, ".wipe-left")]
    assert boxes[0] == boxes[1]
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(160 / 120, rel=0.01)
    drawn = page.evaluate("window.sfumato.camera()")
    assert drawn["viewmat"] == pytest.approx(cameras[2]["viewmat"], abs=1e-12)
    assert drawn["K"][0] / drawn["width"] == pytest.approx(cameras[2]["K"][0] / 160)
    page.keyboard.press("End")
    assert line.get_attribute("aria-valuenow") == "100"
    page.keyboard.press("]")  # the fourth has no photo
    assert page.get_by_role("group", name="Comparison").get_by_text("photo_4.jpg").is_visible()
    previous = page.get_by_role("button", name="Previous photo")
    previous.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("group", name="Comparison").get_by_text("photo_2.jpg").is_visible()
    assert previous.evaluate("e => e === document.activeElement"), "pressed again it leads to the photo before"
    page.keyboard.press("Escape")
    assert line.count() == 0
    page.keyboard.press("c")
    assert line.count() == 1
    page.evaluate("location.hash = '#at=0,0,-3&to=0,0,0&up=0,-1,0&focal=300&frame=400x300'")
    page.wait_for_function("!document.querySelector('.wipe')")  # a photo of another view
    box = page.locator(CANVAS).bounding_box()
    assert (box["width"], box["height"]) == (DESKTOP["width"], DESKTOP["height"])


def test_without_webgl2(open_page: Opener, serve_folder: Callable[..., str]) -> None:
    watched = open_page(viewport=DESKTOP)
    watched.page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"
    )
    watched.page.goto(serve_folder())
    watched.page.get_by_role("alert").get_by_text("WebGL2").wait_for()
    assert watched.page.evaluate("window.sfumato.renderer") is None


def test_lost_graphics(shown: Callable[..., Watched]) -> None:
    watched = shown()
    watched.expected.append("CONTEXT_LOST")
    page = watched.page
    page.evaluate("window.lose = window.sfumato.renderer.gl.getExtension('WEBGL_lose_context'); lose.loseContext()")
    page.get_by_role("alert").get_by_text("graphics card").wait_for()
    page.keyboard.press("ArrowLeft")  # nothing breaks meanwhile
    page.evaluate("lose.restoreContext()")
    page.get_by_role("alert").wait_for(state="hidden")
    page.evaluate("window.sfumato.settle()")
    colors = page.evaluate("new Set(window.sfumato.renderer.pixels().data).size")
    assert colors > 50


def test_phone(shown: Callable[..., Watched]) -> None:
    """Nothing is wider than the screen, and every control can be brought into sight."""
    page = shown(with_cameras(), viewport=PHONE, has_touch=True, is_mobile=True).page
    assert page.get_by_role("slider", name="Opacity").is_hidden(), (
        "the panel begins closed: the scene is what one came for"
    )
    page.get_by_role("button", name="Controls").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(
        "document.querySelector('.panel-body').scrollWidth <= document.querySelector('.panel-body').clientWidth"
    )
    controls = page.locator("aside :is(button, input):visible")
    for i in range(controls.count()):
        controls.nth(i).scroll_into_view_if_needed()
        box = controls.nth(i).bounding_box()
        assert (box["x"] >= 0, box["x"] + box["width"] <= PHONE["width"]) == (True, True)
        assert (box["y"] >= 0.4 * PHONE["height"], box["y"] + box["height"] <= PHONE["height"] + 1) == (True, True)
    page.get_by_role("button", name="Help").tap()
    box = page.get_by_role("dialog").bounding_box()
    assert (box["x"] >= 0, box["x"] + box["width"] <= PHONE["width"]) == (True, True)


class Fingers:
    """Several fingers on the screen, by the browser's own protocol."""

    def __init__(self, page: Any) -> None:
        self.session = page.context.new_cdp_session(page)

    def put(self, kind: str, *spots: tuple[float, float]) -> None:
        """kind: touchStart, touchMove or touchEnd, with all the fingers that are on the screen."""
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(spots)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *paths: tuple[tuple[float, float], tuple[float, float]], steps: int = 5) -> None:
        """Each finger from a spot to a spot, all at once."""
        self.put("touchStart", *(start for start, _ in paths))
        for i in range(1, steps + 1):
            share = i / steps
            self.put("touchMove", *((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])) for a, b in paths))
        self.put("touchEnd")


def test_touch(shown: Callable[..., Watched]) -> None:
    page = shown(viewport=PHONE, has_touch=True, is_mobile=True).page
    rest(page)
    fingers = Fingers(page)
    start, distance = position(page), pose(page)["distance"]
    fingers.drag(((195, 400), (255, 400)))
    rest(page)
    assert position(page)[0] < start[0] - 0.05, "one finger turns"
    assert pose(page)["distance"] == pytest.approx(distance)
    page.evaluate(f"{VIEWER}.reset()")
    rest(page)
    point = page.evaluate(f"Array.from({VIEWER}.stage.pick(195, 400))")
    fingers.drag(((155, 400), (125, 430)), ((235, 400), (305, 430)))  # the middle goes by (20, 30), the gap grows
    rest(page)
    assert close(projected(page, point), torch.tensor([215.0, 430.0]), 4.0), "what is between two fingers follows them"
    near = torch.tensor(point, dtype=torch.float64)
    ratio = (position(page) - near).norm() / (start - near).norm()
    assert float(ratio) == pytest.approx(80 / 180, rel=0.1), "as near as the fingers went apart"
    old = position(page)
    fingers.drag(((100, 300), (100, 360)), ((200, 300), (200, 360)), ((300, 300), (300, 360)))
    rest(page)
    moved = position(page) - old
    assert moved[1] < 0, "three fingers down: the scene goes down, the camera up"
    assert moved[[0, 2]].norm() < 1e-6
    # a double tap goes there
    page.evaluate(f"{VIEWER}.reset()")
    rest(page)
    target = page.evaluate(f"Array.from({VIEWER}.stage.pick(230, 380))")
    for _ in range(2):
        fingers.put("touchStart", (230, 380))
        fingers.put("touchEnd")
    rest(page)
    assert close(projected(page, target), torch.tensor([195.0, 422.0]), 2.0)


def test_one_gaussian(open_page: Opener, serve_folder: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "one.ply"
    formats.write(path, wall()[torch.tensor([300])])
    page = open_page(viewport=DESKTOP).page
    page.goto(serve_folder(**{"one.ply": path.read_bytes()}) + "/?file=one.ply")
    page.evaluate("window.sfumato.ready")
    assert status(page) == "1 Gaussian"
    pixels = page.evaluate(
        "window.sfumato.renderer.pixels().data.filter((value, i) => i % 4 === 0 && value > 100).length"
    )
    assert pixels > 500, "it is framed so that it can be seen"
