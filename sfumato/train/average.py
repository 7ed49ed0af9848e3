"""Average: a running mean of the Gaussians of the last steps, less noisy than the last one."""

from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.train.edit import Edit

__all__ = ["Average"]

UPDATES = 200  # in all: one reads and writes every number, and neighbouring steps differ little


class Average:
    """An exponential moving average of every stored number from some step on; its rows follow edits."""

    def __init__(self, steps: int, start_at: float, horizon: float) -> None:
        """Start at a share of the steps and forget over a horizon, a share too."""
        self.first = int(start_at * steps)
        self.every = max(1, (steps - self.first) // UPDATES)
        self.share = min(1.0, self.every / max(1.0, horizon * steps))  # of the newest in the average
        self.gaussians: Gaussians | None = None

    def update(self, step: int, gaussians: Gaussians) -> None:
        """Take the Gaussians after a step into the average, if it is time."""
        if step < self.first or (step - self.first) % self.every:
            return
        if self.gaussians is None:
            self.gaussians = gaussians.map(Tensor.clone)
            return
        for mean, value in zip(self.gaussians, gaussians, strict=True):
            mean.lerp_(value, self.share)

    def follow(self, edit: Edit) -> None:
        """Bring rows where the edit brings them; fresh ones and forgotten fields start from the edit's numbers."""
        if self.gaussians is None:
            return
        if edit.parents is not None:
            self.gaussians = self.gaussians[edit.parents]
        for name in Gaussians.names():
            mean, value = getattr(self.gaussians, name), getattr(edit.gaussians, name)
            if name in edit.forget:
                mean.copy_(value)
            elif edit.fresh is not None:
                mean[edit.fresh] = value[edit.fresh]

    def result(self, last: Gaussians) -> Gaussians:
        """The average, or the last Gaussians if there is none."""
        return last if self.gaussians is None else self.gaussians
