"""Splats to records that blending reads: a few cache sectors each, alpha as a power of two.

alpha = opacity exp(-d^T conic d / 2) = 2^(l + a dx^2 + b dx dy + c dy^2), with log2(e) folded into a, b, c and l.
A splat is drawn in a pixel when that exponent is at least log2(alpha_min). Products are fused with sums by hand where
forward and backward must take the same decisions.
"""

import math
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from sfumato.kernels.gpu.launch import cover, launch
from sfumato.kernels.gpu.math import WARP, reciprocal
from sfumato.kernels.lens import least_alpha
from sfumato.kernels.stages import RenderSettings

__all__ = [
    "BATCH", "COLOR", "A", "B", "C", "Limits", "alpha_at", "limits_of", "make_records", "pixels_of", "reaching",
    "stride_of",
]  # fmt: skip

LOG2E: tl.constexpr = tl.constexpr(1 / math.log(2))
BATCH: tl.constexpr = tl.constexpr(32)  # pairs that are tested at once: one bit of a mask each
PACKED = 128  # splats that one program packs

# a record: where the mean is, the exponent's four numbers, then one number for each channel
MEAN_X: tl.constexpr = tl.constexpr(0)
MEAN_Y: tl.constexpr = tl.constexpr(1)
A: tl.constexpr = tl.constexpr(2)
B: tl.constexpr = tl.constexpr(3)
C: tl.constexpr = tl.constexpr(4)
LOG_OPACITY: tl.constexpr = tl.constexpr(5)
COLOR: tl.constexpr = tl.constexpr(6)


class Limits(NamedTuple):
    """What decides whether a splat is drawn in a pixel, and how much of it."""

    least: float  # of the exponent: log2(alpha_min)
    dark: float  # of transmittance
    most: float  # alpha_max


def limits_of(settings: RenderSettings) -> Limits:
    """The limits that settings ask for, within what float32 can hold."""
    most = min(settings.alpha_max, 1 - 2.0**-24)  # alpha = 1 divides by zero
    return Limits(math.log2(least_alpha(settings)), float(settings.transmittance_min), float(most))


def stride_of(numbers: int) -> int:
    """Floats from one row of so many numbers to the next: rows start at whole 16 bytes."""
    return -(-numbers // 4) * 4


def make_records(means2d: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor, depths: Tensor | None) -> Tensor:
    """(N, stride) records; rows of splats without opacity, which no list names, stay unwritten."""
    N, channels = len(colors), colors.shape[1]
    stride = stride_of(COLOR.value + channels + (depths is not None))
    records = means2d.new_empty(N, stride)
    launch(
        _pack, (cover(N, PACKED),), means2d, conics, opacities, colors, colors if depths is None else depths, records,
        N, COLORS=channels, DEPTH=depths is not None, STRIDE=stride, BLOCK=PACKED,
    )  # fmt: skip
    return records


@triton.jit(do_not_specialize=["N"])
def _pack(
    means2d, conics, opacities, colors, depths, records, N,
    COLORS: tl.constexpr, DEPTH: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    opacity = tl.load(opacities + row, mask=row < N, other=0.0)
    seen = opacity > 0
    xx = tl.load(conics + row * 3, mask=seen, other=0.0)
    xy = tl.load(conics + row * 3 + 1, mask=seen, other=0.0)
    yy = tl.load(conics + row * 3 + 2, mask=seen, other=0.0)
    numbers = (
        tl.load(means2d + row * 2, mask=seen, other=0.0),
        tl.load(means2d + row * 2 + 1, mask=seen, other=0.0),
        xx * (-0.5 * LOG2E),
        xy * -LOG2E,
        yy * (-0.5 * LOG2E),
        tl.log2(tl.where(seen, opacity, 1.0)),
    )
    for k in tl.static_range(COLORS):
        numbers += (tl.load(colors + row * COLORS + k, mask=seen, other=0.0),)
    if DEPTH:
        numbers += (tl.load(depths + row, mask=seen, other=0.0),)
    for _ in tl.static_range(STRIDE - COLOR - COLORS - DEPTH):
        numbers += (tl.zeros_like(opacity),)
    for first in tl.static_range(0, STRIDE, 4):  # four at a time leave in one store
        quad = tl.join(
            tl.join(numbers[first], numbers[first + 2]),
            tl.join(numbers[first + 1], numbers[first + 3]),
        )
        place = (records + row * STRIDE + first)[:, None] + tl.arange(0, 4)[None, :]
        tl.store(place, tl.reshape(quad, [BLOCK, 4]), mask=seen[:, None])


@triton.jit
def reaching(
    records, ids, start, end, left, top, least, STRIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    PTX: tl.constexpr,
):  # fmt: skip
    """Which of the pairs from `start` on reach alpha_min over a rectangle of pixels: bit j is pair start + j's.

    (left, top) is the first pixel's center. Over the rectangle of centers the exponent is greatest on the vertical or
    the horizontal line nearest to the mean; along either it is a parabola whose top is clamped to the rectangle.
    """
    j = tl.arange(0, BATCH)
    listed = j < end - start
    record = records + tl.load(ids + start + j, mask=listed, other=0).to(tl.int64) * STRIDE
    x0 = left - tl.load(record + MEAN_X, mask=listed, other=0.0)
    y0 = top - tl.load(record + MEAN_Y, mask=listed, other=0.0)
    x1, y1 = x0 + (COLUMNS - 1), y0 + (ROWS - 1)
    a = tl.minimum(tl.load(record + A, mask=listed, other=-1.0), -1e-15)  # splats without end: no division by 0
    b = tl.load(record + B, mask=listed, other=0.0)
    c = tl.minimum(tl.load(record + C, mask=listed, other=-1.0), -1e-15)
    log_opacity = tl.load(record + LOG_OPACITY, mask=listed, other=0.0)
    x = tl.minimum(tl.maximum(x0, 0.0), x1)
    y = tl.minimum(tl.maximum(y0, 0.0), y1)
    tilt = -0.5 * b * reciprocal(a * c, PTX)
    y_along = tl.minimum(tl.maximum(tilt * a * x, y0), y1)  # the parabola's top: -b x / 2c
    x_along = tl.minimum(tl.maximum(tilt * c * y, x0), x1)
    vertical = x * (a * x + b * y_along) + c * y_along * y_along
    horizontal = x_along * (a * x_along + b * y) + c * y * y
    # rounding errs on the side of blending: what is visited needlessly is not drawn
    reached = listed & (log_opacity + tl.maximum(vertical, horizontal) >= least - 1e-3)
    return tl.sum(reached.to(tl.int32) << j, 0)


@triton.jit
def pixels_of(tile, part, width, height, TILE: tl.constexpr, ROWS: tl.constexpr):
    """The pixels of a tile's part, lane by lane: column (WARP,), row (n, WARP), the first pixel's center (left, top).

    Lanes side by side are pixels side by side; a lane's own pixels stand in one column, WARP / TILE rows apart.
    """
    tiles_x = tl.cdiv(width, TILE)
    x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE + part * ROWS
    lane = tl.arange(0, WARP)
    STEP: tl.constexpr = WARP // TILE
    row = y0 + STEP * tl.arange(0, ROWS // STEP)[:, None] + (lane // TILE)[None, :]
    return x0 + lane % TILE, row, x0 + 0.5, y0 + 0.5


@triton.jit
def alpha_at(record, x, y, light, limits, PTX: tl.constexpr):
    """A splat at pixel centers x (WARP,) and y (n, WARP) with transmittance `light`.

    dx, dy, then alpha: without limits; with them, 0 where the splat is not drawn; and that times light.
    """
    dx = x - tl.load(record + MEAN_X)
    dy = y - tl.load(record + MEAN_Y)
    along_x = tl.fma(tl.load(record + A) * dx, dx, tl.load(record + LOG_OPACITY))
    slope = tl.fma(dy, tl.load(record + C), (tl.load(record + B) * dx)[None, :])
    exponent = tl.fma(dy, slope, along_x[None, :])
    if PTX:
        unclamped = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [exponent], dtype=tl.float32, is_pure=True, pack=1
        )
        # both comparisons in one predicate, then one selection
        alpha = tl.inline_asm_elementwise(
            "{ .reg .pred p; setp.ge.f32 p, $2, $3; setp.ge.and.f32 p, $4, $5, p; selp.f32 $0, $1, 0f00000000, p; }",
            "=f,f,f,f,f,f",
            [tl.minimum(unclamped, limits.most), exponent, limits.least, light, limits.dark],
            dtype=tl.float32,
            is_pure=True,
            pack=1,
        )
        # rounded before light - weight; else one kernel fuses the two where the other does not
        weight = tl.inline_asm_elementwise(
            "mul.rn.ftz.f32 $0, $1, $2;", "=f,f,f", [alpha, light], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        unclamped = tl.exp2(exponent)
        drawn = (exponent >= limits.least) & (light >= limits.dark)
        alpha = tl.where(drawn, tl.minimum(unclamped, limits.most), 0.0)
        weight = alpha * light
    return dx, dy, unclamped, alpha, weight
