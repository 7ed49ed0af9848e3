"""Training views to the photo of each step: shuffled, small at first, decoded ahead where memory does not hold all."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import perf_counter

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.image import planar, resize, resize_mask
from sfumato.core.limits import usable_cores
from sfumato.core.scene import EMPTY, IGNORED, SHOWN, Size, View

__all__ = ["AHEAD", "Lesson", "Photos", "under_way"]

AHEAD = 4  # photos that are decoded before they are asked for
# threads that decode (more would only take cores from training) and photos ahead: the first that fits into memory
CREWS = ((2, AHEAD), (2, 2), (1, 2), (1, 1))
BUSY = 10  # bytes per pixel of a photo that is being decoded: four in Pillow, three as a tensor, three laid out anew
BUSY_MASKED = 14  # with a mask, which is decoded as a picture beside the photo


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a step learns from."""

    camera: Camera
    photo: Tensor  # (H, W, 3) uint8, laid out color by color; black where it is ignored
    shown: Tensor | None  # (H, W, 1) 1 where the photo counts, 0 where it is ignored; None: it counts everywhere
    empty: Tensor | None  # (H, W) 1 where alpha must be 0; None: nowhere


class Photos:
    """The training photos in the order of the steps.

    The order depends on the seed and the number of views alone, and the bits of a photo on nothing but the photo:
    how many are held in memory changes only the time. Close it, or use it in a `with` block, to end its threads.
    """

    def __init__(
        self, views: Sequence[View], divisors: Sequence[int], seed: int, keep: int | None = None, position: int = 0
    ) -> None:
        """Start after `position` photos were taken.

        divisors: what `take` may ask for. keep: bytes of memory for prepared photos of the size that is learned at
        the moment, with the few that are decoded ahead; those are needed whatever `keep` is. None: no limit.
        """
        self._views = views
        self._divisors = frozenset(divisors)
        self._keep = keep
        self._position = position
        self._order = islice(_shuffled(len(views), seed), position, None)
        self._ahead: list[tuple[int, Future[_Prepared] | None]] = []  # indices of views to come, and their photos
        self._held: dict[int, _Prepared] = {}
        self._bytes = 0  # of what is held
        self._divisor = 0
        self._waited = 0.0
        self._sizes = frozenset(view.size for view in views)
        self._crew = _crew(self._sizes, keep)
        self._under_way = 0  # bytes, at most
        self._pool = ThreadPoolExecutor(min(self._crew[0], usable_cores()), thread_name_prefix="photos")

    def __enter__(self) -> "Photos":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what is being decoded is waited for."""
        self._pool.shutdown(cancel_futures=True)
        self._ahead.clear()
        self._held.clear()

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
        index, coming = self._ahead.pop(0)
        self._position += 1
        prepared = self._held.get(index)
        if prepared is None:
            if coming is None:
                coming = self._begin(index)
            began = perf_counter()
            prepared = coming.result()
            self._waited += perf_counter() - began
            self._hold(index, prepared)
        self._look_ahead(self._crew[1])
        return prepared.lesson()

    def _start(self, divisor: int) -> None:
        """Change to another size: photos decoded at the old one are forgotten, their turns are not."""
        if divisor not in self._divisors:
            raise ValueError(f"divisor must be one of {sorted(self._divisors)}; got {divisor}")
        for _, coming in self._ahead:
            if coming is not None:
                coming.cancel()
        self._ahead = [(index, None) for index, _ in self._ahead]
        self._held.clear()
        self._bytes, self._divisor = 0, divisor
        self._under_way = _need(self._sizes, self._crew, divisor)
        self._ahead = [(index, self._begin(index)) for index, _ in self._ahead]

    def _look_ahead(self, count: int) -> None:
        while len(self._ahead) < count:
            index = next(self._order)
            self._ahead.append((index, None if index in self._held else self._begin(index)))

    def _begin(self, index: int) -> "Future[_Prepared]":
        return self._pool.submit(partial(_prepare, self._views[index], self._divisor))

    def _hold(self, index: int, prepared: "_Prepared") -> None:
        """Keep a photo when there is room for it beside those that are decoded ahead."""
        if self._keep is None or self._bytes + prepared.bytes + self._under_way <= self._keep:
            self._held[index] = prepared
            self._bytes += prepared.bytes


def under_way(sizes: Iterable[Size], keep: int | None = None) -> int:
    """Bytes for photos of these sizes that `Photos` needs at most beside what it holds."""
    sizes = frozenset(sizes)
    return _need(sizes, _crew(sizes, keep))


def _crew(sizes: frozenset[Size], keep: int | None) -> tuple[int, int]:
    fitting = [crew for crew in CREWS if keep is None or _need(sizes, crew) <= keep]
    return fitting[0] if fitting else CREWS[-1]


def _need(sizes: frozenset[Size], crew: tuple[int, int], divisor: int = 1) -> int:
    """Bytes of the photos that are being decoded, those that are ahead, and the one that is learned from."""
    workers, ahead = crew
    busy = max((size.pixels * (BUSY_MASKED if size.has_mask else BUSY) for size in sizes), default=0)
    return busy * workers + (ahead + 1) * max((size.bytes for size in sizes), default=0) // divisor**2


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A photo at one size, as small as it can be held: of a view in memory, at full size, it is the view's own."""

    camera: Camera
    photo: Tensor  # (H, W, 3) uint8
    mask: Tensor | None = None  # (H, W) uint8 of SHOWN, IGNORED and EMPTY; None: all are SHOWN
    has_ignored: bool = False
    has_empty: bool = False

    @property
    def bytes(self) -> int:
        return self.photo.nbytes + (0 if self.mask is None else self.mask.nbytes)

    def lesson(self) -> Lesson:
        """What the mask says is spelled out for this one step: so it takes a byte a pixel, instead of many."""
        if self.mask is None:
            return Lesson(self.camera, self.photo, None, None)
        empty = (self.mask == EMPTY).float() if self.has_empty else None
        if not self.has_ignored:
            return Lesson(self.camera, self.photo, None, empty)
        shown = (self.mask != IGNORED)[..., None]
        return Lesson(self.camera, planar(self.photo * shown), shown.float(), empty)  # a product keeps the layout


def _prepare(view: View, divisor: int) -> _Prepared:
    width, height, _ = view.size.smaller(divisor)
    camera, picture = view.camera.resized(width, height), view.picture()
    photo = planar(resize(picture.pixels, width, height))
    mask = None if picture.mask is None else resize_mask(picture.mask, width, height)
    if mask is None or bool((mask == SHOWN).all()):
        return _Prepared(camera, photo)
    return _Prepared(camera, photo, mask, bool((mask == IGNORED).any()), bool((mask == EMPTY).any()))


def _shuffled(count: int, seed: int) -> Iterator[int]:
    """0 to count - 1 in a new random order again and again."""
    random = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=random).tolist()
