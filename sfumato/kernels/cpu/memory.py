"""Between arrays and vectors: loads, stores, gathers, prefetches.

Arrays are contiguous and, but for gather's, one-dimensional; indices count elements.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sfumato.kernels.cpu.simd import (
    BITS,
    FLOAT,
    FLOATS,
    INDICES,
    INT,
    LANES,
    external,
    pointer_to,
    scalar,
    shuffle,
    vector,
)

__all__ = ["address", "copy_four", "gather", "load", "load_some", "prefetch", "read", "store", "store_some"]


@intrinsic
def load(typing, array, index):
    """LANES numbers from `index` on; uint8 numbers arrive as their 255th part."""

    def generate(context, builder, signature, args):
        if array.dtype == types.uint8:
            packed = ir.VectorType(ir.IntType(8), LANES)
            loaded = builder.load(pointer_to(context, builder, array, args[0], args[1], packed), align=1)
            return builder.fmul(builder.uitofp(loaded, FLOATS), ir.Constant(FLOATS, [1 / 255] * LANES))
        return builder.load(pointer_to(context, builder, array, args[0], args[1], FLOATS), align=4)

    return vector(array, types.intp), generate


@intrinsic
def gather(typing, array, first, last, column):
    """Column `column` of LANES rows of a two-dimensional array from row `first` on, no further than row `last`."""

    def generate(context, builder, signature, args):
        table = context.make_array(array)(context, builder, args[0])
        width = builder.extract_value(table.shape, 1)
        result, row = ir.Constant(FLOATS, ir.Undefined), args[1]
        for lane in range(LANES):
            at = builder.add(builder.mul(row, width), args[3])
            number = builder.load(builder.gep(table.data, [at]), align=4)
            result = builder.insert_element(result, number, ir.Constant(INT, lane))
            next_row = builder.add(row, ir.Constant(row.type, 1))
            row = builder.select(builder.icmp_signed("<", next_row, args[2]), next_row, args[2])
        return result

    return vector(array, types.intp, types.intp, types.intp), generate


@intrinsic
def store(typing, array, index, value):
    """Write LANES numbers from `index` on."""

    def generate(context, builder, signature, args):
        builder.store(args[2], pointer_to(context, builder, array, args[0], args[1], FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _first(builder, count):
    """A mask of the first `count` lanes, maybe all."""
    numbers = ir.Constant(INDICES, list(range(LANES)))
    few = builder.trunc(count, INT)
    wanted = builder.insert_element(ir.Constant(INDICES, ir.Undefined), few, ir.Constant(INT, 0))
    return builder.icmp_signed("<", numbers, shuffle(builder, wanted, wanted, [0] * LANES))


@intrinsic
def load_some(typing, array, index, count):
    """The first `count` of LANES numbers from `index` on, 0 in the other lanes; nothing beyond is touched."""

    def generate(context, builder, signature, args):
        pointer = pointer_to(context, builder, array, args[0], args[1], FLOATS)
        function = external(builder, f"llvm.masked.load.v{LANES}f32.p0", FLOATS, [pointer.type, INT, BITS, FLOATS])
        nothing = ir.Constant(FLOATS, [0.0] * LANES)
        return builder.call(function, [pointer, ir.Constant(INT, 4), _first(builder, args[2]), nothing])

    return vector(array, types.intp, types.intp), generate


@intrinsic
def store_some(typing, array, index, value, count):
    """Write the first `count` lanes from `index` on, and nothing beyond."""

    def generate(context, builder, signature, args):
        pointer = pointer_to(context, builder, array, args[0], args[1], FLOATS)
        function = external(
            builder, f"llvm.masked.store.v{LANES}f32.p0", ir.VoidType(), [FLOATS, pointer.type, INT, BITS]
        )
        builder.call(function, [args[2], pointer, ir.Constant(INT, 4), _first(builder, args[3])])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def read(typing, array, index):
    """One number, without the check for a negative index."""

    def generate(context, builder, signature, args):
        return builder.load(pointer_to(context, builder, array, args[0], args[1], FLOAT), align=4)

    return scalar(array, types.intp), generate


@intrinsic
def prefetch(typing, array, index):
    """Ask for the cache line of array[index], which will be read soon."""

    def generate(context, builder, signature, args):
        byte = ir.PointerType(ir.IntType(8))
        function = external(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, INT, INT, INT])
        to_read, keep, data = (ir.Constant(INT, number) for number in (0, 3, 1))
        builder.call(
            function, [pointer_to(context, builder, array, args[0], args[1], ir.IntType(8)), to_read, keep, data]
        )
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def copy_four(typing, target, at, source, index):
    """target[at : at + 4] = source[index : index + 4]."""
    four = ir.VectorType(FLOAT, 4)

    def generate(context, builder, signature, args):
        value = builder.load(pointer_to(context, builder, source, args[2], args[3], four), align=4)
        builder.store(value, pointer_to(context, builder, target, args[0], args[1], four), align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), generate


@intrinsic
def address(typing, array):
    """Where the array's first element lies in memory."""

    def generate(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), generate
