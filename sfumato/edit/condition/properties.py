"""What can be asked of each Gaussian by name: numbers to compare, computed when they are asked for."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.gaussians import Gaussians

__all__ = ["LUMA", "PROPERTIES", "Properties"]

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709


class Properties:
    """Properties of some Gaussians, (N,) float64 each, by name."""

    def __init__(self, gaussians: Gaussians, first: int = 0) -> None:
        self.gaussians = gaussians
        self.first = first  # row of the first one in the whole splat
        self._found: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.gaussians)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._found:
            self._found[name] = PROPERTIES[name][1](self).double()
        return self._found[name]

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.gaussians.means.device


def _mean(axis: int) -> Callable[[Properties], Tensor]:
    return lambda p: p.gaussians.means[:, axis]


def _scale(axis: int) -> Callable[[Properties], Tensor]:
    return lambda p: p.gaussians.log_scales[:, axis].double().exp()


def _ranked(rank: int) -> Callable[[Properties], Tensor]:
    return lambda p: p.gaussians.log_scales.double().sort(dim=1).values[:, rank].exp()


def _color(channel: int) -> Callable[[Properties], Tensor]:
    return lambda p: harmonics.rgb_from_sh0(p.gaussians.sh0[:, 0, channel].double()).clamp(0, 1)


def _luminance(p: Properties) -> Tensor:
    return LUMA[0] * p["red"] + LUMA[1] * p["green"] + LUMA[2] * p["blue"]


def _saturation(p: Properties) -> Tensor:
    colors = torch.stack([p["red"], p["green"], p["blue"]])
    high, low = colors.amax(dim=0), colors.amin(dim=0)
    return torch.where(high > 0, (high - low) / high.clamp(min=1e-30), 0.0)


def _sh_energy(p: Properties) -> Tensor:
    shN = p.gaussians.shN.double()
    return shN.square().sum(dim=(1, 2)) / (3 * 4 * math.pi)  # the basis is orthonormal over the sphere's 4 pi


# name -> (what it is, how it is found)
PROPERTIES: dict[str, tuple[str, Callable[[Properties], Tensor]]] = {
    "x": ("place, world units", _mean(0)),
    "y": ("place, world units; down, where nothing else is said", _mean(1)),
    "z": ("place, world units", _mean(2)),
    "distance": ("from zero, world units", lambda p: p.gaussians.means.double().norm(dim=1)),
    "opacity": ("0 to 1", lambda p: p.gaussians.logit_opacities.double().sigmoid()),
    "scale_x": ("standard deviation along its own first axis, world units", _scale(0)),
    "scale_y": ("along its second axis", _scale(1)),
    "scale_z": ("along its third axis", _scale(2)),
    "min_scale": ("the smallest of the three", _ranked(0)),
    "mid_scale": ("the one between", _ranked(1)),
    "max_scale": ("the largest of the three", _ranked(2)),
    "volume": ("the three multiplied, cubic world units", lambda p: p.gaussians.log_scales.double().sum(dim=1).exp()),
    "anisotropy": ("max_scale / min_scale, at least 1", lambda p: p["max_scale"] / p["min_scale"]),
    "red": ("color seen from all sides on average, 0 to 1", _color(0)),
    "green": ("the same of green", _color(1)),
    "blue": ("the same of blue", _color(2)),
    "luminance": ("brightness of that color, 0 to 1", _luminance),
    "saturation": ("0 (gray) to 1", _saturation),
    "sh_energy": ("mean square by which its color changes with the direction of view", _sh_energy),
    "index": ("its row in the file, from 0 on", lambda p: torch.arange(p.first, p.first + len(p), device=p.device)),
}
