"""What work tells the person at the terminal: bars and a live line there, plain lines now and then elsewhere."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from sfumato.core import progress as core

if TYPE_CHECKING:
    from sfumato.train import Progressed

__all__ = ["Stages", "TrainingLine", "duration", "patient"]

MOMENT = 1.5  # seconds

PLAIN_EVERY = 15.0  # seconds between plain lines at most ...
PLAIN_SHARE = 0.1  # ... or this share of the work, whichever comes first
RECENT = 20  # pictures whose PSNR is averaged
REFRESH = 0.1  # seconds between two changes of a live line


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3:05, 1:02:09."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Stages:
    """A `core.progress.Progress` that shows one bar per stage; use it in a with statement."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._stage = ""
        self._began = self._told = 0.0
        self._last = (0, 0)

    def __enter__(self) -> "Stages":
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()
        elif self._stage and error is None:
            self._end()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` (0: nobody knows) of the stage is done."""
        if self._bars:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=None)
            self._bars.update(self._tasks[stage], completed=done, total=total or None)
        else:
            self._plain(stage, done, total)

    def note(self, sentence: str) -> None:
        """A `core.progress.Note` that prints the sentence above the bars."""
        (self._bars.console if self._bars else self._console).print(sentence, markup=False, soft_wrap=True)

    def _plain(self, stage: str, done: int, total: int) -> None:
        now = perf_counter()
        if stage != self._stage:
            if self._stage:
                self._end()
            self._stage, self._began, self._told = stage, now, now
        self._last = (done, total)
        if now - self._told > PLAIN_EVERY and done != total:
            self._told = now
            self._console.print(f"{stage}: {done} of {total}" if total else f"{stage}: {done}", soft_wrap=True)

    def _end(self) -> None:
        done, _ = self._last
        counted = f" {done}," if done > 1 else ""
        self._console.print(f"{self._stage}:{counted} {perf_counter() - self._began:.1f} s", soft_wrap=True)
        self._stage = ""


@contextmanager
def patient() -> Iterator[core.Progress]:
    """Shows progress of what takes more than a moment."""
    began = perf_counter()
    with Stages() as stages:

        def progress(stage: str, done: int, total: int) -> None:
            if perf_counter() - began > MOMENT:
                stages(stage, done, total)

        yield progress


class TrainingLine:
    """One line about training, kept up to date at a terminal; use it in a with statement and call it each step."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._marks: deque[tuple[int, float]] = deque(maxlen=50)  # steps and seconds, for the present speed
        self._shown = -math.inf
        self._share = 0.0

    def __enter__(self) -> "TrainingLine":
        if self._console.is_terminal:
            self._live = Live(Text("training"), console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def note(self, sentence: str) -> None:
        """Print a sentence above the line."""
        (self._live.console if self._live else self._console).print(sentence, markup=False, soft_wrap=True)

    def measured(self, psnr: float) -> None:
        """Take in the PSNR, dB, of a picture; not a number, of one that a mask ignores, is left out."""
        if math.isfinite(psnr):
            self._recent.append(psnr)

    def __call__(self, progressed: "Progressed") -> None:
        """Show a step, unless the last one has only just been shown."""
        now, last = perf_counter(), progressed.step == progressed.steps
        if self._live:
            if now - self._shown >= REFRESH or last:
                self._shown = now
                self._live.update(self._text(progressed), refresh=True)
            return
        share = progressed.step / progressed.steps
        if progressed.step == 1 or last or share - self._share >= PLAIN_SHARE or now - self._shown >= PLAIN_EVERY:
            self._shown, self._share = now, share
            self._console.print(self._text(progressed), soft_wrap=True)

    def _text(self, progressed: "Progressed") -> Text:
        self._marks.append((progressed.step, progressed.seconds))
        (first, began), (step, now) = self._marks[0], self._marks[-1]
        if first == step:
            first, began = -progressed.earlier, 0.0  # the seconds are those of the trainings before, too
        speed = (step - first) / max(now - began, 1e-9)
        psnr = f"{sum(self._recent) / len(self._recent):5.2f} dB" if self._recent else "   -   "
        left = duration((progressed.steps - step) / speed)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"step {step:{len(str(progressed.steps))}} of {progressed.steps}", style="bold")
        text.append(f"  loss {progressed.loss:.4f}  {psnr}  ")
        text.append(f"{len(progressed.gaussians):,} Gaussians  {speed:.1f} steps/s  ")
        text.append(f"{left} left" if step < progressed.steps else duration(progressed.seconds))
        return text
