"""Training views to the photo of each step: shuffled, and small at first."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.image import planar, resize
from sfumato.core.scene import View

__all__ = ["Photos"]


class Photos:
    """The training photos at every size they are learned at, prepared once and kept as uint8."""

    def __init__(self, views: Sequence[View], divisors: Sequence[int], seed: int) -> None:
        self._sizes = {divisor: [_smaller(view, divisor) for view in views] for divisor in divisors}
        self._order = _shuffled(len(views), seed)

    def take(self, divisor: int) -> tuple[Camera, Tensor]:
        """The next camera and photo, (H, W, 3) uint8, each side `divisor` times smaller than the original."""
        return self._sizes[divisor][next(self._order)]


def _smaller(view: View, divisor: int) -> tuple[Camera, Tensor]:
    width, height = (max(1, round(side / divisor)) for side in (view.camera.width, view.camera.height))
    return view.camera.resized(width, height), planar(resize(view.image, width, height))


def _shuffled(count: int, seed: int) -> Iterator[int]:
    """0 to count - 1 in a new random order again and again."""
    random = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=random).tolist()
