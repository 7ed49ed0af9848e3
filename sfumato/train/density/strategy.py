"""The socket for ideas about where Gaussians should be: what a strategy is asked, and when."""

from dataclasses import dataclass
from typing import Literal, Protocol

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

    def is_due(self, step: int, every: float) -> bool:
        """True for the step that completes another share `every` of the training."""
        return int(step / self.steps / every + 1e-9) > int((step - 1) / self.steps / every + 1e-9)


class Strategy(Protocol):
    """The running state of a density; the trainer calls the three functions once per step, in this order."""

    def penalty(self, gaussians: Gaussians) -> Tensor | None:
        """() what to add to the loss, differentiable, or None."""

    def observe(self, camera: Camera, splats: Splats) -> None:
        """Look at the splats after the backward pass; `splats.probe.grad` is there."""

    def edit(self, step: int, gaussians: Gaussians) -> Edit | None:
        """What to change after step 1, 2, ...; None: nothing. The given tensors are left as they are."""


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
