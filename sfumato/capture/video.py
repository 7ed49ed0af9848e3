"""A video in, its sharpest frames with enough parallax out, as upright JPEG photos in a folder."""

import json
import secrets
import shutil
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.cache import fingerprint
from sfumato.capture.frame import Matrix, degrees, display_matrix, gray, rgb, to_photo, transfer_of
from sfumato.capture.windows import FINE, Travel, choose, frame_count, sharpness
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.files import replacing, write_text
from sfumato.core.limits import usable_cores
from sfumato.core.progress import Note, Progress, mute, silent

__all__ = ["VIDEO_SUFFIXES", "extract_frames", "is_video"]

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".3gp", ".3g2", ".mts", ".m2ts", ".ts"),
    *(".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".ogv", ".mxf", ".insv", ".lrv"),
)
LOOK = 640  # pixels of the longer side where sharpness is measured; motion is, at half of it
FASTEST = 40  # frames a second that are looked at: of 60 or 240, every other or every sixth is enough
QUALITY = 95  # of JPEG, without subsampling of color
LATE = 1.0  # seconds by which pictures may end before the video says it does; sound often is that much longer
FEWEST = 3  # frames that structure from motion needs
VERSION = 1  # changes whenever other frames would be chosen
_RECORD = "frames.json"
_NAMES = "frame_*.jpg"
_COVER = 0x400  # of a stream's disposition: the picture on the sleeve of a record
_MOVE = "film while walking around the subject"


def is_video(path: Path) -> bool:
    """Whether `path` is called as videos are; it is not opened."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def extract_frames(
    video: Path, folder: Path, frames: int | None = None, progress: Progress = silent, note: Note = mute
) -> list[str]:
    """Write the frames of `video` that are worth having to `folder`; returns their names in order of time.

    The view's motion is followed through the video, and cut into windows of equal motion: standing still gives no
    copies, a fast walk more frames. Each window gives its sharpest frame. frames: how many; by default as many as
    length and motion ask for. They are written at full size with square pixels, upright as the video's rotation says,
    as 8-bit sRGB: frame_00001.jpg and so on, and frames.json with the second each was taken at.

    `folder` appears whole or not at all; when it already holds the frames of that video, they are returned at once.
    Warns (SfumatoWarning) of damaged or missing parts. Raises InputError when the video cannot be decoded, has no
    pictures, too few of them or no motion, or when `folder` holds something else.
    """
    if frames is not None and frames < FEWEST:
        raise InputError(f"frames must be at least {FEWEST}; got {frames}")
    if not video.exists():
        raise InputError(f"{video} is not there; give a video or a folder of photos")
    if not video.is_file():
        raise InputError(f"{video} is not a file; give the video itself")
    mark = fingerprint([video], VERSION, frames)
    record = _recall(folder, mark)
    if record is None:
        _check_free(folder)
        with _appearing(folder) as work:
            record = {**_extract(video, work, frames, progress), "fingerprint": mark}
            write_text(work / _RECORD, json.dumps(record, indent=1))
    for warning in record["warnings"]:
        warnings.warn(warning, SfumatoWarning, stacklevel=2)
    note(record["note"])
    return [str(frame["name"]) for frame in record["frames"]]


def _recall(folder: Path, mark: str) -> dict[str, Any] | None:
    """The record of the frames that `folder` holds, if they were made of that video in that way."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        names = [folder / frame["name"] for frame in record["frames"]]
        if record["fingerprint"] == mark and record["note"] and all(name.is_file() for name in names):
            return {**record, "warnings": [str(warning) for warning in record["warnings"]]}
    return None


def _check_free(folder: Path) -> None:
    """Refuse to replace anything but frames made here, or nothing."""
    if not folder.exists():
        return
    files = list(folder.iterdir()) if folder.is_dir() else [folder]
    ours = [path for path in files if path.name == _RECORD or ((folder / _RECORD).exists() and path.match(_NAMES))]
    if len(ours) < len(files):
        raise InputError(f"{folder} holds files that were not made here; choose another folder for the frames")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` when the block ends without an error."""
    work = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    work.mkdir(parents=True)
    try:
        yield work
        shutil.rmtree(folder, ignore_errors=True)
        work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(video: Path, folder: Path, frames: int | None, progress: Progress) -> dict[str, Any]:
    """Choose and write; returns the record."""
    film = _Film(video)
    seen = _look(film, progress, 0 if frames else 1 / FASTEST)
    if len(seen.places) < max(FEWEST, frames or 0):
        enough = f"frames must be at most {len(seen.places)}, or film longer" if frames else f"{_MOVE} for longer"
        raise InputError(
            f"{video} has {len(seen.places)} frames that can be used, and {frames or FEWEST} are needed; {enough}"
        )
    if seen.travel[-1] < FINE:
        moved = f"its view moves by less than {FINE:.0%} of its width in {seen.seconds:.1f} s"
        raise InputError(f"the camera of {video} stands still: {moved}, and depth needs parallax; {_MOVE}")
    count = frames or min(len(seen.places), max(FEWEST, frame_count(seen.travel[-1], seen.seconds)))
    chosen = choose(np.array(seen.travel), np.array(seen.sharp), count)
    told = list(_missing(film, seen))
    written = _write(film, [seen.places[i] for i in chosen], folder, progress)
    width, height = written.size
    turned = f", turned by {degrees(film.matrix)} degrees" if degrees(film.matrix) else ""
    listed = [
        {
            "name": written.names[seen.places[i]],
            "seconds": round(seen.times[i], 6),
            "sharpness": round(seen.sharp[i], 3),
        }
        for i in chosen
        if seen.places[i] in written.names
    ]
    return {
        "frames": listed,
        "note": f"{len(listed)} of {seen.count} frames chosen from {seen.seconds:.1f} s of video "
        f"({width}x{height}{turned})",
        "warnings": told,
        "video": str(video.resolve()),
    }


class _Film:
    """A video that can be decoded from the beginning more than once, past its damaged parts."""

    def __init__(self, video: Path) -> None:
        self.video = video
        self.damaged = 0  # packets and pictures
        self.broken: str | None = None  # why reading stopped before the end
        self.promised: float | None = None  # seconds that the pictures shall last
        self.expected = 0  # pictures; 0: not said
        self.rate = 30.0
        self.aspect = 1.0  # width of a pixel over its height
        self.tag: str | None = None  # degrees clockwise, in older files
        self.matrix: Matrix = (1, 0, 0, 1)

    def pictures(self) -> Iterator[tuple[int, float, Any]]:
        """(place, seconds, frame) of each picture; places count all that are decoded, so they are always the same."""
        import av

        try:
            container = av.open(str(self.video.resolve()))
        except _errors() as error:
            raise InputError(
                f"{self.video} cannot be opened as a video ({_reason(error)}); "
                "if recording or copying it broke off, copy it again or repair it with the program that made it"
            ) from None
        with container:
            stream = self._stream(container)
            self.damaged, self.broken, place = 0, None, 0
            for packet in self._packets(container, stream):
                try:
                    decoded = packet.decode()
                except _errors():
                    self.damaged += 1
                    continue
                for frame in decoded:
                    seconds = place / self.rate if frame.time is None else float(frame.time)
                    yield place, seconds, frame
                    place += 1

    def _stream(self, container: Any) -> Any:
        """The stream of pictures, with what the file says about it noted."""
        stream = container.streams.best("video")
        disposition = getattr(stream, "disposition", None)  # older PyAV does not tell
        if stream is None or getattr(disposition, "value", 0) & _COVER:
            kind = "holds sound only" if container.streams.audio else "holds no pictures"
            raise InputError(f"{self.video} {kind}; give a video")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = min(16, usable_cores())
        with suppress(TypeError, ZeroDivisionError):
            self.rate = float(stream.average_rate or stream.guessed_rate) or 30.0
        if stream.duration and stream.time_base:
            self.promised = float(stream.duration * stream.time_base)
        elif container.duration:
            self.promised = container.duration / 1e6
        self.expected = stream.frames or round((self.promised or 0) * self.rate)
        self.tag = stream.metadata.get("rotate")
        self.aspect = float(stream.sample_aspect_ratio or 1)
        return stream

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """Packets until the end, or until the file cannot be read any further."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except _errors() as error:
                self.broken = _reason(error)
                return
            yield packet


def _errors() -> tuple[type[Exception], ...]:
    """What PyAV raises when data is not as it should be."""
    import av

    return av.FFmpegError, OSError, ValueError


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n")[0]


@dataclass
class _Seen:
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


def _look(film: _Film, progress: Progress, spacing: float) -> _Seen:
    """Decode the whole video and measure its pictures, those at least `spacing` seconds apart."""
    seen, travel = _Seen(), Travel()
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
        except _errors():
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


def _missing(film: _Film, seen: _Seen) -> Iterator[str]:
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


@dataclass
class _Written:
    size: tuple[int, int] = (0, 0)
    names: dict[int, str] = field(default_factory=dict)  # place -> file name


def _write(film: _Film, places: list[int], folder: Path, progress: Progress) -> _Written:
    """Decode again, and write the pictures at `places` (rising)."""
    stage, workers = "writing frames", min(8, usable_cores())
    written, wanted = _Written(), set(places)
    pending: deque[Future[tuple[int, int]]] = deque()
    progress(stage, 0, len(places))
    with ThreadPoolExecutor(workers) as pool:
        for place, _, frame in film.pictures():
            if place in wanted:
                name = written.names[place] = f"frame_{len(written.names) + 1:05d}.jpg"
                colors = transfer_of(frame)
                pending.append(pool.submit(_save, folder / name, rgb(frame, film.aspect), colors, film.matrix))
                progress(stage, len(written.names), len(places))
            while len(pending) > 2 * workers or (pending and place >= places[-1]):
                written.size = pending.popleft().result()
            if place >= places[-1]:
                break
        for future in pending:
            written.size = future.result()
    return written


def _save(path: Path, pixels: NDArray[np.uint8], colors: tuple[int, int], matrix: Matrix) -> tuple[int, int]:
    photo = to_photo(pixels, *colors, matrix)
    with replacing(path) as file:
        photo.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return photo.size
