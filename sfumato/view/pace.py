"""What something cost to when it may be done again, so that all of it stays a small share of the time."""

from collections.abc import Callable
from time import perf_counter

__all__ = ["Pace"]


class Pace:
    """Says when there is time for more; use it from any thread."""

    def __init__(self, share: float, clock: Callable[[], float] = perf_counter) -> None:
        """share: of the time, in (0, 1)."""
        self._share, self._clock = share, clock
        self._next = clock()

    @property
    def due(self) -> bool:
        """True when what was spent is paid for by time that passed."""
        return self._clock() >= self._next

    def spend(self, seconds: float) -> None:
        """Account for work that was done."""
        self._next = max(self._next, self._clock()) + seconds / self._share
