"""What somebody gave us, whatever it is, to a Capture: a folder, a dataset's file, an archive or a video."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sfumato.capture import colmap, nerf_json
from sfumato.capture.archive import is_archive, unpacked
from sfumato.capture.datasets.common import files_ending
from sfumato.capture.masks import masks_beside
from sfumato.capture.photos import list_photos
from sfumato.capture.sfm import MIN_PHOTOS, photos_of, solve
from sfumato.capture.shot import Capture
from sfumato.capture.video import VIDEO_SUFFIXES, extract_frames, is_video
from sfumato.core.cache import fingerprint
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.progress import Note, Progress, mute, silent

__all__ = ["read_source"]

# in the order they are tried: the first that finds its file reads the dataset
READERS = ("llff", "polycam", "record3d", "metashape", "reality_capture", "opensfm", "bundler", "kiri")
_DATASET_SUFFIXES = (".json", ".npy", ".xml", ".xmp", ".csv", ".out", ".bin", ".txt", ".geojson")
_KNOWN = (
    "a COLMAP model, transforms.json, poses_bounds.npy, Polycam or Record3D captures, Metashape cameras.xml, "
    "RealityCapture CSV, OpenSfM reconstruction.json or Bundler's bundle.out"
)


@dataclass(frozen=True)
class _Asked:
    """What reading may need to know."""

    frames: int | None
    masked: bool
    store: Path
    progress: Progress
    note: Note


@dataclass(frozen=True)
class _Dataset:
    """Cameras that a reader found, not read yet."""

    files: list[Path]  # that list them
    read: Callable[[], Capture]


def read_source(
    source: Path,
    store: Path,
    frames: int | None = None,
    masked: bool = True,
    progress: Progress = silent,
    note: Note = mute,
) -> tuple[Capture, Path]:
    """The capture of whatever `source` is, and the folder that its files are in.

    source: a folder of photos; a dataset's folder, or the file in it that lists the cameras; an archive of either; a
    video, or a folder with nothing but one. store: where frames, unpacked archives and found cameras are kept.
    frames: how many to take of a video. masked: cameras are not found by what is black in masks. Raises InputError in
    one sentence when nothing can be made of it.
    """
    asked = _Asked(frames, masked, store, progress, note)
    folder = source
    if not source.exists():
        raise InputError(f"{source} is not there; give a folder of photos, a video or a dataset")
    if source.is_file():
        if is_video(source):
            return _read_video(source, asked)
        folder = _folder_of(source, asked)
        if folder == source.parent:
            return _read_list(source, asked), folder
    return _read_folder(folder, asked)


def _folder_of(source: Path, asked: _Asked) -> Path:
    """The folder that a file stands for."""
    if is_archive(source):
        return unpacked(source, asked.store, asked.progress)
    if source.suffix.lower() in _DATASET_SUFFIXES:
        return source.parent
    raise InputError(f"{source} is no video, archive or list of cameras; give a folder of photos or one of these")


def _read_list(path: Path, asked: _Asked) -> Capture:
    """The dataset whose cameras a file lists; photos and videos that happen to lie beside any file are not meant."""
    _check_frames(path, asked)
    datasets = list(_datasets(path.parent, asked))
    meant = next((dataset for dataset in datasets if path in dataset.files), None)
    if meant is not None:
        return meant.read()
    if not datasets:
        raise InputError(f"{path} is no list of cameras that is known ({_KNOWN}); give one, or a folder of photos")
    first = datasets[0].files[0]
    if first.suffix.lower() == path.suffix.lower():
        raise InputError(f"{path} is not the list of cameras in its folder, which is {first.name}; give that one")
    return datasets[0].read()


def _check_frames(source: Path, asked: _Asked) -> None:
    """Frames are asked of videos only."""
    if asked.frames is not None:
        raise InputError(f"{source} is no video, so there are no frames to choose; leave --frames out")


def _datasets(folder: Path, asked: _Asked) -> Iterator[_Dataset]:
    """What the readers that know the folder would read, the first being what the folder stands for.

    A COLMAP model comes before everything else, for it has points. But where nerfstudio kept the model that it made
    its transforms.json of, in `colmap`, that file knows more.
    """
    model, files = colmap.find_model(folder), nerf_json.find_transforms(folder)
    if model and not (files and folder / "colmap" in model.parents):
        yield _Dataset(sorted(model.iterdir()), partial(colmap.read_colmap, folder, model, photos_of(folder)))
    if files:
        yield _Dataset(files, partial(nerf_json.read_transforms, files, asked.progress))
    for name in READERS:
        reader: ModuleType = import_module(f"sfumato.capture.datasets.{name}")
        if found := reader.find(folder):
            files = files_ending(found.parent, ".xmp") if found.suffix.lower() == ".xmp" else [found]
            yield _Dataset(files, partial(reader.read, found, folder, asked.progress))


def _read_folder(folder: Path, asked: _Asked) -> tuple[Capture, Path]:
    """A dataset, or else photos that are enough to find cameras for, or else a video."""
    dataset = next(_datasets(folder, asked), None)
    photos = [] if dataset else list_photos(folder)
    videos = [] if dataset else _videos(folder)
    if len(videos) == 1 and len(photos) < MIN_PHOTOS:  # too few to be meant: covers, notes
        if photos:
            asked.note(f"{videos[0].name} is used, and not the few pictures beside it: {', '.join(photos)}")
        return _read_video(videos[0], asked)
    _check_frames(folder, asked)
    if dataset:
        return dataset.read(), folder
    if photos:
        return _solved(folder, asked, sequential=False), folder
    if videos:
        raise InputError(f"{folder} holds {len(videos)} videos; give one of them, such as {videos[0]}")
    raise InputError(f"{folder} holds no photos, no video and no dataset that is known: {_KNOWN}")


def _videos(folder: Path) -> list[Path]:
    """The videos in a folder, but for the small copies that cameras make of each."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return [path for path in found if path.suffix.lower() != ".lrv"] or found


def _check_store(store: Path) -> None:
    """Raise InputError when the cache cannot be written: better before what takes minutes than after it."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"the cache {store} cannot be written: {why}; set SFUMATO_CACHE to another folder") from None


def _read_video(video: Path, asked: _Asked) -> tuple[Capture, Path]:
    _check_store(asked.store)
    folder = asked.store / "frames" / fingerprint([video], asked.frames)
    extract_frames(video, folder, asked.frames, asked.progress, asked.note)
    capture = _solved(folder, asked, sequential=True)
    return replace(capture, protocol={**capture.protocol, "video": video.name}), folder


def _solved(photos: Path, asked: _Asked, sequential: bool) -> Capture:
    """The photos with the cameras that structure from motion finds, or found when it was asked before."""
    _check_store(asked.store)
    paths = [photos / name for name in list_photos(photos)]
    masks = masks_beside(photos) if asked.masked else {}
    files = [
        path for path in (*paths, *(masks[name] for name in sorted(masks))) if path.exists()
    ]  # links may lead away
    place = asked.store / "cameras" / fingerprint(files)
    found = solve(photos, place, asked.progress, note=asked.note, sequential=sequential, masks=masks)
    capture = colmap.read_colmap(photos, found.folder / "sparse" / "0", photos)
    if found.left_out:
        shown = ", ".join(found.left_out[:5]) + (", ..." if len(found.left_out) > 5 else "")
        told = f"no camera was found for {len(found.left_out)} of {found.photos} photos, which are left out: {shown}"
        warnings.warn(told, SfumatoWarning, stacklevel=4)
    solved = {"registered": found.registered, "photos_given": found.photos, "left_out": found.left_out}
    return replace(capture, reader="structure from motion", protocol={**capture.protocol, **solved})
