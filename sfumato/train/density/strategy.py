"""The socket for ideas about where Gaussians should be: what a strategy is asked, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import Splats
from sfumato.train.edit import Edit

__all__ = ["Density", "Span", "Strategy"]


@dataclass(frozen=True)
class Span:
    """What one training run is to a strategy."""

    steps: int  # how long it lasts
    extent: float  # world units, Scene.extent
    max_gaussians: int  # the hard cap
    seed: int
    time_from: float = 0.0  # the time before the first step; 0 for a whole training
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))  # of the Gaussians

    def time(self, step: int) -> float:
        """The time after a step, 0 to 1."""
        return self.time_from + (1 - self.time_from) * (step / self.steps)

    def is_due(self, step: int, every: float) -> bool:
        """True for the step that completes another share `every` of the time."""
        return int(self.time(step) / every + 1e-9) > int(self.time(step - 1) / every + 1e-9)


class Strategy(Protocol):
    """The running state of a density; the trainer calls the first three functions once per step, in this order.

    On a GPU none of them should wait for it, `edit` in the steps that change rows excepted.
    """

    def penalty(self, gaussians: Gaussians) -> Tensor | None:
        """() what to add to the loss, differentiable, or None."""

    def observe(self, camera: Camera, splats: Splats) -> None:
        """Look at the splats after the backward pass; `splats.probe.grad` is there."""

    def edit(self, step: int, gaussians: Gaussians) -> Edit | None:
        """What to change after step 1, 2, ...; None: nothing. The given tensors are left as they are."""

    def follow(self, edit: Edit) -> None:
        """Carry what is kept per row to the new rows, after an edit that is not the strategy's own."""

    def state(self) -> dict[str, Tensor]:
        """What the next steps depend on, random state included, by name; for checkpoints."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned. Raises KeyError when something is missing."""


class Density(Protocol):
    """The frozen settings of a strategy."""

    @property
    def name(self) -> str:
        """As in `--strategy`."""

    @property
    def opacity(self) -> float:
        """Opacity that Gaussians start with."""

    @property
    def scale(self) -> float:
        """Size that Gaussians start with, relative to the distance to their neighbours."""

    @property
    def probe(self) -> Literal["signed", "absolute"]:
        """Which gradient the splats' probe should collect."""

    def start(self, span: Span) -> Strategy:
        """The strategy's state before the first step."""
