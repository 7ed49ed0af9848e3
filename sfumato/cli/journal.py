"""Training steps to lines of log.jsonl, a few hundred per run."""

import json
import math
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from sfumato.train import Progressed

__all__ = ["Journal"]

LINES = 500  # in a run at most, about


class Journal:
    """log.jsonl, open while training runs; use it in a with statement."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> "Journal":
        self._file = self._path.open("w", encoding="utf-8", buffering=1)  # line by line: a killed run keeps its log
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def wants(self, progressed: "Progressed") -> bool:
        """True for the steps that are written: the first, the last, and evenly between."""
        every = max(1, progressed.steps // LINES)
        return progressed.step in (1, progressed.steps) or progressed.step % every == 0

    def write(self, progressed: "Progressed", psnr: float) -> None:
        """Append a step. A disk that became full ends the log, not the training."""
        if self._file is None:
            return
        entry = {
            "step": progressed.step,
            "loss": progressed.loss if math.isfinite(progressed.loss) else None,
            "psnr": round(psnr, 4) if math.isfinite(psnr) else None,
            "gaussians": len(progressed.gaussians),
            "seconds": round(progressed.seconds, 4),
        }
        try:
            self._file.write(json.dumps(entry) + "\n")
        except OSError:
            full, self._file = self._file, None
            with suppress(OSError):
                full.close()
