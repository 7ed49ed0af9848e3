"""Small functions that kernels share: fast exp2 and reciprocal, bits of a mask, tuples of blocks.

Where PTX is True they are lines of NVIDIA's assembly, which does without the care for denormal numbers and last bits that
the plain twins take; nothing else differs.
"""

import triton
import triton.language as tl

__all__ = ["WARP", "exp2", "greatest", "join_each", "keep_where", "lane_sums", "lowest_bit", "reciprocal", "zeros_each"]

WARP: tl.constexpr = tl.constexpr(32)  # lanes that work in step; where there are 64, each half does the same


@triton.jit
def exp2(x, PTX: tl.constexpr):
    """2^x; tiny results are 0."""
    if PTX:
        result = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        result = tl.exp2(x)
    return result


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
def keep_where(value, a, least_a, b, least_b, PTX: tl.constexpr):
    """value where a >= least_a and b >= least_b, else 0: the assembly joins both comparisons before it selects."""
    if PTX:
        result = tl.inline_asm_elementwise(
            """{ .reg .pred p; setp.ge.f32 p, $2, $3; setp.ge.and.f32 p, $4, $5, p; selp.f32 $0, $1, 0f00000000, p; }""",
            "=f,f,f,f,f,f",
            [value, a, least_a, b, least_b],
            dtype=tl.float32,
            is_pure=True,
            pack=1,
        )
    else:
        result = tl.where((a >= least_a) & (b >= least_b), value, 0.0)
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
        zeros = zeros + (tl.zeros([HEIGHT, WIDTH], tl.float32),)
    return zeros


@triton.jit
def join_each(values, FIRST: tl.constexpr, COUNT: tl.constexpr, WIDTH: tl.constexpr):
    """values[FIRST] to values[FIRST + COUNT - 1], blocks (L,), side by side as one (L, WIDTH), 0 behind.

    WIDTH is 1, 2, 4 or 8. Each lane's numbers become neighbours in its own registers: nothing moves.
    """
    parts = ()
    for i in tl.static_range(WIDTH):
        if i < COUNT:
            parts = parts + (values[FIRST + i],)
        else:
            parts = parts + (tl.zeros_like(values[FIRST]),)
    LANES: tl.constexpr = values[FIRST].shape[0]
    if WIDTH == 8:
        even = tl.join(tl.join(parts[0], parts[4]), tl.join(parts[2], parts[6]))
        odd = tl.join(tl.join(parts[1], parts[5]), tl.join(parts[3], parts[7]))
        joined = tl.join(even, odd)
    elif WIDTH == 4:
        joined = tl.join(tl.join(parts[0], parts[2]), tl.join(parts[1], parts[3]))
    elif WIDTH == 2:
        joined = tl.join(parts[0], parts[1])
    else:
        joined = parts[0]
    return tl.reshape(joined, [LANES, WIDTH])


@triton.jit
def lane_sums(values, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Sums over lanes of COUNT <= 8 blocks (WARP,), values[FIRST] and the following: lane l has number l modulo 1, 2, 4 or 8.

    Two lanes that differ in one bit share the work: each gives away the half of its numbers that the other keeps. This
    halves the numbers at each step, where adding up every number on all lanes would not.
    """
    WIDTH: tl.constexpr = 1 if COUNT == 1 else (2 if COUNT == 2 else (4 if COUNT <= 4 else 8))
    lane = tl.arange(0, WARP)
    total = join_each(values, FIRST, COUNT, WIDTH)
    if WIDTH >= 8:
        total = _exchange(total, lane, WIDTH // 8, 8)
    if WIDTH >= 4:
        total = _exchange(total, lane, WIDTH // 4, 4)
    if WIDTH >= 2:
        total = _exchange(total, lane, WIDTH // 2, 2)
    total = tl.reshape(total, [WARP])
    for bit in tl.static_range(0, 5):
        if WIDTH <= 1 << bit:
            total += tl.gather(total, lane ^ (1 << bit), 0)
    return total


@triton.jit
def _exchange(x, lane, BIT: tl.constexpr, WIDTH: tl.constexpr):
    """(WARP, WIDTH) to (WARP, WIDTH / 2): lanes with the bit keep the numbers of odd places, the others the even ones."""
    even, odd = tl.split(tl.reshape(x, [WARP, WIDTH // 2, 2]))
    has_bit = ((lane & BIT) != 0)[:, None]
    other = tl.broadcast_to((lane ^ BIT)[:, None], [WARP, WIDTH // 2])
    return tl.where(has_bit, odd, even) + tl.gather(tl.where(has_bit, even, odd), other, 0)
