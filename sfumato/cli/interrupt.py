"""Ctrl-C and SIGTERM: training ends after the step at hand, everything else at once."""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["Request", "Stopped", "gentle", "terminable"]

AGAIN = 0.05  # seconds after which a signal that came during an import is looked at again
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A request to stop was answered, where everything is in order."""


class Request:
    """Whether the person asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def check(self) -> None:
        """Raise Stopped when they did: called where everything is in order."""
        if self.made:
            raise Stopped

    def make(self, where: str = "") -> None:
        """Ask to stop, and say so. where: it was asked for, when not at this terminal."""
        if self.made:
            return
        self.made = True
        asked, again = (f"asked {where}: ", "Ctrl-C") if where else ("", "once more")
        with suppress(OSError, RuntimeError, ValueError):  # nobody reads any more, or the step was just printing
            sentence = f"{asked}stopping after this step, then saving; {again} stops at once"
            print(sentence, file=sys.stderr, flush=True)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.make()


@contextmanager
def gentle() -> Iterator[Request]:
    """Inside, a first SIGINT or SIGTERM only sets the request; outside the main thread nothing changes."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in _SIGNALS}
    try:
        yield request
    finally:
        _restore(before)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that files are closed and temporary ones removed.

    Neither does while a module is imported, but soon after: packages that are interrupted there (numpy, inside of
    torch) may swallow the exception, and are then half a package.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        _restore(before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            later = threading.Timer(AGAIN, _again)
            later.daemon = True
            later.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _again() -> None:
    """Ctrl-C once more, in the main thread."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # this also wakes a main thread that waits for something
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _restore(before: "dict[signal.Signals, signal._HANDLER]") -> None:
    for number, handler in before.items():
        signal.signal(number, handler or signal.SIG_DFL)  # None: set by something that is not Python
