"""A picture and its photo to numbers: PSNR and SSIM of the pixels that count, both on values clamped to [0, 1]."""

import math

import torch
from torch import Tensor

from sfumato.core.check import check_shape
from sfumato.core.errors import ShapeError
from sfumato.core.image import planar
from sfumato.core.scene import IGNORED
from sfumato.kernels.backends import load
from sfumato.kernels.reference.photometric import WINDOW, ssim_map

__all__ = ["MAX_PSNR", "excluded", "psnr", "ssim", "unmasked"]

MAX_PSNR = 100.0  # dB, given to pictures without any error, so that means stay finite
STRIP = 64  # rows


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of (H, W, 3) floats against a photo, uint8 or floats in [0, 1].

    mask: (H, W) uint8 of SHOWN, IGNORED and EMPTY: the mean is over the pixels that are not ignored. Not a number
    when all are.
    """
    image, target = _comparable(image, target)
    square = (image.double() - target.double()).square()
    count = square.numel()
    if mask is not None:
        counted = _counted(image, mask)
        square.masked_fill_(~counted[..., None], 0)  # picking those that count would copy them
        count = 3 * int(counted.sum())
    mean_square = square.sum().item() / count if count else math.nan
    if math.isnan(mean_square):
        return math.nan
    return min(MAX_PSNR, -10 * math.log10(max(mean_square, 1e-30)))


def ssim(image: Tensor, target: Tensor, backend: str = "auto", mask: Tensor | None = None) -> float:
    """Structural similarity (Wang et al. 2004) of the same images, with the window of the training loss.

    11x11 Gaussian window, sigma 1.5, zeros outside the picture, mean over pixels and colors.
    With a mask, as of `psnr`, the mean is over the pixels that are not ignored, and the windows of those that reach
    into ignored ones see the photo there in both images.
    """
    image, target = _comparable(image, target)
    if mask is not None:
        return _mean_ssim(unmasked(image, target, mask), target, _counted(image, mask))
    return 1 - load(backend, image.device).photometric(planar(image), planar(target), 1.0).item()


def _mean_ssim(image: Tensor, target: Tensor, counted: Tensor) -> float:
    """Of the pixels where `counted` (H, W) is True, in strips: the map of a whole photo takes ten times its memory."""
    total = 0.0
    for top in range(0, len(image), STRIP):
        first, last = max(0, top - WINDOW // 2), top + STRIP + WINDOW // 2  # windows reach into the strips beside
        found = ssim_map(image[first:last], target[first:last])[:, top - first :][:, :STRIP]
        total += found[:, counted[top : top + STRIP]].double().sum().item()
    count = 3 * int(counted.sum())
    return total / count if count else math.nan


def unmasked(image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """The (H, W, 3) floats with the photo, uint8 or floats, where the mask ignores."""
    if mask is None:
        return image
    target = target.to(image) if target.is_floating_point() else target.to(image) / 255
    return torch.where(_counted(image, mask)[..., None], image, target)


def excluded(mask: Tensor | None) -> float:
    """The share of pixels that a mask ignores, in [0, 1]."""
    return 0.0 if mask is None else (mask == IGNORED).double().mean().item()


def _counted(image: Tensor, mask: Tensor) -> Tensor:
    """(H, W) bool: the pixels that are not ignored."""
    check_shape("mask", mask, ("H", "W"), H=image.shape[0], W=image.shape[1])
    return mask.to(image.device) != IGNORED


def _comparable(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as floats in [0, 1], where the image is."""
    check_shape("image", image, ("H", "W", 3))
    check_shape("target", target, ("H", "W", 3), H=image.shape[0], W=image.shape[1])
    if not image.is_floating_point():
        raise ShapeError(f"image must be floats, as rendered; got {image.dtype}")
    target = target.to(image.device) if target.is_floating_point() else target.to(image) / 255
    return image.detach().clamp(0, 1), target.detach().clamp(0, 1)
