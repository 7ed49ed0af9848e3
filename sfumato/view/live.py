"""A training as it goes on to pages in the browser, and what people ask for there back to the training.

Pages are sent the splat, curves, and held-out photos beside their renders. Training calls `Live.step` after each step,
in its own thread, and never waits there for a page. What this takes of training's time, copies, packing and held-out
renders together, is kept below a share.
"""

import math
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from torch import Tensor

from sfumato.core.errors import SfumatoError, lacks_gpu_memory, lacks_memory
from sfumato.core.gaussians import Gaussians
from sfumato.core.limits import taken_memory
from sfumato.core.scene import Scene
from sfumato.kernels.stages import RenderSettings
from sfumato.view.channel import PATIENCE, Channel
from sfumato.view.held import HeldOut, Measure, small_jpeg
from sfumato.view.history import History
from sfumato.view.pace import Pace, working_time
from sfumato.view.packed import MAX_DEGREE
from sfumato.view.snapshots import Snapshots, Worker

__all__ = ["Live", "Moment", "State"]

SNAPSHOTS, RENDERS = 0.014, 0.006  # shares of training's time: for packed snapshots, and for held-out renders
HURRY = 2  # times as often, the first time round: a short training, too, shows all its held-out photos
EVERY = 0.5  # seconds between two reports of where training stands
RECENT = 20  # reports over which the speed is taken
PAUSED = 0.1  # seconds after which a paused training looks about

State = Literal["preparing", "training", "paused", "saving", "scoring", "done", "stopped"]


@dataclass(frozen=True)
class Moment:
    """Where training stands after a step."""

    step: int  # of `steps`
    steps: int
    measured: Tensor | float  # () the loss, where it was computed
    gaussians: int
    seconds: float  # of training
    degree: int = MAX_DEGREE  # of spherical harmonics that are learned by now

    @property
    def loss(self) -> float:
        """Of this step; on a GPU, asking for it waits for the step to be done."""
        return float(self.measured)


class Live:
    """What the page is told of one training. `routes` go to the server; the rest is for training's thread."""

    def __init__(
        self,
        scene: Scene,
        measure: Measure,
        backend: str = "auto",
        shares: tuple[float, float] = (SNAPSHOTS, RENDERS),
        patience: float = PATIENCE,
        clock: Callable[[], float] = working_time,
    ) -> None:
        """measure: PSNR. shares: of the clock, for snapshots and for renders. patience: seconds for a stalled page.

        Training's time is that which the process works: where others work on the machine, too, a snapshot costs as many
        steps as it does where nobody else does. Where a GPU trains, clock is one of the wall: the process hardly works.
        """
        self._scene, self._backend = scene, backend
        self._settings = RenderSettings(near=scene.near, depth=False)
        self._run = secrets.token_hex(4)  # by which a page that comes back knows another training
        self._asked, self._looking = threading.Condition(), threading.Lock()
        self._paused = self._stop = False
        self.history = History()
        self.channel = Channel(self.history, self._command, patience)
        self._worker = Worker(self._failed)
        self._clock = clock
        self._pace, self._render_pace = Pace(shares[0], clock), Pace(shares[1], clock)
        self._snapshots = Snapshots(self._worker, self._pace, self._announce)
        self._held = HeldOut(scene.test, measure)
        self._encoding = False
        self._memory = 0  # bytes, when last asked: asking takes a while
        self._notes: dict[str, str] = {}  # what failed -> a sentence
        self._marks: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._last: Moment | None = None
        self._told = -math.inf
        self._served: float | None = None  # seconds that the server's thread had worked for, when last asked
        self._worker.do("the held-out photos", self._prepare_held)
        self._tell_held()
        self.became("preparing")

    @property
    def routes(self) -> list[BaseRoute]:
        """The socket, the held-out pictures, and the photos of all cameras at /photos/I.jpg."""
        held, views = len(self._held), len(self._scene.views)
        return [
            WebSocketRoute("/live", self.channel.connect),
            _pictures("/held/{index}/photo.jpg", held, self._held.photo),
            _pictures("/held/{index}/render.jpg", held, self._held.latest),
            _pictures("/photos/{index}.jpg", views, self._photo),
        ]

    @property
    def stop_asked(self) -> bool:
        """True when a page asked to stop and save."""
        return self._stop

    @property
    def paused(self) -> bool:
        """True while training is to wait."""
        return self._paused and not self._stop

    def became(self, state: State, sentence: str = "") -> None:
        """Tell the pages what is being done now, and more in a sentence."""
        self._state, self._sentence = state, sentence
        self._tell()

    def measured(self, step: int, loss: float, psnr: float, gaussians: int, seconds: float) -> None:
        """Add a step to the curves: PSNR in decibels, seconds of training."""
        self.history.add(step, loss, psnr, gaussians, seconds, self._memory)

    def step(self, moment: Moment, gaussians: Gaussians) -> None:
        """Take in a step. The Gaussians are only looked at before this returns."""
        self._last = moment
        now = perf_counter()
        if now - self._told >= EVERY or moment.step == moment.steps:
            self._told = now
            self._marks.append((moment.step, moment.seconds))
            self._state = "training"
            self._charge_serving()
            self._tell()
        if self.channel.waiting and self._snapshots.due:
            self._take(gaussians)
        if self._render_pace.due and not self._encoding and self._held.ready:
            self._draw(gaussians)

    def wait(self, gaussians: Gaussians, enough: Callable[[], bool] = lambda: False) -> None:
        """Return when training may go on: at once, unless a page has paused it; also when it is `enough`.

        Pages go on being shown the Gaussians meanwhile: there is time for it.
        """
        if not self.paused:
            return
        self.became("paused")
        left = len(self._held)  # renders of the splat as it is
        while self.paused and not enough():
            newest = self._snapshots.newest
            stale = newest is None or self._last is None or newest.step != self._last.step
            if self.channel.waiting and stale and not self._snapshots.busy:
                self._take(gaussians)
            if left and self._held.ready and not self._encoding:
                left -= 1
                self._draw(gaussians)
            with self._asked:
                self._asked.wait(PAUSED)
        self._marks.clear()
        self.became("training")

    def trained(self, gaussians: Gaussians, state: State, renders: bool = True) -> None:
        """Take the Gaussians that training ended with, and what is done next; nobody changes them any more.

        renders: the held-out views are rendered once more.
        """
        step = self._last.step if self._last else 0
        self._snapshots.take_last(gaussians, step, self.channel.limit)
        if renders and self._held.ready:
            for _ in range(len(self._held)):
                self._draw(gaussians)
        self.became(state)

    def end(self) -> None:
        """Say goodbye to the pages, before the server ends."""
        self.channel.end()

    def close(self) -> None:
        """End the thread; what is being packed is waited for."""
        self._worker.close()

    def _take(self, gaussians: Gaussians) -> None:
        last = self._last
        degree = last.degree if last else MAX_DEGREE
        try:
            self._snapshots.take(gaussians, last.step if last else 0, degree, self.channel.limit)
        except Exception as error:  # too little memory, above all: no reason to end a training
            self._pace.spend(math.inf)
            self._failed("a snapshot for the browser", error)

    def _draw(self, gaussians: Gaussians) -> None:
        """Render one held-out view; its JPEG is made in the background."""
        began, worked, step = thread_time(), self._clock(), self._last.step if self._last else 0
        try:
            encode = self._held.draw(gaussians, step, self._settings, self._scene.background, self._backend)
        except Exception as error:  # as above
            self._render_pace.spend(math.inf)
            return self._failed("the held-out pictures", error)
        cost = max(thread_time() - began, self._clock() - worked)
        self._render_pace.spend(cost / (1 if self._held.complete else HURRY))
        self._encoding = True

        def encoded(cost: float) -> None:
            self._encoding = False
            self._render_pace.spend(cost)
            if (mean := self._held.mean()) is not None:
                self.history.add_held(*mean)
            self._tell_held()

        self._worker.do("a held-out picture", encode, encoded)

    def _photo(self, index: int) -> bytes:
        """A camera's photo as JPEG. One at a time: its pixels may have to be decoded, beside those of training."""
        with self._looking:
            return small_jpeg(self._scene.views[index].image)

    def _prepare_held(self) -> None:
        self._held.prepare()
        self._tell_held()

    def _announce(self) -> None:
        if (newest := self._snapshots.newest) is not None:
            self.channel.offer(newest)

    def _charge_serving(self) -> None:
        """What the server's thread has worked for counts as a cost of snapshots: most of it is."""
        served = self.channel.cpu_seconds
        before, self._served = self._served, served if self.channel.pages else None
        if before:
            self._pace.spend(max(0.0, served - before) / self._worker.cores)

    def _tell(self) -> None:
        last = self._last
        self._memory = taken_memory()
        rate = self._rate() if self._state == "training" else None
        loss = last.loss if last else math.nan
        self.channel.tell(
            "state",
            run=self._run,
            state=self._state,
            sentence=self._sentence,
            step=last.step if last else 0,
            steps=last.steps if last else None,
            loss=loss if math.isfinite(loss) else None,
            gaussians=last.gaussians if last else None,
            seconds=round(last.seconds, 2) if last else 0,
            rate=rate,
            left=(last.steps - last.step) / rate if last and rate else None,
            memory=self._memory,
        )

    def _rate(self) -> float | None:
        """Steps per second of training, of late."""
        if len(self._marks) < 2:
            return None
        (first, began), (last, now) = self._marks[0], self._marks[-1]
        return round((last - first) / (now - began), 3) if now > began and last > first else None

    def _tell_held(self) -> None:
        pictures = [
            {
                "name": shown.name,
                "width": shown.width,
                "height": shown.height,
                "step": shown.step,
                "psnr": round(shown.psnr, 2) if math.isfinite(shown.psnr) else None,
            }
            for shown in self._held.shown
        ]
        self.channel.tell("held", pictures=pictures, ready=self._held.ready)

    def _command(self, kind: str) -> None:
        with self._asked:
            self._stop = self._stop or kind == "stop"
            if kind in ("pause", "resume"):
                self._paused = kind == "pause"
            self._asked.notify_all()

    def _failed(self, what: str, error: Exception) -> None:
        words = str(error) or type(error).__name__
        if lacks_gpu_memory(error) or lacks_memory(error):
            words = "there is not enough memory" + (" on the GPU" if lacks_gpu_memory(error) else "")
        self._notes[what] = f"The page goes without {what}: {words}"
        self.channel.tell("note", sentences=list(self._notes.values()))


def _pictures(path: str, count: int, picture: Callable[[int], bytes | None]) -> Route:
    """JPEGs with the numbers 0 to count - 1."""
    numbers = {str(index): index for index in range(count)}

    async def answer(request: Request) -> Response:
        index = numbers.get(request.path_params["index"])
        try:
            data = None if index is None else await run_in_threadpool(picture, index)
        except SfumatoError as error:
            return PlainTextResponse(f"{error}\n", 404)
        if data is None:
            return PlainTextResponse("There is no such picture yet.\n", 404)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    return Route(path, answer)
