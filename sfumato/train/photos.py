"""Training views to the photo of each step: shuffled, small at first, decoded ahead where memory does not hold all.

To a GPU they are sent ahead, too, and stay there as long as there is room.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import perf_counter

import torch

from sfumato.core.limits import usable_cores
from sfumato.core.scene import Size, View
from sfumato.train.lesson import Lesson, Prepared, prepare
from sfumato.train.transfer import Parcel, Transfer

__all__ = ["AHEAD", "Photos", "under_way"]

AHEAD = 4  # photos that are decoded before they are asked for
# threads that decode (more would only take cores from training) and photos ahead: the first that fits into memory
CREWS = ((2, AHEAD), (2, 2), (1, 2), (1, 1))
GPU_CREWS = ((8, 8), (4, 6), *CREWS)  # for a GPU, which takes photos faster, and leaves the cores to them
SENT = 2  # photos that are sent to a GPU before they are asked for
BUSY = 10  # bytes per pixel of a photo that is being decoded: four in Pillow, three as a tensor, three laid out anew
BUSY_MASKED = 14  # with a mask, which is decoded as a picture beside the photo


class Photos:
    """The training photos in the order of the steps.

    The order depends on the seed and the number of views alone, and the bits of a photo on nothing but the photo:
    how many are held in memory changes only the time. Close it, or use it in a `with` block, to end its threads.
    """

    def __init__(
        self,
        views: Sequence[View],
        divisors: Sequence[int],
        seed: int,
        keep: int | None = None,
        position: int = 0,
        device: torch.device | str = "cpu",
        on_device: int | None = None,
    ) -> None:
        """Start after `position` photos were taken.

        divisors: what `take` may ask for. keep: bytes of memory for prepared photos of the size that is learned at
        the moment, with the few that are decoded ahead; those are needed whatever `keep` is. None: no limit.
        device: where photos are given; cameras stay on the CPU. on_device: bytes of a GPU's memory for prepared photos
        that stay there, beside the few that are on their way, and are not held in memory then. None: no limit.
        """
        self._views = views
        self._divisors = frozenset(divisors)
        self._keep = keep
        self._position = position
        self._order = islice(_shuffled(len(views), seed), position, None)
        self._ahead: list[_Turn] = []
        on_gpu = torch.device(device).type == "cuda"
        self._transfer = Transfer(torch.device(device)) if on_gpu else None
        self._there = _Shelf(on_device if on_gpu else 0)
        self._held = _Shelf()
        self._divisor = 0
        self._waited = 0.0
        self._sizes = frozenset(view.size for view in views)
        self._crew = _crew(self._sizes, keep, on_gpu)
        self._pool = ThreadPoolExecutor(min(self._crew[0], usable_cores()), thread_name_prefix="photos")

    def __enter__(self) -> "Photos":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what is being decoded is waited for."""
        self._pool.shutdown(cancel_futures=True)
        if self._transfer is not None:
            self._transfer.close()
        self._ahead.clear()
        self._held.clear()
        self._there.clear()

    @property
    def position(self) -> int:
        """How many photos were taken."""
        return self._position

    @property
    def waited(self) -> float:
        """Seconds that `take` waited for photos."""
        return self._waited

    def take(self, divisor: int) -> Lesson:
        """The next photo, each side `divisor` times smaller than the original.

        Sizes come one after another in training: another divisor than the last time forgets what is held.
        Raises what decoding the photo raises.
        """
        if divisor != self._divisor:
            self._start(divisor)
        self._look_ahead(1)
        turn = self._ahead.pop(0)
        self._position += 1
        prepared = self._there.get(turn.index)
        if prepared is None:
            prepared = self._arrived(turn)
        elif turn.coming is not None:  # begun when it was not there yet
            turn.coming.cancel()
        self._look_ahead(self._crew[1])
        self._send_ahead()
        return prepared.lesson((turn.index, divisor))

    def _start(self, divisor: int) -> None:
        """Change to another size: photos decoded at the old one are forgotten, their turns are not."""
        if divisor not in self._divisors:
            raise ValueError(f"divisor must be one of {sorted(self._divisors)}; got {divisor}")
        for turn in self._ahead:
            if turn.coming is not None:
                turn.coming.cancel()
        self._held.clear()
        self._there.clear()
        self._divisor = divisor
        self._held.most = None if self._keep is None else self._keep - _need(self._sizes, self._crew, divisor)
        self._ahead = [_Turn(turn.index, self._begin(turn.index)) for turn in self._ahead]

    def _look_ahead(self, count: int) -> None:
        while len(self._ahead) < count:
            index = next(self._order)
            known = index in self._held or index in self._there
            self._ahead.append(_Turn(index, None if known else self._begin(index)))

    def _begin(self, index: int) -> Future[Prepared]:
        return self._pool.submit(partial(prepare, self._views[index], self._divisor))

    def _decoded(self, turn: "_Turn") -> Prepared:
        """The photo in memory, where it is kept if it will be asked for again; waits until it is decoded."""
        prepared = self._held.get(turn.index)
        if prepared is None:
            coming = turn.coming or self._begin(turn.index)
            began = perf_counter()
            prepared = coming.result()
            self._waited += perf_counter() - began
            if not self._there.has_room(prepared):
                self._held.put(turn.index, prepared)
        return prepared

    def _arrived(self, turn: "_Turn") -> Prepared:
        """The photo where it is learned from."""
        prepared = self._decoded(turn)
        if self._transfer is None:
            return prepared
        parcel = turn.parcel or self._transfer.begin(*prepared.tensors)
        prepared = prepared.having(parcel.landed())
        self._there.put(turn.index, prepared)
        return prepared

    def _send_ahead(self) -> None:
        """Send the next photos to the GPU, as far as they are decoded."""
        if self._transfer is None:
            return
        for turn in self._ahead[:SENT]:
            if turn.parcel is not None:
                turn.parcel.go_on()
            elif turn.index not in self._there and (turn.is_decoded or turn.index in self._held):
                turn.parcel = self._transfer.begin(*self._decoded(turn).tensors)


@dataclass(eq=False)
class _Turn:
    """A photo to come."""

    index: int  # of its view
    coming: Future[Prepared] | None  # None: it is there already
    parcel: Parcel | None = None  # on its way to the GPU

    @property
    def is_decoded(self) -> bool:
        """False, too, where it cannot be: that is told when its turn comes."""
        return self.coming is not None and self.coming.done() and self.coming.exception() is None


class _Shelf:
    """Photos that are held, by the numbers of their views."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most  # bytes; None: no limit
        self.bytes = 0
        self.photos: dict[int, Prepared] = {}

    def __contains__(self, index: int) -> bool:
        return index in self.photos

    def get(self, index: int) -> Prepared | None:
        return self.photos.get(index)

    def has_room(self, prepared: Prepared) -> bool:
        return self.most is None or self.bytes + prepared.bytes <= self.most

    def put(self, index: int, prepared: Prepared) -> None:
        """Hold it, where there is room."""
        if index not in self.photos and self.has_room(prepared):
            self.photos[index] = prepared
            self.bytes += prepared.bytes

    def clear(self) -> None:
        self.photos.clear()
        self.bytes = 0


def under_way(sizes: Iterable[Size], keep: int | None = None, on_gpu: bool = False) -> int:
    """Bytes for photos of these sizes that `Photos` needs at most beside what it holds, in memory.

    on_gpu: photos are learned from there; those on their way to it are in memory twice, the second time pinned.
    """
    sizes = frozenset(sizes)
    pinned = _need(sizes, (0, SENT)) if on_gpu else 0
    return _need(sizes, _crew(sizes, keep, on_gpu)) + pinned


def _crew(sizes: frozenset[Size], keep: int | None, on_gpu: bool) -> tuple[int, int]:
    crews = GPU_CREWS if on_gpu else CREWS
    fitting = [crew for crew in crews if keep is None or _need(sizes, crew) <= keep]
    return fitting[0] if fitting else CREWS[-1]


def _need(sizes: frozenset[Size], crew: tuple[int, int], divisor: int = 1) -> int:
    """Bytes of the photos that are being decoded, those that are ahead, and the one that is learned from."""
    workers, ahead = crew
    busy = max((size.pixels * (BUSY_MASKED if size.has_mask else BUSY) for size in sizes), default=0)
    return busy * workers + (ahead + 1) * max((size.bytes for size in sizes), default=0) // divisor**2


def _shuffled(count: int, seed: int) -> Iterator[int]:
    """0 to count - 1 in a new random order again and again."""
    random = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=random).tolist()
