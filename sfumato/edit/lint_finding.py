"""Finding: one thing that is wrong or odd with a splat, in words."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

__all__ = ["Finding", "rows_of"]

SHOWN = 5  # rows


@dataclass(frozen=True)
class Finding:
    """Its words go on after "12 of 345 Gaussians", or stand for themselves when no rows are counted."""

    code: str  # for scripts: stays the same when the words change
    severity: Literal["error", "warning", "note"]  # error: something is not shown; note: good to know
    told: str
    advice: str = ""
    count: int = 0  # Gaussians that it concerns; 0: it is about the file
    rows: tuple[int, ...] = ()  # some of them, from 0 on

    def among(self, rows: Tensor) -> "Finding":
        """The same where its rows were counted among these (M,)."""
        return replace(self, rows=tuple(int(rows[row]) for row in self.rows))


def rows_of(mask: Tensor) -> tuple[int, ...]:
    """The first few rows (N,) that are True."""
    return tuple(mask.nonzero()[:SHOWN, 0].tolist())
