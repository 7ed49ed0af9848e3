"""What is told of a training after each of its steps, and the clock of training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.train.state import TrainingState

__all__ = ["OnStep", "Progressed", "Watch", "ignore"]


@dataclass(frozen=True, eq=False)
class Progressed:
    """Where training stands after a step.

    The tensors are the trainer's own: the next step changes them in place, so copy what is to be kept. They always
    fit together, also when training is interrupted at any moment: the last `gaussians` can be saved.
    """

    step: int  # 1 to steps
    steps: int
    measured: Tensor | float  # () the loss, where it was computed
    image: Tensor  # (H, W, 3) what was rendered
    photo: Tensor  # (H, W, 3) uint8 what it was compared with, black where the photo's mask ignores it
    gaussians: Gaussians
    seconds: float  # since training began, without the time spent in on_step
    shown: Tensor | None = None  # (H, W, 1) 1 where the photo counts, 0 where its mask ignores it; None: everywhere
    state: Callable[[], TrainingState] | None = None  # for checkpoints; ask before the next step
    earlier: int = 0  # steps of the trainings before this one

    @property
    def loss(self) -> float:
        """Of this step; on a GPU, asking for it waits for the step to be done."""
        return float(self.measured)

    @property
    def psnr(self) -> float:
        """Of this step's picture against its photo, where that counts, in decibels; computed when asked for.

        Not a number where the mask ignores all of the photo.
        """
        error = (self.image.detach().clamp(0, 1) - self.photo.to(self.image) / 255).square()
        if self.shown is not None:
            error = error * self.shown / self.shown.mean()
        return -10 * error.mean().clamp(min=1e-10).log10().item()


OnStep = Callable[[Progressed], None]


def ignore(progressed: Progressed) -> None:
    """Tell nobody."""


class Watch:
    """Seconds since it was made, without those it was stopped for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._began = perf_counter() - seconds

    @property
    def seconds(self) -> float:
        """Until now."""
        return perf_counter() - self._began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count what happens inside."""
        stopped = perf_counter()
        yield
        self._began += perf_counter() - stopped
