"""Photos of distorting lenses to the photos a pinhole would have taken."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError

__all__ = ["load_pycolmap", "pinhole_of", "undistort"]


def load_pycolmap() -> Any:
    """The pycolmap module, quiet.

    Always through here, below core.image: Pillow must be loaded before pycolmap. The other way round their zlib
    libraries get mixed up and the next PNG that is written corrupts memory (pycolmap 4.2 with Pillow 12, Linux).
    """
    import pycolmap

    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL)  # what matters comes as an exception
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
    if lens.is_pinhole:
        return image
    pycolmap = load_pycolmap()
    bitmap = pycolmap.Bitmap.from_array(np.ascontiguousarray(image.numpy()))
    straight, _ = pycolmap.undistort_image(pycolmap.UndistortCameraOptions(), bitmap, _camera(lens))
    return torch.from_numpy(np.array(straight.to_array()))


def _camera(lens: Lens) -> Any:
    params = list(lens.params)
    return load_pycolmap().Camera(model=lens.model, width=lens.width, height=lens.height, params=params)
