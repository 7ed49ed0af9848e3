"""Asset: Gaussians and what splat files say about them beyond their numbers, or leave to be guessed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians

__all__ = ["CHUNK", "Asset"]

CHUNK = 1 << 18  # rows handled at a time: some 60 MB of degree 3


@dataclass(frozen=True, eq=False)
class Asset:
    """A splat as files know it. Raises InputError when the axes name no frame."""

    gaussians: Gaussians
    axes: str = CANONICAL  # frame of the numbers: where +x, +y, +z point, as in core/axes.py
    antialiased: bool | None = None  # to be drawn with RenderSettings.antialiased; None: the file does not say
    kernel: Literal["ellipsoid", "disc"] = "ellipsoid"  # disc: trained as 2D Gaussians (Huang et al. 2024)
    color_space: Literal["srgb", "linear"] = "srgb"  # what the colors are, and are blended in
    meters_per_unit: float | None = None  # of the means; None: any unit, as structure from motion leaves it
    up: tuple[float, float, float] | None = None  # direction in `axes`; None: nobody said
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the source's coordinates of zero, float64, as Scene.origin
    format: str = ""  # name of the format it was read from
    generator: str | None = None  # the program that wrote the file, when it says so
    notes: tuple[str, ...] = ()  # sentences: what the reader had to guess, change or leave out

    def __post_init__(self) -> None:
        matrix_between(self.axes, CANONICAL)
        if self.meters_per_unit is not None and not self.meters_per_unit > 0:
            raise InputError(f"meters_per_unit must be above 0; got {self.meters_per_unit}")

    def __len__(self) -> int:
        return len(self.gaussians)

    def chunks(self, axes: str, size: int = CHUNK) -> Iterator[Gaussians]:
        """The Gaussians in another frame, at most `size` rows at a time, on the CPU: never all of them twice."""
        for start in range(0, len(self.gaussians), size):
            yield reframe(self.gaussians[start : start + size].detach().to("cpu"), self.axes, axes)
