"""A training looked at in the browser: what pages are sent, what they may ask for, and that training does not mind."""

import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from offerings import blender
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.core.scene import Picture, Points, Scene, View
from sfumato.evaluate import psnr
from sfumato.render.render import render
from sfumato.train import Progressed, TrainConfig, train
from sfumato.view.channel import MOST_PAGES, PIECE
from sfumato.view.history import History
from sfumato.view.live import Live, Moment
from sfumato.view.pace import Pace
from sfumato.view.packed import pack, to_bytes
from sfumato.view.page import Page
from sfumato.view.server import Background, create_app

from browser import Watched
from scenes import crowd

SIZE = (32, 24)
WAIT = 20.0  # seconds after which a test has failed


def make_scene() -> Scene:
    """Six photos of a few Gaussians, two of them held out."""
    random = torch.Generator().manual_seed(3)
    means = torch.rand(12, 3, generator=random) - 0.5
    truth = Gaussians(
        means=means,
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(12, 1),
        log_scales=torch.full((12, 3), -1.7),
        logit_opacities=torch.full((12,), 2.0),
        sh0=torch.randn(12, 1, 3, generator=random),
        shN=torch.zeros(12, 0, 3),
    )
    views = []
    for index in range(6):
        position = torch.tensor([3 * math.cos(index), 0.5, 3 * math.sin(index)])
        camera = Camera.look_at(position, torch.zeros(3), torch.tensor([0.0, -1, 0]), 30.0, *SIZE)
        photo = to_uint8(render(truth, camera, backend="reference").image)
        views.append(View(f"{index}.png", camera, photo, "test" if index in (1, 4) else "train"))
    return Scene(views, Points(means, torch.full((12, 3), 128, dtype=torch.uint8)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


class Served:
    """A Live, its server, and a training that a test steps through by hand."""

    def __init__(self, live: Live, server: Background) -> None:
        self.live, self.server, self.url = live, server, server.url
        self.step = 0

    def listen(self, **options: Any) -> ClientConnection:
        address = self.url.replace("http", "ws", 1) + "live"
        return connect(address, **{"compression": None, "max_size": None, **options})

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=WAIT) as answer:
            return bytes(answer.read())

    def do(self, gaussians: Gaussians, steps: int = 100) -> None:
        """One step."""
        self.step += 1
        self.live.step(Moment(self.step, steps, 0.5, len(gaussians), 0.1 * self.step), gaussians)

    def until(self, gaussians: Gaussians, reached: Callable[[], object]) -> None:
        """Steps until something is so."""
        for _ in waiting(reached):
            self.do(gaussians)


@pytest.fixture
def served(scene: Scene) -> Iterator[Served]:
    with serving(scene) as served:
        yield served


@contextmanager
def serving(scene: Scene, **options: Any) -> Iterator[Served]:
    usual = {"backend": "reference", "shares": (0.9, 0.9), "clock": time.perf_counter}
    live = Live(scene, psnr, **{**usual, **options})
    try:
        with Background(create_app(Page("toy", live=True), {}, live.routes), port=0) as server:
            yield Served(live, server)
            live.end()
    finally:
        live.close()


def waiting(reached: Callable[[], object]) -> Iterator[None]:
    """Turns of a loop until something is so."""
    end = time.monotonic() + WAIT
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        yield
        time.sleep(0.005)


def wait(reached: Callable[[], object]) -> None:
    for _ in waiting(reached):
        pass


def ask(client: ClientConnection, kind: str, **values: Any) -> None:
    client.send(json.dumps({"type": kind, **values}))


def hear(client: ClientConnection, kind: str, **wanted: Any) -> dict[str, Any]:
    """The next message of a kind with these values; others are passed over."""
    while True:
        message = client.recv(timeout=WAIT)
        if isinstance(message, bytes):
            continue
        found = json.loads(message)
        if found["type"] == kind and all(found[key] == value for key, value in wanted.items()):
            return dict(found)


def snapshot(client: ClientConnection) -> tuple[int, bytes]:
    """The step and the bytes of the next snapshot."""
    announced = hear(client, "snapshot")
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < announced["bytes"]:
        message = client.recv(timeout=WAIT)
        if isinstance(message, bytes):
            pieces.append(message)
    assert len(pieces) == announced["pieces"]
    return announced["step"], b"".join(pieces)


def step_of(data: bytes) -> int:
    length = struct.unpack("<I", data[4:8])[0]
    return int(json.loads(data[8 : 8 + length])["step"])


def test_a_snapshot_is_the_gaussians_of_its_step(served: Served, seed: int) -> None:
    gaussians = crowd(1500, 3)
    with served.listen() as client:
        ask(client, "ready")
        served.until(gaussians, lambda: served.live.channel._newest)
        step, data = snapshot(client)
        assert 1 <= step <= served.step
        assert data == to_bytes(pack(gaussians), step=step, of=1500)


def test_a_page_is_sent_no_more_harmonics_than_are_learned(served: Served, seed: int) -> None:
    gaussians = crowd(100, 3)
    with served.listen() as client:
        ask(client, "ready")
        for _ in waiting(lambda: served.live.channel._newest):
            served.live.step(Moment(1, 100, 0.5, 100, 0.1, degree=1), gaussians)
        assert snapshot(client)[1] == to_bytes(pack(gaussians, 1), step=1, of=100)


def test_a_page_that_holds_few_is_sent_few(served: Served, seed: int) -> None:
    with served.listen() as client:
        ask(client, "ready", limit=70)
        served.until(crowd(200, 0), lambda: served.live.channel._newest)
        _, data = snapshot(client)
        length = struct.unpack("<I", data[4:8])[0]
        header = json.loads(data[8 : 8 + length])
        assert (header["count"], header["of"]) == (70, 200)


def test_the_newest_wins_for_a_slow_page(served: Served, seed: int) -> None:
    """A page that is not ready costs no snapshot; once it is, it gets the newest, not those in between."""
    gaussians = crowd(300, 1)
    with served.listen() as slow, served.listen() as quick:
        for client in (slow, quick):
            ask(client, "ready")
        served.until(gaussians, lambda: served.live.channel._newest)
        first = snapshot(slow)[0]
        assert snapshot(quick)[0] == first
        taken = served.live.channel._newest
        for _ in range(20):  # nobody is ready
            served.do(gaussians)
            time.sleep(0.005)
        assert served.live.channel._newest is taken
        for _ in range(3):
            ask(quick, "ready")
            before = served.live.channel._newest
            served.until(gaussians, lambda before=before: served.live.channel._newest is not before)
            latest = snapshot(quick)[0]
        ask(slow, "ready")
        assert snapshot(slow)[0] == latest > first


def test_training_does_not_wait_for_a_page_that_never_reads(scene: Scene, seed: int) -> None:
    gaussians = crowd(60_000, 3)
    photos = Scene(
        [view for view in scene.views if view.split == "train"], scene.points
    )  # renders would take their time
    with serving(photos, patience=0.5) as served, raw_socket(served):
        wait(lambda: served.live.channel.waiting)
        served.until(gaussians, lambda: served.live.channel._newest)
        assert len(served.live.channel._newest.data) > 8 * PIECE  # more than any buffer between the two
        with served.listen() as client:
            ask(client, "ready")
            assert snapshot(client)[0]  # whoever reads is served meanwhile
            longest = 0.0
            for _ in waiting(lambda: served.live.channel.pages == 1):  # the other one is left behind
                began = time.perf_counter()
                served.do(gaussians)
                longest = max(longest, time.perf_counter() - began)
            assert longest < 0.25
            ask(client, "ready")
            before = served.live.channel._newest
            served.until(gaussians, lambda: served.live.channel._newest is not before)
            assert snapshot(client)[0]


def raw_socket(served: Served) -> socket.socket:
    """A page that says it is ready and then never reads a byte."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", served.server.port))
    host = f"127.0.0.1:{served.server.port}"
    lines = ["GET /live HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
    found.sendall("\r\n".join(lines).encode())
    assert b" 101 " in found.recv(15)
    text = b'{"type":"ready"}'
    found.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)  # masked with zeros
    return found


def test_a_page_that_comes_late_or_again_is_told_everything(served: Served) -> None:
    gaussians = crowd(50, 0)
    for step in range(1, 6):
        served.do(gaussians)
        served.live.measured(step, 0.1 * step, 20.0 + step, 50, 0.5 * step)
    with served.listen() as client:
        told = hear(client, "history")
        assert [point[:5] for point in told["points"]] == [[s, s / 10, 20 + s, 50, s / 2] for s in range(1, 6)]
        assert all(point[5] > 1e6 for point in told["points"])  # bytes of memory
        served.live.measured(6, math.nan, math.inf, 50, 3.0)
        served.live.became("training")  # news go out with the next state
        assert [point[:4] for point in hear(client, "points")["points"]] == [[6, None, None, 50]]
    with served.listen() as again:
        assert len(hear(again, "history")["points"]) == 6


def test_curves_stay_short() -> None:
    history = History(most=100)
    for step in range(1, 10_001):
        history.add(step, 1 / step, 20.0, step, step / 10, None)
    points = history.since().points
    assert 50 <= len(points) <= 100
    steps = [point[0] or 0 for point in points]
    assert steps[0] == 1
    assert steps[-1] == 10_000
    assert steps == sorted(set(steps))
    seen = history.since().seen
    history.add(10_001, None, None, 1, 1.0, None)
    assert [point[0] for point in history.since(seen).points] == [10_001]


def test_a_pace_keeps_its_share() -> None:
    now = [0.0]
    pace, spent = Pace(0.02, lambda: now[0]), 0.0
    while now[0] < 1000:
        if pace.due:
            cost = 0.5 + (now[0] % 7) / 7
            pace.spend(cost)
            spent += cost
        now[0] += 0.1
    assert 15 < spent < 21.5  # 2 % of 1000 s, and the last one is not yet paid


def test_held_out_photos_beside_their_renders(served: Served, scene: Scene, seed: int) -> None:
    gaussians = crowd(30, 0)
    with served.listen() as client:
        wait(lambda: served.live._held.ready)
        assert [shown["name"] for shown in hear(client, "held", ready=True)["pictures"]] == ["1.png", "4.png"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            served.get("held/0/render.jpg")
        served.until(gaussians, lambda: served.live.history.since().held)
        while True:
            pictures = hear(client, "held")["pictures"]
            if all(picture["step"] for picture in pictures):
                break
    for index, view in enumerate(scene.test):
        image = render(gaussians, view.camera, background=torch.zeros(3), backend="reference").image
        assert pictures[index]["psnr"] == pytest.approx(psnr(image, view.image), abs=0.01)
        for name, wanted in (("photo", view.image), ("render", to_uint8(image))):
            found = opened(served.get(f"held/{index}/{name}.jpg?step=1"))
            assert found.shape == wanted.shape
            assert (found.float() - wanted.float()).abs().mean() < 8  # JPEG
    _, mean = served.live.history.since().held[-1]
    assert mean == pytest.approx(sum(picture["psnr"] for picture in pictures) / 2, abs=0.01)
    for path in ("held/2/photo.jpg", "held/-1/photo.jpg", "held/00/photo.jpg", "photos/6.jpg", "photos/x.jpg"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            served.get(path)
    assert opened(served.get("photos/5.jpg")).shape == (24, 32, 3)


def test_photos_are_decoded_one_at_a_time(scene: Scene) -> None:
    """Those of 24 megapixels would else take gigabytes, beside the training's own."""
    at_work, most = 0, 0

    def decode() -> Picture:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.05)
        at_work -= 1
        return Picture(scene.views[0].image)

    views = [replace(scene.train[0], name=str(index), photo=decode) for index in range(6)]
    with serving(replace(scene, views=views)) as served, ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(served.get, [f"photos/{index}.jpg" for index in range(6)]))) == 6
    assert most == 1


def opened(data: bytes) -> torch.Tensor:
    import io

    import numpy as np

    return torch.from_numpy(np.array(Image.open(io.BytesIO(data))))


def test_without_held_out_photos_there_is_nothing_to_render() -> None:
    scene = make_scene()
    scene = Scene([view for view in scene.views if view.split == "train"], scene.points)
    with serving(scene) as served, served.listen() as client:
        ask(client, "ready")
        served.until(crowd(20, 0), lambda: served.live.channel._newest)
        assert hear(client, "held")["pictures"] == []
        served.live.trained(crowd(20, 0), "scoring")
        assert hear(client, "state", state="scoring")


CONFIG = TrainConfig(steps=14, max_gaussians=60)


def watched_train(scene: Scene, served: Served, on_step: Callable[[Progressed], None]) -> Gaussians:
    """A training as the command line does it."""

    def step(progressed: Progressed) -> None:
        moment = Moment(progressed.step, progressed.steps, progressed.loss, 0, progressed.seconds, 0)
        served.live.step(moment, progressed.gaussians)
        on_step(progressed)
        served.live.wait(progressed.gaussians)
        if served.live.stop_asked:
            raise KeyboardInterrupt

    return train(scene, CONFIG, "reference", step)


def test_a_paused_training_gives_the_same_bits(served: Served, scene: Scene) -> None:
    plain = train(scene, CONFIG, "reference")
    seconds: list[float] = []
    with served.listen() as client:
        ask(client, "ready")

        def on_step(progressed: Progressed) -> None:
            seconds.append(progressed.seconds)
            if progressed.step == 8:
                ask(client, "pause")
                wait(lambda: served.live.paused)
                threading.Thread(target=resume).start()

        def resume() -> None:
            hear(client, "state", state="paused")
            ask(client, "ready")  # a paused training is looked at, too
            assert step_of(snapshot(client)[1]) <= 8
            time.sleep(0.5)
            ask(client, "resume")

        watched = watched_train(scene, served, on_step)
    for name, column in zip(plain.names(), zip(plain, watched, strict=True), strict=True):
        assert torch.equal(*column), name
    assert seconds[8] - seconds[7] < 0.4  # the pause is no time of training


def test_a_watched_training_gives_the_same_bits(scene: Scene) -> None:
    """With the kernels that people train with: snapshots and renders between the steps leave nothing behind."""
    config = TrainConfig(steps=25, max_gaussians=60)
    plain = train(scene, config, "cpu")
    with serving(scene, backend="cpu") as served, served.listen() as client:
        ask(client, "ready")
        wait(lambda: served.live.channel.waiting and served.live._held.ready)

        def step(progressed: Progressed) -> None:
            moment = Moment(progressed.step, progressed.steps, progressed.loss, 0, progressed.seconds, 3)
            served.live.step(moment, progressed.gaussians)
            wait(lambda: not served.live._encoding)

        watched = train(scene, config, "cpu", step)
        wait(lambda: served.live.channel._newest)
        assert served.live._held.complete
    for name, column in zip(plain.names(), zip(plain, watched, strict=True), strict=True):
        assert torch.equal(*column), name


def test_stop_from_a_page(served: Served, scene: Scene) -> None:
    reached: list[int] = []
    with served.listen() as client:

        def on_step(progressed: Progressed) -> None:
            reached.append(progressed.step)
            if progressed.step == 5:
                ask(client, "pause")
                wait(lambda: served.live.paused)
                ask(client, "stop")  # it ends the pause, too

        with pytest.raises(KeyboardInterrupt):
            watched_train(scene, served, on_step)
    assert reached == [1, 2, 3, 4, 5]


def test_a_pause_ends_when_it_is_enough(served: Served) -> None:
    gaussians = crowd(10, 0)
    with served.listen() as client:
        ask(client, "pause")
        wait(lambda: served.live.paused)
        before = time.process_time()
        end = time.monotonic() + 0.5
        served.live.wait(gaussians, lambda: time.monotonic() > end)
        assert time.process_time() - before < 0.3  # it does not spin
        assert hear(client, "state", state="paused")


def test_the_end_of_training(served: Served, seed: int) -> None:
    gaussians = crowd(200, 2)
    served.do(gaussians)
    served.live.trained(gaussians, "scoring")
    served.live.became("done", "Everything is in out.")
    with served.listen() as late:
        ask(late, "ready")
        assert hear(late, "state")["sentence"] == "Everything is in out."
        assert snapshot(late)[1] == to_bytes(pack(gaussians), step=1, of=200)
        wait(lambda: all(shown.step for shown in served.live._held.shown))
        served.live.end()
        with pytest.raises(ConnectionClosed) as closed:
            hear(late, "never")
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "training has ended")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b"ready", 1003, "only text is understood"),
        ("ready", 1008, "this is no JSON"),
        ('{"type":"rm"}', 1008, "type must be one of ready pause resume stop"),
        ('{"type":["stop"]}', 1008, "type must be one of ready pause resume stop"),
        ("[" * 150, 1008, "this is no JSON"),
        ("5", 1008, "type must be one of ready pause resume stop"),
        ('{"type":"ready","limit":-1}', 1008, "limit must be a whole number of Gaussians"),
        ('{"type":"ready","limit":true}', 1008, "limit must be a whole number of Gaussians"),
        (json.dumps({"type": "stop", "more": "x" * 300}), 1009, "messages have at most 200 letters"),
        ("x" * 100_000, 1009, ""),
    ],
)
def test_a_page_that_says_something_else_is_closed(served: Served, message: Any, code: int, reason: str) -> None:
    with served.listen() as other, served.listen() as client:
        hear(other, "state")
        client.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            hear(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
        assert reason in closed.value.rcvd.reason
        assert not served.live.stop_asked
        served.live.became("scoring")
        assert hear(other, "state", state="scoring")  # the others do not mind


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_a_foreign_page_is_refused(served: Served, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        served.listen(additional_headers=headers).close()
    assert served.live.channel.pages == 0


def test_too_many_pages(served: Served) -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(MOST_PAGES):
            hear(stack.enter_context(served.listen()), "state")
        with served.listen() as client, pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=WAIT)
        assert closed.value.rcvd.code == 1013  # type: ignore[union-attr]


def test_what_fails_beside_training_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **more: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sfumato.view.snapshots.pack", full)
    monkeypatch.setattr("sfumato.view.held.render", full)
    with served.listen() as client:
        ask(client, "ready")
        wait(lambda: served.live.channel.waiting)
        wait(lambda: served.live._held.ready)
        served.until(crowd(10, 0), lambda: len(served.live._notes) == 2)
        while len(found := set(hear(client, "note")["sentences"])) < 2:
            pass
    ending = ": there is not enough memory"
    assert found == {
        f"The page goes without {w}{ending}" for w in ("the held-out pictures", "a snapshot for the browser")
    }


def test_no_room_for_a_copy_ends_no_training(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **more: object) -> None:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr("sfumato.view.snapshots.torch.empty", full)
    with served.listen() as client:
        ask(client, "ready")
        served.until(crowd(10, 0), lambda: served.live._notes)
        assert hear(client, "note")["sentences"] == [
            "The page goes without a snapshot for the browser: there is not enough memory"
        ]


# ---- the page


WIDE = {"width": 700, "height": 360}  # wide enough for the panel to be open


def test_a_page_from_the_first_step_to_the_last(open_page: Callable[..., Watched], scene: Scene) -> None:
    """Trains beside a real browser: pictures, curves, held-out photos, pause, stop, the end, and a way back."""
    watched = open_page(viewport=WIDE)
    page = watched.page
    with serving(scene, shares=(0.3, 0.3)) as served:
        gaussians = crowd(300, 1, spread=0.3).transform(torch.eye(3), torch.tensor([0.0, 0, -3]))
        page.goto(served.url)
        page.get_by_role("status").get_by_text("Preparing").wait_for()
        seen = page.evaluate_handle("window.sfumato.renderer.statistics")

        def train_until(reached: Callable[[], object]) -> None:
            for _ in waiting(reached):
                served.do(gaussians, 4000)
                served.live.measured(served.step, 1 / served.step, 20 + served.step / 1000, 300, 0.1 * served.step)
                page.wait_for_timeout(20)

        train_until(lambda: seen.evaluate("statistics => statistics.gaussians") > 0)
        first = served.live.channel._newest.serial
        train_until(lambda: served.live.channel._newest.serial > first + 1)  # it asks for more by itself
        page.get_by_role("status").get_by_text("Training", exact=True).wait_for()
        train_until(
            lambda: page.locator(".held-out .wipe").is_visible() and page.locator(".training .curve").count() == 2
        )
        train_until(lambda: "held-out photos" in (label(page) or ""))
        assert "training photos from 20.0 dB at step 1 " in label(page)

        page.get_by_role("button", name="Pause").click()
        wait(lambda: page.wait_for_timeout(20) or served.live.paused)
        pausing = threading.Thread(target=served.live.wait, args=(gaussians,))
        pausing.start()
        page.get_by_role("status").get_by_text("Paused", exact=True).wait_for()
        assert not page.locator(".panel-note").is_visible()  # the section says it
        page.get_by_role("button", name="Controls").click()
        assert page.locator(".panel-note").text_content() == "Paused"
        assert page.locator(".panel-note").is_visible()
        page.get_by_role("button", name="Controls").click()
        page.get_by_role("button", name="Resume").click()
        wait(lambda: page.wait_for_timeout(20) or not pausing.is_alive())

        page.get_by_role("button", name="Stop and save").press("Enter")
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("Escape")
        assert not served.live.stop_asked
        page.get_by_role("button", name="Stop and save").press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Stop and save").press("Enter")
        wait(lambda: page.wait_for_timeout(20) or served.live.stop_asked)
        served.live.trained(gaussians, "saving")
        served.live.became("stopped", "Everything is in out.")
        page.get_by_text("Everything is in out.").wait_for()
        assert page.get_by_role("button", name="Pause").is_hidden()
        wait(lambda: page.wait_for_timeout(20) or served.live.channel._clients[0].ready)  # the last one is shown
    page.get_by_text("The process has ended.").wait_for()
    page.evaluate("() => window.sfumato.settle()")
    lit = "() => window.sfumato.renderer.pixels().data.some((value, index) => index % 4 < 3 && value > 20)"
    assert page.evaluate(lit)  # the last picture stays


def label(page: Any) -> str:
    """What the first curve says to those who do not see it."""
    return str(page.locator(".training .curve svg").first.get_attribute("aria-label"))


def test_a_page_comes_back_after_a_drop(open_page: Callable[..., Watched], scene: Scene) -> None:
    watched = open_page(viewport=WIDE)
    watched.expected = ["WebSocket connection to", "ERR_CONNECTION_REFUSED"]
    page = watched.page
    live = Live(scene, psnr, "reference", (0.9, 0.9), clock=time.perf_counter)
    try:
        app = create_app(Page("toy", live=True), {}, live.routes)
        with Background(app, port=0) as server:
            page.goto(server.url)
            page.get_by_role("status").get_by_text("Preparing").wait_for()
        page.get_by_role("status").get_by_text("Connection lost").wait_for()
        with Background(app, port=server.port) as again:
            assert again.port == server.port
            live.became("scoring")
            page.get_by_role("status").get_by_text("Scoring").wait_for()
            live.end()
    finally:
        live.close()


# ---- the command line


@pytest.fixture
def dataset(tmp_path: Path, scene: Scene) -> Path:
    """The scene as a folder of photos and transforms_*.json."""
    return blender(tmp_path / "photos of a toy", scene)


WORDS = ("--backend", "reference", "--max-gaussians", "60", "--checkpoint-seconds", "1")


@contextmanager
def command(dataset: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `sfumato train --view`, and its page's address."""
    out = dataset.parent / "out"
    line = [sys.executable, "-m", "sfumato", "train", str(dataset), "-o", str(out), *WORDS, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    more = ["--view", "--no-open", "--port", "0"]
    process = subprocess.Popen([*line, *more], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        url = next(line.split()[-1] for line in process.stderr if line.startswith("watch it at "))
        yield process, url
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def test_stop_and_save_of_a_command(dataset: Path) -> None:
    with command(dataset, "--steps", "5000") as (process, url):
        address = url.replace("http", "ws", 1) + "live"
        with connect(address, compression=None, max_size=None) as client:
            ask(client, "ready")
            assert snapshot(client)[0] >= 1
            ask(client, "stop")
            assert "--resume" in hear(client, "state", state="stopped")["sentence"]
            out = dataset.parent / "out"
            assert {"splat.ply", "report.json", "log.jsonl"} <= {path.name for path in out.iterdir()}
            assert list(out.glob("checkpoints/*.safetensors"))
            wait(lambda: not (out / ".lock").exists())  # the page stays, but nobody else has to wait for it
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 130


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be interrupted there")
def test_ctrl_c_while_paused(dataset: Path) -> None:
    with command(dataset, "--steps", "5000") as (process, url):
        address = url.replace("http", "ws", 1) + "live"
        with connect(address, compression=None, max_size=None) as client:
            hear(client, "state", state="training")
            ask(client, "pause")
            hear(client, "state", state="paused")
            process.send_signal(signal.SIGINT)
            hear(client, "state", state="stopped")
            with pytest.raises(ConnectionClosed):  # whoever is at the terminal wants an end
                hear(client, "never")
        assert process.wait(WAIT) == 130
    assert (dataset.parent / "out" / "splat.ply").is_file()


def test_nothing_of_this_is_imported_without_view(dataset: Path) -> None:
    script = (
        "import sys; from sfumato.cli.main import main; code = main(sys.argv[1:]);"
        "found = [n for n in ('starlette', 'uvicorn', 'sfumato.view.live', 'sfumato.view.server') if n in sys.modules];"
        "sys.exit(code or (str(found) if found else 0))"
    )
    line = ["train", str(dataset), "-o", str(dataset.parent / "out"), *WORDS, "--steps", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
