"""Tuples of vectors: one per blended channel, in registers, whatever their number."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sfumato.kernels.cpu.simd import (
    BITS,
    FLOAT,
    FLOATS,
    INT,
    LANES,
    broadcast,
    external,
    pack,
    pointer_to,
    shuffle,
    unpack,
    vector,
)

__all__ = [
    "add_first",
    "dot",
    "load_each",
    "multiply_add_each",
    "power_of_two",
    "splat_each",
    "store_sums",
    "zeros_each",
]


@intrinsic
def zeros_each(typing, like):
    """One Vector of zeros per element of the tuple `like`."""
    kind = types.UniTuple(vector, len(like))

    def generate(context, builder, signature, args):
        return pack(context, builder, kind, [ir.Constant(FLOATS, [0.0] * LANES)] * len(like))

    return kind(like), generate


@intrinsic
def add_first(typing, sums, values):
    """sums[i] + values[i] for every i that sums has."""

    def generate(context, builder, signature, args):
        pairs = zip(unpack(builder, args[0], len(sums)), unpack(builder, args[1], len(sums)), strict=True)
        return pack(context, builder, sums, [builder.fadd(s, v) for s, v in pairs])

    return sums(sums, values), generate


@intrinsic
def load_each(typing, like, array, index, stride):
    """One Vector per element of the tuple `like`: from index, index + stride, ..."""
    kind = types.UniTuple(vector, len(like))

    def generate(context, builder, signature, args):
        values, at = [], args[2]
        for _ in range(len(like)):
            values.append(builder.load(pointer_to(context, builder, array, args[1], at, FLOATS), align=4))
            at = builder.add(at, args[3])
        return pack(context, builder, kind, values)

    return kind(like, array, types.intp, types.intp), generate


@intrinsic
def splat_each(typing, like, array, index):
    """One Vector per element of the tuple `like`: array[index], array[index + 1], ... in every lane."""
    kind = types.UniTuple(vector, len(like))

    def generate(context, builder, signature, args):
        values = []
        for i in range(len(like)):
            at = builder.add(args[2], ir.Constant(args[2].type, i))
            values.append(
                broadcast(builder, builder.load(pointer_to(context, builder, array, args[1], at, FLOAT), align=4))
            )
        return pack(context, builder, kind, values)

    return kind(like, array, types.intp), generate


@intrinsic
def multiply_add_each(typing, sums, factor, values):
    """sums[i] + factor * values[i] for every i."""

    def generate(context, builder, signature, args):
        pairs = zip(unpack(builder, args[0], len(sums)), unpack(builder, args[2], len(sums)), strict=True)
        return pack(context, builder, sums, [builder.fadd(s, builder.fmul(args[1], v)) for s, v in pairs])

    return sums(sums, vector, sums), generate


@intrinsic
def dot(typing, start, a, b):
    """start + the sum of a[i] * b[i]."""

    def generate(context, builder, signature, args):
        total = args[0]
        for x, y in zip(unpack(builder, args[1], len(a)), unpack(builder, args[2], len(a)), strict=True):
            total = builder.fadd(total, builder.fmul(x, y))
        return total

    return vector(vector, a, a), generate


@intrinsic
def power_of_two(typing, value, squarings):
    """The value squared len(squarings) times."""

    def generate(context, builder, signature, args):
        result = args[0]
        for _ in range(len(squarings)):
            result = builder.fmul(result, result)
        return result

    return vector(vector, squarings), generate


def _transpose_sum(builder, vectors):
    """Up to LANES vectors to one whose lane j is the sum of vector j, in about one addition each.

    Fold by fold: lanes whose number has the fold's bit clear sum the pair's first vector, the others its second.
    """
    count = 1
    while count < len(vectors):
        count *= 2
    vectors = vectors + [None] * (count - len(vectors))
    bit = 1
    while len(vectors) > 1:
        folded: list[ir.Value | None] = []
        for a, b in zip(vectors[::2], vectors[1::2], strict=True):
            if a is None:
                folded.append(None)
                continue
            b = ir.Constant(FLOATS, [0.0] * LANES) if b is None else b
            keep = [lane if not lane & bit else LANES + (lane ^ bit) for lane in range(LANES)]
            swap = [lane ^ bit if not lane & bit else LANES + lane for lane in range(LANES)]
            folded.append(builder.fadd(shuffle(builder, a, b, keep), shuffle(builder, a, b, swap)))
        vectors, bit = folded, bit * 2
    total = vectors[0]
    while bit < LANES:
        total = builder.fadd(total, shuffle(builder, total, total, [lane ^ bit for lane in range(LANES)]))
        bit *= 2
    return total


def _store_first(builder, pointer, value, count):
    if count == LANES:
        builder.store(value, pointer, align=4)
        return
    name = f"llvm.masked.store.v{LANES}f32.p0"
    function = external(builder, name, ir.VoidType(), [FLOATS, pointer.type, INT, BITS])
    first = ir.Constant(BITS, [1] * count + [0] * (LANES - count))
    builder.call(function, [value, pointer, ir.Constant(INT, 4), first])


@intrinsic
def store_sums(typing, array, index, vectors):
    """Write the sum of each Vector of a tuple: array[index + i] = sum of lanes of vectors[i]; nothing beyond."""

    def generate(context, builder, signature, args):
        values = unpack(builder, args[2], len(vectors))
        for start in range(0, len(values), LANES):
            part = values[start : start + LANES]
            at = builder.add(args[1], ir.Constant(args[1].type, start))
            pointer = pointer_to(context, builder, array, args[0], at, FLOATS)
            _store_first(builder, pointer, _transpose_sum(builder, part), len(part))
        return context.get_dummy_value()

    return types.void(array, types.intp, vectors), generate
