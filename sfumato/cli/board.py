"""Training steps to TensorBoard, for those who have it installed and ask for it."""

import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sfumato.cli.output import check_writable
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from sfumato.train import Progressed

__all__ = ["Board", "check_board"]


def check_board(folder: Path) -> None:
    """Raise InputError when TensorBoard is not installed, or the folder cannot be written."""
    check_writable(folder)
    _writer_class()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs TensorBoard: pip install 'sfumato[tensorboard]'") from None
    return SummaryWriter


class Board:
    """Event files in a folder, or nothing without a folder; use it in a with statement."""

    def __init__(self, folder: Path | None, after: int = 0) -> None:
        """after: the step that is gone on from; later ones of the run before are hidden.

        Raises InputError when TensorBoard is not installed.
        """
        self._writer: Any = None if folder is None else _writer_class()(str(folder), purge_step=after + 1)

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def write(self, progressed: "Progressed", psnr: float) -> None:
        """Add a step's numbers."""
        if self._writer is None:
            return
        step = progressed.earlier + progressed.step
        scalars = {"loss": progressed.loss, "psnr": psnr, "gaussians": len(progressed.gaussians)}
        for name, value in scalars.items():
            if math.isfinite(value):
                self._writer.add_scalar(f"train/{name}", value, step, walltime=None)
