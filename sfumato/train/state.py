"""TrainingState: all that the next step depends on, besides the scene and the configuration."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import Moments

__all__ = ["TrainingState"]


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Where training stands between two steps; to go on from it gives the same bits as never to have stopped.

    The tensors may be the trainer's own: save or copy them before the next step.
    """

    step: int  # steps done of this training
    gaussians: Gaussians
    moments: Moments
    strategy: dict[str, Tensor] = field(default_factory=dict)  # of `Strategy.state`
    photos: int = 0  # taken so far
    earlier: int = 0  # steps of the trainings before this one
    seconds: float = 0.0  # of training so far

    @property
    def total(self) -> int:
        """Steps done, those of the trainings before included."""
        return self.earlier + self.step

    def to(self, device: torch.device) -> "TrainingState":
        """The same with Gaussians and moments on a device; a strategy takes its own there when it is restored."""
        moments = Moments(*(moment.to(device) for moment in self.moments))
        return replace(self, gaussians=self.gaussians.to(device), moments=moments)

    def begun_again(self) -> "TrainingState":
        """The start of a further training that goes on from here, with a strategy that starts anew."""
        return replace(self, step=0, strategy={}, earlier=self.total)
