"""How many pairs a picture had the last time, to how many its tile lists should have room for the next time."""

from collections.abc import Hashable

from sfumato.kernels.stages import MOST_PAIRS

__all__ = ["Rooms"]

SHARE = 1.25  # of the last count; between two visits of a photo, training changes it by far less
LITTLE = 4096  # pairs; for pictures that had next to nothing


class Rooms:
    """Remembers counts of pairs, so that RenderSettings.room is close above the next one.

    A GPU sorts all the room it is given, filled or not: too much costs time, too little costs the step again. What
    changes the count belongs into the key: the camera, and the size of its picture.
    """

    def __init__(self, most_pairs: int = MOST_PAIRS) -> None:
        self.most_pairs = most_pairs
        self.counts: dict[Hashable, int] = {}

    def of(self, key: Hashable) -> int | None:
        """The room for this picture; None, which waits for an exact count, where none is known."""
        count = self.counts.get(key)
        return None if count is None else min(int(SHARE * count) + LITTLE, self.most_pairs)

    def learn(self, key: Hashable, count: int) -> None:
        """This picture has so many pairs now: TileLists.count, which waits for the GPU."""
        self.counts[key] = count
