"""The flags of every verb that reads the scene of a trained splat: how training was told to read it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from sfumato.cli.flags import Count

__all__ = ["Reading", "ReadingFlags"]


@dataclass(frozen=True)
class Reading:
    """How the photos of the scene are read; say what training was told."""

    # `train` has these flags too, in words of its own, since there they decide something

    downscale: Annotated[float, arg(metavar="D")] = 1.0
    """Divide the sides of all photos by D."""
    holdout: Annotated[int, arg(metavar="N")] = 8
    """Every Nth photo was held out, unless the dataset says which."""
    masks: Literal["ignore", "empty", "off"] = "ignore"
    """What the black pixels of masks/ mean: nothing is known there, nothing is there, or nothing at all."""
    invert_masks: bool = False
    """The white pixels of masks mean that instead."""
    frames: Count = None
    """How many frames of a video training took, if it was told."""


ReadingFlags = Annotated[Reading, OmitArgPrefixes]
