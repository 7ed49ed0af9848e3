"""Shots to views: decode, lay over the background, undistort, downscale, and say which pixels count."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image

from sfumato.capture.cache import fingerprint
from sfumato.capture.photos import map_photos, read_header
from sfumato.capture.shot import Lens, Shot, same_shape
from sfumato.capture.undistort import pinhole_of, undistort
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.files import replacing
from sfumato.core.image import RESIZE_FILTER, composite, read_image, resize
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import Picture, View

__all__ = ["Developer", "MaskMode"]

MaskMode = Literal["ignore", "empty", "off"]
_Color = tuple[float, float, float]
_T = TypeVar("_T")


class Developer:
    """Turns shots into views.

    downscale: photos become 1/downscale as wide and high, by the mean over each new pixel's footprint.
    background: [0, 1] RGB that transparent photos are laid over.
    store: folder where results of undistortion are kept, at their final size, losslessly.
    masks: what the black pixels of a mask mean: "ignore" (nothing is known there) or "empty" (nothing is there, so
        the background is shown and alpha must be 0). "off" neither looks at masks nor at alpha channels.
    invert_masks: white is masked instead.
    keep: bytes of photos that views may hold in memory; when all of them need more, views decode when asked.
        None: no limit.
    """

    def __init__(
        self,
        downscale: float,
        background: _Color,
        store: Path,
        masks: MaskMode = "ignore",
        invert_masks: bool = False,
        keep: int | None = None,
    ) -> None:
        self.downscale = downscale
        self.background = background
        self.store = store
        self.masks = masks
        self.invert_masks = invert_masks
        self.keep = keep

    def develop_all(self, shots: Sequence[Shot], progress: Progress = silent) -> list[View]:
        """The views of all shots that can be read; broken photos are left out with one SfumatoWarning.

        Raises InputError when most are broken, or a photo's shape is not that of its lens.
        """
        fitted = map_photos(_trying(_fit), shots, "looking at photos", progress)
        sound = [shot for shot in fitted if isinstance(shot, Shot)]
        held = 3 * sum(width * height for width, height in (self._size(pinhole_of(shot.lens)) for shot in sound))
        develop = partial(self.develop, held=self.keep is None or held <= self.keep)
        developed = map_photos(_trying(develop), sound, "reading photos", progress)
        _report_broken([each for each in (*fitted, *developed) if isinstance(each, _BrokenError)], len(shots))
        return [view for view in developed if isinstance(view, View)]

    def develop(self, shot: Shot, held: bool = True) -> View:
        """The shot's view, with its pixels, or (not held) with the function that decodes them again.

        The shot's lens must have the photo's size. Raises InputError when the photo cannot be read.
        """
        lens = pinhole_of(shot.lens)
        width, height = self._size(lens)
        camera = shot.camera(lens).resized(width, height).to(torch.float32)
        picture = self._picture(shot, width, height)  # also when it is not held: broken photos are found now
        photo = partial(self._picture, shot, width, height)
        return View(shot.name, camera, picture if held else photo, shot.split or "train")

    def mask_rule(self, shots: Sequence[Shot]) -> str:
        """What was done with masks, in words for the report."""
        count = sum(shot.mask is not None for shot in shots)
        if self.masks == "off" or not count:
            return "off" if self.masks == "off" else "none"
        meaning = "ignored" if self.masks == "ignore" else "empty"
        return f"{count} of {len(shots)} photos, {'white' if self.invert_masks else 'black'} pixels are {meaning}"

    def _size(self, lens: Lens) -> tuple[int, int]:
        width, height = (max(1, round(side / self.downscale)) for side in (lens.width, lens.height))
        return width, height

    def _picture(self, shot: Shot, width: int, height: int) -> Picture:
        return (self._expose if shot.lens.is_pinhole else self._straight)(shot, width, height)

    def _expose(self, shot: Shot, width: int, height: int) -> Picture:
        try:
            image = read_image(shot.path)
        except InputError as error:
            raise _BrokenError(str(error)) from None
        if image.shape[2] == 4:  # before any resampling: straight alpha does not interpolate
            image = composite(image, self.background)
        return Picture(resize(undistort(image, shot.lens), width, height))

    def _straight(self, shot: Shot, width: int, height: int) -> Picture:
        """The undistorted photo, from the store when it is there."""
        key = fingerprint([shot.path], shot.lens, self.downscale, self.background, RESIZE_FILTER)
        path = self.store / key[:2] / f"{key}.png"
        kept = _recall(path, width, height)
        if kept is not None:
            return kept
        picture = self._expose(shot, width, height)
        _keep(path, picture)
        return picture


class _BrokenError(InputError):
    """A photo cannot be read: the others may be good."""


def _fit(shot: Shot) -> Shot:
    """The shot with its lens rescaled to the size that the photo really has."""
    try:
        header = read_header(shot.path)
    except InputError as error:
        raise _BrokenError(str(error)) from None
    size = (header.width, header.height)
    if not same_shape(size, (shot.lens.width, shot.lens.height)):
        wanted = f"{shot.lens.width} x {shot.lens.height}"
        raise InputError(f"{shot.path} is {size[0]} x {size[1]}, but its camera {wanted}; was it cropped or turned?")
    return replace(shot, lens=shot.lens.resized(*size))


def _trying(work: Callable[[Shot], _T]) -> Callable[[Shot], _T | _BrokenError]:
    """The same work, which returns the error of a broken photo instead of raising it."""

    def attempt(shot: Shot) -> _T | _BrokenError:
        try:
            return work(shot)
        except _BrokenError as error:
            return error

    return attempt


def _report_broken(broken: Sequence[_BrokenError], total: int) -> None:
    """One warning that names broken photos; InputError when most are broken."""
    if not broken:
        return
    if 2 * len(broken) > total:
        raise InputError(f"{len(broken)} of {total} photos cannot be read; copy them again. The first: {broken[0]}")
    shown = "; ".join(str(error) for error in broken[:3]) + ("; ..." if len(broken) > 3 else "")
    told = f"{len(broken)} of {total} photos cannot be read and are left out: {shown}"
    warnings.warn(told, SfumatoWarning, stacklevel=3)


def _recall(path: Path, width: int, height: int) -> Picture | None:
    """The kept picture, or None when there is none of that size."""
    try:
        image = read_image(path)
    except InputError:
        return None
    return Picture(image) if image.shape == (height, width, 3) else None


def _keep(path: Path, picture: Picture) -> None:
    """Keep a picture; a cache that cannot be written costs time, not the result."""
    try:
        with replacing(path) as file:
            Image.fromarray(np.ascontiguousarray(picture.pixels.numpy())).save(file, "PNG", compress_level=1)
    except OSError:
        warnings.warn(f"cannot write to the cache {path.parent}; set SFUMATO_CACHE", SfumatoWarning, stacklevel=2)
