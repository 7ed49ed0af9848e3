"""SIFT features of photos, by pycolmap: photos and masks to keypoints and descriptors in its database."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.capture.masks import read_mask
from sfumato.capture.photos import map_photos
from sfumato.capture.sfm.site import FeatureSettings, Site
from sfumato.capture.sfm.survey import BYTES, Look
from sfumato.capture.sfm.watch import watched
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.image import opened, read_image
from sfumato.core.limits import threads_for

__all__ = ["color", "find_features"]

MANY = 10  # photos of one lens from which on its full distortion can be told from the photos
LARGE = 400_000  # pixels of a photo with so many features that a second orientation is a second point in the same place
QUALITY = 95  # of converted photos as JPEG, which are a fraction as large as PNG
LONGEST_EXIF = 65533  # bytes that fit into a JPEG
NATIVE = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")  # what pycolmap reads; the rest is converted for it


def find_features(site: Site, settings: FeatureSettings, path: Path, database: Any) -> None:
    """Write the features of all photos to the database at `path`, one camera for each group that shares one.

    Where a photo has a mask, features on its dark parts are dropped.
    """
    folders = _folders(site)
    asked, total = list(_extractions(site, settings, folders)), len(site.looks)

    def extract(token: Any) -> None:
        for options in asked:
            load_pycolmap().extract_features(path, **options, cancellation_token=token)

    watched(extract, database.num_images, lambda done: site.progress("finding features", done, total))
    for image in database.read_all_images():
        if image.name in folders.originals:
            image.name = folders.originals[image.name]
            database.update_image(image)


def color(model: Any, site: Site) -> None:
    """Give the points of a model the colors they have in the photos."""
    model.extract_colors_for_all_images(site.photos)
    for number, image in model.images.items():
        changed = _changed(image.name)
        if image.has_pose and (site.work / "converted" / changed).exists():
            name, image.name = image.name, changed
            model.extract_colors_for_image(number, site.work / "converted")  # of points that have none yet
            image.name = name


@dataclass(frozen=True)
class _Folders:
    """Where pycolmap finds photos and masks in forms that it reads."""

    converted: Path
    masks: Path | None
    originals: dict[str, str]  # the names of converted photos -> their own


def _folders(site: Site) -> _Folders:
    """Convert the photos that pycolmap does not read, and write the masks as it wants them; once for a site."""
    folder, masks = site.work / "converted", site.work / "masks"
    originals = {_changed(look.name): look.name for look in site.looks if not look.name.lower().endswith(NATIVE)}
    changed_names = {name: changed for changed, name in originals.items()}

    def convert(look: Look) -> None:
        _convert(site.photos / look.name, folder / changed_names[look.name])

    def write_mask(look: Look) -> None:
        target = masks / f"{changed_names.get(look.name, look.name)}.png"
        _write_mask(site.masks.get(look.name), target, look.size)

    _once(site, folder, "converting photos", convert, [look for look in site.looks if look.name in changed_names])
    _once(site, masks, "writing masks", write_mask, site.looks if site.masks else [])
    return _Folders(folder, masks if site.masks else None, originals)


def _once(site: Site, folder: Path, stage: str, work: Callable[[Look], None], looks: Sequence[Look]) -> None:
    """The work of every photo, which fills `folder`, unless an earlier call has done it."""
    if looks and not folder.exists():
        largest = max(look.size[0] * look.size[1] for look in looks)
        map_photos(work, looks, stage, site.progress, threads_for(BYTES * largest))


def _changed(name: str) -> str:
    """What a photo is called when it is converted: as no photo beside it is, such as a.heic.jpg."""
    return f"{name}.converted.jpg"


def _convert(photo: Path, target: Path) -> None:
    """Write a photo as a JPEG that keeps what its EXIF says of the lens."""
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(read_image(photo)[..., :3].contiguous().numpy())
    picture.save(target, quality=QUALITY, exif=_exif(photo))


def _exif(photo: Path) -> bytes:
    """What EXIF says of a photo: pycolmap takes focal length and place from it. Nothing when it is damaged."""
    with suppress(Exception), opened(photo) as file:
        exif = file.getexif().tobytes()
        return exif if len(exif) <= LONGEST_EXIF else b""
    return b""


def _write_mask(source: Path | None, target: Path, size: tuple[int, int]) -> None:
    """Write a mask of that size; all white without a source, for pycolmap takes a mask that is missing for black."""
    picture = Image.new("L", size, 255)
    if source is not None:
        picture = Image.fromarray((~read_mask(source, *size)).numpy().astype(np.uint8) * 255)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target, compress_level=1)


def _extractions(site: Site, settings: FeatureSettings, folders: _Folders) -> Iterator[dict[str, Any]]:
    """What pycolmap is asked: a call for each camera, but one for all the photos that share theirs with none."""
    pycolmap = load_pycolmap()
    changed = {name: new for new, name in folders.originals.items()}
    sizes = {changed.get(look.name, look.name): look.size[0] * look.size[1] for look in site.looks}
    groups: dict[tuple[object, ...], list[str]] = {}
    for look in site.looks:
        groups.setdefault((look.name in changed, *look.camera), []).append(changed.get(look.name, look.name))
    alone: dict[bool, list[str]] = {}
    for key, names in groups.items():
        if len(names) == 1:
            alone.setdefault(bool(key[0]), []).extend(names)
    asked = [(bool(key[0]), names, pycolmap.CameraMode.SINGLE) for key, names in groups.items() if len(names) > 1]
    asked += [(is_changed, names, pycolmap.CameraMode.PER_IMAGE) for is_changed, names in alone.items()]
    for is_changed, names, mode in asked:
        reader = pycolmap.ImageReaderOptions()
        is_full = mode == pycolmap.CameraMode.SINGLE and len(names) >= MANY
        reader.camera_model = "OPENCV" if is_full else "SIMPLE_RADIAL"
        if folders.masks:
            reader.mask_path = folders.masks
        is_large = mode == pycolmap.CameraMode.SINGLE and all(sizes[name] >= LARGE for name in names)
        yield {
            "image_path": folders.converted if is_changed else site.photos,
            "image_names": names,
            "camera_mode": mode,
            "reader_options": reader,
            "extraction_options": _sift(settings, 1 if is_large else 2),
        }


def _sift(settings: FeatureSettings, orientations: int) -> Any:
    options = load_pycolmap().FeatureExtractionOptions()
    options.max_image_size = settings.longest
    options.sift.max_num_features = settings.count
    options.sift.max_num_orientations = settings.orientations or orientations
    options.sift.peak_threshold = settings.peak
    options.sift.estimate_affine_shape = options.sift.domain_size_pooling = settings.thorough
    return options
