"""Splats in tile lists to a picture, front to back, and the picture's gradients back to the splats.

One program of a single warp blends half a tile, 16x8 pixels, four pixels per thread. It tests 32 pairs of the tile's
list at once, one per thread, against the rectangle of its pixels; those that reach it become bits of a mask and are
walked one after the other by all threads together. So no warp waits for another, threads share no memory, and splats
that miss the rectangle cost one bit. It ends when all its pixels are finished.

Each program writes its own pixels and its own place in `walked`: there is nothing to race for. Backward, in
blend_backward.py, reads the same lists, takes the same decisions and stops where forward stopped.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.core.errors import BackendError
from sfumato.kernels.gpu.blend_backward import backward
from sfumato.kernels.gpu.launch import checked, launch
from sfumato.kernels.gpu.math import WARP, greatest, lowest_bit, zeros_each
from sfumato.kernels.gpu.records import BATCH, COLOR, alpha_at, limits_of, make_records, pixels_of, reaching
from sfumato.kernels.stages import TILE, RenderSettings, Splats, TileLists

__all__ = ["blend"]

ROWS = 8  # of pixels that one program blends
PARTS = TILE // ROWS  # programs of a tile
MOST_CHANNELS = 8


def blend(
    splats: Splats, tiles: TileLists, background: Tensor, settings: RenderSettings
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `stages.Backend.blend`. Other numbers of colors are blended, too: 3 to 8 channels in all, depth included."""
    channels = splats.colors.shape[1] + settings.depth
    if not 3 <= channels <= MOST_CHANNELS:
        raise BackendError(f"the gpu backend blends 3 to {MOST_CHANNELS} channels; got {channels}")
    if settings.deterministic and (tiles.starts is None or tiles.pairs is None):
        raise BackendError("blending with settings.deterministic needs tile lists that were made with it")
    planes, alpha, weighted = _Blend.apply(
        splats.means2d, splats.conics, splats.opacities, splats.colors, splats.depths, splats.probe, background,
        tiles, settings,
    )  # fmt: skip
    depth = weighted / torch.where(alpha > 0, alpha, 1) if settings.depth else None
    return planes.permute(1, 2, 0), alpha, depth


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        *tensors, _, background, tiles, settings = inputs
        means2d, conics, opacities, colors, depths, background = checked(*tensors, background)
        (offsets,), (ids,) = checked(tiles.offsets, dtype=torch.int64), checked(tiles.splats, dtype=torch.int32)
        records = make_records(means2d, conics, opacities, colors, depths if settings.depth else None)
        size = (tiles.height, tiles.width)
        planes = records.new_empty(colors.shape[1], *size)
        alpha = records.new_empty(size)
        weighted = records.new_empty(size) if settings.depth else None
        programs = tiles.tiles_x * tiles.tiles_y * PARTS
        walked = ids.new_empty(programs)  # how many pairs each of them tests
        launch(
            _forward, (programs,), records, offsets, ids, background, planes, alpha,
            alpha if weighted is None else weighted, walked, tiles.width, tiles.height, limits_of(settings), warps=1,
            COLORS=colors.shape[1], DEPTH=settings.depth, STRIDE=records.shape[1], ROWS=ROWS, TILE=TILE,
        )  # fmt: skip
        ctx.save_for_backward(records, conics, opacities, offsets, ids, walked, planes, alpha, weighted)
        ctx.tiles, ctx.settings = tiles, settings
        ctx.set_materialize_grads(False)
        return planes, alpha, weighted

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        g_planes, g_alpha, g_weighted = gradients
        alpha = ctx.saved_tensors[7]
        g_planes = torch.zeros_like(ctx.saved_tensors[6]) if g_planes is None else g_planes
        g_alpha = torch.zeros_like(alpha) if g_alpha is None else g_alpha
        results = backward(ctx.saved_tensors, (g_planes, g_alpha, g_weighted), ctx.tiles, ctx.settings)
        g_background = (g_planes * (1 - alpha)).sum(dim=(1, 2)) if ctx.needs_input_grad[6] else None
        return *results, g_background, None, None


@triton.jit(do_not_specialize=["width", "height"])
def _forward(
    records, offsets, ids, background, planes, alpha, weighted, walked, width, height, limits,
    COLORS: tl.constexpr, DEPTH: tl.constexpr, STRIDE: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    PTX: tl.constexpr,
):  # fmt: skip
    PARTS: tl.constexpr = TILE // ROWS
    CHANNELS: tl.constexpr = COLORS + DEPTH
    tile, part = tl.program_id(0) // PARTS, tl.program_id(0) % PARTS
    column, row, left, top = pixels_of(tile, part, width, height, TILE, ROWS)
    x, y = column.to(tl.float32) + 0.5, row.to(tl.float32) + 0.5
    inside = (row < height) & (column < width)[None, :]

    start, end = tl.load(offsets + tile).to(tl.int32), tl.load(offsets + tile + 1).to(tl.int32)
    at = start
    light = tl.where(inside, 1.0, 0.0)  # transmittance; pixels outside the picture are finished from the start
    brightest = greatest(light)
    sums = zeros_each(CHANNELS, ROWS * TILE // WARP, WARP)
    while (end - at > 0) & (brightest >= limits.dark):  # end - at: at + BATCH may pass 2^31
        bits = reaching(records, ids, at, end, left, top, limits.least, STRIDE, ROWS, TILE, PTX)
        while bits != 0:
            record = records + tl.load(ids + at + lowest_bit(bits, PTX)).to(tl.int64) * STRIDE
            bits = bits & (bits - 1)
            _, _, _, _, weight = alpha_at(record, x, y, light, limits, PTX)
            light = light - weight
            blended = ()
            for k in tl.static_range(CHANNELS):
                blended += (tl.fma(weight, tl.load(record + COLOR + k), sums[k]),)
            sums = blended
        brightest = greatest(light)
        at += BATCH
    tl.store(walked + tl.program_id(0), tl.minimum(at - start, end - start))

    pixel = row * width + column[None, :]
    area = tl.cast(height, tl.int64) * width  # all planes together may hold more than int32 counts
    for k in tl.static_range(COLORS):
        tl.store(planes + k * area + pixel, tl.fma(light, tl.load(background + k), sums[k]), mask=inside)
    if DEPTH:
        tl.store(weighted + pixel, sums[COLORS], mask=inside)
    tl.store(alpha + pixel, 1.0 - light, mask=inside)
