"""Photos of distorting lenses to the photos a pinhole would have taken."""

import signal
import threading
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError
from sfumato.core.scene import EMPTY, IGNORED, SHOWN

__all__ = ["load_pycolmap", "pinhole_of", "undistort", "undistort_mask"]


def load_pycolmap() -> Any:
    """The pycolmap module, quiet.

    Always through here, below core.image: Pillow must be loaded before pycolmap. The other way round their zlib
    libraries get mixed up and the next PNG that is written corrupts memory (pycolmap 4.2 with Pillow 12, Linux).
    """
    import pycolmap

    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL)  # what matters comes as an exception
    if threading.current_thread() is threading.main_thread() and (ours := signal.getsignal(signal.SIGTERM)) is not None:
        signal.signal(signal.SIGTERM, ours)  # its import has taken SIGTERM over, to print a stack and abort
    return pycolmap


@cache
def pinhole_of(lens: Lens) -> Lens:
    """The pinhole that sees as much of the lens's picture as it can without blank pixels.

    Its focal length is that of the lens, its principal point the middle. Raises InputError when no pinhole can show
    the picture (a panorama).
    """
    if lens.is_pinhole:
        return lens
    pycolmap = load_pycolmap()
    try:
        camera = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), _camera(lens))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"photos of a {lens.model} camera cannot be undistorted: {error}") from None
    return Lens("PINHOLE", tuple(float(value) for value in camera.params), int(camera.width), int(camera.height))


def undistort(image: Tensor, lens: Lens) -> Tensor:
    """(H, W, 3) uint8 of `lens` as (H', W', 3) uint8 of `pinhole_of(lens)`, by bilinear interpolation."""
    return image if lens.is_pinhole else _undistorted(image, lens)


def undistort_mask(mask: Tensor | None, lens: Lens) -> Tensor | None:
    """(H, W) uint8 of SHOWN, IGNORED and EMPTY as `undistort` makes it of the photo; None when all is shown.

    A pixel is ignored when any of the four that it is interpolated from is, and where the lens saw nothing (it is
    blank); it is empty when all four are.
    """
    if lens.is_pinhole:
        return mask
    blank = _blank(lens)
    if mask is None and blank is None:
        return None
    straight = pinhole_of(lens)
    result = torch.full((straight.height, straight.width), SHOWN, dtype=torch.uint8)
    if mask is not None:
        result[_share(mask == EMPTY, lens) == 255] = EMPTY
        result[_share(mask == IGNORED, lens) > 0] = IGNORED
    if blank is not None:
        result[blank] = IGNORED
    return result


@lru_cache(maxsize=4)
def _blank(lens: Lens) -> Tensor | None:
    """(H', W') bool of the pixels that an undistorted photo has no color for; None when there are none."""
    blank = _share(torch.ones(lens.height, lens.width, dtype=torch.bool), lens) < 255
    return blank if blank.any() else None


def _share(pixels: Tensor, lens: Lens) -> Tensor:
    """(H', W') uint8, 0 to 255: how much of the undistorted pixel is one of the (H, W) bool `pixels`."""
    return _undistorted(pixels[..., None].expand(-1, -1, 3).to(torch.uint8) * 255, lens)[..., 0]


def _undistorted(image: Tensor, lens: Lens) -> Tensor:
    pycolmap = load_pycolmap()
    bitmap = pycolmap.Bitmap.from_array(np.ascontiguousarray(image.numpy()))
    straight, _ = pycolmap.undistort_image(pycolmap.UndistortCameraOptions(), bitmap, _camera(lens))
    return torch.from_numpy(np.array(straight.to_array()))


def _camera(lens: Lens) -> Any:
    params = list(lens.params)
    return load_pycolmap().Camera(model=lens.model, width=lens.width, height=lens.height, params=params)
