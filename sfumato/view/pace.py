"""What something cost to when it may be done again, so that all of it stays a small share of the time."""

from collections.abc import Callable
from time import process_time

from sfumato.core.limits import usable_cores

__all__ = ["Pace", "working_time"]

_CORES = usable_cores()


def working_time() -> float:
    """Seconds that this process has worked for, with all cores: on a machine that others use, too, they pass slowly."""
    return process_time() / _CORES


class Pace:
    """Says when there is time for more; use it from any thread."""

    def __init__(self, share: float, clock: Callable[[], float] = working_time) -> None:
        """share: of the time, in (0, 1). clock: seconds, of which costs are, too."""
        self._share, self._clock = share, clock
        self._next = clock()

    @property
    def due(self) -> bool:
        """True when what was spent is paid for by time that passed."""
        return self._clock() >= self._next

    def spend(self, seconds: float) -> None:
        """Account for work that was done."""
        self._next = max(self._next, self._clock()) + seconds / self._share
