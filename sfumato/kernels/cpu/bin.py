"""Splats to tile lists: one sort by depth, then a stable counting sort by tile."""

import math

import numpy as np
import torch

from sfumato.kernels.cpu.arrays import numbers
from sfumato.kernels.cpu.project import least_alpha
from sfumato.kernels.cpu.simd import prefetch
from sfumato.kernels.cpu.threads import chunks, helper, kernel, launch, take, threads
from sfumato.kernels.stages import TILE, RenderSettings, Splats, TileLists

__all__ = ["bin"]

BLOCK = 2048  # splats
DIGIT = 11  # bits a pass of the radix sort looks at; three passes see the 31 that matter of a positive float32
BUCKETS = 1 << DIGIT
SLACK = np.float32(0.01)  # pixels; more than the rounding of the spans below, so that no list misses a splat
f = np.float32
ZERO, ONE, HALF = f(0), f(1), f(0.5)
SIDE, LAST = f(TILE), f(TILE - 1)  # a tile's pixel centers span LAST pixels


def bin(splats: Splats, width: int, height: int, settings: RenderSettings) -> TileLists:
    """See `stages.Backend.bin`. Lists may hold a splat that misses the tile by less than 0.01 pixels."""
    means, conics, opacities, radii, depths = numbers(
        splats.means2d, splats.conics, splats.opacities, splats.radii, splats.depths
    )
    N = depths.size
    order = _depth_order(depths, radii)
    V = order.size
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    many, size = chunks(V, threads())
    bands = np.zeros(many + 1, np.int64)
    first_band, band_count = np.empty(V, np.int16), np.empty(V, np.int16)
    launch(_count_bands, many, size, order, means, radii, tiles_y, bands, first_band, band_count)
    np.cumsum(bands, out=bands)

    spans = np.empty((bands[-1], 2), np.int16)
    counts = np.zeros((many, tiles_x * tiles_y), np.int64)
    starts = np.zeros(N + 1, np.int64)
    reach_scale = f(1 / least_alpha(settings))
    launch(
        _find_spans, many, size, order, means, conics, opacities, radii, reach_scale, tiles_x,
        bands, first_band, band_count, spans, counts, starts,
    )  # fmt: skip
    np.cumsum(starts, out=starts)
    offsets = np.zeros(tiles_x * tiles_y + 1, np.int64)
    P = _place(counts, offsets)
    ids, pairs = np.empty(P, np.int32), np.empty(P, np.int32)
    launch(_scatter, many, size, order, tiles_x, bands, first_band, band_count, spans, counts, starts, ids, pairs)
    tensors = (torch.from_numpy(array) for array in (offsets, ids, starts, pairs))
    offsets_, ids_, starts_, pairs_ = tensors
    return TileLists(offsets_, ids_, width, height, starts_, pairs_)


def _depth_order(depths, radii):
    """Rows of the splats that are seen, nearest first; equal depths keep the order of their rows."""
    N = depths.size
    many, size = chunks(N, max(1, -(-N // BLOCK)))
    seen = np.zeros(many + 1, np.int64)
    launch(_count_seen, many, size, radii, seen)
    np.cumsum(seen, out=seen)
    V = int(seen[-1])
    keys, rows = np.empty(V, np.uint32), np.empty(V, np.int32)
    launch(_collect_seen, many, size, depths.view(np.uint32), radii, seen, keys, rows)
    other_keys, other_rows = np.empty_like(keys), np.empty_like(rows)
    many, size = chunks(V, threads())
    counts = np.zeros((many, BUCKETS), np.int64)
    offsets = np.zeros(BUCKETS + 1, np.int64)
    for shift in (0, DIGIT, 2 * DIGIT):
        launch(_count_digits, many, size, np.uint32(shift), keys, counts)
        _place(counts, offsets)
        launch(_move_digits, many, size, np.uint32(shift), keys, rows, counts, other_keys, other_rows)
        keys, rows, other_keys, other_rows = other_keys, other_rows, keys, rows
    return rows


def _place(counts, offsets):
    """Counts per (chunk, bucket) to first positions, in order of bucket, then chunk; returns the total."""
    launch(_prefix_sums, 1, counts, offsets)
    return int(offsets[-1])


@kernel
def _prefix_sums(counter, blocks, counts, offsets):
    total = 0
    for bucket in range(counts.shape[1]):
        offsets[bucket] = total
        for chunk in range(counts.shape[0]):
            count = counts[chunk, bucket]
            counts[chunk, bucket] = total
            total += count
    offsets[counts.shape[1]] = total


@kernel
def _count_seen(counter, blocks, size, radii, seen):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        count = 0
        for i in range(block * size, min(radii.shape[0], (block + 1) * size)):
            count += radii[i, 0] > ZERO
        seen[block + 1] = count


@kernel
def _collect_seen(counter, blocks, size, depth_bits, radii, seen, keys, rows):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        at = seen[block]
        for i in range(block * size, min(radii.shape[0], (block + 1) * size)):
            if radii[i, 0] > ZERO:
                keys[at] = depth_bits[i]
                rows[at] = i
                at += 1


@kernel
def _count_digits(counter, blocks, size, shift, keys, counts):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        mine = counts[block]
        mine[:] = 0
        for i in range(block * size, min(keys.size, (block + 1) * size)):
            mine[(keys[i] >> shift) & np.uint32(BUCKETS - 1)] += 1


@kernel
def _move_digits(counter, blocks, size, shift, keys, rows, places, to_keys, to_rows):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        mine = places[block]
        for i in range(block * size, min(keys.size, (block + 1) * size)):
            digit = (keys[i] >> shift) & np.uint32(BUCKETS - 1)
            at = mine[digit]
            mine[digit] = at + 1
            to_keys[at] = keys[i]
            to_rows[at] = rows[i]


@helper
def _tile_of(position, tiles):
    """The tile, or the nearest there is, in which a pixel coordinate lies."""
    return np.int64(min(max(position * (ONE / SIDE), ZERO), f(tiles - 1)))


@kernel
def _count_bands(counter, blocks, size, order, means, radii, tiles_y, bands, first_band, band_count):
    """A band is a row of tiles; which bands does each splat's box touch?"""
    while True:
        block = take(counter)
        if block >= blocks:
            return
        total = 0
        for k in range(block * size, min(order.size, (block + 1) * size)):
            i = order[k]
            first = _tile_of(means[i, 1] - radii[i, 1], tiles_y)
            last = _tile_of(means[i, 1] + radii[i, 1], tiles_y)
            first_band[k] = first
            band_count[k] = last - first + 1
            total += last - first + 1
        bands[block + 1] = total


@kernel
def _find_spans(
    counter, blocks, size, order, means, conics, opacities, radii, reach_scale, tiles_x,
    bands, first_band, band_count, spans, counts, starts,
):  # fmt: skip
    """In each band, from which tile to which reaches the ellipse a x^2 + 2 b x y + c y^2 <= reach?

    Its rightmost point within the band is the ellipse's own rightmost point if that lies in the band, else on the
    band's nearer border; the same to the left.
    """
    while True:
        block = take(counter)
        if block >= blocks:
            return
        mine, at = counts[block], bands[block]
        end = min(order.size, (block + 1) * size)
        for k in range(block * size, end):
            soon = order[min(k + 12, end - 1)]
            prefetch(means, np.int64(soon) * 2)
            prefetch(conics, np.int64(soon) * 3)
            i = order[k]
            u, v, rx, ry = means[i, 0], means[i, 1], radii[i, 0], radii[i, 1]
            a, b, c = conics[i, 0], conics[i, 1], conics[i, 2]
            reach = f(2) * math.log(opacities[i] * reach_scale)
            ia, tilt = ONE / a, -b / c * rx  # the rightmost point is (rx, tilt)
            lean, bend, room = -b * ia, (b * b - a * c) * ia * ia, reach * ia
            total = 0
            for band in range(first_band[k], first_band[k] + band_count[k]):
                above = f(band) * SIDE + HALF - v
                low, high = max(above, -ry), min(above + LAST, ry)
                y_right, y_left = min(max(tilt, low), high), min(max(-tilt, low), high)
                right = lean * y_right + math.sqrt(max(ZERO, bend * y_right * y_right + room))
                left = lean * y_left - math.sqrt(max(ZERO, bend * y_left * y_left + room))
                # pixel centers lie half a pixel inside the tiles' borders
                first = _tile_of(u + left + HALF - SLACK, tiles_x)
                last = _tile_of(u + right - HALF + SLACK, tiles_x)
                if low > high or u + right < HALF - SLACK or u + left > f(tiles_x) * SIDE - HALF + SLACK:
                    last = first - 1
                spans[at, 0] = first
                spans[at, 1] = last + 1
                at += 1
                for tile in range(band * tiles_x + first, band * tiles_x + last + 1):
                    mine[tile] += 1
                total += last + 1 - first
            starts[i + 1] = total


@kernel
def _scatter(
    counter, blocks, size, order, tiles_x, bands, first_band, band_count, spans, places, starts, ids, pairs
):  # fmt: skip
    while True:
        block = take(counter)
        if block >= blocks:
            return
        mine, at = places[block], bands[block]
        for k in range(block * size, min(order.size, (block + 1) * size)):
            i = order[k]
            n = starts[i]
            for band in range(first_band[k], first_band[k] + band_count[k]):
                for tile in range(band * tiles_x + spans[at, 0], band * tiles_x + spans[at, 1]):
                    place = mine[tile]
                    mine[tile] = place + 1
                    ids[place] = i
                    pairs[n] = place
                    n += 1
                at += 1
