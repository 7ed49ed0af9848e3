"""Numbers in [0, 1] to colors whose lightness grows evenly: black, violet, red, orange, pale yellow."""

import functools

import torch
from torch import Tensor

__all__ = ["colorize"]

STEPS = 256
# Oklab to linear sRGB (Ottosson 2020): first to cube roots of cone responses, then to the primaries
CONES_FROM_OKLAB = [
    [1.0, 0.3963377774, 0.2158037573],
    [1.0, -0.1055613458, -0.0638541728],
    [1.0, -0.0894841775, -1.2914855480],
]
RGB_FROM_CONES = [
    [4.0767416621, -3.3077115913, 0.2309699292],
    [-1.2684380046, 2.6097574011, -0.3413193965],
    [-0.0041960863, -0.7034186147, 1.7076147010],
]


def colorize(values: Tensor) -> Tensor:
    """(...) floats, clamped to [0, 1], as (..., 3) uint8 colors; what is not a number is black."""
    steps = (values.detach().nan_to_num(nan=0.0).clamp(0, 1) * (STEPS - 1)).round().long()
    return _table().to(values.device)[steps]


@functools.cache
def _table() -> Tensor:
    """(256, 3) uint8: a path through Oklab with lightness linear, hue turning from violet to yellow."""
    share = torch.linspace(0, 1, STEPS, dtype=torch.float64)
    lightness = 0.1 + 0.87 * share
    hue = torch.deg2rad(285 + 185 * share)
    wanted = 0.165 * torch.sin(torch.pi * (0.8 * share + 0.03)) ** 0.7
    low, high = torch.zeros_like(wanted), wanted
    for _ in range(30):  # bisection to the most chroma, up to the wanted, that a screen can show
        middle = (low + high) / 2
        shown = _shown(lightness, middle, hue)
        fits = ((shown >= 0) & (shown <= 1)).all(dim=1)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    linear = _shown(lightness, low, hue).clamp(0, 1)
    encoded = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return (255 * encoded + 0.5).to(torch.uint8)


def _shown(lightness: Tensor, chroma: Tensor, hue: Tensor) -> Tensor:
    """(n, 3) linear sRGB, outside [0, 1] where a screen cannot show the color."""
    oklab = torch.stack([lightness, chroma * hue.cos(), chroma * hue.sin()], dim=1)
    cones = oklab @ torch.tensor(CONES_FROM_OKLAB, dtype=torch.float64).T
    return cones**3 @ torch.tensor(RGB_FROM_CONES, dtype=torch.float64).T
