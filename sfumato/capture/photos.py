"""Photos: which files of a folder are photos, which file a dataset means by a name, how large each one is."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import Image

from sfumato.capture.companions import companions
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.image import image_header, opened
from sfumato.core.limits import usable_cores
from sfumato.core.progress import Progress

__all__ = [
    "MASK_FOLDER",
    "PHOTO_SUFFIXES",
    "Header",
    "PhotoIndex",
    "check_folder",
    "list_photos",
    "list_pictures",
    "map_photos",
    "read_header",
    "read_headers",
    "report_broken",
]

MASK_FOLDER = re.compile(r"((images?|imgs?|photos?|rgb|input|frames?)[_-]?)?masks?([_-]?\d+)?", re.IGNORECASE)
# files that a folder with results of a run, of scores or of structure from motion has
_RESULTS = (
    *({"config.json", "log.jsonl"}, {"config.json", "cameras.json"}),
    *({"report.json", "report.md"}, {"capture.csv", "contact.jpg"}),
)
_EXTRA = (".heic", ".heif", ".hif", ".avif", ".exr")  # for which Pillow alone may not be enough
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", *_EXTRA)

_T = TypeVar("_T")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Header:
    """What the first bytes of a photo say."""

    width: int  # pixels, as stored: EXIF orientation is not applied
    height: int
    has_alpha: bool
    lens: tuple[str, ...]  # maker, model, lens, focal lengths as in EXIF: equal for photos taken alike


def check_folder(source: Path) -> None:
    """Raise InputError unless `source` is a folder."""
    if not source.exists():
        raise InputError(f"{source} is not there; give a folder of photos or a dataset folder")
    if not source.is_dir():
        raise InputError(f"{source} is a file; give the folder it is in")


def list_photos(folder: Path) -> list[str]:
    """Sorted names (forward slashes, sub-folders included) of the photos below `folder`.

    Passed over are other files, and pictures that only belong to photos: see `list_pictures` and `companions`.
    """
    names = list_pictures(folder)
    passed = companions(folder, names)
    return [name for name in names if name not in passed]


def list_pictures(folder: Path) -> list[str]:
    """Sorted names (forward slashes, sub-folders included) of the pictures below `folder`; other files are ignored.

    Hidden files and folders, what macOS leaves in archives, folders of masks, and sub-folders with results of
    sfumato, whose pictures are no photos, are passed over.
    """
    names: list[str] = []
    seen: set[str] = set()  # a link may lead back to where it is
    for place, folders, files in os.walk(folder, followlinks=True):
        is_result = Path(place) != folder and any(marks.issubset(files) for marks in _RESULTS)
        if is_result or (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        kept = [name for name in folders if not (name.startswith((".", "__MACOSX")) or MASK_FOLDER.fullmatch(name))]
        folders[:] = sorted(kept, key=lambda name: (Path(place, name).is_symlink(), name))
        names += [
            (Path(place) / name).relative_to(folder).as_posix()
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES
        ]
    return sorted(names)


def read_header(path: Path) -> Header:
    """Size, transparency and lens of a photo without decoding it. Raises InputError when it is not an image."""
    width, height, has_alpha = image_header(path)
    lens: tuple[str, ...] = ()
    with suppress(InputError), opened(path) as file:  # EXIF is what Pillow finds; the photo is good without it
        lens = _lens_tags(file)
    return Header(width, height, has_alpha, lens)


def _lens_tags(file: Image.Image) -> tuple[str, ...]:
    """What EXIF says of the lens; nothing when there is none, or it is damaged: the photo is good without it."""
    with suppress(Exception):
        exif = file.getexif()
        details = exif.get_ifd(0x8769)  # the Exif sub-folder, where the lens is
        tags = [exif.get(tag) for tag in (0x010F, 0x0110)]  # Make, Model
        tags += [details.get(tag) for tag in (0x920A, 0xA405, 0xA404, 0xA434)]  # focal, at 35 mm, zoom, lens
        return tuple(str(tag) for tag in tags)
    return ()


def read_headers(paths: Sequence[Path], progress: Progress) -> dict[Path, Header]:
    """The headers of the photos that have one; the others are left out with one warning, as by `report_broken`."""

    def attempt(path: Path) -> Header | InputError:
        try:
            return read_header(path)
        except InputError as error:
            return error

    unique = list(dict.fromkeys(paths))
    read = dict(zip(unique, map_photos(attempt, unique, "looking at photos", progress), strict=True))
    report_broken([header for header in read.values() if isinstance(header, InputError)], len(unique))
    return {path: header for path, header in read.items() if isinstance(header, Header)}


def report_broken(broken: Sequence[InputError], total: int) -> None:
    """One SfumatoWarning that says what is wrong with broken photos; InputError when most are broken."""
    if not broken:
        return
    if 2 * len(broken) > total:
        raise InputError(f"{len(broken)} of {total} photos cannot be read; copy them again. The first: {broken[0]}")
    shown = "; ".join(str(error) for error in broken[:3]) + ("; ..." if len(broken) > 3 else "")
    told = f"{len(broken)} of {total} photos cannot be read and are left out: {shown}"
    warnings.warn(told, SfumatoWarning, stacklevel=3)


class PhotoIndex:
    """The photos of a few folders, found by the names that datasets written elsewhere use for them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
        self._listed: dict[Path, dict[str, Path]] = {}

    def find_all(self, names: Sequence[str]) -> dict[str, Path]:
        """The photo of each name that has one.

        Names in different folders may end alike, and lead to the one file that is there of that name: it belongs to
        the name that agrees most with where it is; to none when several agree as much, for a photo with the camera of
        another is worse than none.
        """
        found = {name: path for name in dict.fromkeys(names) if (path := self.find(name)) is not None}
        claims: dict[Path, set[tuple[str, ...]]] = {}
        for name, path in found.items():
            claims.setdefault(path, set()).add(_parts(name))
        owners = {path: _owner(path, said) for path, said in claims.items()}
        return {name: path for name, path in found.items() if owners[path] == _parts(name)}

    def find(self, name: str) -> Path | None:
        """The photo called `name`, or None.

        Tried in every folder: the name as it is, with an extension, in another case; then, for paths of somebody
        else's machine, ever shorter ends of it, with the same or another extension; then a file name that only one
        photo below the folder has.
        """
        try:
            return self._as_named(name) or self._by_end(name)
        except (OSError, ValueError):  # what no file can be called: too long, with a zero byte, a slash alone
            return None

    def _as_named(self, name: str) -> Path | None:
        candidates = [folder / name for folder in self.folders if name]  # an absolute name replaces the folder
        for path in candidates:
            if path.is_file():
                return path
        for path in candidates:
            for suffix in PHOTO_SUFFIXES if path.name else ():  # appended, not replaced: "r_0.5" has no extension
                if (extended := path.with_name(path.name + suffix)).is_file():
                    return extended
        return None

    def _by_end(self, name: str) -> Path | None:
        parts = PurePosixPath(name.replace("\\", "/").lower()).parts
        for first in range(len(parts)):
            if found := self._look_up("/".join(parts[first:])):
                return found
        return self._look_up(f"**/{parts[-1]}") if parts else None

    def _look_up(self, name: str) -> Path | None:
        stem, dot, suffix = name.rpartition(".")
        names = (name, stem) if dot + suffix in PHOTO_SUFFIXES else (name,)
        for folder in self.folders:
            listed = self._listed.get(folder)
            if listed is None:
                listed = self._listed[folder] = _listing(folder)
            for key in names:
                if found := listed.get(key):
                    return found
        return None


def _parts(name: str) -> tuple[str, ...]:
    """Folders and file of a name without its extension, lower case, from the file upwards."""
    path = PurePosixPath(name.replace("\\", "/").lower())
    return ((path.stem if path.suffix in PHOTO_SUFFIXES else path.name), *reversed(path.parts[:-1]))


def _owner(path: Path, claims: Collection[tuple[str, ...]]) -> tuple[str, ...] | None:
    """Of the names that lead to a file, the one that agrees with it in most folders; None when several do."""
    if len(claims) == 1:
        return next(iter(claims))
    real = _parts(path.as_posix())
    shared = {
        said: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(said, real, strict=False)))
        for said in claims
    }
    best = [said for said in claims if shared[said] == max(shared.values())]
    return best[0] if len(best) == 1 else None


def _listing(folder: Path) -> dict[str, Path]:
    """The pictures below `folder` by lower-case name, with and without extension; **/file where that is only one."""
    names = list_pictures(folder)
    count = Counter(PurePosixPath(name).name.lower() for name in names)
    listed = {}
    for name in reversed(names):  # reversed: of two with the same stem, the first one wins
        path = PurePosixPath(name.lower())
        listed[str(path.with_suffix(""))] = listed[str(path)] = folder / name
        if count[path.name] == 1:
            listed[f"**/{path.name}"] = folder / name
    return listed


def map_photos(
    work: Callable[[_Item], _T], items: Sequence[_Item], stage: str, progress: Progress, threads: int = 8
) -> list[_T]:
    """`work` of every item, in order, by a small pool of threads: decoding photos releases Python's lock."""
    results = []
    progress(stage, 0, len(items))
    with ThreadPoolExecutor(max(1, min(threads, usable_cores()))) as pool:
        try:
            for done, result in enumerate(pool.map(work, items), start=1):
                results.append(result)
                progress(stage, done, len(items))
        except BaseException:  # Ctrl-C too: what has not begun is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
