"""Images: files to uint8 tensors and back, area downscaling, compositing."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.linear import encode, exr_header, is_float_tiff, read_exr, read_float_tiff
from sfumato.core.profile import to_srgb
from sfumato.core.scene import EMPTY, IGNORED, SHOWN

__all__ = [
    "RESIZE_FILTER",
    "composite",
    "image_header",
    "opened",
    "planar",
    "read_image",
    "resize",
    "resize_mask",
    "to_uint8",
    "write_image",
]

_WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
# what Pillow and its plugins raise for damaged files
_DAMAGED = (
    *(OSError, EOFError, ValueError, SyntaxError, RuntimeError, TypeError, LookupError, ArithmeticError, struct.error),
    Image.DecompressionBombError,
)
_HEIF = (".heic", ".heif", ".hif")
_LARGEST = 500_000_000  # pixels; phones take 200 million, and Pillow's own limit is for pictures from strangers
RESIZE_FILTER = "area"  # the mean over the pixel's footprint: antialiased, never rings


def read_image(path: Path, shrink: int = 1) -> Tensor:
    """(H, W, 3) or, when the file has transparency, (H, W, 4) uint8 sRGB.

    shrink: 2, 4 or 8: a JPEG is decoded at that fraction of its size, rounded up, in less time and memory; others at
    their full size.

    EXIF orientation is not applied. An embedded color profile is; 16 bits are scaled to 8; EXR and TIFF of floats are
    taken as linear light. Raises InputError when the file is missing, truncated or not an image, or needs a reader that
    is not installed.
    """
    if path.suffix.lower() == ".exr":
        return torch.from_numpy(read_exr(path))
    if _is_float_tiff(path):
        return torch.from_numpy(read_float_tiff(path))
    with opened(path) as file:
        if shrink > 1:
            file.draft(None, (max(1, file.width // shrink), max(1, file.height // shrink)))
        if file.mode.startswith("I"):  # 16-bit gray, which convert() would clip at 255 instead of scaling
            gray = (np.array(file) / 257 + 0.5).clip(0, 255).astype(np.uint8)
        elif file.mode == "F":
            gray = encode(np.array(file)[..., None])[..., 0]
        else:
            return torch.from_numpy(np.array(to_srgb(file)))
    return torch.from_numpy(np.repeat(gray[..., None], 3, axis=2))


def image_header(path: Path) -> tuple[int, int, bool]:
    """Width, height and whether there is transparency. Raises InputError as `read_image` does."""
    if path.suffix.lower() == ".exr":
        return exr_header(path)
    if _is_float_tiff(path):
        height, width, colors = read_float_tiff(path).shape
        return width, height, colors == 4
    with opened(path) as file:
        return file.width, file.height, "A" in file.getbands() or "transparency" in file.info


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file in Pillow's hands. Raises InputError for what Pillow raises, here or inside the block."""
    if path.suffix.lower() in _HEIF:
        _register_heif(path)
    try:
        with _open(path) as file:
            yield file
    except InputError:  # a ValueError, but it says already what is wrong, and of what
        raise
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image that can be read here") from None
    except _DAMAGED as error:
        raise InputError(f"{path} cannot be read as an image: {' '.join(str(error).split())}") from None


def _open(path: Path) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = _LARGEST
    return Image.open(path)


def _is_float_tiff(path: Path) -> bool:
    """True for a TIFF of floats that Pillow does not know."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        _open(path).close()
    except UnidentifiedImageError:
        return is_float_tiff(path)
    except _DAMAGED:
        pass  # said when it is read
    return False


def _register_heif(path: Path) -> None:
    """Teach Pillow the photos of phones."""
    try:
        import pillow_heif
    except ImportError:
        raise InputError(
            f"{path} is a HEIF photo, whose reader is not installed: pip install 'sfumato[heic]', or convert it to JPEG"
        ) from None
    pillow_heif.register_heif_opener()


def write_image(path: Path, image: Tensor, quality: int = 92) -> None:
    """Write (H, W, 3) uint8, or floats in [0, 1], as PNG, JPEG or what the suffix says.

    The file appears whole or not at all. Raises InputError when there is no such format, OSError as `open` does.
    """
    if path.suffix.lower() not in _WRITABLE:
        raise InputError(f"cannot write {path}: no image format for {path.suffix} (known: {' '.join(_WRITABLE)})")
    pixels = image if image.dtype == torch.uint8 else to_uint8(image)
    format = Image.registered_extensions()[path.suffix.lower()]
    with replacing(path) as file:
        Image.fromarray(pixels.cpu().contiguous().numpy()).save(file, format, quality=quality)


def to_uint8(image: Tensor) -> Tensor:
    """Floats, clamped to [0, 1], to uint8 by rounding."""
    return (image.detach().clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def composite(image: Tensor, background: tuple[float, float, float]) -> Tensor:
    """(H, W, 4) uint8 with straight alpha over a background in [0, 1], as (H, W, 3) uint8."""
    behind = 255 * torch.tensor(background)

    def over(rows: Tensor) -> Tensor:
        alpha = rows[..., 3:].float() / 255
        return (rows[..., :3].float() * alpha + behind * (1 - alpha) + 0.5).to(torch.uint8)

    tops = range(0, image.shape[0], 256)  # in strips: as floats, a whole photo would be many times as large
    return torch.cat([over(image[top : top + 256]) for top in tops])


def resize(image: Tensor, width: int, height: int) -> Tensor:
    """(H, W, 3) uint8 resampled by the mean over each new pixel's footprint."""
    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    smaller = Image.fromarray(image.contiguous().numpy()).resize((width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.array(smaller))


def resize_mask(mask: Tensor, width: int, height: int) -> Tensor:
    """(H, W) uint8 of SHOWN, IGNORED and EMPTY as `resize` makes it of the photo.

    A new pixel is ignored when any of its footprint is, for its color is a mean with what must not count; it is empty
    when all of its footprint is. (An area below 1/510 of the footprint goes unnoticed.)
    """
    if (mask.shape[1], mask.shape[0]) == (width, height):
        return mask

    def share(value: int) -> Tensor:
        """0 to 255: how much of the footprint is that."""
        picture = Image.fromarray((mask == value).numpy().astype(np.uint8) * 255)
        return torch.from_numpy(np.array(picture.resize((width, height), Image.Resampling.BOX)))

    smaller = torch.full((height, width), SHOWN, dtype=torch.uint8)
    smaller[share(EMPTY) == 255] = EMPTY
    smaller[share(IGNORED) > 0] = IGNORED
    return smaller


def planar(image: Tensor) -> Tensor:
    """The same (H, W, 3) image laid out color by color in memory, as the kernels read it."""
    return image.permute(2, 0, 1).contiguous().permute(1, 2, 0)
