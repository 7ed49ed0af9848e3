"""Small functions that kernels share: fast exp2 and reciprocal, bits of a mask, tuples of blocks.

Where PTX is True they are lines of NVIDIA's assembly, which does without the care for denormal numbers and last bits that
the plain twins take; nothing else differs.
"""

import triton
import triton.language as tl

__all__ = ["exp2", "greatest", "join_each", "lowest_bit", "reciprocal", "zeros_each"]


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
