"""How many pairs pictures had of late, to how many their tile lists should have room for the next time."""

from collections.abc import Hashable

from sfumato.kernels.stages import MOST_PAIRS

__all__ = ["Rooms"]

SHARE = 1.25  # of the count; between two visits of a photo, training changes it by far less
LITTLE = 4096  # pairs; for pictures that had next to nothing
KEPT = 0.9  # of a count that was not needed: pictures of one key differ, and opacities that were reset come back


class Rooms:
    """Remembers counts of pairs, so that RenderSettings.room is close above the next one.

    A GPU sorts all the room it is given, filled or not: too much costs time, too little costs the step again. What
    changes the count belongs into the key: the size of the picture, and the camera where it will come again.
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
        self.counts[key] = max(count, int(KEPT * self.counts.get(key, 0)))

    def grow(self, times: float) -> None:
        """Expect so many times more of every picture: there are so many times more Gaussians."""
        self.counts = {key: int(times * count) for key, count in self.counts.items()}
