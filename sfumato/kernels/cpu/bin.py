"""Splats to tile lists: one sort by depth, then a stable counting sort by tile."""

import math

import numpy as np
import torch

from sfumato.core.errors import TileListError
from sfumato.kernels.cpu.arrays import numbers
from sfumato.kernels.cpu.memory import gather, load, prefetch, store
from sfumato.kernels.cpu.project import rows
from sfumato.kernels.cpu.simd import LANES, greater_of, lesser_of, logarithm2, select, square_root, zeros
from sfumato.kernels.cpu.threads import chunks, helper, kernel, launch, take, threads, workspace
from sfumato.kernels.lens import least_alpha
from sfumato.kernels.stages import MOST_PAIRS, TILE, RenderSettings, Splats, TileLists

__all__ = ["bin"]

BLOCK = 1024  # splats
AHEAD = 8  # splats between asking for memory and reading it
PLACE, FIRST, COUNT, START = range(4)  # of a splat: its first span, its first band, how many bands, its first pair
DIGIT = 11  # bits a pass of the radix sort looks at; three passes see the 31 that matter of a positive float32
BUCKETS = 1 << DIGIT
SLACK = np.float32(0.01)  # pixels; more than the rounding of the spans below, so that no list misses a splat
f = np.float32
ZERO, ONE, HALF = f(0), f(1), f(0.5)
TWO_LN2 = f(2 * math.log(2))
SIDE, LAST = f(TILE), f(TILE - 1)  # a tile's pixel centers span LAST pixels


def bin(splats: Splats, width: int, height: int, settings: RenderSettings) -> TileLists:
    """See `stages.Backend.bin`. Lists may hold a splat that misses the tile by less than 0.01 pixels."""
    tables = numbers(*rows((splats.means2d, splats.conics, splats.opacities, splats.radii, splats.depths)))
    means, conics, opacities, radii, depths = tables
    N, tiles_x, tiles_y = len(splats.radii), -(-width // TILE), -(-height // TILE)
    blocks = -(-N // BLOCK)

    seen, bands, pair_counts = (np.zeros(blocks + 1, np.int64) for _ in range(3))
    places = np.empty((N, 4), np.int32)
    launch(_find_bands, blocks, means, radii, tiles_y, places, seen, bands)
    for counts in (seen, bands):
        np.cumsum(counts, out=counts)
    most = min(settings.most_pairs, MOST_PAIRS)
    _refuse_more(int(bands[-1]), most)
    keys, order = np.empty(seen[-1], np.uint32), np.empty(seen[-1], np.int32)
    spans = np.empty((bands[-1], 2), np.int16)
    scale = f(1 / least_alpha(settings))
    launch(
        _find_spans, blocks, means, conics, opacities, radii, depths.reshape(-1).view(np.uint32), scale, tiles_x,
        places, seen, bands, keys, order, spans, pair_counts,
    )  # fmt: skip
    np.cumsum(pair_counts, out=pair_counts)
    _refuse_more(int(pair_counts[-1]), most)
    starts = np.empty(N + 1, np.int64)
    starts[N] = P = pair_counts[-1]
    launch(_number_pairs, blocks, pair_counts, places, starts)

    order = _sorted_by(keys, order)
    many, size = chunks(order.size, threads())
    counts = np.zeros((many, tiles_x * tiles_y), np.int64)
    launch(_count_tiles, many, size, order, places, spans, tiles_x, counts)
    offsets = np.zeros(tiles_x * tiles_y + 1, np.int64)
    _place(counts, offsets)
    ids, pairs = np.empty(P, np.int32), np.empty(P, np.int32)
    launch(_scatter, many, size, order, places, spans, tiles_x, counts, ids, pairs)
    made = [torch.from_numpy(array) for array in (offsets, ids, starts, pairs)]
    return TileLists(made[0], made[1], width, height, made[2], made[3])


def _refuse_more(pairs, most):
    if pairs > most:
        raise TileListError(pairs, most)


def _sorted_by(keys, order):
    """The rows by their keys, a stable radix sort; what it keeps equal stays in order."""
    other_keys, other_order = np.empty_like(keys), np.empty_like(order)
    many, size = chunks(order.size, threads())
    counts, offsets = np.zeros((many, BUCKETS), np.int64), np.zeros(BUCKETS + 1, np.int64)
    for shift in (0, DIGIT, 2 * DIGIT):
        launch(_count_digits, many, size, np.uint32(shift), keys, counts)
        _place(counts, offsets)
        launch(_move_digits, many, size, np.uint32(shift), keys, order, counts, other_keys, other_order)
        keys, order, other_keys, other_order = other_keys, other_order, keys, order
    return order


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
    return np.int32(min(max(position * (ONE / SIDE), ZERO), f(tiles - 1)))


@kernel
def _find_bands(counter, blocks, means, radii, tiles_y, places, seen, bands):
    """A band is a row of tiles; which bands does each splat's box touch?"""
    while True:
        block = take(counter)
        if block >= blocks:
            return
        visible, total = 0, 0
        for i in range(block * BLOCK, min(radii.shape[0], (block + 1) * BLOCK)):
            if radii[i, 0] <= ZERO:
                places[i, COUNT] = 0
                continue
            first = _tile_of(means[i, 1] - radii[i, 1], tiles_y)
            count = _tile_of(means[i, 1] + radii[i, 1], tiles_y) - first + 1
            places[i, FIRST], places[i, COUNT] = first, count
            visible += 1
            total += count
        seen[block + 1], bands[block + 1] = visible, total


@kernel
def _find_spans(
    counter, blocks, means, conics, opacities, radii, depth_bits, scale, tiles_x,
    places, seen, bands, keys, order, spans, pair_counts,
):  # fmt: skip
    """From which tile to which reaches each splat in each of its bands? Also lists the splats that are seen."""
    local = workspace(2 * LANES)
    totals = np.empty(LANES, np.int64)
    while True:
        block = take(counter)
        if block >= blocks:
            return
        to, at, pairs, last = seen[block], bands[block], 0, min(radii.shape[0], (block + 1) * BLOCK) - 1
        for first in range(block * BLOCK, last + 1, LANES):
            most, count = 0, min(LANES, last + 1 - first)
            for lane in range(count):
                i, totals[lane] = first + lane, 0
                places[i, PLACE] = at
                at += places[i, COUNT]
                most = max(most, places[i, COUNT])
                if places[i, COUNT] > 0:
                    keys[to] = depth_bits[i]
                    order[to] = i
                    to += 1
            if most > 0:
                _spans_of_lanes(
                    first, last, count, most, means, conics, opacities, radii, scale, tiles_x, places, local, spans,
                    totals,
                )  # fmt: skip
            for lane in range(count):
                places[first + lane, START] = totals[lane]
                pairs += totals[lane]
        pair_counts[block + 1] = pairs


@helper
def _spans_of_lanes(
    first, last, count, most, means, conics, opacities, radii, scale, tiles_x, places, local, spans, totals
):  # fmt: skip
    """Spans of LANES splats, band by band, of the ellipse a x^2 + 2 b x y + c y^2 <= reach.

    Its rightmost point within a band is the ellipse's own rightmost point if that lies in the band, else on the
    band's nearer border; the same to the left.
    """
    u, v = gather(means, first, last, 0), gather(means, first, last, 1)
    rx, ry = gather(radii, first, last, 0), gather(radii, first, last, 1)
    a, b, c = gather(conics, first, last, 0), gather(conics, first, last, 1), gather(conics, first, last, 2)
    reach = logarithm2(gather(opacities, first, last, 0) * scale) * TWO_LN2
    for lane in range(count):
        local[lane] = f(places[first + lane, FIRST])
    band = load(local, 0)
    ia, tilt = ONE / a, -b / c * rx  # the rightmost point is (rx, tilt)
    lean, bend, room = -b * ia, (b * b - a * c) * ia * ia, reach * ia
    for n in range(most):
        above = band * SIDE + HALF - v
        low, high = greater_of(above, -ry), lesser_of(above + LAST, ry)
        y_right, y_left = lesser_of(greater_of(tilt, low), high), lesser_of(greater_of(-tilt, low), high)
        right = u + lean * y_right + square_root(greater_of(bend * y_right * y_right + room, ZERO))
        left = u + lean * y_left - square_root(greater_of(bend * y_left * y_left + room, ZERO))
        # pixel centers lie half a pixel inside the tiles' borders
        touches = (low <= high) & (right >= HALF - SLACK) & (left <= f(tiles_x) * SIDE - HALF + SLACK)
        from_tile = greater_of((left + (HALF - SLACK)) * (ONE / SIDE), ZERO)
        to_tile = greater_of((right - (HALF - SLACK)) * (ONE / SIDE), ZERO) + ONE
        store(local, 0, lesser_of(from_tile, f(tiles_x)))
        store(local, LANES, select(touches, lesser_of(to_tile, f(tiles_x)), zeros()))
        for lane in range(count):
            i = first + lane
            if n < places[i, COUNT]:
                start, end = np.int16(local[lane]), np.int16(local[LANES + lane])
                spans[places[i, PLACE] + n, 0], spans[places[i, PLACE] + n, 1] = start, end
                totals[lane] += max(0, end - start)
        band = band + ONE


@kernel
def _number_pairs(counter, blocks, pair_counts, places, starts):
    """Turn each splat's number of pairs into the number of its first pair."""
    while True:
        block = take(counter)
        if block >= blocks:
            return
        total = pair_counts[block]
        for i in range(block * BLOCK, min(places.shape[0], (block + 1) * BLOCK)):
            pairs = places[i, START]
            starts[i] = total
            places[i, START] = total
            total += pairs


@kernel
def _count_tiles(counter, blocks, size, order, places, spans, tiles_x, counts):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        mine, end = counts[block], min(order.size, (block + 1) * size)
        for k in range(block * size, end):
            prefetch(places, np.int64(order[min(k + 2 * AHEAD, end - 1)]) * 4)
            prefetch(spans, np.int64(places[order[min(k + AHEAD, end - 1)], PLACE]) * 2)
            i = order[k]
            band, at = places[i, FIRST] * tiles_x, places[i, PLACE]
            for n in range(at, at + places[i, COUNT]):
                for tile in range(band + spans[n, 0], band + spans[n, 1]):
                    mine[tile] += 1
                band += tiles_x


@kernel
def _scatter(counter, blocks, size, order, places, spans, tiles_x, next_of, ids, pairs):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        mine, end = next_of[block], min(order.size, (block + 1) * size)
        for k in range(block * size, end):
            prefetch(places, np.int64(order[min(k + 2 * AHEAD, end - 1)]) * 4)
            prefetch(spans, np.int64(places[order[min(k + AHEAD, end - 1)], PLACE]) * 2)
            i = order[k]
            band, at, pair = places[i, FIRST] * tiles_x, places[i, PLACE], places[i, START]
            for n in range(at, at + places[i, COUNT]):
                for tile in range(band + spans[n, 0], band + spans[n, 1]):
                    to = mine[tile]
                    mine[tile] = to + 1
                    ids[to] = i
                    pairs[pair] = to
                    pair += 1
                band += tiles_x
