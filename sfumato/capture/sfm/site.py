"""What every attempt at structure from motion is given: the photos, and how to look for features in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sfumato.capture.sfm.survey import Look
from sfumato.core.progress import Progress

__all__ = ["SEED", "FeatureSettings", "Site"]

SEED = 0


@dataclass(frozen=True)
class Site:
    """What all attempts share: the photos, where to work, whom to tell."""

    photos: Path
    looks: list[Look]
    masks: Mapping[str, Path]
    work: Path
    progress: Progress

    @property
    def names(self) -> list[str]:
        """Photos in the order of their names."""
        return [look.name for look in self.looks]


@dataclass(frozen=True)
class FeatureSettings:
    """How features are found and matched."""

    count: int = 4096  # per photo; matching takes time with the square of it
    orientations: int | None = None  # of a feature at most; None: one in large photos, which have features enough
    peak: float = 0.0067  # weakest contrast of a feature, as pycolmap's default
    longest: int = 1600  # pixels; the features' pyramid begins at twice this size, where a pixel is noise already
    thorough: bool = False  # affine shapes, domain-size pooling, and matches guided by the geometry found
