"""Ctrl-C and SIGTERM: training ends after the step at hand, everything else at once."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Request", "gentle", "terminable"]


class Request:
    """Whether the person asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def check(self) -> None:
        """Raise KeyboardInterrupt when they did: called where everything is in order."""
        if self.made:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True
        print("stopping after this step, then saving; once more stops at once", file=sys.stderr, flush=True)


@contextmanager
def gentle() -> Iterator[Request]:
    """Inside, a first SIGINT or SIGTERM only sets the request; outside the main thread nothing changes."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: set by something that is not Python


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that files are closed and temporary ones removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
