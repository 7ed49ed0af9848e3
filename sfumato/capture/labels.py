"""Pictures beside photos that say what is where, found by name, to how much of each pixel has which label."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.capture.masks import find_masks, read_mask
from sfumato.capture.photos import check_folder, list_pictures, map_photos
from sfumato.capture.shot import Shot, same_shape
from sfumato.capture.source import read_source
from sfumato.capture.undistort import pinhole_of, undistort
from sfumato.core.cache import cache_folder
from sfumato.core.errors import InputError
from sfumato.core.image import opened, resize
from sfumato.core.progress import Note, Progress, mute, silent
from sfumato.core.scene import View

__all__ = ["BACKGROUND", "Labels", "load_labels"]

BACKGROUND = "background"
MOST = 255  # labels: more are the shades of a photo, or of a compressed mask

_Values = NDArray[np.int64]  # (H, W) 0 for background, a gray level or palette index, or COLOR + 0xRRGGBB
_COLOR = 1 << 32


@dataclass(frozen=True)
class Labels:
    """What is labelled in which photos."""

    names: tuple[str, ...]  # BACKGROUND, then the labels in order
    _shots: dict[str, Shot] = field(repr=False)
    _pictures: dict[str, dict[str, Path]] = field(repr=False)  # name of the photo -> label, or "", -> picture
    _values: tuple[int, ...] = field(repr=False)  # of the names in pictures of many labels

    def __contains__(self, view: View) -> bool:
        return view.name in self._pictures

    def of(self, view: View) -> Tensor:
        """(H, W, L) float32: how much of each pixel of the view's camera has the label, L as in `names`.

        Pixels that the photo's lens did not see have none. Raises InputError when a picture cannot be read, or is not
        of the photo's shape.
        """
        shot = self._shots[view.name]
        found = self._pictures[view.name]
        width, height = shot.lens.width, shot.lens.height
        if "" in found:
            values = _sized(found[""], _read(found[""]), shot)
            planes = [values == value for value in self._values]
        else:
            inside = [  # white is what `read_mask` says that counts
                ~read_mask(found[name], width, height).numpy()
                if name in found else np.zeros((height, width), bool)
                for name in self.names[1:]
            ]  # fmt: skip
            planes = [~np.any(inside, axis=0), *inside]
        return _developed(planes, shot, view.camera.width, view.camera.height)


def load_labels(
    source: Path,
    masks: Path,
    views: Sequence[View],
    frames: int | None = None,
    progress: Progress = silent,
    note: Note = mute,
) -> Labels:
    """The labels that a folder has for the photos of `source`, a scene's, of which views are given.

    Either a picture per photo, named like masks are (see `find_masks`), whose gray levels, palette's indices or colors
    are labels and 0 or black is background; or a folder per label with black and white masks, named so too. Raises
    InputError when there is none for any photo, or a picture has more than 255 labels.
    """
    check_folder(masks)
    capture, _ = read_source(source, cache_folder(), frames, False, progress, note)
    wanted = {view.name for view in views}
    shots = {shot.name: shot for shot in capture.shots if shot.name in wanted}
    folders = _folders_of_labels(masks, list(shots))
    pictures: dict[str, dict[str, Path]] = {}
    for label, folder in folders.items():
        found = find_masks([folder], [shot.path for shot in shots.values()])
        for name, shot in shots.items():
            if shot.path in found:
                pictures.setdefault(name, {})[label] = found[shot.path]
    if not pictures:
        name = next(iter(shots), "a.jpg")
        raise InputError(f"no picture in {masks} has the name of a photo, such as {Path(name).stem}.png for {name}")
    if "" not in folders:
        return Labels((BACKGROUND, *folders), shots, pictures, ())
    paths = [found[""] for found in pictures.values()]
    values = {value for some in map_photos(_distinct, paths, "reading labels", progress) for value in some}
    if len(values - {0}) > MOST:
        raise InputError(
            f"{masks} has {len(values - {0}):,} labels, more than {MOST}: save label pictures as PNG, with one gray "
            "level or color per label and no smoothing"
        )
    if not values - {0}:
        raise InputError(f"the pictures in {masks} are black everywhere: they label nothing")
    ordered = (0, *sorted(values - {0}))
    return Labels((BACKGROUND, *map(_named, ordered[1:])), shots, pictures, ordered)


def _folders_of_labels(masks: Path, names: Sequence[str]) -> dict[str, Path]:
    """label -> its folder of black and white masks; "" -> the folder itself when a picture has all labels.

    Sub-folders are labels unless they are those that the photos are in.
    """
    tops = {Path(picture).parts[0] for picture in list_pictures(masks)}
    folders = {top for top in tops if (masks / top).is_dir()}
    of_photos = {part.lower() for name in names for part in Path(name).parts[:-1]}
    if not tops or folders != tops or all(folder.lower() in of_photos for folder in folders):
        return {"": masks}
    if BACKGROUND in folders:
        raise InputError(f"{masks / BACKGROUND}: no label may be called so, for it is what has no label; rename it")
    return {folder: masks / folder for folder in sorted(folders)}


def _read(path: Path) -> _Values:
    """The labels of a picture. Raises InputError when it is none."""
    with opened(path) as file:
        if file.mode in ("P", "L", "1", "I;16", "I;16B", "I"):
            values = np.array(file).astype(np.int64)
        else:
            colors = np.array(file.convert("RGBA")).astype(np.int64)
            r, g, b, alpha = colors[..., 0], colors[..., 1], colors[..., 2], colors[..., 3]
            packed = _COLOR + (r << 16 | g << 8 | b)
            values = np.where((r == g) & (g == b), r, packed) * (alpha > 0)
    if values.ndim != 2:
        raise InputError(f"{path} must be a picture of gray levels, indices or colors; its shape is {values.shape}")
    return values


def _distinct(path: Path) -> list[int]:
    values = np.unique(_read(path))
    if len(values) > MOST + 1:
        raise InputError(
            f"{path} has {len(values):,} gray levels or colors: save label pictures as PNG, with one for each label "
            "and no smoothing"
        )
    return [int(value) for value in values]


def _named(value: int) -> str:
    return f"{value - _COLOR:06x}" if value >= _COLOR else str(value)


def _sized(path: Path, values: _Values, shot: Shot) -> _Values:
    """At the size of the lens; labels do not mix. Raises InputError when the shape is another."""
    size, wanted = (values.shape[1], values.shape[0]), (shot.lens.width, shot.lens.height)
    if not same_shape(size, wanted):
        told = f"{size[0]} x {size[1]}, but its photo {wanted[0]} x {wanted[1]}"
        raise InputError(f"{path} is {told}; make the labels again")
    if size == wanted:
        return values
    rows = (np.arange(wanted[1]) + 0.5) * size[1] / wanted[1]
    columns = (np.arange(wanted[0]) + 0.5) * size[0] / wanted[0]
    resized: _Values = values[rows.astype(int)[:, None], columns.astype(int)]
    return resized


def _developed(planes: Sequence[NDArray[np.bool_]], shot: Shot, width: int, height: int) -> Tensor:
    """(height, width, L) float32 from (H, W) per label, undistorted and resized as the photo was, three at a time."""
    straight = pinhole_of(shot.lens)
    columns = []
    for start in range(0, len(planes), 3):
        some = list(planes[start : start + 3])
        filled = some + [np.zeros_like(some[0])] * (3 - len(some))
        picture = torch.from_numpy(np.stack(filled, axis=2).astype(np.uint8) * 255)
        picture = undistort(picture, shot.lens)
        if (straight.width, straight.height) != (width, height):
            picture = resize(picture, width, height)
        columns.append(picture[..., : len(some)].float() / 255)
    return torch.cat(columns, dim=2)
