"""Training views to the photo of each step: shuffled, small at first, decoded ahead where memory does not hold all."""

from collections.abc import Iterator, Sequence
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
from sfumato.core.scene import EMPTY, IGNORED, View

__all__ = ["AHEAD", "Lesson", "Photos", "under_way"]

AHEAD = 4  # photos that are decoded before they are asked for
# threads that decode (more would only take cores from training) and photos ahead: the first that fits into memory
CREWS = ((2, AHEAD), (2, 2), (1, 2), (1, 1))
BUSY = 10  # bytes per pixel of a photo that is being decoded: four in Pillow, three as a tensor, three laid out anew


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
        self._pixels = max((view.camera.width * view.camera.height for view in views), default=0)  # of the largest
        self._workers, self._most_ahead = _crew(self._pixels, keep)
        self._pool = ThreadPoolExecutor(min(self._workers, usable_cores()), thread_name_prefix="photos")

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
        self._look_ahead(self._most_ahead)
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
        self._ahead = [(index, self._begin(index)) for index, _ in self._ahead]

    def _look_ahead(self, count: int) -> None:
        while len(self._ahead) < count:
            index = next(self._order)
            self._ahead.append((index, None if index in self._held else self._begin(index)))

    def _begin(self, index: int) -> "Future[_Prepared]":
        return self._pool.submit(partial(_prepare, self._views[index], self._divisor))

    def _hold(self, index: int, prepared: "_Prepared") -> None:
        """Keep a photo when there is room for it beside those that are decoded ahead."""
        others = _need(self._pixels, (self._workers, self._most_ahead), self._divisor)
        if self._keep is None or self._bytes + prepared.bytes + others <= self._keep:
            self._held[index] = prepared
            self._bytes += prepared.bytes


def under_way(pixels: int, keep: int | None = None) -> int:
    """Bytes for photos of that many pixels at most that `Photos` needs beside what it holds."""
    return _need(pixels, _crew(pixels, keep))


def _crew(pixels: int, keep: int | None) -> tuple[int, int]:
    fitting = [crew for crew in CREWS if keep is None or _need(pixels, crew) <= keep]
    return fitting[0] if fitting else CREWS[-1]


def _need(pixels: int, crew: tuple[int, int], divisor: int = 1) -> int:
    """Bytes of the photos that are being decoded, those that are ahead, and the one that is learned from."""
    workers, ahead = crew
    return BUSY * pixels * workers + 3 * (ahead + 1) * pixels // divisor**2


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A photo at one size, as small as it can be held."""

    camera: Camera
    photo: Tensor  # (H, W, 3) uint8
    shown: Tensor | None  # (H, W) bool
    empty: Tensor | None  # (H, W) bool

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.photo, self.shown, self.empty) if tensor is not None)

    def lesson(self) -> Lesson:
        shown = None if self.shown is None else self.shown[..., None].float()
        return Lesson(self.camera, self.photo, shown, None if self.empty is None else self.empty.float())


def _prepare(view: View, divisor: int) -> _Prepared:
    width, height = (max(1, round(side / divisor)) for side in (view.camera.width, view.camera.height))
    camera, picture = view.camera.resized(width, height), view.picture()
    photo = planar(resize(picture.pixels, width, height))
    if picture.mask is None:
        return _Prepared(camera, photo, None, None)
    mask = resize_mask(picture.mask, width, height)
    shown, empty = mask != IGNORED, mask == EMPTY
    if shown.all():
        return _Prepared(camera, photo, None, empty if empty.any() else None)
    photo = photo * shown[..., None]  # a product keeps the layout, and does not write to the view's own memory
    return _Prepared(camera, planar(photo), shown, empty if empty.any() else None)


def _shuffled(count: int, seed: int) -> Iterator[int]:
    """0 to count - 1 in a new random order again and again."""
    random = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=random).tolist()
