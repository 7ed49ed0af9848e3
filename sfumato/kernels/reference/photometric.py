"""Two images to the training loss: L1 and D-SSIM, Eq. 7 of Kerbl et al. 2023."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from sfumato.core.errors import InputError

__all__ = ["WINDOW", "photometric", "ssim", "ssim_map"]

WINDOW = 11  # pixels (Wang et al. 2004)
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2  # for values in [0, 1]


def photometric(image: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    """See `stages.Backend.photometric`."""
    if image.shape != target.shape:
        raise InputError(
            f"image and target must have the same shape; got {tuple(image.shape)} and {tuple(target.shape)}"
        )
    if target.dtype == torch.uint8:
        target = target.to(image) / 255
    l1 = (image - target).abs().mean()
    return (1 - ssim_weight) * l1 + ssim_weight * (1 - ssim(image, target))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """() mean structural similarity of (H, W, 3) images in [0, 1] (Wang et al. 2004), zeros outside the picture."""
    return ssim_map(image, target).mean()


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """(3, H, W) the structural similarity at every pixel and color, whose mean `ssim` is."""
    offsets = torch.arange(WINDOW).to(image) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = window / window.sum()

    def local_mean(values: Tensor) -> Tensor:
        channels = values.permute(2, 0, 1)[:, None]
        down = conv2d(channels, window[None, None, :, None], padding=(WINDOW // 2, 0))
        return conv2d(down, window[None, None, None, :], padding=(0, WINDOW // 2))

    mean_x, mean_y = local_mean(image), local_mean(target)
    var_x = local_mean(image * image) - mean_x**2
    var_y = local_mean(target * target) - mean_y**2
    covariance = local_mean(image * target) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (var_x + var_y + C2)
    return (luminance * structure)[:, 0]
