"""Which frames of a video: small gray pictures in, how far the view has moved and how sharp each is, and a choice."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError

__all__ = ["FINE", "Array", "Travel", "choose", "frame_count", "sharpness"]

Array = NDArray[np.floating[Any]]
_Spectra = NDArray[np.complexfloating[Any, Any]]

# shares of the picture's longer side
FINE = 0.02  # less than that is the tremor of a hand
STEP = 0.06  # from frame to frame: two share nine tenths of their view, or were taken 5 degrees apart
FEWEST, MOST = 20, 300  # frames: fewer leave structure from motion nothing to check with, more take it too long
SLOWEST = 0.5  # frames a second at least, while there is any motion
PARALLAX = 3.0  # parts that move against each other hide and distort more than all that moves alike
TILE, HOP = 64, 32  # pixels
SURE = 0.2  # correlation, of 1, from which on a shift is believed; of unrelated tiles 1 in 10 reaches 0.17
TEXTURE = 1.0  # gray levels, of 255: the deviation in a tile below which there is nothing to follow


class Travel:
    """How far the view of a video has moved, picture by picture, in shares of the longer side.

    Each tile of a picture is compared with the same tile of an anchor by phase correlation (Kuglin and Hines 1975);
    the anchor moves on after every FINE share. So a trembling hand that stays in one place does not add up, a slow
    walk does, and so does walking straight ahead, where the tiles move apart but on the whole nothing moves.
    """

    def __init__(self) -> None:
        self._anchor: _Spectra | None = None  # spectra of the tiles
        self._last: _Spectra | None = None
        self._base = 0.0  # at the anchor
        self._reached = 0.0

    def add(self, gray: Array) -> float:
        """How far (H, W) `gray`, of the same size as those before, is from the first."""
        tiles, textured = _spectra(gray)
        if self._anchor is None or self._last is None:
            self._anchor = self._last = tiles
            return 0.0
        side = max(gray.shape)
        moved = _shift(self._anchor, tiles, textured)
        if moved is None:  # too far from the anchor: from picture to picture it may still be seen
            self._anchor, self._base = self._last, self._reached
            moved = _shift(self._anchor, tiles, textured)
        share = FINE if moved is None else moved / side  # a cut, a jerk: some way, nobody knows how far
        self._reached = max(self._reached, self._base + share)
        if share >= FINE:
            self._anchor, self._base = tiles, self._reached
        self._last = tiles
        return self._reached


def _spectra(gray: Array) -> tuple[_Spectra, NDArray[np.bool_]]:
    """Fourier transforms of the overlapping tiles, and whether each has anything in it to follow."""
    tile = min(TILE, *gray.shape) // 2 * 2
    tiles = np.lib.stride_tricks.sliding_window_view(gray, (tile, tile))[::HOP, ::HOP].reshape(-1, tile, tile)
    tiles = tiles - tiles.mean(axis=(1, 2), keepdims=True)
    textured = tiles.std(axis=(1, 2)) > TEXTURE
    hann = np.hanning(tile + 1)[:tile].astype(np.float32)
    return np.fft.rfft2(tiles * hann * hann[:, None]), textured


def _shift(before: _Spectra, after: _Spectra, textured: NDArray[np.bool_]) -> float | None:
    """By how many pixels the view moved, and its parts against each other; None when that cannot be told.

    The fifth of the tiles that moves most is left out: a person who walks by, water, leaves.
    """
    if not textured.any():
        return 0.0  # a white wall, a covered lens
    tile = before.shape[1]
    cross = after * before.conj()
    fy, fx = np.fft.fftfreq(tile)[:, None], np.fft.rfftfreq(tile)
    smooth = np.exp(-(fx * fx + fy * fy) / (2 * 0.15**2)).astype(np.float32)  # fine detail is mostly noise
    peaks = np.fft.irfft2(smooth * cross / (np.abs(cross) + 1e-9), s=(tile, tile)).reshape(len(before), -1)
    height = peaks.max(axis=1) / np.fft.irfft2(smooth, s=(tile, tile))[0, 0]
    sure = textured & (height > SURE)
    if sure.sum() < 0.25 * textured.sum():
        return None
    yx = np.stack(np.divmod(peaks.argmax(axis=1)[sure], tile), axis=1)
    vectors = np.where(yx < tile // 2, yx, yx - tile)
    middle = np.median(vectors, axis=0)
    apart = np.sort(np.hypot(*(vectors - middle).T))[: max(1, round(0.8 * len(vectors)))].mean()
    return float(np.hypot(np.hypot(*middle), PARALLAX * apart))


def sharpness(gray: NDArray[np.uint8]) -> float:
    """Mean square of the Laplacian of (H, W) `gray`: comparable between pictures of the same thing only."""
    c = gray.astype(np.int16)
    edges = 4 * c[1:-1, 1:-1] - c[:-2, 1:-1] - c[2:, 1:-1] - c[1:-1, :-2] - c[1:-1, 2:]
    return float(np.square(edges, dtype=np.float32).mean())


def frame_count(travelled: float, seconds: float) -> int:
    """How many frames a video of that length needs whose view moves `travelled` shares of its longer side."""
    most = travelled / FINE  # closer together than that, they are copies
    wanted = max(travelled / STEP, FEWEST, SLOWEST * seconds)
    return max(1, round(min(wanted, most, MOST)))


def choose(travel: Array, sharp: Array, count: int) -> list[int]:
    """Rising indices of `count` pictures evenly along `travel` (n,), which never falls: of each window the sharpest.

    A picture near the border of its window must be sharper to be chosen, up to twice, so that windows keep apart.
    Raises InputError when there are fewer than `count`.
    """
    n = len(travel)
    if n < count:
        raise InputError(f"frames must be at most {n}, the frames of the video that can be used; got {count}")
    borders = np.linspace(travel[0], travel[-1], count + 1)
    starts = np.searchsorted(travel, borders[:-1])
    for i in range(1, count):  # at least one picture each
        starts[i] = max(starts[i], starts[i - 1] + 1)
    starts = np.minimum(starts, n - count + np.arange(count))
    chosen = []
    for i, (start, end) in enumerate(zip(starts, [*starts[1:], n], strict=True)):
        middle, half = (borders[i] + borders[i + 1]) / 2, max((borders[i + 1] - borders[i]) / 2, 1e-9)
        off = np.clip((travel[start:end] - middle) / half, -1, 1)
        chosen.append(int(start + np.argmax(sharp[start:end] * (1 - 0.5 * off * off))))
    return chosen
