"""Shots to views: decode, lay over the background, undistort, downscale, and say which pixels count."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar

import torch
from PIL import Image
from torch import Tensor

from sfumato.capture.masks import read_mask
from sfumato.capture.photos import map_photos, read_header, report_broken
from sfumato.capture.shot import Shot, same_shape
from sfumato.capture.undistort import pinhole_of, undistort, undistort_mask
from sfumato.core.cache import fingerprint
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.files import replacing
from sfumato.core.image import RESIZE_FILTER, composite, planar, read_image, resize, resize_mask, to_uint8
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import EMPTY, IGNORED, SHOWN, Picture, Size, View

__all__ = ["Developer", "MaskMode", "sizes_of"]

MaskMode = Literal["ignore", "empty", "off"]
_Color = tuple[float, float, float]
_DIFFERENCES = {317: 2}  # TIFF's predictor: neighbours' differences are stored, which become smaller files
_VERSION = 2  # of what is kept: other pixels than in version 1, or another layout
_COPIES = 5  # of a photo while it is developed: decoded, for pycolmap and back, twice while its layout changes
_T = TypeVar("_T")


class Developer:
    """Turns shots into views.

    downscale: photos become 1/downscale as wide and high, by the mean over each new pixel's footprint.
    background: [0, 1] RGB that transparent photos are laid over.
    store: folder where what is slow to make again is kept at its final size, losslessly: undistorted photos, and, of
        photos that views do not hold, all but JPEGs at their full size.
    masks: what the black pixels of a mask mean: "ignore" (nothing is known there) or "empty" (nothing is there, so
        the background is shown and alpha must be 0). "off" neither looks at masks nor at alpha channels.
    invert_masks: white is masked instead.
    keep: bytes of photos that views may hold in memory; when all of them need more, every view decodes when
        asked. None: no limit.
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
        self._unseen: list[str] = []  # photos of which nothing counts
        self._transparent: list[str] = []  # photos without a mask that are empty somewhere

    def develop_all(self, shots: Sequence[Shot], progress: Progress = silent) -> list[View]:
        """The views of all shots that can be read; broken photos are left out with one SfumatoWarning.

        Raises InputError when most are broken, a photo's shape is not that of its lens or of its mask, or no pixel of
        any photo counts.
        """
        fitted = map_photos(_trying(_fit), shots, "looking at photos", progress)
        sound = [shot for shot in fitted if isinstance(shot, Shot)]
        held = sum(_size_of(shot, self.downscale, self.masks).bytes for shot in sound)
        develop = partial(self.develop, held=self.keep is None or held <= self.keep)
        threads = self._threads(sound)
        developed = map_photos(_trying(develop), sound, "reading photos", progress, threads)
        report_broken([each for each in (*fitted, *developed) if isinstance(each, _BrokenError)], len(shots))
        if developed and len(self._unseen) == len(developed):
            raise InputError("the masks ignore every pixel of every photo; what counts must be white: invert the masks")
        return [view for view in developed if isinstance(view, View)]

    def develop(self, shot: Shot, held: bool = True) -> View:
        """The shot's view, with its pixels, or (not held) with the function that decodes them again.

        The shot's lens must have the photo's size. Raises InputError when the photo cannot be read.
        """
        width, height, _ = _size_of(shot, self.downscale, self.masks)
        camera = shot.camera(pinhole_of(shot.lens)).resized(width, height).to(torch.float32)
        decode = partial(self._expose, shot, width, height)
        if not shot.lens.is_pinhole or not (held or _is_quick(shot, width)):
            decode = partial(_recall_or, decode, self._place(shot), width, height)
        picture = decode()  # also when it is not held: broken photos are found now
        if picture.mask is not None:
            self._note(shot, picture.mask)
        return View(shot.name, camera, picture if held else decode, shot.split or "train", picture.mask is not None)

    def _note(self, shot: Shot, mask: Tensor) -> None:
        if (mask == IGNORED).all():
            self._unseen.append(shot.name)
        if shot.mask is None and (mask == EMPTY).any():
            self._transparent.append(shot.name)

    def mask_rule(self, shots: Sequence[Shot]) -> str:
        """What was done with masks, in words for the report."""
        if self.masks == "off":
            return "off"
        count = sum(shot.mask is not None for shot in shots)
        color, meaning = "white" if self.invert_masks else "black", "ignored" if self.masks == "ignore" else "empty"
        said = [f"{count} of {len(shots)} photos, {color} pixels are {meaning}"] if count else []
        if self._transparent:
            said.append(f"transparent pixels of {len(self._transparent)} photos are empty")
        return "; ".join(said) or "none"

    def _threads(self, shots: Sequence[Shot]) -> int:
        """How many photos may be developed at once: the largest need much memory each."""
        sizes = [Size(shot.lens.width, shot.lens.height, _may_be_masked(shot, self.masks)) for shot in shots]
        largest = max((_COPIES * size.bytes for size in sizes), default=1)
        return 8 if self.keep is None else max(1, min(8, self.keep // largest))

    def _expose(self, shot: Shot, width: int, height: int) -> Picture:
        try:
            image = read_image(shot.path)
        except InputError as error:
            raise _BrokenError(str(error)) from None
        mask = self._mask(shot, image)
        if image.shape[2] == 4:  # before any resampling: straight alpha does not interpolate
            image = composite(image, self.background)
        if mask is not None and self.masks == "empty":
            image[mask == EMPTY] = to_uint8(torch.tensor(self.background))
        image, mask = undistort(image, shot.lens), undistort_mask(mask, shot.lens)
        mask = None if mask is None else resize_mask(mask, width, height)
        # laid out as training reads it: there, a photo at full size is then no second copy
        return Picture(planar(resize(image, width, height)), None if mask is None or (mask == SHOWN).all() else mask)

    def _mask(self, shot: Shot, image: Tensor) -> Tensor | None:
        """(H, W) uint8 of SHOWN, IGNORED and EMPTY for the photo as decoded; None when all of it is shown."""
        if self.masks == "off" or (shot.mask is None and image.shape[2] == 3):
            return None
        height, width, colors = image.shape
        masked = None if shot.mask is None else read_mask(shot.mask, width, height, self.invert_masks)
        mask = torch.full((height, width), SHOWN, dtype=torch.uint8)
        if colors == 4:
            mask[image[..., 3] == 0] = EMPTY
        if masked is not None:
            mask[masked] = EMPTY if self.masks == "empty" else IGNORED
        return mask

    def _place(self, shot: Shot) -> Path:
        """The file that keeps the shot's picture. Raises InputError when the photo or its mask is not there."""
        files = [shot.path] if shot.mask is None else [shot.path, shot.mask]
        settings = (shot.lens, self.downscale, self.background, RESIZE_FILTER, self.masks, self.invert_masks, _VERSION)
        try:
            key = fingerprint(files, *settings)
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
        return self.store / key[:2] / f"{key}.tif"


def sizes_of(shots: Sequence[Shot], downscale: float, masks: MaskMode, progress: Progress = silent) -> list[Size]:
    """What the picture of each shot will take, from its header; with a mask where it may get one.

    A broken photo has the size that is listed. Raises InputError as `Developer.develop_all` does.
    """
    fitted = map_photos(_trying(_fit), shots, "looking at photos", progress)
    found = [shot if isinstance(shot, Shot) else listed for shot, listed in zip(fitted, shots, strict=True)]
    return [_size_of(shot, downscale, masks) for shot in found]


def _size_of(shot: Shot, downscale: float, masks: MaskMode) -> Size:
    """Of the developed picture. Blank places of undistorted photos, which are a mask too, are too rare to count."""
    lens = pinhole_of(shot.lens)
    return Size(lens.width, lens.height, _may_be_masked(shot, masks)).smaller(downscale)


def _may_be_masked(shot: Shot, masks: MaskMode) -> bool:
    return masks != "off" and (shot.mask is not None or shot.has_alpha)


class _BrokenError(InputError):
    """A photo cannot be read: the others may be good."""


def _fit(shot: Shot) -> Shot:
    """The shot as its photo's header says: with its lens rescaled to the photo's size, and whether there is alpha."""
    try:
        header = read_header(shot.path)
    except InputError as error:
        raise _BrokenError(str(error)) from None
    size = (header.width, header.height)
    if not same_shape(size, (shot.lens.width, shot.lens.height)):
        wanted = f"{shot.lens.width} x {shot.lens.height}"
        raise InputError(f"{shot.path} is {size[0]} x {size[1]}, but its camera {wanted}; was it cropped or turned?")
    return replace(shot, lens=shot.lens.resized(*size), has_alpha=header.has_alpha)


def _is_quick(shot: Shot, width: int) -> bool:
    """True when decoding the photo itself takes no longer than what the store has of it."""
    return width == shot.lens.width and shot.path.suffix.lower() in (".jpg", ".jpeg")


def _trying(work: Callable[[Shot], _T]) -> Callable[[Shot], _T | _BrokenError]:
    """The same work, which returns the error of a broken photo instead of raising it."""

    def attempt(shot: Shot) -> _T | _BrokenError:
        try:
            return work(shot)
        except _BrokenError as error:
            return error

    return attempt


def _recall_or(expose: Callable[[], Picture], path: Path, width: int, height: int) -> Picture:
    """What is kept at `path`, or what `expose` returns, which is kept then."""
    kept = _recall(path, width, height)
    if kept is None:
        kept = expose()
        _keep(path, kept)
    return kept


def _recall(path: Path, width: int, height: int) -> Picture | None:
    """The kept picture, or None when there is none of that size."""
    try:
        image = read_image(path)
    except InputError:
        return None
    if image.shape[:2] != (height, width):
        return None
    return Picture(planar(image[..., :3]), image[..., 3].contiguous() if image.shape[2] == 4 else None)


def _keep(path: Path, picture: Picture) -> None:
    """Keep a picture, its mask as a fourth color; a cache that cannot be written costs time, not the result."""
    image = picture.pixels if picture.mask is None else torch.cat([picture.pixels, picture.mask[..., None]], dim=2)
    try:
        with replacing(path) as file:
            pixels = Image.fromarray(image.contiguous().numpy())
            pixels.save(file, "TIFF", compression=_compression(), tiffinfo=_DIFFERENCES)
    except OSError:
        warnings.warn(f"cannot write to the cache {path.parent}; set SFUMATO_CACHE", SfumatoWarning, stacklevel=2)


@cache
def _compression() -> str:
    """Of 540x960 photos, PNG takes 13 ms to read, LZW 6 ms and Zstandard 2.4 ms; but not every Pillow has that."""
    try:
        Image.new("RGB", (8, 8)).save(BytesIO(), "TIFF", compression="zstd", tiffinfo=_DIFFERENCES)
    except (OSError, RuntimeError, ValueError):
        return "tiff_lzw"
    return "zstd"
