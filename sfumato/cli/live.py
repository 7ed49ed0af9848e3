"""`--view`: a training to its live page, which opens in the browser, and what is asked for there to the training."""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from sfumato.cli.browse import open_browser
from sfumato.cli.journal import entries

if TYPE_CHECKING:
    from sfumato.cli.interrupt import Request
    from sfumato.core.gaussians import Gaussians
    from sfumato.core.scene import Scene
    from sfumato.evaluate import Evaluation
    from sfumato.train import Progressed, TrainConfig
    from sfumato.view.live import Live, State
    from sfumato.view.server import Background

__all__ = ["Onlooker", "Viewing"]


@dataclass(frozen=True)
class Viewing:
    """Where the page is served."""

    host: str
    port: int
    open: bool  # in the browser


class Onlooker:
    """Who looks at a training in the browser, or nobody: then nothing is imported and every call returns at once.

    Use it in a with statement; at its end the pages are told that the process has ended.
    """

    def __init__(self, viewing: Viewing | None, say: Callable[[str], None]) -> None:
        self._viewing, self._say = viewing, say
        self._stack = ExitStack()
        self._live: Live | None = None
        self._server: Background | None = None
        self._config: TrainConfig | None = None
        self._interrupted = False
        self.url = ""

    def __enter__(self) -> "Onlooker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self, folder: Path, scene: "Scene", config: "TrainConfig", backend: str) -> None:
        """Serve the page, and open it. Raises InputError when the host or its ports cannot be listened at."""
        if self._viewing is None:
            return
        from sfumato.evaluate import psnr
        from sfumato.kernels.backends import choose
        from sfumato.view.live import Live
        from sfumato.view.pace import working_time
        from sfumato.view.page import Page
        from sfumato.view.server import Background, create_app

        title = folder.resolve().name
        page = Page.of_scene(title, scene, lambda index: f"/photos/{index}.jpg", live=True)
        clock = perf_counter if choose(backend)[0] == "gpu" else working_time
        live = Live(scene, psnr, backend, clock=clock)
        self._stack.callback(live.close)
        server = Background(create_app(page, {}, live.routes), self._viewing.host, self._viewing.port)
        self._stack.enter_context(server)
        self._stack.callback(live.end)  # before the server goes
        self._live, self._server, self._config, self.url = live, server, config, server.url
        if self._viewing.port not in (0, server.port):
            self._say(f"port {self._viewing.port} is taken, so this is port {server.port}")
        self._say(f"watch it at {self.url}")
        if server.outside:
            self._say(
                f"other machines reach it at {server.outside}, and whoever has that address can stop the training"
            )
        if self._viewing.open:
            open_browser(self.url)

    def resumed(self, log: Path, after: int) -> None:
        """Take over the curves of the training that is gone on with, up to that step."""
        if self._live is None or not after:
            return
        for entry in entries(log, after):
            numbers = [_number(entry, key) for key in ("step", "loss", "psnr", "gaussians", "seconds")]
            step, loss, psnr, gaussians, seconds = numbers
            self._live.history.add(int(step or 0), loss, psnr, int(gaussians or 0), seconds or 0.0, None)

    def measured(self, progressed: "Progressed", psnr: float) -> None:
        """Add a step to the curves."""
        if self._live is not None:
            step, count = progressed.earlier + progressed.step, len(progressed.gaussians)
            self._live.measured(step, progressed.loss, psnr, count, progressed.seconds)

    def step(self, progressed: "Progressed", request: "Request", note: Callable[[str], None]) -> None:
        """Show a step; stays while a page has paused the training. A page's wish to stop becomes the request."""
        live = self._live
        if live is None or self._config is None:
            return
        from sfumato.view.live import Moment

        done, total, before = progressed.step, progressed.steps, progressed.earlier
        degree = self._config.sh_degree_at(self._config.time_at(done, total))
        loss, count, seconds = progressed.measured, len(progressed.gaussians), progressed.seconds
        live.step(Moment(before + done, before + total, loss, count, seconds, degree), progressed.gaussians)
        if live.paused:
            note("paused in the browser, where it is resumed too; Ctrl-C stops and saves")
            live.wait(progressed.gaussians, lambda: request.made)
        if live.stop_asked:
            request.make("in the browser")
        if request.made:
            live.became("saving")

    def trained(self, gaussians: "Gaussians", interrupted: bool) -> None:
        """Show what training ended with."""
        if self._live is None:
            return
        self._interrupted = interrupted
        state: State = "saving" if interrupted else "scoring"
        hurry = interrupted and not self._live.stop_asked
        self._live.trained(gaussians, state, renders=not hurry)

    def finished(self, folder: Path, evaluation: "Evaluation | None", resumable: bool) -> None:
        """Say that everything is written; resumable: training was stopped, and can be gone on with."""
        if self._live is None:
            return
        sentence = f"Everything is in {folder}."
        if evaluation is not None:
            sentence += f" Held-out photos: PSNR {evaluation.psnr:.2f} dB, SSIM {evaluation.ssim:.4f}."
        elif resumable:
            sentence += " The same command with --resume goes on from here."
        self._live.became("stopped" if self._interrupted else "done", sentence)

    def stay(self) -> None:
        """Keep the page as a viewer until Ctrl-C, unless that has stopped the training already."""
        live, server = self._live, self._server
        if live is None or server is None or (self._interrupted and not live.stop_asked):
            return
        self._say(f"the page stays at {self.url}; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            server.wait()


def _number(entry: Mapping[str, object], key: str) -> float | None:
    value = entry.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
