"""Files of linear light, EXR and TIFF of floats, to 8-bit sRGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError

__all__ = ["encode", "exr_header", "is_float_tiff", "read_exr", "read_float_tiff"]

_Floats = NDArray[np.floating[Any]]


def encode(light: _Floats) -> NDArray[np.uint8]:
    """(H, W, 3), or (H, W, 4) with straight alpha, of linear light to sRGB (IEC 61966-2-1), exposure 1.

    Light above 1 is white, and what is not a number is black.
    """
    clipped = np.nan_to_num(light.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    colors = clipped[..., :3]
    clipped[..., :3] = np.where(colors <= 0.0031308, 12.92 * colors, 1.055 * colors ** np.float32(1 / 2.4) - 0.055)
    return (clipped * 255 + 0.5).astype(np.uint8)


def exr_header(path: Path) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha. Raises InputError as `read_exr` does."""
    with _undamaged(path):
        header = _open(path, header_only=True).header()
        names = [str(channel.name) for channel in header["channels"]]
        low, high = header["dataWindow"]
        return int(high[0] - low[0] + 1), int(high[1] - low[1] + 1), "A" in _colors(path, names)


def read_exr(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 4) sRGB of the colors R, G, B and A, or of the first layer that has them, or of Y.

    The pixels are those of the data window. Raises InputError when OpenEXR is not installed, the file is damaged, or
    it has no colors.
    """
    with _undamaged(path):
        channels = _open(path).channels()
        found = _colors(path, list(channels))
        light = np.stack([channels[found[color]].pixels.astype(np.float32) for color in "RGB"], axis=-1)
        if "A" not in found:
            return encode(light)
        alpha = channels[found["A"]].pixels.astype(np.float32)[..., None].clip(0, 1)
    straight = np.divide(light, alpha, out=np.zeros_like(light), where=alpha > 0)  # EXR's colors are multiplied by it
    return encode(np.concatenate([straight, alpha], axis=-1))


def is_float_tiff(path: Path) -> bool:
    """True for a TIFF file of floats with several colors; those with one color Pillow reads.

    Raises InputError when it is a TIFF and tifffile, which knows more kinds than Pillow, is not installed.
    """
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return False
    tifffile = _tifffile(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.pages[0].dtype is not None and tiff.pages[0].dtype.kind == "f")
    except Exception:  # tifffile raises many kinds for a damaged file
        return False


def read_float_tiff(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 4) sRGB. Raises InputError when it cannot be read."""
    tifffile = _tifffile(path)
    try:
        light = np.asarray(tifffile.imread(path, key=0))
    except Exception as error:  # tifffile raises many kinds for a damaged file
        raise InputError(f"{path} cannot be read as a TIFF of floats: {' '.join(str(error).split())}") from None
    if light.ndim == 3 and light.shape[0] in (3, 4) and light.shape[2] not in (3, 4):
        light = np.moveaxis(light, 0, -1)  # stored color by color
    if light.ndim != 3 or light.shape[2] not in (3, 4):
        raise InputError(f"{path} must have three or four colors; its shape is {light.shape}")
    return encode(light)


def _open(path: Path, header_only: bool = False) -> Any:
    try:
        reader = import_module("OpenEXR")
    except ImportError:
        raise InputError(
            f"{path} is an EXR file, whose reader is not installed: pip install 'sfumato[hdr]', or convert it to PNG"
        ) from None
    if not path.is_file():
        raise InputError(f"{path} is not there")
    with path.open("rb") as file:  # OpenEXR itself prints what it does not like
        if file.read(4) != b"v/1\x01":
            raise InputError(f"{path} is not an image that can be read here")
    return reader.File(str(path), separate_channels=True, header_only=header_only)


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """One InputError for whatever a damaged EXR file does to its reader."""
    try:
        yield
    except InputError:
        raise
    except Exception:
        raise InputError(f"{path} cannot be read as an image: it is a damaged EXR file") from None


def _tifffile(path: Path) -> Any:
    try:
        return import_module("tifffile")
    except ImportError:
        raise InputError(
            f"{path} is a TIFF that needs another reader: pip install 'sfumato[hdr]', or convert it to PNG"
        ) from None


def _colors(path: Path, names: list[str]) -> dict[str, str]:
    """R, G, B and, when there is one, A -> the channel's name."""
    layers = ["", *dict.fromkeys(name.rpartition(".")[0] + "." for name in names if "." in name)]
    for layer in layers:
        if all(layer + color in names for color in "RGB"):
            return {color: layer + color for color in "RGBA" if layer + color in names}
    if "Y" in names:
        return {"R": "Y", "G": "Y", "B": "Y"} | ({"A": "A"} if "A" in names else {})
    raise InputError(f"{path} has no colors R, G and B; it has {', '.join(names)}")
