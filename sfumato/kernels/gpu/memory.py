"""Tables with a row per Gaussian to blocks, one element per row, and back.

Row first + lane: `first` (the program's first row) has 64 bits, for 30 million rows of 72 numbers pass 2^31.
"""

import triton
import triton.language as tl

__all__ = ["load_long_rows", "load_rows", "side_by_side", "store_rows"]


@triton.jit
def load_rows(table, first, lane, width, mask, COUNT: tl.constexpr):
    """The first COUNT of the `width` numbers of each row, a tuple of float32 blocks; 0 where masked."""
    numbers = ()
    for k in tl.static_range(COUNT):
        numbers += (tl.load(table + first * width + (lane * width + k), mask=mask, other=0.0).to(tl.float32),)
    return numbers


@triton.jit
def store_rows(table, first, lane, width, numbers, mask):
    """The tuple `numbers` to the first places of rows that have `width`."""
    for k in tl.static_range(len(numbers)):
        tl.store(table + first * width + (lane * width + k), numbers[k], mask=mask)


@triton.jit
def load_long_rows(table, first, lane, width, mask, COUNT: tl.constexpr):
    """As load_rows; the tuple is longer, up to a multiple of 16.

    Neighbouring threads read neighbouring numbers, 16 of a row, and then exchange them. If each thread read its own
    row, 32 threads would touch 32 lines of memory for every number.
    """
    numbers = ()
    for start in tl.static_range(0, COUNT, 16):
        column = start + tl.arange(0, 16)
        at = lane[:, None] * width + column[None, :]
        wanted = mask[:, None] & (column < COUNT)[None, :]
        numbers += _columns(tl.load(table + first * width + at, mask=wanted, other=0.0).to(tl.float32))
    return numbers


@triton.jit
def _halves(x):
    """The even and the odd columns of (R, C)."""
    return tl.split(tl.reshape(x, [x.shape[0], x.shape[1] // 2, 2]))


@triton.jit
def _columns(x):
    """The columns of (R, 16), a tuple."""
    even, odd = _halves(x)
    c0_4, c2_4 = _halves(even)  # every fourth from 0 on, from 2 on
    c1_4, c3_4 = _halves(odd)
    c0_8, c4_8 = _halves(c0_4)
    c1_8, c5_8 = _halves(c1_4)
    c2_8, c6_8 = _halves(c2_4)
    c3_8, c7_8 = _halves(c3_4)
    c0, c8 = tl.split(c0_8)
    c1, c9 = tl.split(c1_8)
    c2, c10 = tl.split(c2_8)
    c3, c11 = tl.split(c3_8)
    c4, c12 = tl.split(c4_8)
    c5, c13 = tl.split(c5_8)
    c6, c14 = tl.split(c6_8)
    c7, c15 = tl.split(c7_8)
    return c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15


@triton.jit
def side_by_side(c, first: tl.constexpr):
    """(R, 16) whose columns are elements of the tuple c from `first` on."""
    even = _four(_two(c, first), _two(c, first + 2), _two(c, first + 4), _two(c, first + 6))
    odd = _four(_two(c, first + 1), _two(c, first + 3), _two(c, first + 5), _two(c, first + 7))
    return tl.reshape(tl.join(even, odd), [c[first].shape[0], 16])


@triton.jit
def _two(c, first: tl.constexpr):
    """Elements `first` and first + 8 of the tuple, (R, 2)."""
    return tl.join(c[first], c[first + 8])


@triton.jit
def _four(a, b, c, d):
    """The columns of a, b, c and d in turn."""
    rows: tl.constexpr = a.shape[0]
    columns: tl.constexpr = a.shape[1]
    even = tl.reshape(tl.join(a, c), [rows, 2 * columns])
    odd = tl.reshape(tl.join(b, d), [rows, 2 * columns])
    return tl.reshape(tl.join(even, odd), [rows, 4 * columns])
