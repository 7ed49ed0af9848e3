"""Structure from motion: a folder of photos to their cameras and sparse points, as a COLMAP model."""

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sfumato.capture.cache import fingerprint
from sfumato.capture.colmap import read_model
from sfumato.capture.photos import check_folder, list_photos, map_photos, read_header
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.errors import InputError
from sfumato.core.files import write_text
from sfumato.core.image import read_image
from sfumato.core.progress import Progress, silent

__all__ = ["Reconstruction", "photos_of", "solve"]

SEED = 0
MIN_PHOTOS = 3  # two give cameras, but nothing to check them with
MAX_IMAGE_SIZE = 1600  # pixels; the features' pyramid begins at twice this size, where a pixel is noise already
MAX_FEATURES = 4096  # per photo; matching takes time with the square of it
MANY = 10  # photos of one lens from which on its full distortion can be told from the photos
BLOCK = 10  # photos a side of a block of pairs: Ctrl-C waits for the block
_Tell = Callable[[int], None]
_RECORD = "capture.json"
_MORE = "take more photos, each sharing more than half of its view with the next, of something with texture"


@dataclass(frozen=True)
class Reconstruction:
    """What structure from motion found."""

    registered: int  # photos whose camera is known
    photos: int
    points: int
    reprojection_error: float  # mean over the points, pixels
    left_out: list[str]  # photos whose camera is not known
    folder: Path  # holds sparse/0, a COLMAP model in binary


def solve(photos: Path, folder: Path, progress: Progress = silent) -> Reconstruction:
    """Find the cameras of the photos below `photos`, and write the model to `folder`/sparse/0.

    SIFT features, exhaustive matching and incremental mapping (Schoenberger and Frahm 2016), by pycolmap. Photos in
    the same folder with the same size and the same lens in their EXIF share one camera, whose focal length EXIF
    gives when it knows it. The stored orientation is kept: EXIF orientation is not applied.

    When `folder` holds the result of the same photos already, it is returned at once. All seeds are fixed, but pycolmap
    adds in the order in which its threads finish: a second run may differ in the last digits, and so in a few points.
    Time grows with the square of the number of photos.

    Raises InputError when there are fewer than three photos, one cannot be read, or no cameras can be found;
    KeyboardInterrupt soon after Ctrl-C.
    """
    check_folder(photos)
    names = list_photos(photos)
    if len(names) < MIN_PHOTOS:
        raise InputError(f"{photos} holds {len(names)} photos, and finding cameras needs {MIN_PHOTOS} or more; {_MORE}")
    mark = fingerprint((photos / name for name in names), SEED, MAX_IMAGE_SIZE, MAX_FEATURES)
    if kept := _recall(folder, mark):
        return kept
    if (folder / "sparse").exists() and not (folder / _RECORD).exists():
        raise InputError(f"{folder} holds a model that was not made here; choose another folder for the result")
    groups = _group_by_lens(photos, names, progress)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)  # what an interrupted run left
    work.mkdir(parents=True)
    try:
        best = _reconstruct(photos, groups, work, progress)
        _replace(work / "best", folder / "sparse" / "0", best)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    registered = {pose.name for pose in read_model(folder / "sparse" / "0").poses}
    found = Reconstruction(
        registered=len(registered),
        photos=len(names),
        points=int(best.num_points3D()),
        reprojection_error=float(best.compute_mean_reprojection_error()),
        left_out=[name for name in names if name not in registered],
        folder=folder,
    )
    record = {**asdict(found), "folder": None, "source": str(photos.resolve()), "fingerprint": mark}
    write_text(folder / _RECORD, json.dumps(record, indent=1))  # last: it says that all the rest is complete
    return found


def photos_of(folder: Path) -> Path | None:
    """The folder of photos that a result of `solve` was made of, or None when `folder` is not such a result."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads((folder / _RECORD).read_text(encoding="utf-8"))["source"])
    return None


def _recall(folder: Path, mark: str) -> Reconstruction | None:
    """The result that `folder` holds of photos with that fingerprint."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record.pop("fingerprint") == mark and (folder / "sparse" / "0" / "images.bin").is_file():
            del record["source"]
            return Reconstruction(**{**record, "folder": folder})
    return None


def _replace(work: Path, place: Path, model: Any) -> None:
    """Write the model to `work`, then move it to `place`, so that `place` is never half a model."""
    work.mkdir()
    model.write_binary(str(work))
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    work.replace(place)


def _group_by_lens(photos: Path, names: Sequence[str], progress: Progress) -> list[list[str]]:
    """Names of photos that share a camera. Every photo is decoded once: better to fail now than after the solving."""

    def key(name: str) -> tuple[object, ...]:
        header = read_header(photos / name)
        read_image(photos / name)
        return (Path(name).parent, header.width, header.height, header.lens)

    groups: dict[tuple[object, ...], list[str]] = {}
    for name, lens in zip(names, map_photos(key, names, "checking photos", progress), strict=True):
        groups.setdefault(lens, []).append(name)
    return list(groups.values())


def _reconstruct(photos: Path, groups: list[list[str]], work: Path, progress: Progress) -> Any:
    """The pycolmap.Reconstruction with the most photos."""
    pycolmap = load_pycolmap()
    pycolmap.set_random_seed(SEED)
    path = work / "features.db"
    count = sum(len(group) for group in groups)
    # counted through pycolmap: a second SQLite in the process, Python's own, would drop the locks of the first
    with pycolmap.Database.open(path) as database:
        _extract(pycolmap, photos, groups, path, database, lambda done: progress("finding features", done, count))
        pairs = count * (count - 1) // 2
        _match(pycolmap, path, database, lambda done: progress("matching photos", done, pairs))
    models = _map(pycolmap, photos, path, work, lambda done: progress("solving cameras", min(done, count), count))
    if not models:
        raise InputError(f"no cameras could be found for {photos}: the photos do not overlap enough; {_MORE}")
    return max(models.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()))


def _extract(pycolmap: Any, photos: Path, groups: list[list[str]], path: Path, database: Any, tell: _Tell) -> None:
    """SIFT features of all photos, one camera per group."""
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = MAX_IMAGE_SIZE
    options.sift.max_num_features = MAX_FEATURES

    def extract(token: Any) -> None:
        for group in groups:
            reader = pycolmap.ImageReaderOptions()
            reader.camera_model = "OPENCV" if len(group) >= MANY else "SIMPLE_RADIAL"
            pycolmap.extract_features(
                path,
                photos,
                image_names=group,
                camera_mode=pycolmap.CameraMode.SINGLE,
                reader_options=reader,
                extraction_options=options,
                cancellation_token=token,
            )

    _watched(extract, database.num_images, tell)


def _match(pycolmap: Any, path: Path, database: Any, tell: _Tell) -> None:
    """Matches of all pairs of photos, verified by the geometry of two views."""
    pairing = pycolmap.ExhaustivePairingOptions()
    pairing.block_size = BLOCK
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED

    def match(token: Any) -> None:
        pycolmap.match_exhaustive(
            path, pairing_options=pairing, verification_options=verification, cancellation_token=token
        )

    _watched(match, database.num_verified_image_pairs, tell)


def _map(pycolmap: Any, photos: Path, database: Path, work: Path, tell: _Tell) -> dict[int, Any]:
    """Incremental mapping: model number -> pycolmap.Reconstruction."""
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = SEED
    options.min_model_size = MIN_PHOTOS
    solved: list[None] = []
    models: dict[int, Any] = {}
    output = work / "models"
    output.mkdir()

    def reconstruct(token: Any) -> None:
        found = pycolmap.incremental_mapping(
            database,
            photos,
            output,
            options=options,
            initial_image_pair_callback=lambda: solved.extend([None, None]),
            next_image_callback=lambda: solved.append(None),
            cancellation_token=token,
        )
        models.update(found)

    _watched(reconstruct, lambda: len(solved), tell)
    return models


def _watched(work: Callable[[Any], object], count: Callable[[], int], tell: _Tell) -> None:
    """Run `work` in a thread while this one tells how far it is, and cancels it on Ctrl-C.

    pycolmap lets go of Python's lock but does not look for Ctrl-C; only Python's main thread is told of it.
    """
    token = load_pycolmap().CancellationToken()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work(token)
        except BaseException as error:  # carried to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="structure from motion")
    tell(0)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
            tell(count())
    except BaseException:
        token.cancel()
        thread.join()
        raise
    if errors:
        raise _explained(errors[0])


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, ValueError | RuntimeError):
        return InputError(f"structure from motion failed: {error}; {_MORE}")
    return error
