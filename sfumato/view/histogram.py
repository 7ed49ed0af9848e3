"""How often numbers occur, as a drawing for a page: bars over a linear or logarithmic axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

__all__ = ["Histogram", "draw", "histogram", "log_histogram"]

BINS = 48
WIDTH, HEIGHT = 480, 190  # units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 6, 6, 10, 24  # margins; the names of ticks are in the lowest
GAP = 1.5  # between bars
SURELY = 0.0005  # share of the numbers that may lie beyond each end of a logarithmic axis
SMALLEST_PIXELS = 1.5  # of a bar that is not empty: a single number is seen


@dataclass(frozen=True)
class Histogram:
    """Counts between evenly spaced edges of an axis, which may be the decimal logarithm of the numbers."""

    counts: tuple[int, ...]
    low: float  # on the axis
    high: float
    is_log: bool = False

    def edge(self, index: int) -> float:
        """The number at an edge of a bin."""
        place = self.low + (self.high - self.low) * index / len(self.counts)
        return 10**place if self.is_log else place

    def ticks(self) -> list[tuple[float, str]]:
        """Places on the axis and what is written there."""
        if not self.is_log:
            return [(place, f"{place:.2f}".rstrip("0").rstrip(".") or "0") for place in _even(self.low, self.high, 4)]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        digits = (1,) if self.high - self.low > 2.5 else (1, 3) if self.high - self.low > 1.2 else (1, 2, 5)
        numbers = [(decade + math.log10(digit), digit, decade) for decade in decades for digit in digits]
        return [(place, _written(d, decade)) for place, d, decade in numbers if self.low <= place <= self.high]


def histogram(values: Tensor, low: float, high: float) -> Histogram:
    """Counts of finite values between two numbers; what is beyond is counted at the ends."""
    return Histogram(_counts(values.flatten(), low, high), low, high)


def log_histogram(values: Tensor) -> Histogram | None:
    """Counts of positive finite values over a logarithmic axis that reaches nearly all; None when there are none."""
    values = values.flatten().double()
    logs = values[(values > 0) & values.isfinite()].log10().sort().values
    if not len(logs):
        return None
    beyond = int(SURELY * len(logs))
    low, high = logs[beyond].item(), logs[len(logs) - 1 - beyond].item()
    if high - low < 0.2:  # all alike: an axis needs some length
        low, high = low - 0.1, high + 0.1
    return Histogram(_counts(logs, low, high), low, high, True)


def draw(found: Histogram, label: str) -> str:
    """An SVG element whose looks are the page's (classes bar, axis, tick) and whose words are `label`."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most, total, step = max(*found.counts, 1), max(sum(found.counts), 1), width / len(found.counts)
    parts = [f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for index, count in enumerate(found.counts):
        if count:
            tall = max(SMALLEST_PIXELS, height * count / most)
            x, y = LEFT + index * step + GAP / 2, TOP + height - tall
            said = f"{found.edge(index):.3g} to {found.edge(index + 1):.3g}: {count:,} ({100 * count / total:.1f} %)"
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{step - GAP:.1f}" height="{tall:.1f}">'
                f"<title>{said}</title></rect>"
            )
    base = TOP + height
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    for place, text in found.ticks():
        x = LEFT + width * (place - found.low) / (found.high - found.low)
        anchor = "start" if x < LEFT + 12 else "end" if x > WIDTH - RIGHT - 12 else "middle"
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 18}" text-anchor="{anchor}">{text}</text>')
    return "".join([*parts, "</svg>"])


def _counts(values: Tensor, low: float, high: float) -> tuple[int, ...]:
    values = values[values.isfinite()].double()
    bins = ((values - low) / (high - low) * BINS).long().clamp(0, BINS - 1)
    return tuple(torch.bincount(bins, minlength=BINS).tolist())


def _even(low: float, high: float, parts: int) -> Sequence[float]:
    return [low + (high - low) * index / parts for index in range(parts + 1)]


def _written(digit: int, decade: int) -> str:
    """A number as people write it, or with a power of ten where that is shorter."""
    if -4 < decade < 5:
        return f"{digit * 10.0**decade:.{max(0, -decade)}f}"
    power = str(decade).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if digit == 1 else f"{digit}·10{power}"
