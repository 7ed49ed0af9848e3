"""Asset: Gaussians and what splat files say about them beyond their numbers, or leave to be guessed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians

__all__ = ["CHUNK", "Asset"]

CHUNK = 1 << 16  # rows handled at a time: 15 MB of degree 3, of which the processor's cache holds a good part


@dataclass(frozen=True, eq=False)
class Asset:
    """A splat as files know it: Gaussians, and what files say beside their numbers or leave to be guessed.

    Parameters
    ----------
    gaussians : Gaussians
        The N Gaussians.
    axes : str
        Frame of the numbers: where +x, +y, +z point, as in `core.axes`; "RDF" is right, down, forward.
    antialiased : bool or None
        To be drawn with RenderSettings.antialiased; None: the file does not say.
    kernel : {"ellipsoid", "disc"}
        disc: trained as 2D Gaussians (Huang et al. 2024).
    color_space : {"srgb", "linear"}
        What the colors are, and are blended in.
    meters_per_unit : float or None
        Of the means; None: any unit, as structure from motion leaves it.
    up : tuple of float, (3,), or None
        Direction in `axes`; None: nobody said.
    origin : tuple of float, (3,)
        The source's coordinates of zero, float64, as Scene.origin.
    format : str
        Name of the format it was read from.
    generator : str or None
        The program that wrote the file, when it says so.
    notes : tuple of str
        Sentences: what the reader had to guess, change or leave out.

    Raises
    ------
    InputError
        When the axes name no frame, or meters_per_unit is not above 0.

    Examples
    --------
    >>> asset = Asset(gaussians, up=(0, -1, 0), meters_per_unit=1.0)
    >>> edit.scale(asset, 2.0).meters_per_unit
    0.5
    """

    gaussians: Gaussians
    axes: str = CANONICAL
    antialiased: bool | None = None
    kernel: Literal["ellipsoid", "disc"] = "ellipsoid"
    color_space: Literal["srgb", "linear"] = "srgb"
    meters_per_unit: float | None = None
    up: tuple[float, float, float] | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    format: str = ""
    generator: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        matrix_between(self.axes, CANONICAL)
        if self.meters_per_unit is not None and not self.meters_per_unit > 0:
            raise InputError(f"meters_per_unit must be above 0; got {self.meters_per_unit}")

    def __len__(self) -> int:
        return len(self.gaussians)

    def chunks(self, axes: str, size: int = CHUNK) -> Iterator[Gaussians]:
        """Walk through the Gaussians in another frame, on the CPU: never all of them twice.

        Parameters
        ----------
        axes : str
            The frame wanted.
        size : int
            Rows at a time, at most.

        Yields
        ------
        Gaussians
            The next rows, in order.
        """
        for start in range(0, len(self.gaussians), size):
            yield reframe(self.gaussians[start : start + size].detach().to("cpu"), self.axes, axes)
