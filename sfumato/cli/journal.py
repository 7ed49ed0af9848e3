"""Training steps to lines of log.jsonl, a few hundred per run."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from sfumato.core.files import write_text

if TYPE_CHECKING:
    from sfumato.train import Progressed

__all__ = ["Journal", "entries"]

LINES = 500  # in a run at most, about


class Journal:
    """log.jsonl, open while training runs; use it in a with statement."""

    def __init__(self, path: Path, after: int = 0) -> None:
        """after: the step that is gone on from; what the log holds of later ones is dropped."""
        self._path, self._after = path, after
        self._file: TextIO | None = None

    def __enter__(self) -> "Journal":
        write_text(self._path, "".join(_lines_until(self._path, self._after)))
        self._file = self._path.open("a", encoding="utf-8", buffering=1)  # line by line: a killed run keeps its log
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
            "step": progressed.earlier + progressed.step,
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


def entries(path: Path, until: int) -> Iterator[dict[str, Any]]:
    """What a log holds of steps up to that one."""
    return (json.loads(line) for line in _lines_until(path, until))


def _lines_until(path: Path, step: int) -> Iterator[str]:
    """The lines of a log up to a step; one that a kill cut off in the middle is no line."""
    if not step or not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        with suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= step and line.endswith("\n"):
                yield line
