"""The numbers of SPZ (Niantic Labs): fields of Gaussians to the bytes of each block, and back.

Largest errors where nothing is clamped: positions half a step of 2^-fractional_bits; opacities 1/510; sh0 0.0131;
log scales 1/32; rotations 0.23 degrees, 7 in version 2; harmonics 1/128 at 7 bits and 1/64 at 6, as degree 1 and the
others are written unless one asks for something else, 1/32 at 5, 1/16 at 4, 1/256 at 8.
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.formats.parts import logit
from sfumato.formats.quaternions import keep_smallest_three, restore_from_three

__all__ = [
    "MOST_FIXED",
    "decode_colors",
    "decode_harmonics",
    "decode_opacities",
    "decode_positions",
    "decode_rotations",
    "decode_scales",
    "encode_colors",
    "encode_harmonics",
    "encode_opacities",
    "encode_positions",
    "encode_rotations",
    "encode_scales",
]

_Bytes = NDArray[np.uint8]

MOST_FIXED = 2**23 - 1  # the largest of 24 bits with a sign
_COLOR = 0.15  # a byte spans -1 / (2 * 0.15) to 1 / (2 * 0.15): not C0, so that colors beyond [0, 1] survive
_SCALE, _LEAST = 16, -10  # steps to a factor of e, and the log scale of 0
_HALF = 511  # magnitudes of 9 bits
_ROOT = 2**0.5


def encode_positions(means: Tensor, fractional_bits: int) -> _Bytes:
    """(N, 9) of (N, 3) world units, at most MOST_FIXED steps of 2^-fractional_bits from zero."""
    fixed = (means * 2.0**fractional_bits).round().to(torch.int32).numpy().astype("<i4", copy=False)
    return fixed.view(np.uint8).reshape(-1, 3, 4)[:, :, :3].reshape(-1, 9)


def decode_positions(data: _Bytes, fractional_bits: int) -> Tensor:
    """(N, 3) of (N, 9); of (N, 6), as version 1 has it, 16-bit floats."""
    if data.shape[1] == 6:
        return torch.from_numpy(data.view("<f2").astype(np.float32))
    padded = np.zeros((len(data), 3, 4), dtype=np.uint8)
    padded[:, :, 1:] = data.reshape(-1, 3, 3)
    fixed = padded.reshape(-1, 12).view("<i4") >> 8  # the sign comes along
    return torch.from_numpy(fixed.astype(np.float32)) * 2.0**-fractional_bits


def encode_opacities(logit_opacities: Tensor) -> _Bytes:
    """(N, 1) of (N,)."""
    return _bytes(logit_opacities.sigmoid() * 255)[:, None]


def decode_opacities(data: _Bytes, doubled: bool = False) -> Tensor:
    """(N,) logits of (N, 1); doubled, as in Spark's trees, where a byte spans 0 to 2."""
    table = logit((torch.arange(256) / 255 * (1 + doubled)).clamp(max=1))
    return table[torch.from_numpy(data[:, 0].astype(np.int64))]


def encode_colors(sh0: Tensor) -> tuple[_Bytes, Tensor]:
    """(N, 3) of (N, 1, 3), and which of N were clamped."""
    return _clamped(sh0[:, 0] * (_COLOR * 255) + 127.5)


def decode_colors(data: _Bytes) -> Tensor:
    """(N, 1, 3) of (N, 3)."""
    return _floats(data).div_(255).sub_(0.5).div_(_COLOR)[:, None]


def encode_scales(log_scales: Tensor) -> tuple[_Bytes, Tensor]:
    """(N, 3) of (N, 3), and which of N were clamped."""
    return _clamped((log_scales - _LEAST) * _SCALE)


def decode_scales(data: _Bytes) -> Tensor:
    """(N, 3) of (N, 3)."""
    return _floats(data).div_(_SCALE).add_(_LEAST)


def encode_rotations(quats: Tensor, version: int) -> _Bytes:
    """(N, 4) of (N, 4) wxyz of any length, in version 2 (N, 3)."""
    if version < 3:
        return _nearest_three(torch.nn.functional.normalize(quats, dim=1))
    dropped, others = keep_smallest_three(quats[:, [1, 2, 3, 0]])
    sizes = (others.abs() * (_HALF * _ROOT) + 0.5).to(torch.int64).clamp_(max=_HALF)
    a, b, c = (sizes | ((others < 0).to(torch.int64) << 9)).unbind(dim=1)
    return ((dropped << 30) | (a << 20) | (b << 10) | c).numpy().astype("<u4").view(np.uint8).reshape(-1, 4)


def _nearest_three(units: Tensor) -> _Bytes:
    """(N, 3) of (N, 4) wxyz: x, y, z, each rounded up or down so that the rotation they make is the nearest.

    A reader takes sqrt(1 - x^2 - y^2 - z^2) for w: where that is small, rounding each for itself turns by up to 12
    degrees, this by 7.
    """
    units = units * torch.where(units[:, :1] < 0, -1, 1)
    w, xyz = units[:, 0], units[:, 1:]
    low = (xyz * 127.5 + 127.5).floor_().clamp_(0, 254)
    best, nearest = low, torch.full_like(w, -1)
    for up in itertools.product((0.0, 1.0), repeat=3):
        rounded = low + torch.tensor(up)
        read = rounded / 127.5 - 1
        square = read.square().sum(dim=1)
        read_w = (1 - square).clamp_(min=0).sqrt_()
        cosine = ((xyz * read).sum(dim=1) + w * read_w) / (square + read_w.square()).sqrt_()
        best = torch.where((cosine > nearest)[:, None], rounded, best)
        nearest = torch.maximum(cosine, nearest)
    return best.to(torch.uint8).numpy()


def decode_rotations(data: _Bytes) -> Tensor:
    """(N, 4) wxyz units of (N, 4), or (N, 3) as in versions 1 and 2."""
    if data.shape[1] == 3:
        xyz = _floats(data).div_(127.5).sub_(1)
        w = (1 - xyz.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
        return torch.nn.functional.normalize(torch.cat([w, xyz], dim=1), dim=1)
    packed = torch.from_numpy(data.view("<u4").astype(np.int64))
    fields = (packed >> torch.tensor([20, 10, 0])) & 1023
    others = (fields & _HALF) / (_HALF * _ROOT) * torch.where(fields > _HALF, -1, 1)
    return restore_from_three(packed[:, 0] >> 30, others)[:, [3, 0, 1, 2]]


def encode_harmonics(shN: Tensor, bits: int) -> tuple[_Bytes, Tensor]:
    """(N, 3 (K-1)) of (N, K-1, 3), and which of N were clamped.

    So many bits are kept of 8, and one more for degree 1: the others are zero, and cost nothing once packed.
    """
    data = np.empty(shN.shape, dtype=np.uint8)
    for bands, kept in ((slice(0, 3), min(8, bits + 1)), (slice(3, None), bits)):
        step = 1 << (8 - kept)
        steps = shN[:, bands].mul(128 / step).round_().mul_(step).add_(128)
        data[:, bands] = steps.clamp_(0, 255).to(torch.uint8).numpy()
    return data.reshape(len(data), 3 * shN.shape[1]), _beyond_one(shN)


def decode_harmonics(data: _Bytes) -> Tensor:
    """(N, K-1, 3) of (N, 3 (K-1))."""
    return _floats(data).sub_(128).mul_(1 / 128).reshape(len(data), data.shape[1] // 3, 3)


def _bytes(values: Tensor) -> _Bytes:
    return values.round().clamp_(0, 255).to(torch.uint8).numpy()


def _clamped(values: Tensor) -> tuple[_Bytes, Tensor]:
    rounded = values.round_()
    beyond = ((rounded < 0) | (rounded > 255)).any(dim=1)
    return rounded.clamp_(0, 255).to(torch.uint8).numpy(), beyond


def _beyond_one(shN: Tensor) -> Tensor:
    flat = shN.flatten(1)
    low, high = flat.aminmax() if flat.numel() else (flat.new_zeros(()), flat.new_zeros(()))
    if max(-low, high) <= 1:  # as in most splats: counting rows would take as long as all else
        return torch.zeros(len(flat), dtype=torch.bool)
    return (flat.abs() > 1).any(dim=1)


def _floats(data: _Bytes) -> Tensor:
    return torch.from_numpy(data).to(torch.float32)
