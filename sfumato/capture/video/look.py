"""A first pass over a video: where its pictures are, how far the view has moved by then, and how sharp they are."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.video.film import Film, errors_of_av
from sfumato.capture.video.frame import display_matrix, gray
from sfumato.capture.video.windows import Travel, sharpness
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress

__all__ = ["Seen", "look", "missing"]

LOOK = 640  # pixels of the longer side where sharpness is measured; motion is, at half of it
LATE = 1.0  # seconds by which pictures may end before the video says it does; sound often is that much longer


@dataclass
class Seen:
    """What is known of the pictures that may be chosen."""

    size: tuple[int, int] = (0, 0)  # of all of them
    count: int = 0  # pictures in the video
    other: int = 0  # of another size
    places: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # seconds
    travel: list[float] = field(default_factory=list)  # shares of the longer side
    sharp: list[float] = field(default_factory=list)
    first: float = 0.0  # second of the first picture of all
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """From the first to the end of the last."""
        return (self.last - self.first) * self.count / max(1, self.count - 1)


def look(film: Film, progress: Progress, spacing: float) -> Seen:
    """Decode the whole video and measure its pictures, those at least `spacing` seconds apart."""
    seen, travel = Seen(), Travel()
    stage = "looking at the video"
    for place, seconds, frame in film.pictures():
        seen.count += 1
        seen.first, seen.last = (
            (seconds, seconds) if place == 0 else (min(seen.first, seconds), max(seen.last, seconds))
        )
        progress(stage, min(seen.count, film.expected) if film.expected else seen.count, film.expected)
        if frame.is_corrupt:
            film.damaged += 1
            continue
        size = (frame.width, frame.height)
        if not seen.places:
            seen.size = size
            film.matrix = display_matrix(frame, film.tag)
        if size != seen.size:
            seen.other += 1
            continue
        if seen.times and seconds - seen.times[-1] < spacing - 1e-4:
            continue
        try:
            small = gray(frame, LOOK)
        except errors_of_av():
            film.damaged += 1
            continue
        seen.places.append(place)
        seen.times.append(seconds)
        seen.travel.append(travel.add(_halved(small)))
        seen.sharp.append(sharpness(small))
    if not seen.count:
        why = f" ({film.broken})" if film.broken else ""
        raise InputError(f"no picture of {film.video} can be decoded{why}; it is damaged or empty: copy it again")
    progress(stage, film.expected or seen.count, film.expected or seen.count)
    return seen


def _halved(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    wide = picture[: 2 * height, : 2 * width].astype(np.uint16)
    rows = wide[::2] + wide[1::2]
    return np.multiply(rows[:, ::2] + rows[:, 1::2], 0.25, dtype=np.float32)


def missing(film: Film, seen: Seen) -> Iterator[str]:
    """What is wrong with the video, although it can be used."""
    promised = film.promised or 0.0
    breaks_off = film.broken is not None or seen.seconds < promised - max(LATE, 0.05 * promised)
    if breaks_off:
        of = f" of {promised:.1f}" if promised else ""
        why = f" ({film.broken})" if film.broken else ""
        yield f"{film.video} breaks off{why}: the first {seen.seconds:.1f}{of} s could be used"
    if film.damaged > breaks_off:  # the piece at which it breaks off is half a piece
        yield f"damaged pieces of {film.video} that were passed over: {film.damaged}"
    if seen.other:
        size = f"{seen.size[0]}x{seen.size[1]}"
        yield f"frames of {film.video} that were left out because they are not {size} as the first: {seen.other}"
