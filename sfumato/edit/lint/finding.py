"""Finding: one thing that is wrong or odd with a splat, in words."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

__all__ = ["Finding", "rows_of"]

SHOWN = 5  # rows


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd with a splat; its words go on after "12 of 345", or stand for themselves.

    Attributes
    ----------
    code : str
        For scripts: stays the same when the words change.
    severity : {"error", "warning", "note"}
        error: something is not shown; note: good to know.
    told : str
        What it is.
    advice : str
        What to do.
    count : int
        Gaussians that it concerns; 0: it is about the file.
    rows : tuple of int
        Some of them, from 0 on.
    """

    code: str
    severity: Literal["error", "warning", "note"]
    told: str
    advice: str = ""
    count: int = 0
    rows: tuple[int, ...] = ()

    def among(self, rows: Tensor) -> "Finding":
        """Say the same of a larger splat, where its rows were counted in a part.

        Parameters
        ----------
        rows : Tensor, (M,), int64
            Rows of the larger splat that the part was made of.

        Returns
        -------
        Finding
            With the larger splat's rows.
        """
        return replace(self, rows=tuple(int(rows[row]) for row in self.rows))


def rows_of(mask: Tensor) -> tuple[int, ...]:
    """The first few rows (N,) that are True."""
    return tuple(mask.nonzero()[:SHOWN, 0].tolist())
