"""A video in, its sharpest frames with enough parallax out, as upright JPEG photos in a folder."""

import json
import re
import secrets
import shutil
import time
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

from sfumato.capture.video.film import Film
from sfumato.capture.video.frame import Matrix, degrees, rgb, to_photo, transfer_of
from sfumato.capture.video.look import look, missing
from sfumato.capture.video.windows import FINE, choose, frame_count
from sfumato.core.cache import fingerprint
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.files import replacing, write_text
from sfumato.core.limits import threads_for
from sfumato.core.progress import Note, Progress, mute, silent

__all__ = ["VIDEO_SUFFIXES", "extract_frames", "is_video"]

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".3gp", ".3g2", ".mts", ".m2ts", ".ts"),
    *(".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".ogv", ".mxf", ".insv", ".lrv"),
)
FASTEST = 40  # frames a second that are looked at: of 60 or 240, every other or every sixth is enough
QUALITY = 95  # of JPEG, without subsampling of color
FEWEST = 3  # frames that structure from motion needs
BYTES = 20  # a pixel of a picture that is being written: three that wait, and copies turned, for Pillow and in sRGB
VERSION = 1  # changes whenever other frames would be chosen
_STALE = 24 * 3600  # seconds after which a folder that is half written belongs to nobody
_RECORD = "frames.json"
_NAMES = "frame_*.jpg"
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
        with _appearing(folder, mark) as work:
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
def _appearing(folder: Path, mark: str) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` when the block ends without an error.

    Unless another run was faster: then its frames, which are the same, stay, for it may be using them.
    """
    work = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    _sweep(folder)
    work.mkdir(parents=True)
    try:
        yield work
        if _recall(folder, mark) is None:
            shutil.rmtree(folder, ignore_errors=True)
            work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed runs left of `folder` itself, half written; folders beside it may be anybody's."""
    left = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{8}}\.part")
    for part in folder.parent.iterdir() if folder.parent.is_dir() else ():
        with suppress(OSError):
            if left.fullmatch(part.name) and time.time() - part.stat().st_mtime > _STALE:
                shutil.rmtree(part, ignore_errors=True)


def _extract(video: Path, folder: Path, frames: int | None, progress: Progress) -> dict[str, Any]:
    """Choose and write; returns the record."""
    film = Film(video)
    seen = look(film, progress, 0 if frames else 1 / FASTEST)
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
    told = list(missing(film, seen))
    written = _write(film, seen.size, [seen.places[i] for i in chosen], folder, progress)
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


@dataclass
class _Written:
    size: tuple[int, int] = (0, 0)
    names: dict[int, str] = field(default_factory=dict)  # place -> file name


def _write(film: Film, size: tuple[int, int], places: list[int], folder: Path, progress: Progress) -> _Written:
    """Decode again, and write the pictures at `places` (rising), as many at once as memory has room for."""
    stage, workers = "writing frames", threads_for(round(BYTES * size[0] * size[1] * max(1.0, film.aspect)))
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
