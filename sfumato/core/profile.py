"""Pixels with the color profile that their file embeds, to sRGB."""

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["to_srgb"]

_LEVELS = 2  # of 255; a profile whose colors differ less is sRGB under another name
_MODES = ("RGB", "L", "CMYK")


def to_srgb(file: Image.Image) -> Image.Image:
    """The picture in sRGB, as RGB or, when it has transparency, RGBA; the file's own picture where it is that already.

    Colors outside of sRGB are clipped (relative colorimetric). A picture without a profile, or with one that is damaged
    or does not fit its pixels, is taken as sRGB.
    """
    has_alpha = "A" in file.getbands() or "transparency" in file.info
    mode = "RGBA" if has_alpha else "RGB"
    plain = file if file.mode == mode else file.convert(mode)  # which would copy what is so already
    profile = file.info.get("icc_profile")
    if not isinstance(profile, bytes):
        return plain
    colors = file if file.mode in _MODES else plain.convert("RGB")
    transform = _transform(profile, colors.mode)
    if transform is None:
        return plain
    converted: Image.Image = transform.apply(colors)
    if has_alpha:
        converted.putalpha(plain.getchannel("A"))
    return converted


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> Any | None:
    """Pillow's ImageCmsTransform to sRGB; None when there is nothing to do, or nothing can be done."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
        return None if mode != "CMYK" and _is_srgb(transform, mode) else transform
    except (ImportError, OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None


def _is_srgb(transform: Any, mode: str) -> bool:
    side = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(81, 9, 3)
    colors = Image.fromarray(grid if mode == "RGB" else grid[..., 0].copy())
    changed = np.array(transform.apply(colors)).astype(int) - np.array(colors.convert("RGB"))
    return bool(np.abs(changed).max() <= _LEVELS)
