"""Splats in tile lists to a picture, front to back, and the picture's gradients back to the splats.

A tile is 16 blocks of 4x4 pixels (more blocks of 4x2 or 4x1 where vectors are narrower); a block is one vector. Each
splat is first tested against all blocks of the tile at once, then only the blocks it reaches are blended.

alpha = opacity exp(-d^T conic d / 2) is computed as p(e)^(2^s), where e = log2(alpha) / 2^s lies in [-1, 0] and the
polynomial p(e) = 2^e has relative error 8.4e-8; s = 3 is enough for alpha >= 1/255, and alpha gets 7e-7.

Backward walks front to back too. With R the color still to come times the incoming gradient, dL/dalpha_i
= T_i c_i . g - R_i / (1 - alpha_i): the forward pass stores nothing per pixel, and no transmittance is divided out.
Each pair writes its own row of sums, which are then added splat by splat: no atomics, the same bits on every run.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.core.errors import BackendError, InputError
from sfumato.kernels.cpu.arrays import numbers
from sfumato.kernels.cpu.channels import (
    add_first,
    dot,
    load_each,
    multiply_add_each,
    power_of_two,
    splat_each,
    store_sums,
    zeros_each,
)
from sfumato.kernels.cpu.memory import copy_four, load, prefetch, read, store
from sfumato.kernels.cpu.simd import LANES, any_lane, bits_of, first_bit, greater_of, lesser_of, select, splat, zeros
from sfumato.kernels.cpu.threads import aligned, helper, kernel, launch, scratch, take, workspace
from sfumato.kernels.lens import least_alpha
from sfumato.kernels.stages import TILE, RenderSettings, Splats, TileLists

__all__ = ["blend"]

f = np.float32
ZERO, ONE, TWO, HALF = f(0), f(1), f(2), f(0.5)
P1, P2, P3, P4, P5 = f(0.69314372), f(0.24018014), f(0.05529736), f(0.0092058), f(0.0009449)  # fitted on [-1, 0]

PIXELS = TILE * TILE
BLOCK_WIDTH, BLOCK_HEIGHT = 4, LANES // 4
BLOCKS_DOWN = TILE // BLOCK_HEIGHT
BLOCKS = PIXELS // LANES
GROUPS = BLOCKS // LANES if BLOCKS >= LANES else 1  # vectors that hold one number per block
BATCH = 32  # splats tested, then blended
AHEAD = 32  # pairs between asking for a record and reading it

RECORD = 16  # floats of a splat's record, one cache line:
MEAN_X, MEAN_Y, A, B, C, LOG_OPACITY, COLOR = range(7)  # exponent = LOG_OPACITY + A dx^2 + B dx dy + C dy^2
SLOPE_X, SLOPE_Y = 14, 15  # -b/a, -b/c: where along a line of constant y, x the ellipse comes closest
MOST_CHANNELS = SLOPE_X - COLOR
MOMENTS = 6  # sums a row starts with: v, v dx, v dy, v dx dx, v dx dy, v dy dy with v = alpha dL/dalpha


def _pixel_tables() -> tuple[Any, Any]:
    """Where pixel (y, x) of a tile lies in block order; in that order x, y, then the blocks' first and last x, y."""
    at = np.zeros((TILE, TILE), np.int32)
    table = np.zeros(2 * PIXELS + 4 * BLOCKS, np.float32)
    for y in range(TILE):
        for x in range(TILE):
            block = (x // BLOCK_WIDTH) * BLOCKS_DOWN + y // BLOCK_HEIGHT
            at[y, x] = block * LANES + (y % BLOCK_HEIGHT) * BLOCK_WIDTH + x % BLOCK_WIDTH
            table[at[y, x]], table[PIXELS + at[y, x]] = x, y
    for block in range(BLOCKS):
        x, y = (block // BLOCKS_DOWN) * BLOCK_WIDTH, (block % BLOCKS_DOWN) * BLOCK_HEIGHT
        for i, value in enumerate((x, x + BLOCK_WIDTH - 1, y, y + BLOCK_HEIGHT - 1)):
            table[2 * PIXELS + i * BLOCKS + block] = value
    return at, aligned(table)


PIXEL_AT, TABLE = _pixel_tables()


def blend(
    splats: Splats, tiles: TileLists, background: Tensor, settings: RenderSettings
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `stages.Backend.blend`."""
    if tiles.starts is None or tiles.pairs is None:
        raise InputError("the cpu backend blends tile lists that its own bin made")
    colors = splats.colors
    if settings.depth:
        colors = torch.cat([colors, splats.depths[:, None]], dim=1)
        background = torch.cat([background, background.new_zeros(1)])
    if colors.shape[1] > MOST_CHANNELS:
        raise BackendError(f"the cpu backend blends at most {MOST_CHANNELS} channels; got {colors.shape[1]}")
    planes, alpha = _Blend.apply(
        splats.means2d, splats.conics, splats.opacities, colors, splats.probe, background, tiles, settings
    )
    image = planes.permute(1, 2, 0)
    if not settings.depth:
        return image, alpha, None
    depth = image[..., -1] / torch.where(alpha > 0, alpha, 1)
    return image[..., :-1], alpha, depth


def _squarings(settings: RenderSettings) -> tuple[int, ...]:
    return (0,) * (3 if settings.alpha_min >= 1 / 256 else 6)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        means2d, conics, opacities, colors, _, background, tiles, settings = inputs
        channels, squarings = colors.shape[1], _squarings(settings)
        like = (ZERO,) * channels
        records = torch.empty(len(means2d), RECORD)
        blocks = -(-len(means2d) // 1024)
        launch(_pack, blocks, like, f(2.0 ** -len(squarings)), *numbers(means2d, conics, opacities, colors, records))

        planes = torch.empty(channels, tiles.height, tiles.width)
        alpha = torch.empty(tiles.height, tiles.width)
        count = tiles.tiles_x * tiles.tiles_y
        done = np.empty(count, np.int64)
        limits = _limits(settings, squarings)
        launch(
            _forward, count, like, squarings, limits, (tiles.height, tiles.width), *numbers(records.view(-1)),
            tiles.offsets.numpy(), tiles.splats.numpy(), TABLE, PIXEL_AT,
            *numbers(background, planes.view(-1), alpha.view(-1)), done,
        )  # fmt: skip
        ctx.save_for_backward(records, opacities, planes, alpha)
        ctx.tiles, ctx.settings, ctx.done = tiles, settings, done
        return planes, alpha

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        records, opacities, planes, alpha = ctx.saved_tensors
        tiles, settings = ctx.tiles, ctx.settings
        N, channels, squarings = len(records), planes.shape[0], _squarings(settings)
        g_planes = torch.zeros_like(planes) if gradients[0] is None else gradients[0]
        g_alpha = torch.zeros_like(alpha) if gradients[1] is None else gradients[1]
        like, extra = (ZERO,) * channels, (ZERO,) * (2 if settings.probe == "absolute" else 0)
        rows = scratch("rows", tiles.splats.numel() * (MOMENTS + channels + len(extra)))
        launch(
            _backward, len(ctx.done), like, extra, squarings, _limits(settings, squarings), (tiles.height, tiles.width),
            *numbers(records.view(-1)), tiles.offsets.numpy(), tiles.splats.numpy(), TABLE, PIXEL_AT, ctx.done,
            *numbers(*(t.reshape(-1) for t in (planes, alpha, g_planes, g_alpha))), rows,
        )  # fmt: skip
        g_means, g_conics, g_opacities, g_colors, g_probe = (
            torch.empty(shape) for shape in ((N, 2), (N, 3), (N,), (N, channels), (N, 2))
        )
        launch(
            _gather, -(-N // 256), like, extra, f(2.0 ** len(squarings)), rows, tiles.starts.numpy(),
            tiles.pairs.numpy(), *numbers(records, opacities, g_means, g_conics, g_opacities, g_colors, g_probe),
        )  # fmt: skip
        g_background = None
        if ctx.needs_input_grad[5]:
            g_background = (g_planes * (1 - alpha)).sum(dim=(1, 2))
        return g_means, g_conics, g_opacities, g_colors, g_probe, g_background, None, None


def _limits(settings: RenderSettings, squarings: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Least exponent, least transmittance, greatest alpha."""
    least = math.log2(least_alpha(settings)) / 2 ** len(squarings)
    return f(least), f(settings.transmittance_min), f(settings.alpha_max)


@kernel
def _pack(counter, blocks, like, scale, means, conics, opacities, colors, records):
    """One cache line per splat. Pixel centers are whole numbers here, so means move by half a pixel."""
    log2e = f(1 / math.log(2))
    while True:
        block = take(counter)
        if block >= blocks:
            return
        for i in range(block * 1024, min(opacities.size, (block + 1) * 1024)):
            if opacities[i] <= ZERO:
                continue  # unseen: no list names it
            a, b, c = conics[i, 0], conics[i, 1], conics[i, 2]
            records[i, MEAN_X] = means[i, 0] - HALF
            records[i, MEAN_Y] = means[i, 1] - HALF
            records[i, A] = -HALF * log2e * scale * a
            records[i, B] = -log2e * scale * b
            records[i, C] = -HALF * log2e * scale * c
            records[i, LOG_OPACITY] = math.log2(opacities[i]) * scale
            for k in range(len(like)):
                records[i, COLOR + k] = colors[i, k]
            records[i, SLOPE_X] = -b / a
            records[i, SLOPE_Y] = -b / c


@helper
def _power(exponent, squarings):
    """2^(exponent 2^s) for s squarings, exponent in [-1, 0]."""
    p = ((((exponent * P5 + P4) * exponent + P3) * exponent + P2) * exponent + P1) * exponent + ONE
    return power_of_two(p, squarings)


@helper
def _reach_blocks(records, ids, start, count, last, local, reached, x0, y0, least, table):
    """Copy a batch's records, tile-relative, to `local` and mark in `reached` the blocks where alpha >= alpha_min.

    Over a block's rectangle of pixel centers the exponent is greatest on the vertical or the horizontal line that is
    nearest to the mean; along either it is a parabola whose top is clamped to the rectangle.
    """
    floor = least - f(1e-5)  # lets rounding err on the side of blending
    for j in range(count):
        at = np.int64(ids[start + j]) * RECORD
        prefetch(records, np.int64(ids[min(start + j + AHEAD, last)]) * RECORD)
        for k in range(0, RECORD, LANES):
            store(local, j * RECORD + k, load(records, at + k))
        mean_x, mean_y = read(records, at) - x0, read(records, at + MEAN_Y) - y0
        local[j * RECORD], local[j * RECORD + MEAN_Y] = mean_x, mean_y
        a, b, c = splat(read(records, at + A)), splat(read(records, at + B)), splat(read(records, at + C))
        slope_x, slope_y = read(records, at + SLOPE_X), read(records, at + SLOPE_Y)
        threshold = floor - read(records, at + LOG_OPACITY)
        bits = np.int64(0)
        for group in range(GROUPS):
            at_blocks = 2 * PIXELS + group * LANES
            left, right = load(table, at_blocks) - mean_x, load(table, at_blocks + BLOCKS) - mean_x
            top, bottom = load(table, at_blocks + 2 * BLOCKS) - mean_y, load(table, at_blocks + 3 * BLOCKS) - mean_y
            x = lesser_of(greater_of(zeros(), left), right)
            y = lesser_of(greater_of(zeros(), top), bottom)
            y_along = lesser_of(greater_of(x * slope_y, top), bottom)
            x_along = lesser_of(greater_of(y * slope_x, left), right)
            vertical = x * (a * x + b * y_along) + c * y_along * y_along
            horizontal = x_along * (a * x_along + b * y) + c * y * y
            bits |= bits_of(greater_of(vertical, horizontal) >= threshold) << np.int64(group * LANES)
        reached[j] = bits


@helper
def _pick_up(plane, start, shape, x0, y0, pixel_at, into, to):
    """A tile of a picture plane[start:] into block order; pixels outside the picture are 0."""
    height, width = shape
    if x0 + TILE <= width and y0 + TILE <= height:
        for y in range(TILE):
            for x in range(0, TILE, BLOCK_WIDTH):
                copy_four(into, to + pixel_at[y, x], plane, start + (y0 + y) * width + x0 + x)
        return
    for p in range(PIXELS):
        into[to + p] = ZERO
    for y in range(min(TILE, height - y0)):
        for x in range(min(TILE, width - x0)):
            into[to + pixel_at[y, x]] = plane[start + (y0 + y) * width + x0 + x]


@helper
def _put_down(plane, start, shape, x0, y0, pixel_at, source, index):
    """The inverse of _pick_up."""
    height, width = shape
    if x0 + TILE <= width and y0 + TILE <= height:
        for y in range(TILE):
            for x in range(0, TILE, BLOCK_WIDTH):
                copy_four(plane, start + (y0 + y) * width + x0 + x, source, index + pixel_at[y, x])
        return
    for y in range(min(TILE, height - y0)):
        for x in range(min(TILE, width - x0)):
            plane[start + (y0 + y) * width + x0 + x] = source[index + pixel_at[y, x]]


@helper
def _light_up(light, shape, x0, y0, pixel_at):
    """Transmittance 1 for the tile's pixels; those outside the picture are dark, finished from the start."""
    height, width = shape
    full = x0 + TILE <= width and y0 + TILE <= height
    for p in range(PIXELS):
        light[p] = ONE if full else ZERO
    if not full:
        for y in range(min(TILE, height - y0)):
            for x in range(min(TILE, width - x0)):
                light[pixel_at[y, x]] = ONE


@kernel
def _forward(
    counter, blocks, like, squarings, limits, shape, records, offsets, ids, table, pixel_at, background,
    planes, alpha, done,
):  # fmt: skip
    least, dark, most = limits
    tiles_x = (shape[1] + TILE - 1) // TILE
    channels, area = len(like), shape[0] * shape[1]
    buffer, reached = workspace((1 + channels) * PIXELS + BATCH * RECORD), np.empty(BATCH, np.int64)
    light, sums, local = buffer[:PIXELS], buffer[PIXELS : (1 + channels) * PIXELS], buffer[(1 + channels) * PIXELS :]
    while True:
        tile = take(counter)
        if tile >= blocks:
            return
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        _light_up(light, shape, x0, y0, pixel_at)
        for p in range(0, channels * PIXELS, LANES):
            store(sums, p, zeros())
        done[tile] = _forward_tile(
            like, squarings, least, dark, most, records, ids, offsets[tile], offsets[tile + 1],
            light, sums, local, reached, f(x0), f(y0), table,
        )  # fmt: skip
        for k in range(channels):
            for p in range(0, PIXELS, LANES):
                store(sums, k * PIXELS + p, load(sums, k * PIXELS + p) + load(light, p) * background[k])
            _put_down(planes, k * area, shape, x0, y0, pixel_at, sums, k * PIXELS)
        for p in range(0, PIXELS, LANES):
            store(light, p, splat(ONE) - load(light, p))
        _put_down(alpha, 0, shape, x0, y0, pixel_at, light, 0)


@helper
def _forward_tile(
    like, squarings, least, dark, most, records, ids, start, end, light, sums, local, reached, x0, y0, table
):  # fmt: skip
    """Blend a tile's pairs until all its pixels are finished; returns how many were walked."""
    at = start
    while at < end:
        brightest = load(light, 0)
        for p in range(LANES, PIXELS, LANES):
            brightest = greater_of(brightest, load(light, p))
        if not any_lane(brightest >= dark):
            break
        count = min(BATCH, end - at)
        _reach_blocks(records, ids, at, count, end - 1, local, reached, x0, y0, least, table)
        for j in range(count):
            r, bits = j * RECORD, reached[j]
            mean_x, mean_y = splat(read(local, r)), splat(read(local, r + MEAN_Y))
            a, b, c = splat(read(local, r + A)), splat(read(local, r + B)), splat(read(local, r + C))
            log_opacity, colors = splat(read(local, r + LOG_OPACITY)), splat_each(like, local, r + COLOR)
            while bits != 0:
                p = first_bit(bits) * LANES
                bits &= bits - 1
                dx, dy = load(table, p) - mean_x, load(table, PIXELS + p) - mean_y
                exponent = (c * dy) * dy + (dx * (a * dx + b * dy) + log_opacity)
                before = load(light, p)
                drawn = (exponent >= least) & (before >= dark)
                weight = select(drawn, lesser_of(_power(exponent, squarings), splat(most)) * before, zeros())
                store(light, p, before - weight)
                _add_each(sums, p, weight, colors, like)
        at += count
    return at - start


@helper
def _add_each(sums, p, weight, colors, like):
    """sums[k] += weight * colors[k] for one block of pixels."""
    blended = multiply_add_each(load_each(like, sums, p, PIXELS), weight, colors)
    for k in range(len(like)):
        store(sums, k * PIXELS + p, blended[k])


@kernel
def _backward(
    counter, blocks, like, extra, squarings, limits, shape, records, offsets, ids, table, pixel_at, done,
    planes, alpha, g_planes, g_alpha, rows,
):  # fmt: skip
    least, dark, most = limits
    tiles_x = (shape[1] + TILE - 1) // TILE
    channels, area = len(like), shape[0] * shape[1]
    length = MOMENTS + channels + len(extra)
    buffer, reached = workspace((3 + channels) * PIXELS + BATCH * RECORD), np.empty(BATCH, np.int64)
    light, rest, g_light = buffer[:PIXELS], buffer[PIXELS : 2 * PIXELS], buffer[2 * PIXELS : 3 * PIXELS]
    incoming, local = buffer[3 * PIXELS : (3 + channels) * PIXELS], buffer[(3 + channels) * PIXELS :]
    while True:
        tile = take(counter)
        if tile >= blocks:
            return
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        _pick_up(g_alpha, 0, shape, x0, y0, pixel_at, g_light, 0)
        _pick_up(alpha, 0, shape, x0, y0, pixel_at, light, 0)
        for p in range(0, PIXELS, LANES):
            store(rest, p, load(g_light, p) * load(light, p))
        for k in range(channels):
            _pick_up(g_planes, k * area, shape, x0, y0, pixel_at, incoming, k * PIXELS)
            _pick_up(planes, k * area, shape, x0, y0, pixel_at, light, 0)
            for p in range(0, PIXELS, LANES):
                store(rest, p, load(rest, p) + load(incoming, k * PIXELS + p) * load(light, p))
        _light_up(light, shape, x0, y0, pixel_at)
        end = offsets[tile] + done[tile]
        _backward_tile(
            like, extra, squarings, least, dark, most, records, ids, offsets[tile], end,
            light, rest, g_light, incoming, local, reached, f(x0), f(y0), table, rows,
        )  # fmt: skip
        rows[end * length : offsets[tile + 1] * length] = ZERO


@helper
def _backward_tile(
    like, extra, squarings, least, dark, most, records, ids, start, end,
    light, rest, g_light, incoming, local, reached, x0, y0, table, rows,
):  # fmt: skip
    length = MOMENTS + len(like) + len(extra)
    for at in range(start, end, BATCH):
        count = min(BATCH, end - at)
        _reach_blocks(records, ids, at, count, end - 1, local, reached, x0, y0, least, table)
        for j in range(count):
            r, bits = j * RECORD, reached[j]
            mean_x, mean_y = splat(read(local, r)), splat(read(local, r + MEAN_Y))
            a, b, c = splat(read(local, r + A)), splat(read(local, r + B)), splat(read(local, r + C))
            log_opacity, colors = splat(read(local, r + LOG_OPACITY)), splat_each(like, local, r + COLOR)
            v0, vx, vy, vxx, vxy, vyy = zeros(), zeros(), zeros(), zeros(), zeros(), zeros()
            g_colors, pulls = zeros_each(like), zeros_each(extra)
            while bits != 0:
                p = first_bit(bits) * LANES
                bits &= bits - 1
                dx, dy = load(table, p) - mean_x, load(table, PIXELS + p) - mean_y
                slope_x = a * dx + b * dy
                exponent = (c * dy) * dy + (dx * slope_x + log_opacity)
                before = load(light, p)
                drawn = (exponent >= least) & (before >= dark)
                unclamped = _power(exponent, squarings)
                alpha = lesser_of(unclamped, splat(most))
                weight = select(drawn, alpha * before, zeros())
                g = load_each(like, incoming, p, PIXELS)
                shade = dot(load(g_light, p), colors, g)
                to_come = load(rest, p) - weight * shade
                store(light, p, before - weight)
                store(rest, p, to_come)
                g_colors = multiply_add_each(g_colors, weight, g)
                v = alpha * (before * shade - to_come / (ONE - alpha))
                v = select(drawn & (unclamped <= most), v, zeros())
                v_dx, v_dy = v * dx, v * dy
                v0 += v
                vx += v_dx
                vy += v_dy
                vxx += v_dx * dx
                vxy += v_dx * dy
                vyy += v_dy * dy
                pull_x, pull_y = v * (slope_x + a * dx), v * (b * dx + (c * dy) * TWO)
                pulls = add_first(pulls, (greater_of(pull_x, zeros() - pull_x), greater_of(pull_y, zeros() - pull_y)))
            store_sums(rows, (at + j) * length, (v0, vx, vy, vxx, vxy, vyy, *g_colors, *pulls))


@kernel
def _gather(
    counter, blocks, like, extra, unscale, rows, starts, pairs, records, opacities,
    g_means, g_conics, g_opacities, g_colors, g_probe,
):  # fmt: skip
    """Add each splat's rows; the algebra that is the same for all pixels is done once per splat."""
    channels, length = len(like), MOMENTS + len(like) + len(extra)
    ln2 = f(math.log(2))
    total = np.empty(LANES * 2, np.float32)
    last = pairs.size - 1
    while True:
        block = take(counter)
        if block >= blocks:
            return
        for i in range(block * 256, min(starts.size - 1, (block + 1) * 256)):
            for k in range(length):
                total[k] = ZERO
            for n in range(starts[i], starts[i + 1]):
                soon = np.int64(pairs[min(n + 24, last)]) * length
                prefetch(rows, soon)
                prefetch(rows, soon + length - 1)
                at = np.int64(pairs[n]) * length
                for k in range(length):
                    total[k] += rows[at + k]
            if starts[i] == starts[i + 1]:
                g_opacities[i] = ZERO
                g_means[i, 0], g_means[i, 1], g_probe[i, 0], g_probe[i, 1] = ZERO, ZERO, ZERO, ZERO
                for k in range(3):
                    g_conics[i, k] = ZERO
                for k in range(channels):
                    g_colors[i, k] = ZERO
                continue
            back = -ln2 * unscale  # undoes the record's scaling: conic xx = 2 back A, xy = back B
            a, b, c = TWO * back * records[i, A], back * records[i, B], TWO * back * records[i, C]
            g_means[i, 0], g_means[i, 1] = a * total[1] + b * total[2], b * total[1] + c * total[2]
            g_conics[i, 0], g_conics[i, 1], g_conics[i, 2] = -HALF * total[3], -total[4], -HALF * total[5]
            g_opacities[i] = total[0] / opacities[i]
            for k in range(channels):
                g_colors[i, k] = total[MOMENTS + k]
            if len(extra) > 0:
                g_probe[i, 0] = -back * total[MOMENTS + channels]
                g_probe[i, 1] = -back * total[MOMENTS + channels + 1]
            else:
                g_probe[i, 0], g_probe[i, 1] = g_means[i, 0], g_means[i, 1]
