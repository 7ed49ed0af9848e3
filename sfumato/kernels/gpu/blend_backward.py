"""The gradients of a blended picture back to its splats: front to back too, then algebra once per splat.

With V the color still to come times the incoming gradient, dL/dalpha_i = T_i c_i . g - V_i / (1 - alpha_i): V starts as
the pixel's whole color times its gradient, and each splat takes its own part away. So backward walks the lists as
forward did, nothing is stored per pixel but the picture, and no transmittance is divided out.

Order and atomics. Each visit adds its moments to its splat's row of `sums` with relaxed atomics. Relaxed suffices: an
addition is one indivisible read and write, no other memory hangs on it, and nobody reads a row before all additions are
done. That is ordered by launches: kernels of a stream start after the one before has ended and see all its writes. The
zeros that `sums` starts from come before in the same way. Which visit adds first is left to the card, and sums of
floats depend on their order, so two runs differ in the last bits.

With settings.deterministic nothing is left to the card. Each pair has a row of its own, to which only the one program
of its tile adds (with many channels a tile is walked in two halves, one kernel after the other), and another kernel
adds each splat's rows in the order of its list: the same bits on every run.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.kernels.gpu.launch import checked, cover, launch
from sfumato.kernels.gpu.math import WARP, lane_sums, lowest_bit, reciprocal
from sfumato.kernels.gpu.records import BATCH, COLOR, A, B, C, alpha_at, limits_of, pixels_of, reaching, stride_of
from sfumato.kernels.stages import TILE, RenderSettings, TileLists

__all__ = ["backward"]

ROWS = 8  # of pixels that one program walks
WHOLE = 4  # deterministic: with more channels than that a program's registers do not hold a whole tile
FINISHED = 128  # splats whose sums one program turns into gradients
GATHERED = 32  # splats whose rows one program adds

# sums of a visit: with v = alpha dL/dalpha, v dx, v dy, v dx dx, v dx dy, v dy dy, v; the channels' gradients; pulls
MOMENTS: tl.constexpr = tl.constexpr(6)


def backward(
    saved: Sequence[Tensor], gradients: tuple[Tensor, Tensor, Tensor | None], tiles: TileLists, settings: RenderSettings
) -> tuple[Tensor | None, ...]:
    """From what forward saved and the gradients of planes, alpha and weighted depth to those of the splats' fields.

    Those of means2d, conics, opacities, colors, depths (None when the depth has none) and probe.
    """
    records, conics, opacities, offsets, ids, walked, planes, alpha, weighted = saved
    colors, depth, absolute = planes.shape[0], gradients[2] is not None, settings.probe == "absolute"
    g_planes, g_alpha, g_weighted = checked(*gradients[:2], gradients[1] if gradients[2] is None else gradients[2])
    stride = stride_of(MOMENTS.value + colors + depth + 2 * absolute)
    tile_count, per_pair = tiles.tiles_x * tiles.tiles_y, settings.deterministic
    rows = TILE if per_pair and colors + depth <= WHOLE else ROWS
    sums = records.new_zeros(ids.numel() if per_pair else len(conics), stride)
    for part in range(TILE // rows if per_pair else 1):
        launch(
            _backward, (tile_count if per_pair else tile_count * (TILE // rows),), records, offsets, ids, walked,
            planes, alpha, weighted if depth else alpha, g_planes, g_alpha, g_weighted, sums, part, tiles.width,
            tiles.height, limits_of(settings), warps=1,
            COLORS=colors, DEPTH=depth, ABSOLUTE=absolute, PER_PAIR=per_pair, STRIDE=records.shape[1], SUMS=stride,
            WALKED=walked.numel() // tile_count, TILE=TILE, ROWS=rows,
        )  # fmt: skip
    if tiles.starts is not None and tiles.pairs is not None and per_pair:
        sums = _gather_rows(sums, tiles.starts, tiles.pairs)
    return _finish_sums(sums, conics, opacities, colors, depth, absolute)


def _gather_rows(rows: Tensor, starts: Tensor, pairs: Tensor) -> Tensor:
    """(P, stride) rows of pairs to (N, stride) sums of splats."""
    (starts,), (pairs,) = checked(starts, dtype=torch.int64), checked(pairs, dtype=torch.int32)
    N = len(starts) - 1
    sums = rows.new_empty(N, rows.shape[1])
    launch(_gather, (cover(N, GATHERED),), rows, starts, pairs, sums, N, STRIDE=rows.shape[1], BLOCK=GATHERED)
    return sums


def _finish_sums(
    sums: Tensor, conics: Tensor, opacities: Tensor, colors: int, depth: bool, absolute: bool
) -> tuple[Tensor | None, ...]:
    N = len(conics)
    g_means, g_conics, g_probe = sums.new_empty(N, 2), sums.new_empty(N, 3), sums.new_empty(N, 2)
    g_opacities, g_colors = sums.new_empty(N), sums.new_empty(N, colors)
    g_depths = sums.new_empty(N) if depth else None
    launch(
        _finish, (cover(N, FINISHED),), sums, conics, opacities, g_means, g_conics, g_opacities, g_colors,
        g_opacities if g_depths is None else g_depths, g_probe, N,
        COLORS=colors, DEPTH=depth, ABSOLUTE=absolute, STRIDE=sums.shape[1], BLOCK=FINISHED,
    )  # fmt: skip
    return g_means, g_conics, g_opacities, g_colors, g_depths, g_probe


@triton.jit(do_not_specialize=["part", "width", "height"])
def _backward(
    records, offsets, ids, walked, planes, alpha, weighted, g_planes, g_alpha, g_weighted, sums, part, width, height,
    limits, COLORS: tl.constexpr, DEPTH: tl.constexpr, ABSOLUTE: tl.constexpr, PER_PAIR: tl.constexpr,
    STRIDE: tl.constexpr, SUMS: tl.constexpr, WALKED: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
    PTX: tl.constexpr,
):  # fmt: skip
    PARTS: tl.constexpr = TILE // ROWS
    tile = tl.program_id(0)
    if not PER_PAIR:  # all parts at once
        tile, part = tl.program_id(0) // PARTS, tl.program_id(0) % PARTS
    column, row, left, top = pixels_of(tile, part, width, height, TILE, ROWS)
    x, y = column.to(tl.float32) + 0.5, row.to(tl.float32) + 0.5
    inside = (row < height) & (column < width)[None, :]

    pixel = row * width + column[None, :]
    area = tl.cast(height, tl.int64) * width
    incoming = ()
    rest = (tl.load(alpha + pixel, mask=inside, other=1.0) - 1.0) * tl.load(g_alpha + pixel, mask=inside, other=0.0)
    for k in tl.static_range(COLORS):
        g = tl.load(g_planes + k * area + pixel, mask=inside, other=0.0)
        rest += tl.load(planes + k * area + pixel, mask=inside, other=0.0) * g
        incoming += (g,)
    if DEPTH:
        g = tl.load(g_weighted + pixel, mask=inside, other=0.0)
        rest += tl.load(weighted + pixel, mask=inside, other=0.0) * g
        incoming += (g,)

    light = tl.where(inside, 1.0, 0.0)
    start = tl.load(offsets + tile).to(tl.int32)
    end = start
    for cut in tl.static_range(WALKED // PARTS):  # forward's programs may have cut the tile finer
        end = tl.maximum(end, start + tl.load(walked + tile * WALKED + part * (WALKED // PARTS) + cut))
    at = start
    while end - at > 0:  # unlike at < end, right where at + BATCH passes 2^31
        bits = reaching(records, ids, at, end, left, top, limits.least, STRIDE, ROWS, TILE, PTX)
        while bits != 0:
            pair = at + lowest_bit(bits, PTX)
            bits = bits & (bits - 1)
            splat = tl.load(ids + pair).to(tl.int64)
            target = splat
            if PER_PAIR:
                target = pair.to(tl.int64)
            rest, light = _visit(
                records + splat * STRIDE, sums + target * SUMS, x, y, rest, light, incoming, limits,
                COLORS + DEPTH, ABSOLUTE, PER_PAIR, PTX,
            )  # fmt: skip
        at += BATCH


@triton.jit
def _visit(
    record, sums, x, y, rest, light, incoming, limits,
    CHANNELS: tl.constexpr, ABSOLUTE: tl.constexpr, PER_PAIR: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """One splat over the program's pixels: `rest` and `light` behind it; what it receives goes to its row of sums."""
    dx, dy, unclamped, opaque, weight = alpha_at(record, x, y, light, limits, PTX)
    light = light - weight
    shade = incoming[0] * tl.load(record + COLOR)
    for k in tl.static_range(1, CHANNELS):
        shade = tl.fma(incoming[k], tl.load(record + COLOR + k), shade)
    own = weight * shade
    rest = rest - own
    v = own - rest * (opaque * reciprocal(1.0 - opaque, PTX))
    v = tl.where(unclamped <= limits.most, v, 0.0)  # what is clamped has no slope

    v_dy = v * dy
    v0, vy, vyy = tl.sum(v, 0), tl.sum(v_dy, 0), tl.sum(v_dy * dy, 0)
    vx = v0 * dx
    received = (vx, vy, vx * dx, vy * dx, vyy, v0)
    for k in tl.static_range(CHANNELS):
        received += (tl.sum(weight * incoming[k], 0),)
    if ABSOLUTE:
        a, b, c = tl.load(record + A), tl.load(record + B), tl.load(record + C)
        pull_x = (2 * a * dx)[None, :] + b * dy
        pull_y = (b * dx)[None, :] + 2 * c * dy
        received += (tl.sum(tl.abs(v * pull_x), 0), tl.sum(tl.abs(v * pull_y), 0))
    COUNT: tl.constexpr = MOMENTS + CHANNELS + 2 * ABSOLUTE
    lane = tl.arange(0, WARP)
    total = lane_sums(received, COUNT)
    if PER_PAIR:
        tl.store(sums + lane, tl.load(sums + lane, mask=lane < COUNT, other=0.0) + total, mask=lane < COUNT)
    else:
        tl.atomic_add(sums + lane, total, mask=lane < COUNT, sem="relaxed")
    return rest, light


@triton.jit(do_not_specialize=["N"])
def _gather(rows, starts, pairs, sums, N, STRIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Each splat's rows, added in the order of its list."""
    splat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    start = tl.load(starts + splat, mask=splat < N, other=0)
    end = tl.load(starts + splat + 1, mask=splat < N, other=0)
    lane = tl.arange(0, 16)
    total = tl.zeros([BLOCK, 16], tl.float32)
    at = start
    while tl.max(end - at, 0) > 0:
        more = at < end
        pair = tl.load(pairs + at, mask=more, other=0).to(tl.int64)
        place = (rows + pair * STRIDE)[:, None] + lane[None, :]
        total += tl.load(place, mask=more[:, None] & (lane < STRIDE)[None, :], other=0.0)
        at += 1
    place = (sums + splat * STRIDE)[:, None] + lane[None, :]
    tl.store(place, total, mask=(splat < N)[:, None] & (lane < STRIDE)[None, :])


@triton.jit(do_not_specialize=["N"])
def _finish(
    sums, conics, opacities, g_means, g_conics, g_opacities, g_colors, g_depths, g_probe, N,
    COLORS: tl.constexpr, DEPTH: tl.constexpr, ABSOLUTE: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The algebra that is the same for all of a splat's pixels. What no list names gets zeros."""
    splat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = sums + splat * STRIDE
    there = splat < N
    opacity = tl.load(opacities + splat, mask=there, other=0.0)
    seen = opacity > 0
    xx = tl.load(conics + splat * 3, mask=seen, other=0.0)
    xy = tl.load(conics + splat * 3 + 1, mask=seen, other=0.0)
    yy = tl.load(conics + splat * 3 + 2, mask=seen, other=0.0)
    vx, vy = tl.load(row, mask=seen, other=0.0), tl.load(row + 1, mask=seen, other=0.0)
    g_x, g_y = xx * vx + xy * vy, xy * vx + yy * vy
    tl.store(g_means + splat * 2, g_x, mask=there)
    tl.store(g_means + splat * 2 + 1, g_y, mask=there)
    tl.store(g_conics + splat * 3, -0.5 * tl.load(row + 2, mask=seen, other=0.0), mask=there)
    tl.store(g_conics + splat * 3 + 1, -tl.load(row + 3, mask=seen, other=0.0), mask=there)
    tl.store(g_conics + splat * 3 + 2, -0.5 * tl.load(row + 4, mask=seen, other=0.0), mask=there)
    v = tl.load(row + 5, mask=seen, other=0.0)
    tl.store(g_opacities + splat, v / tl.where(seen, opacity, 1.0), mask=there)
    for k in tl.static_range(COLORS):
        tl.store(g_colors + splat * COLORS + k, tl.load(row + MOMENTS + k, mask=seen, other=0.0), mask=there)
    if DEPTH:
        tl.store(g_depths + splat, tl.load(row + MOMENTS + COLORS, mask=seen, other=0.0), mask=there)
    if ABSOLUTE:
        ln2: tl.constexpr = 0.6931471805599453  # pulls are in the exponent's units
        PULLS: tl.constexpr = MOMENTS + COLORS + DEPTH
        g_x = ln2 * tl.load(row + PULLS, mask=seen, other=0.0)
        g_y = ln2 * tl.load(row + PULLS + 1, mask=seen, other=0.0)
    tl.store(g_probe + splat * 2, g_x, mask=there)
    tl.store(g_probe + splat * 2 + 1, g_y, mask=there)
