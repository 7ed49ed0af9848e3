"""Splats to tile lists: count each splat's tiles, sort splats by depth, write their pairs, sort those by tile.

Both sorts are torch.sort, stable: splats of equal depth keep the order of their rows, pairs of a tile the order of
depth. One lane counts or writes one splat; a splat of very many tiles is written by its whole warp. No two lanes write
to one place, for the places of a splat's pairs follow from the counts of those before it: there are no atomics, and
lists have the same bits each time.

How long the lists become, only the GPU knows. With settings.room the host does not wait for it: that many pairs are
made room for, what does not fit is left out, and TileLists.missing says so later. All the room is sorted, filled or
not, at some 35 bytes of memory a pair while it lasts and 80 moved, mostly torch's 64-bit positions. So the room should
be little more than what is needed, as `Rooms` makes it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.core.errors import TileListError
from sfumato.kernels.gpu.late import Late
from sfumato.kernels.gpu.launch import checked, cover, launch
from sfumato.kernels.lens import least_alpha
from sfumato.kernels.stages import MOST_PAIRS, TILE, RenderSettings, Splats, TileLists

__all__ = ["bin"]

BLOCK = 32  # splats of a program, one per lane of its only warp: splats of many tiles hold up few others
LARGE = 256  # tiles; from here on a warp writes a splat sooner than a lane, also where all its splats are so large
MOST_SHORT = 2**15 - 1  # tiles that 16-bit keys can name, and one key behind them; 4K has 32,400

UNSEEN: tl.constexpr = tl.constexpr(2**31 - 1)  # the depth key behind all depths, also behind infinity's 0x7f800000
SLACK: tl.constexpr = tl.constexpr(0.01)  # pixels; more than the rounding of spans, so that no list misses a splat
SIDE: tl.constexpr = tl.constexpr(TILE)
TWO_LN2: tl.constexpr = tl.constexpr(1.3862943611198906)
LEAST: tl.constexpr = tl.constexpr(1e-30)  # 1 / pixels^2; keeps the division by conics finite


def bin(splats: Splats, width: int, height: int, settings: RenderSettings) -> TileLists:
    """See `stages.Backend.bin`. Lists may hold a splat that misses the tile by less than 0.01 pixels.

    Only with settings.deterministic are the lists seen from the splats made, too.
    """
    fields = (splats.means2d, splats.conics, splats.opacities, splats.radii, splats.depths)
    means, conics, opacities, radii, depths = checked(*fields)
    tables = means, conics, opacities, radii, 1 / least_alpha(settings)
    device, N, sizes = means.device, len(splats.radii), (-(-width // TILE), -(-height // TILE))
    counts, keys = (torch.empty(N, dtype=torch.int32, device=device) for _ in range(2))
    bands = torch.empty(cover(N, BLOCK), dtype=torch.int32, device=device)
    launch(_count, (cover(N, BLOCK),), *tables, depths, *sizes, N, counts, keys, bands, warps=1, BLOCK=BLOCK)
    order = torch.sort(keys, stable=True).indices
    ends = counts[order].cumsum(0)
    total = Late(ends[-1] if N else ends.sum())
    reached = total if settings.room is not None else Late(bands.sum())
    most = min(settings.most_pairs, MOST_PAIRS)
    if settings.room is None:
        room, counted = _refuse_more(total(), reached(), most), None
    else:
        room, counted = min(settings.room, most), total

    T = sizes[0] * sizes[1]
    tiles = torch.full((room,), T, dtype=torch.int16 if T <= MOST_SHORT else torch.int32, device=device)
    ids = torch.zeros(room, dtype=torch.int32, device=device)
    constants = {"BLOCK": BLOCK, "LARGE": LARGE}
    launch(_emit, (cover(N, BLOCK),), *tables, order, ends, counts, *sizes, N, room, tiles, ids, warps=1, **constants)
    tiles, emitted = torch.sort(tiles, stable=True)
    offsets = _firsts(tiles, T)
    ids = ids[emitted]
    starts, pairs = _seen_from_splats(offsets, ids, N) if settings.deterministic else (None, None)
    return TileLists(offsets, ids, width, height, starts, pairs, counted)


def _refuse_more(pairs: int, bands: int, most: int) -> int:
    for needed in (pairs, bands):
        if needed > most:
            raise TileListError(needed, most)
    return pairs


def _firsts(ordered: Tensor, count: int) -> Tensor:
    """(count + 1,) int64: where each number from 0 to count begins, or would, in ascending numbers."""
    return torch.searchsorted(ordered, torch.arange(count + 1, dtype=ordered.dtype, device=ordered.device))


def _seen_from_splats(offsets: Tensor, ids: Tensor, N: int) -> tuple[Tensor, Tensor]:
    """TileLists.starts and .pairs; what is behind the lists counts as splat N's."""
    filled = torch.arange(len(ids), device=ids.device) < offsets[-1]
    owners, pairs = torch.sort(torch.where(filled, ids, N), stable=True)
    return _firsts(owners, N), pairs.to(torch.int32)


@triton.jit(do_not_specialize=["tiles_x", "tiles_y", "N"])
def _count(
    means, conics, opacities, radii, scale, depths, tiles_x, tiles_y, N, counts, keys, bands_sums, BLOCK: tl.constexpr
):
    """How many tiles does each splat touch, and by which key is it sorted? Sums the bands of tiles that boxes touch."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < N
    ellipse, first, bands = _ellipses(means, conics, opacities, radii, scale, i, inside, tiles_y)
    count, n, most = tl.zeros_like(bands), 0, tl.max(bands, 0)
    while n < most:  # no range: Triton 3.6 cannot interpret one whose end is a tensor
        start, end = _span(ellipse, first + n, tiles_x)
        count += tl.where(n < bands, end - start, 0)
        n += 1
    depth = tl.load(depths + i, mask=inside, other=0.0)
    # positive numbers are ordered as their bits are
    key = tl.where(bands > 0, depth.to(tl.int32, bitcast=True), UNSEEN)
    tl.store(counts + i, count, mask=inside)
    tl.store(keys + i, key, mask=inside)
    tl.store(bands_sums + tl.program_id(0), tl.sum(bands, 0))


@triton.jit(do_not_specialize=["tiles_x", "tiles_y", "N", "room"])
def _emit(
    means, conics, opacities, radii, scale, order, ends, counts, tiles_x, tiles_y, N, room, tiles, ids,
    BLOCK: tl.constexpr, LARGE: tl.constexpr,
):  # fmt: skip
    """Write each splat's pairs at their places, splats in order of depth; what is behind the room is left out.

    Spans are computed again, with the same bits as in _count (see _span). Were a span shorter all the same, a place
    would keep its key behind all tiles; were it longer, its end would be left out: lists stay lists.
    """
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = k < N
    i = tl.load(order + k, mask=inside, other=0)
    count = tl.load(counts + i, mask=inside, other=0)
    place = tl.load(ends + k, mask=inside, other=0) - count
    left = tl.where(count > LARGE, 0, tl.maximum(tl.minimum(room - place, count), 0)).to(tl.int32)
    ellipse, band, bands = _ellipses(means, conics, opacities, radii, scale, i, left > 0, tiles_y)
    last = band + bands
    column, end = _span(ellipse, band, tiles_x)
    while tl.max(left, 0) > 0:  # each lane writes a pair, or finds that its band has none
        writes = (left > 0) & (column < end)
        tl.store(tiles + place, (band * tiles_x + column).to(tiles.dtype.element_ty), mask=writes)
        tl.store(ids + place, i.to(tl.int32), mask=writes)
        wrote = writes.to(tl.int32)
        place += wrote
        column += wrote
        left -= wrote
        over = column >= end
        band += over.to(tl.int32)
        left = tl.where(band < last, left, 0)
        next_column, next_end = _span(ellipse, band, tiles_x)
        column, end = tl.where(over, next_column, column), tl.where(over, next_end, end)
    if tl.max(count, 0) > LARGE:
        for lane in range(BLOCK):
            _emit_large(
                means, conics, opacities, radii, scale, order, ends, counts, tiles_x, tiles_y, N, room, tiles, ids,
                tl.program_id(0) * BLOCK + lane, BLOCK, LARGE,
            )  # fmt: skip


@triton.jit
def _emit_large(
    means, conics, opacities, radii, scale, order, ends, counts, tiles_x, tiles_y, N, room, tiles, ids, k,
    BLOCK: tl.constexpr, LARGE: tl.constexpr,
):  # fmt: skip
    """The pairs of the k-th splat, written by all lanes, if it has more than LARGE."""
    i = tl.load(order + k, mask=k < N, other=0)
    count = tl.load(counts + i, mask=k < N, other=0)
    if count > LARGE:
        place = tl.load(ends + k) - count
        behind = tl.minimum(place + count, room)
        ellipse, band, bands = _ellipses(means, conics, opacities, radii, scale, i, count > LARGE, tiles_y)
        last = band + bands
        while band < last:
            start, end = _span(ellipse, band, tiles_x)
            first = start
            while first < end:
                column = first + tl.arange(0, BLOCK)
                at = place + (column - start)
                writes = (column < end) & (at < behind)
                tl.store(tiles + at, (band * tiles_x + column).to(tiles.dtype.element_ty), mask=writes)
                tl.store(ids + at, tl.zeros_like(column) + i.to(tl.int32), mask=writes)
                first += BLOCK
            place += end - start
            band += 1


@triton.jit
def _ellipses(means, conics, opacities, radii, scale, i, mask, tiles_y):
    """The ellipses a x^2 + 2 b x y + c y^2 <= reach of splats, the first band of tiles of their boxes, and how many.

    No bands where the mask is False or the splat unseen.
    """
    u, v = tl.load(means + i * 2, mask=mask, other=0.0), tl.load(means + i * 2 + 1, mask=mask, other=0.0)
    rx, ry = tl.load(radii + i * 2, mask=mask, other=0.0), tl.load(radii + i * 2 + 1, mask=mask, other=0.0)
    a = tl.maximum(tl.load(conics + i * 3, mask=mask, other=0.0), LEAST)
    b = tl.load(conics + i * 3 + 1, mask=mask, other=0.0)
    c = tl.maximum(tl.load(conics + i * 3 + 2, mask=mask, other=0.0), LEAST)
    reach = tl.log2(tl.maximum(tl.load(opacities + i, mask=mask, other=0.0) * scale, 1.0)) * TWO_LN2
    inverse = 1 / a
    lean = -b * inverse
    tilt = -b / c * rx  # the rightmost point is (rx, tilt)
    bend = tl.fma(b, b, -(a * c)) * inverse * inverse
    room = reach * inverse
    first, last = _tile_of(v - ry, tiles_y), _tile_of(v + ry, tiles_y)
    return (u, v, ry, lean, tilt, bend, room), first, tl.where(rx > 0, last - first + 1, 0)


@triton.jit
def _tile_of(position, tiles):
    """The tile, or the nearest there is, in which a pixel coordinate lies."""
    return tl.minimum(tl.maximum(position / SIDE, 0.0), (tiles - 1).to(tl.float32)).to(tl.int32)


@triton.jit
def _span(ellipse, band, tiles_x):
    """From which tile to behind which an ellipse reaches in a band; both the same where it reaches none.

    Its rightmost point within a band is the ellipse's own rightmost point if that lies in the band, else on the
    band's nearer border; the same to the left. Both kernels must find the same bits, so nothing is left for compilers
    to fuse in one of them only: what is multiplied and then added to is a tl.fma, here and in _ellipses. What
    overflows to no number counts as all of the band.
    """
    u, v, ry, lean, tilt, bend, room = ellipse
    limit = (tiles_x * SIDE).to(tl.float32)
    above = (band * SIDE).to(tl.float32) + 0.5 - v
    low, high = tl.maximum(above, -ry), tl.minimum(above + (SIDE - 1), ry)
    y_right, y_left = tl.minimum(tl.maximum(tilt, low), high), tl.minimum(tl.maximum(-tilt, low), high)
    right = tl.fma(lean, y_right, u) + tl.sqrt(tl.maximum(tl.fma(bend * y_right, y_right, room), 0.0))
    left = tl.fma(lean, y_left, u) - tl.sqrt(tl.maximum(tl.fma(bend * y_left, y_left, room), 0.0))
    right, left = tl.where(right < limit, right, limit), tl.where(left > 0, left, 0.0)
    # pixel centers lie half a pixel inside the tiles' borders
    touches = (low <= high) & (right >= 0.5 - SLACK)
    start = (tl.minimum(left + (0.5 - SLACK), limit) / SIDE).to(tl.int32)
    end = tl.minimum((tl.maximum(right - (0.5 - SLACK), 0.0) / SIDE).to(tl.int32) + 1, tiles_x)
    return start, tl.where(touches, tl.maximum(end, start), start)  # start is tiles_x beyond the last pixel centers
