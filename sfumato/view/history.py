"""Measured steps to the curves of the live page: never more than about a thousand points, whenever a page asks."""

import math
import threading
from dataclasses import dataclass

__all__ = ["History", "Point"]

MOST = 1000  # points of a curve

Point = tuple[float | None, ...]  # the first number is the step


@dataclass(frozen=True)
class _News:
    """What a page has not seen yet, and how far it has seen then."""

    points: list[Point]
    held: list[Point]
    seen: tuple[float, float]


class History:
    """Two curves: what training measures on its own photos, and on those that were held out. Use it from any thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._points: list[Point] = []
        self._held: list[Point] = []

    def add(
        self, step: int, loss: float | None, psnr: float | None, gaussians: int, seconds: float, memory: int | None
    ) -> None:
        """A training step: PSNR in decibels, seconds of training so far, bytes of memory."""
        point = (step, _finite(loss), _finite(psnr), gaussians, round(seconds, 3), memory)
        with self._lock:
            self._points = _thinned([*self._points, point], self._most)

    def add_held(self, step: int, psnr: float) -> None:
        """The mean PSNR of the held-out photos, in decibels; a later mean of the same step counts."""
        with self._lock:
            before = [point for point in self._held if (point[0] or 0) < step]
            self._held = _thinned([*before, (step, _finite(psnr))], self._most)

    def since(self, seen: tuple[float, float] = (-math.inf, -math.inf)) -> _News:
        """The points after the steps that a page has seen."""
        with self._lock:
            points, held = self._points, self._held
        news = [_after(curve, step) for curve, step in ((points, seen[0]), (held, seen[1]))]
        ends = (_last(points, seen[0]), _last(held, seen[1]))
        return _News(news[0], news[1], ends)


def _thinned(points: list[Point], most: int) -> list[Point]:
    """Every second point, but the last one surely, when there are more than `most`."""
    return points if len(points) <= most else [*points[:-1:2], points[-1]]


def _after(points: list[Point], step: float) -> list[Point]:
    return [point for point in points if (point[0] or 0) > step]


def _last(points: list[Point], otherwise: float) -> float:
    return float(points[-1][0] or 0) if points else otherwise


def _finite(number: float | None) -> float | None:
    """Rounded for sending; what is no number is none in JSON either."""
    return float(f"{number:.5g}") if number is not None and math.isfinite(number) else None
