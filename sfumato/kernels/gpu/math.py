"""Small functions that kernels share: a fast reciprocal, bits of a mask, sums over lanes of a warp.

Where PTX is True they are lines of NVIDIA's assembly, without the care for denormal numbers and last bits that the
plain twins take; nothing else differs.
"""

import triton
import triton.language as tl

__all__ = ["WARP", "greatest", "lane_sums", "lowest_bit", "reciprocal", "zeros_each"]

WARP: tl.constexpr = tl.constexpr(32)  # lanes that work in step; where there are 64, both halves do the same


@triton.jit
def reciprocal(x, PTX: tl.constexpr):
    """1 / x."""
    if PTX:
        result = tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        result = 1.0 / x
    return result


@triton.jit
def lowest_bit(bits, PTX: tl.constexpr):
    """The place of the lowest set bit of an int32 that is not 0."""
    if PTX:
        place = tl.inline_asm_elementwise(
            "{ .reg .b32 r; brev.b32 r, $1; bfind.shiftamt.u32 $0, r; }",
            "=r,r",
            [bits],
            dtype=tl.int32,
            is_pure=True,
            pack=1,
        )
    else:
        alone = (bits & (0 - bits)).to(tl.uint32, bitcast=True)
        place = ((alone.to(tl.float32).to(tl.int32, bitcast=True) >> 23) & 255) - 127  # a float's exponent
    return place


@triton.jit
def greatest(x):
    """The greatest of numbers >= 0, compared as integers: newer cards reduce those in one instruction."""
    return tl.max(tl.ravel(x.to(tl.int32, bitcast=True)), 0).to(tl.float32, bitcast=True)


@triton.jit
def zeros_each(COUNT: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """A tuple of COUNT blocks (HEIGHT, WIDTH) of zeros."""
    zeros = ()
    for _ in tl.static_range(COUNT):
        zeros += (tl.zeros([HEIGHT, WIDTH], tl.float32),)
    return zeros


@triton.jit
def lane_sums(values, COUNT: tl.constexpr):
    """The sums over lanes of 8 < COUNT <= 16 blocks (WARP,): lane l < COUNT has number l's.

    Two lanes that differ in one bit share the work: each gives away the half of its numbers that the other keeps. So
    each step halves the numbers, where adding up every number on all lanes would keep them all.
    """
    lane = tl.arange(0, WARP)
    REST: tl.constexpr = 1 if COUNT == 9 else (2 if COUNT == 10 else (4 if COUNT <= 12 else 8))
    first = _sums_of_eight_lanes(values, 0, 8, 8)
    second = _sums_of_eight_lanes(values, 8, COUNT - 8, REST)
    has_bit = (lane & 8) != 0
    total = tl.where(has_bit, second, first) + tl.gather(tl.where(has_bit, first, second), lane ^ 8, 0)
    return total + tl.gather(total, lane ^ 16, 0)


@triton.jit
def _sums_of_eight_lanes(values, FIRST: tl.constexpr, COUNT: tl.constexpr, WIDTH: tl.constexpr):
    """In lane l, the sum of number FIRST + l % WIDTH over the lanes that share l // 8; numbers after COUNT are 0."""
    parts = ()
    for i in tl.static_range(COUNT):
        parts += (values[FIRST + i],)
    for _ in tl.static_range(WIDTH - COUNT):
        parts += (tl.zeros([WARP], tl.float32),)
    # joined, a lane's numbers are neighbours in its own registers: nothing moves
    if WIDTH == 8:
        even = tl.join(tl.join(parts[0], parts[4]), tl.join(parts[2], parts[6]))
        odd = tl.join(tl.join(parts[1], parts[5]), tl.join(parts[3], parts[7]))
        total = tl.join(even, odd)
    elif WIDTH == 4:
        total = tl.join(tl.join(parts[0], parts[2]), tl.join(parts[1], parts[3]))
    elif WIDTH == 2:
        total = tl.join(parts[0], parts[1])
    else:
        total = parts[0]
    lane = tl.arange(0, WARP)
    total = tl.reshape(total, [WARP, WIDTH])
    for bit in tl.static_range(3):
        if 1 << bit < WIDTH:
            even, odd = tl.split(tl.reshape(total, [WARP, WIDTH >> (bit + 1), 2]))
            has_bit = ((lane & (1 << bit)) != 0)[:, None]
            other = tl.broadcast_to((lane ^ (1 << bit))[:, None], [WARP, WIDTH >> (bit + 1)])
            total = tl.where(has_bit, odd, even) + tl.gather(tl.where(has_bit, even, odd), other, 0)
        else:
            total += tl.gather(total, (lane ^ (1 << bit))[:, None], 0)
    return tl.reshape(total, [WARP])
