"""The pictures beside photos that say which of their pixels count: found by name, and read."""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.capture.companions import masks_among
from sfumato.capture.photos import MASK_FOLDER, PHOTO_SUFFIXES, list_photos, list_pictures
from sfumato.capture.shot import Shot, same_shape
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.image import composite, read_image

__all__ = ["find_masks", "masks_beside", "read_mask", "with_masks"]

WHITE = 128  # a brighter pixel is white
_WORD = re.compile(r"(?:[._-]masks?$)|(?:^masks?[._-])")
_Fit = tuple[int, int, int]  # how many folders agree, how literal the name is, how early the folder: more is better
_Named = dict[str, list[tuple[int, int, Path]]]  # what a photo may be called -> how literally, how early, the mask


def with_masks(source: Path, shots: Sequence[Shot]) -> list[Shot]:
    """The shots with the masks that `source`, or the folder beside it, has for them; what a reader found stays.

    Warns (SfumatoWarning) when there are masks, but not for every photo.
    """
    folders = _mask_folders(source, {shot.path.parent for shot in shots})
    unmasked = [shot.path for shot in shots if shot.mask is None]
    found = {**_masks_in_place([shot.path for shot in shots]), **find_masks(folders, unmasked)}
    masked = [replace(shot, mask=shot.mask or found.get(shot.path)) for shot in shots]
    bare = [shot.name for shot in masked if shot.mask is None]
    if folders and len(bare) == len(masked):
        why = _why_none(folders, unmasked) or f"no picture in {folders[0]} has the name of a photo ({_names(bare[0])})"
        warnings.warn(f"{why}, so no masks are used", SfumatoWarning, stacklevel=3)
    elif bare and len(bare) < len(masked):
        told = f"{len(bare)} of {len(masked)} photos have no mask (first: {bare[0]}); all of their pixels count"
        warnings.warn(told, SfumatoWarning, stacklevel=3)
    return masked


def masks_beside(photos: Path) -> dict[str, Path]:
    """By name, the masks of the photos below a folder, beside them or in folders of masks in it or beside it."""
    names = list_photos(photos)
    paths = [photos / name for name in names]
    folders = _mask_folders(photos, {path.parent for path in paths})
    found = {**_masks_in_place(paths), **find_masks(folders, paths)}
    return {name: found[photos / name] for name in names if photos / name in found}


def find_masks(folders: Iterable[Path], photos: Iterable[Path]) -> dict[Path, Path]:
    """photo -> its mask, for photos that have exactly one below the folders.

    The mask of a.jpg is called a.png, a.jpg.png, a.mask.png, a_mask.png, a.jpg.mask.png or mask_a.png, in any case and
    any picture format. Of several that fit, it is the one whose folders agree most, from the file upwards, then the one
    named most literally, then the one in the earlier folder: masks, masks_2 and masks_4 hold the same in other sizes.
    A mask that fits several photos equally well belongs to none of them.
    """
    named = _named(folders)
    best: dict[Path, list[tuple[_Fit, Path]]] = {}  # mask -> how well photos fit, and which
    for photo in dict.fromkeys(photos):
        score, chosen = _best(photo, named)
        if len(chosen) == 1:
            best.setdefault(chosen[0], []).append((score, photo))
    return dict(_unrivalled(best))


def read_mask(path: Path, width: int, height: int, invert: bool = False) -> Tensor:
    """(height, width) bool, True where a mask says that the photo of that size does not count.

    White counts and black does not; inverted, the other way round. Gray is white from 128 on; transparent is black. A
    lossless picture whose only values are 0 and 1 is taken as 0 and 255. A mask of another size is resized to the
    nearest pixel. Raises InputError when its shape is not the photo's, or it cannot be read.
    """
    image = read_image(path)
    if image.shape[2] == 4:
        image = composite(image, (0.0, 0.0, 0.0))
    size = (image.shape[1], image.shape[0])
    if not same_shape(size, (width, height)):
        raise InputError(f"{path} is {size[0]} x {size[1]}, but its photo {width} x {height}; make the mask again")
    gray = Image.fromarray(image.numpy()).convert("L")
    is_labels = gray.getextrema() == (0, 1) and path.suffix.lower() not in (".jpg", ".jpeg")
    if size != (width, height):
        gray = gray.resize((width, height), Image.Resampling.NEAREST)
    white = torch.from_numpy(np.array(gray)) >= (1 if is_labels else WHITE)
    return white if invert else ~white


def _mask_folders(source: Path, places: Iterable[Path]) -> list[Path]:
    """Folders of masks in the folders that photos are in, and around them up to `source`.

    When `source` is the folder of the photos itself, masks are looked for beside it, too.
    """
    top = source.absolute()
    around: dict[Path, None] = {}
    for place in sorted(path.absolute() for path in places):
        above = [place, *place.parents]
        inside = above.index(top) + 1 if top in above else 2
        around.update(dict.fromkeys(above[: max(inside, 2)]))
    return [
        folder / name.name
        for folder in around
        if folder.is_dir()
        for name in sorted(folder.iterdir())
        if MASK_FOLDER.fullmatch(name.name) and name.is_dir() and list_photos(name)
    ]


def _masks_in_place(photos: Sequence[Path]) -> dict[Path, Path]:
    """photo -> its mask in the same folder, such as a_mask.png, which is none of the photos itself."""
    known, found = set(photos), dict[Path, Path]()
    for place in sorted({photo.parent for photo in photos if photo.parent.is_dir()}):
        pictures = [path.name for path in sorted(place.iterdir()) if path.suffix.lower() in PHOTO_SUFFIXES]
        for mask, owners in masks_among(pictures).items():
            if len(owners) == 1 and place / owners[0] in known and place / mask not in known:
                found.setdefault(place / owners[0], place / mask)
    return found


def _named(folders: Iterable[Path]) -> _Named:
    named: _Named = {}
    for place, folder in enumerate(folders):
        for name in list_pictures(folder):
            for rank, key in enumerate(_keys(name)):
                named.setdefault(key, []).append((-rank, -place, folder / name))
    return named


def _best(photo: Path, named: _Named) -> tuple[_Fit, list[Path]]:
    """The masks that fit a photo best, all alike, and how well; no masks when none fits."""
    fits = [
        ((_agreement(photo, mask), rank - literal, place), mask)
        for literal, key in enumerate((photo.name.lower(), photo.stem.lower()))
        for rank, place, mask in named.get(key, ())
    ]
    score = max((fit for fit, _ in fits), default=(0, 0, 0))
    return score, sorted({mask for fit, mask in fits if fit == score})


def _why_none(folders: Iterable[Path], photos: Sequence[Path]) -> str | None:
    """Why no photo has a mask, although one has the name; None when none has."""
    named = _named(folders)
    fitting = {photo: masks for photo in photos if (masks := _best(photo, named)[1])}
    for photo, masks in fitting.items():
        rivals = [other for other in fitting if masks[0] in fitting[other]]
        if len(rivals) > 1:
            return f"{masks[0]} fits {rivals[0]} as well as {rivals[1]}: sort the masks into folders like the photos"
        if len(masks) > 1:
            return f"{photo} has two masks, {masks[0]} and {masks[1]}: leave one"
    return None


def _keys(name: str) -> Iterator[str]:
    """What the photo of a mask may be called, lower case, the most literal first."""
    whole = PurePosixPath(name.lower()).stem
    bare = _WORD.sub("", whole)
    for key in dict.fromkeys((whole, bare)):
        yield key
        stem, dot, suffix = key.rpartition(".")
        if dot + suffix in PHOTO_SUFFIXES:
            yield stem


def _agreement(photo: Path, mask: Path) -> int:
    """How many folders, from the file upwards, have the same name."""
    count = 0
    for one, other in zip(reversed(photo.parent.parts), reversed(mask.parent.parts), strict=False):
        if one.lower() != other.lower():
            break
        count += 1
    return count


def _unrivalled(best: dict[Path, list[tuple[_Fit, Path]]]) -> Iterator[tuple[Path, Path]]:
    for mask, fits in best.items():
        score = max(fit for fit, _ in fits)
        photos = [photo for fit, photo in fits if fit == score]
        if len(photos) == 1:
            yield photos[0], mask


def _names(photo: str) -> str:
    """Two examples of what the photo's mask may be called."""
    path = PurePosixPath(photo)
    return f"such as {path.stem}.png or {path.name}.png"
