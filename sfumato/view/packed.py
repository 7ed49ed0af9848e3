"""Gaussians to the quantised rows that a graphics card holds, back again, and to the bytes of a live snapshot.

Rows of 1024 Gaussians share ranges, which keeps the steps fine: 24, 32, 48 or 64 bytes a Gaussian for degree 0 to 3.
web/pack.js makes the same numbers.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core import sh as harmonics
from sfumato.core.gaussians import Gaussians

__all__ = [
    "BANDS",
    "MAX_DEGREE",
    "ROW",
    "Packed",
    "drawable",
    "importance",
    "most_important",
    "pack",
    "to_bytes",
    "unpack",
]

ROW = 1024  # Gaussians that share ranges
MAX_DEGREE = 3  # what is shown of higher harmonics
MAGIC = b"sfp1"
CHUNK = 4 * ROW  # Gaussians at work at a time: their coefficients stay in a core's own cache
TINY = 1e-30  # a range below it counts as none: its reciprocal would not be finite
# band -> bits of a coefficient, words of all of them
BANDS = {1: (7, 2), 2: (8, 4), 3: (6, 4)}

_Floats = NDArray[np.float32]
_Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Packed:
    """Quantised Gaussians in R rows of 1024; what fills up the last row has opacity 0. See `pack` for the bits."""

    count: int  # Gaussians in the rows
    degree: int  # 0 to 3
    left_out: int  # Gaussians that cannot be drawn, and are not in the rows
    ranges: _Floats  # (R, 8) lowest, highest log scale; lowest, highest color; largest |coefficient| of bands 1 to 3; 0
    geometry: _Words  # (1024 R, 4) bits of the mean's float32; quaternion
    looks: _Words  # (1024 R, 2) log scales; color and opacity
    bands: tuple[_Words, ...]  # per band from 1 on, (1024 R, 2 or 4) coefficients


def pack(gaussians: Gaussians, degree: int = MAX_DEGREE) -> Packed:
    """The quantised rows of Gaussians, with spherical harmonics up to `degree`, at most 3.

    Log scales have 10 bits over their row's range, colors (0.5 + C0 sh0, not clamped) 8, opacities 8; of the unit
    quaternion the largest component is dropped and the others have 10 bits over +-sqrt(1/2); harmonics have 7, 8, 6
    bits for bands 1, 2, 3, with steps that grow with the square root, as most coefficients are small.
    Gaussians with numbers that are not finite, or a rotation of length 0, are left out and counted.
    """
    degree = min(degree, gaussians.degree, MAX_DEGREE)
    good = drawable(gaussians)
    left_out = len(gaussians) - int(good.sum())
    if left_out:
        gaussians = gaussians[good.nonzero()[:, 0]]
    fields = [tensor.detach().to("cpu", torch.float32).contiguous().numpy() for tensor in gaussians]
    N = len(gaussians)
    R = -(-N // ROW)
    packed = Packed(
        count=N,
        degree=degree,
        left_out=left_out,
        ranges=np.zeros((R, 8), np.float32),
        geometry=np.zeros((R * ROW, 4), np.uint32),
        looks=np.zeros((R * ROW, 2), np.uint32),
        bands=tuple(np.zeros((R * ROW, BANDS[band][1]), np.uint32) for band in range(1, degree + 1)),
    )
    for start in range(0, N, CHUNK):
        _pack_chunk(packed, [field[start : start + CHUNK] for field in fields], start)
    return packed


def unpack(packed: Packed) -> Gaussians:
    """The Gaussians in the rows, float32; opacities of 0 and 1 become 0.0001 and 0.9999, as their logits are stored."""
    N = packed.count
    low, high, color_low, color_high = (packed.ranges[:, i].repeat(ROW)[:N, None] for i in range(4))
    looks = packed.looks[:N]
    levels = np.stack([looks[:, 0] >> s & 1023 for s in (0, 10, 20)], axis=1).astype(np.float32)
    rgb = np.stack([looks[:, 1] >> s & 255 for s in (0, 8, 16)], axis=1).astype(np.float32)
    opacity = torch.from_numpy((looks[:, 1] >> 24).astype(np.float32) / 255).clamp(1e-4, 1 - 1e-4)
    color = color_low + rgb * ((color_high - color_low) / np.float32(255))
    rest = [_unpack_band(words[:N], band, packed.ranges[:, 3 + band]) for band, words in enumerate(packed.bands, 1)]
    return Gaussians(
        means=torch.from_numpy(packed.geometry[:N, :3].copy().view(np.float32)),
        quats=torch.from_numpy(_unpack_quats(packed.geometry[:N, 3])),
        log_scales=torch.from_numpy(low + levels * ((high - low) / np.float32(1023))),
        logit_opacities=opacity.logit(),
        sh0=harmonics.sh0_from_rgb(torch.from_numpy(color))[:, None],
        shN=torch.from_numpy(np.concatenate([np.zeros((N, 0, 3), np.float32), *rest], axis=1)),
    )


def to_bytes(packed: Packed, **header: Any) -> bytes:
    """A snapshot for the page's WebSocket: "sfp1", the length of a JSON header, the header, the arrays.

    The header holds count, degree, left_out and whatever is given. All little-endian; the arrays begin at a multiple of
    16 bytes and follow each other in the order ranges, geometry, looks, bands.
    """
    known = {"count": packed.count, "degree": packed.degree, "left_out": packed.left_out}
    text = json.dumps({**header, **known}).encode("utf-8")
    text += b" " * (-(len(text) + 8) % 16)
    arrays = (packed.ranges, packed.geometry, packed.looks, *packed.bands)
    parts = [np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False) for array in arrays]
    return b"".join(
        [MAGIC, len(text).to_bytes(4, "little"), text, *(part.data.cast("B") for part in parts if part.size)]
    )


def drawable(gaussians: Gaussians) -> torch.Tensor:
    """(N,) True where all numbers are finite and the rotation is one."""
    fields = [tensor.detach() for tensor in gaussians]
    if all(torch.isfinite(field.sum()) for field in fields):  # the usual case, told by one sum per field
        good = torch.ones(len(gaussians), dtype=torch.bool, device=gaussians.means.device)
    else:
        good = gaussians.finite
    return good & (gaussians.quats.detach() != 0).any(dim=1)


def importance(gaussians: Gaussians) -> torch.Tensor:
    """(N,) opacity times area: the product of the two larger standard deviations; -1 for what cannot be drawn."""
    scales = gaussians.log_scales.detach()
    area = scales.sum(dim=1) - scales.amin(dim=1)
    value = torch.nn.functional.logsigmoid(gaussians.logit_opacities.detach()) + area
    return torch.where(drawable(gaussians), value.exp(), -1.0)


def most_important(gaussians: Gaussians, most: int) -> Gaussians:
    """At most `most` Gaussians, those of the largest `importance`, in the order they had."""
    if len(gaussians) <= most:
        return gaussians
    return gaussians[importance(gaussians).topk(most).indices.sort().values]


def _pack_chunk(packed: Packed, fields: list[_Floats], start: int) -> None:
    """Quantise a chunk of whole rows; the last of them may lack some."""
    n = len(fields[0])
    missing = -n % ROW
    if missing:  # a copy of the last Gaussian changes no range; it is wiped out below
        fields = [np.concatenate([field, field[-1:].repeat(missing, axis=0)]) for field in fields]
    means, quats, log_scales, logits, sh0, shN = fields
    here = slice(start, start + n + missing)
    ranges = packed.ranges[start // ROW : here.stop // ROW]
    geometry, looks = packed.geometry[here], packed.looks[here]
    geometry[:, :3] = means.view(np.uint32)
    geometry[:, 3] = _pack_quats(quats)
    x, y, z = _levels(log_scales, ranges[:, 0:2], 1023)
    looks[:, 0] = x | y << 10 | z << 20
    r, g, b = _levels(np.float32(0.5) + np.float32(harmonics.C0) * sh0[:, 0], ranges[:, 2:4], 255)
    with np.errstate(over="ignore"):  # the exponential of a very transparent one
        opacity = 255 / (1 + np.exp(-logits)) + np.float32(0.5)
    looks[:, 1] = r | g << 8 | b << 16 | opacity.astype(np.uint32) << 24
    for band, words in enumerate(packed.bands, 1):
        bases = shN[:, band * band - 1 : (band + 1) ** 2 - 1]
        ranges[:, 3 + band] = _pack_band(bases.reshape(len(bases), -1), band, words[here])
    if missing:
        for array in (geometry, looks, *(words[here] for words in packed.bands)):
            array[n:] = 0


def _levels(values: _Floats, ranges: _Floats, most: int) -> list[_Words]:
    """Three columns of whole rows as levels over each row's range, which is written to `ranges` (rows, 2)."""
    rows = values.reshape(-1, ROW, 3)
    ranges[:, 0] = rows.min(axis=(1, 2))
    ranges[:, 1] = rows.max(axis=(1, 2))
    span = ranges[:, 1] - ranges[:, 0]
    scale = np.where(span > TINY, most / np.maximum(span, TINY), 0).astype(np.float32)
    levels = ((rows - ranges[:, :1, None]) * scale[:, None, None] + np.float32(0.5)).astype(np.uint32)
    return [levels[:, :, axis].ravel() for axis in range(3)]


def _pack_quats(quats: _Floats) -> _Words:
    """Unit quaternions as the index of the largest component and the other three, 10 bits each."""
    absolute = np.abs(quats)
    largest = absolute.argmax(axis=1)
    rows = np.arange(len(quats))
    q = quats / quats[rows, largest][:, None]  # the largest is 1: no overflow, and its sign is positive
    q *= np.float32(np.sqrt(0.5) * 1023) / np.sqrt((q * q).sum(axis=1))[:, None]
    q += np.float32(0.5 * 1023 + 0.5)
    levels = q.astype(np.uint32)
    a = np.where(largest == 0, levels[:, 1], levels[:, 0])
    b = np.where(largest <= 1, levels[:, 2], levels[:, 1])
    c = np.where(largest <= 2, levels[:, 3], levels[:, 2])
    packed: _Words = largest.astype(np.uint32) << 30 | a << 20 | b << 10 | c
    return packed


def _unpack_quats(words: _Words) -> _Floats:
    others = np.stack([words >> s & 1023 for s in (20, 10, 0)], axis=1).astype(np.float32)
    others = (others / np.float32(1023) - np.float32(0.5)) * np.float32(np.sqrt(2))
    largest = np.sqrt(np.maximum(0, 1 - (others * others).sum(axis=1)))
    k = (words >> 30).astype(np.int64)
    quats = np.empty((len(words), 4), np.float32)
    for index in range(4):
        before, after = others[:, min(index, 2)], others[:, max(index - 1, 0)]
        quats[:, index] = np.where(index == k, largest, np.where(index < k, before, after))
    return quats


def _pack_band(values: _Floats, band: int, words: _Words) -> _Floats:
    """Fill `words` (n, 2 or 4) with coefficients (n, 6 band + 3); returns each row's largest |coefficient|."""
    bits, count = BANDS[band]
    most = (1 << (bits - 1)) - 1
    columns = np.ascontiguousarray(values.T).reshape(values.shape[1], -1, ROW)  # a coefficient is contiguous
    size = np.abs(columns)
    limit: _Floats = size.max(axis=(0, 2))
    size *= np.where(limit > TINY, most * most / np.maximum(limit, TINY), 0).astype(np.float32)[:, None]
    np.sqrt(size, out=size)
    np.copysign(size, columns, out=size)
    size += np.float32(most + 0.5)
    levels = size.reshape(len(size), -1).astype(np.uint32)
    stream = np.zeros((count, levels.shape[1]), np.uint32)
    for j, level in enumerate(levels):
        word, shift = divmod(j * bits, 32)
        stream[word] |= level << shift
        if shift + bits > 32:
            stream[word + 1] |= level >> (32 - shift)
    words[:] = stream.T
    return limit


def _unpack_band(words: _Words, band: int, limits: _Floats) -> _Floats:
    """(n, 2 band + 1, 3) coefficients."""
    bits, _ = BANDS[band]
    most = (1 << (bits - 1)) - 1
    bases = 2 * band + 1
    values = np.empty((len(words), bases * 3), np.float32)
    for j in range(bases * 3):
        word, shift = divmod(j * bits, 32)
        level = words[:, word] >> shift
        if shift + bits > 32:
            level = level | words[:, word + 1] << (32 - shift)
        values[:, j] = (level & (2 * most + 1)).astype(np.float32)
    t = (values - np.float32(most)) / np.float32(most)
    coefficients: _Floats = (t * np.abs(t) * limits.repeat(ROW)[: len(words), None]).reshape(len(words), bases, 3)
    return coefficients
