"""A picture and its photo to numbers: PSNR and SSIM, both on values clamped to [0, 1]."""

import math

from torch import Tensor

from sfumato.core.check import check_shape
from sfumato.core.errors import ShapeError
from sfumato.core.image import planar
from sfumato.kernels.backends import load

__all__ = ["MAX_PSNR", "psnr", "ssim"]

MAX_PSNR = 100.0  # dB, given to pictures without any error, so that means stay finite


def psnr(image: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of (H, W, 3) floats against a photo, uint8 or floats in [0, 1]."""
    image, target = _comparable(image, target)
    mean_square = (image.double() - target.double()).square().mean().item()
    return min(MAX_PSNR, -10 * math.log10(max(mean_square, 1e-30)))


def ssim(image: Tensor, target: Tensor, backend: str = "auto") -> float:
    """Structural similarity (Wang et al. 2004) of the same images, with the window of the training loss.

    11x11 Gaussian window, sigma 1.5, zeros outside the picture, mean over pixels and colors.
    """
    image, target = _comparable(image, target)
    return 1 - load(backend, image.device).photometric(planar(image), planar(target), 1.0).item()


def _comparable(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as floats in [0, 1]."""
    check_shape("image", image, ("H", "W", 3))
    check_shape("target", target, ("H", "W", 3), H=image.shape[0], W=image.shape[1])
    if not image.is_floating_point():
        raise ShapeError(f"image must be floats, as rendered; got {image.dtype}")
    target = target if target.is_floating_point() else target.to(image) / 255
    return image.detach().clamp(0, 1), target.detach().clamp(0, 1)
