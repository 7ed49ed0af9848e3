"""Small functions that kernels share: fast exp2 and reciprocal, bits of a mask, tuples of blocks.

Where PTX is True they are lines of NVIDIA's assembly, which does without the care for denormal numbers and last bits that
the plain twins take; nothing else differs.
"""

import triton
import triton.language as tl

__all__ = ["WARP", "exp2", "greatest", "join_each", "keep_where", "lane_sums", "lowest_bit", "product", "reciprocal", "zeros_each"]

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
def product(a, b, PTX: tl.constexpr):
    """a b, rounded before anything is added to it: compilers fuse products with sums where it suits them."""
    if PTX:
        result = tl.inline_asm_elementwise(
            "mul.rn.ftz.f32 $0, $1, $2;", "=f,f,f", [a, b], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        result = a * b
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
def lane_sums(values, COUNT: tl.constexpr):
    """The sums over lanes of 8 < COUNT <= 16 blocks (WARP,): lane l < COUNT has number l's.

    Two lanes that differ in one bit share the work: each gives away the half of its numbers that the other keeps. So there
    are half as many numbers at each step, where adding up every number on all lanes would keep them all.
    """
    lane = tl.arange(0, WARP)
    REST: tl.constexpr = 1 if COUNT == 9 else (2 if COUNT == 10 else (4 if COUNT <= 12 else 8))
    first = _eight_lanes(join_each(values, 0, 8, 8), lane, 8)
    second = _eight_lanes(join_each(values, 8, COUNT - 8, REST), lane, REST)
    total = tl.reshape(_exchange(tl.join(first, second), lane, 8, 2), [WARP])
    return total + tl.gather(total, lane ^ 16, 0)


@triton.jit
def _eight_lanes(numbers, lane, WIDTH: tl.constexpr):
    """(WARP, WIDTH) to (WARP,): number l % WIDTH summed over the eight lanes about lane l."""
    if WIDTH == 8:
        numbers = _exchange(numbers, lane, 1, 8)
    if WIDTH >= 4:
        numbers = _exchange(numbers, lane, WIDTH // 4, 4)
    if WIDTH >= 2:
        numbers = _exchange(numbers, lane, WIDTH // 2, 2)
    total = tl.reshape(numbers, [WARP])
    for bit in tl.static_range(3):
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
