"""A vector of floats for Numba kernels: arithmetic, masks, loads, stores and sums as plain LLVM instructions.

LLVM's own vectoriser leaves the blend 1.5 to 1.7 times slower, so the kernels say what they want. A `Vector` holds
LANES float32, a `Mask` LANES bits. LANES is 16 with AVX2 (two registers) and AVX-512 (one), 4 elsewhere; the
environment variable SFUMATO_SIMD=4|8|16 forces a width.
"""

import operator
import os

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from sfumato.core.errors import BackendError

__all__ = [
    "LANES",
    "add_first",
    "address",
    "any_lane",
    "bits_of",
    "copy_four",
    "dot",
    "exponential",
    "first_bit",
    "gather",
    "greater_of",
    "lesser_of",
    "load",
    "load_each",
    "load_some",
    "logarithm2",
    "mask",
    "multiply_add_each",
    "power_of_two",
    "prefetch",
    "read",
    "select",
    "splat",
    "splat_each",
    "square_root",
    "store",
    "store_some",
    "store_sums",
    "sum_lanes",
    "vector",
    "zeros",
    "zeros_each",
]


def _lanes() -> int:
    forced = os.environ.get("SFUMATO_SIMD")
    if forced is not None:
        if forced not in ("4", "8", "16"):
            raise BackendError(f"SFUMATO_SIMD must be 4, 8 or 16; got {forced!r}")
        return int(forced)
    if numba.config.CPU_NAME:  # Numba is told to compile for another processor than this one
        return 4
    return 16 if llvm.get_host_cpu_features().get("avx2") else 4


LANES = _lanes()
f = np.float32

_float, _int = ir.FloatType(), ir.IntType(32)
_floats = ir.VectorType(_float, LANES)
_bits = ir.VectorType(ir.IntType(1), LANES)
_indices = ir.VectorType(_int, LANES)


class _Vector(types.Type):
    def __init__(self):
        super().__init__(name=f"Vector{LANES}")


class _Mask(types.Type):
    def __init__(self):
        super().__init__(name=f"Mask{LANES}")


vector, mask = _Vector(), _Mask()
_scalar = types.float32


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, frontend):
        super().__init__(manager, frontend, _floats)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, frontend):
        super().__init__(manager, frontend, _bits)


# ---- building blocks in LLVM


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_int, len(lanes)), lanes))


def _splat(builder, value):
    undefined = ir.Constant(_floats, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_int, 0))
    return _shuffle(builder, first, undefined, [0] * LANES)


def _pointer(context, builder, array_type, array, index, pointee):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.PointerType(pointee))


def _external(builder, name, result, arguments):
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


# ---- operators: a Vector with a Vector or a float32


def _arithmetic(operation, instruction):
    @infer_global(operation)
    class _Template(ConcreteTemplate):
        cases = [  # noqa: RUF012
            signature(vector, vector, vector),
            signature(vector, vector, _scalar),
            signature(vector, _scalar, vector),
        ]

    def lower(context, builder, signature, args):
        a, b = (arg if kind is vector else _splat(builder, arg) for kind, arg in zip(signature.args, args, strict=True))
        return getattr(builder, instruction)(a, b)

    for kinds in ((vector, vector), (vector, _scalar), (_scalar, vector)):
        lower_builtin(operation, *kinds)(lower)


def _comparison(operation, sign):
    @infer_global(operation)
    class _Template(ConcreteTemplate):
        cases = [signature(mask, vector, vector), signature(mask, vector, _scalar)]  # noqa: RUF012

    def lower(context, builder, signature, args):
        a, b = args
        return builder.fcmp_ordered(sign, a, b if signature.args[1] is vector else _splat(builder, b))

    for kinds in ((vector, vector), (vector, _scalar)):
        lower_builtin(operation, *kinds)(lower)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.iadd, "fadd"),
    (operator.sub, "fsub"),
    (operator.isub, "fsub"),
    (operator.mul, "fmul"),
    (operator.imul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_operation, _instruction)
for _operation, _sign in (
    (operator.ge, ">="),
    (operator.gt, ">"),
    (operator.le, "<="),
    (operator.lt, "<"),
    (operator.eq, "=="),
):
    _comparison(_operation, _sign)


@infer_global(operator.neg)
class _Negate(ConcreteTemplate):
    cases = [signature(vector, vector)]  # noqa: RUF012


@lower_builtin(operator.neg, vector)
def _lower_negate(context, builder, signature, args):
    return builder.fsub(ir.Constant(_floats, [-0.0] * LANES), args[0])


@infer_global(operator.and_)
class _And(ConcreteTemplate):
    cases = [signature(mask, mask, mask)]  # noqa: RUF012


@lower_builtin(operator.and_, mask, mask)
def _lower_and(context, builder, signature, args):
    return builder.and_(*args)


# ---- between memory and vectors; arrays are one-dimensional and contiguous, indices count elements


@intrinsic
def load(typing, array, index):
    """LANES numbers from `index` on; uint8 numbers arrive as their 255th part."""

    def generate(context, builder, signature, args):
        if array.dtype == types.uint8:
            packed = ir.VectorType(ir.IntType(8), LANES)
            loaded = builder.load(_pointer(context, builder, array, args[0], args[1], packed), align=1)
            return builder.fmul(builder.uitofp(loaded, _floats), ir.Constant(_floats, [1 / 255] * LANES))
        return builder.load(_pointer(context, builder, array, args[0], args[1], _floats), align=4)

    return vector(array, types.intp), generate


@intrinsic
def gather(typing, array, first, last, column):
    """Column `column` of LANES rows of a two-dimensional array from row `first` on, no further than row `last`."""

    def generate(context, builder, signature, args):
        table = context.make_array(array)(context, builder, args[0])
        width = builder.extract_value(table.shape, 1)
        result, row = ir.Constant(_floats, ir.Undefined), args[1]
        for lane in range(LANES):
            at = builder.add(builder.mul(row, width), args[3])
            number = builder.load(builder.gep(table.data, [at]), align=4)
            result = builder.insert_element(result, number, ir.Constant(_int, lane))
            next_row = builder.add(row, ir.Constant(row.type, 1))
            row = builder.select(builder.icmp_signed("<", next_row, args[2]), next_row, args[2])
        return result

    return vector(array, types.intp, types.intp, types.intp), generate


@intrinsic
def store(typing, array, index, value):
    """Write LANES numbers from `index` on."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, array, args[0], args[1], _floats), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _first(builder, count):
    """A mask of the first `count` lanes, maybe all."""
    numbers = ir.Constant(_indices, list(range(LANES)))
    few = builder.trunc(count, _int)
    wanted = builder.insert_element(ir.Constant(_indices, ir.Undefined), few, ir.Constant(_int, 0))
    return builder.icmp_signed("<", numbers, _shuffle(builder, wanted, wanted, [0] * LANES))


@intrinsic
def load_some(typing, array, index, count):
    """The first `count` of LANES numbers from `index` on, 0 in the other lanes; nothing beyond is touched."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1], _floats)
        function = _external(builder, f"llvm.masked.load.v{LANES}f32.p0", _floats, [pointer.type, _int, _bits, _floats])
        nothing = ir.Constant(_floats, [0.0] * LANES)
        return builder.call(function, [pointer, ir.Constant(_int, 4), _first(builder, args[2]), nothing])

    return vector(array, types.intp, types.intp), generate


@intrinsic
def store_some(typing, array, index, value, count):
    """Write the first `count` lanes from `index` on, and nothing beyond."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1], _floats)
        function = _external(
            builder, f"llvm.masked.store.v{LANES}f32.p0", ir.VoidType(), [_floats, pointer.type, _int, _bits]
        )
        builder.call(function, [args[2], pointer, ir.Constant(_int, 4), _first(builder, args[3])])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def read(typing, array, index):
    """One number, without the check for a negative index."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(context, builder, array, args[0], args[1], _float), align=4)

    return _scalar(array, types.intp), generate


@intrinsic
def prefetch(typing, array, index):
    """Ask for the cache line of array[index], which will be read soon."""

    def generate(context, builder, signature, args):
        byte = ir.PointerType(ir.IntType(8))
        function = _external(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, _int, _int, _int])
        to_read, keep, data = (ir.Constant(_int, number) for number in (0, 3, 1))
        builder.call(
            function, [_pointer(context, builder, array, args[0], args[1], ir.IntType(8)), to_read, keep, data]
        )
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def copy_four(typing, target, at, source, index):
    """target[at : at + 4] = source[index : index + 4]."""
    four = ir.VectorType(_float, 4)

    def generate(context, builder, signature, args):
        value = builder.load(_pointer(context, builder, source, args[2], args[3], four), align=4)
        builder.store(value, _pointer(context, builder, target, args[0], args[1], four), align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), generate


@intrinsic
def address(typing, array):
    """Where the array's first element lies in memory."""

    def generate(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), generate


# ---- lanes


@intrinsic
def splat(typing, value):
    """The same float32 in every lane."""
    return vector(_scalar), lambda context, builder, signature, args: _splat(builder, args[0])


@intrinsic
def zeros(typing):
    """0 in every lane."""
    return vector(), lambda context, builder, signature, args: ir.Constant(_floats, [0.0] * LANES)


@intrinsic
def select(typing, condition, a, b):
    """Lane by lane, a where the condition holds, else b."""
    return vector(mask, vector, vector), lambda context, builder, signature, args: builder.select(*args)


def _extreme(sign):
    """Lane by lane, the one of two (at most one of them a float32) that is to the `sign` side."""

    def typed(typing, a, b):
        def generate(context, builder, signature, args):
            a, b = (
                arg if kind is vector else _splat(builder, arg) for kind, arg in zip(signature.args, args, strict=True)
            )
            return builder.select(builder.fcmp_ordered(sign, a, b), a, b)

        return vector(a, b), generate

    return intrinsic(typed)


lesser_of, greater_of = _extreme("<"), _extreme(">")


@intrinsic
def square_root(typing, value):
    """Lane by lane."""

    def generate(context, builder, signature, args):
        function = _external(builder, f"llvm.sqrt.v{LANES}f32", _floats, [_floats])
        return builder.call(function, args)

    return vector(vector), generate


@intrinsic
def _exponent_and_mantissa(typing, value):
    """e and m with value = m 2^e and m in [1, 2), of positive normal numbers."""

    def generate(context, builder, signature, args):
        bits = builder.bitcast(args[0], _indices)
        exponent = builder.sub(builder.lshr(bits, _whole(23)), _whole(127))
        mantissa = builder.or_(builder.and_(bits, _whole(0x7FFFFF)), _whole(127 << 23))
        parts = [builder.sitofp(exponent, _floats), builder.bitcast(mantissa, _floats)]
        return _pack(context, builder, signature.return_type, parts)

    return types.UniTuple(vector, 2)(vector), generate


@intrinsic
def _times_power_of_two(typing, value, exponent):
    """value 2^exponent for whole exponents from -126 to 127."""

    def generate(context, builder, signature, args):
        bits = builder.shl(builder.add(builder.fptosi(args[1], _indices), _whole(127)), _whole(23))
        return builder.fmul(args[0], builder.bitcast(bits, _floats))

    return vector(vector, vector), generate


@intrinsic
def _nearest_whole(typing, value):
    """Rounded to whole numbers."""

    def generate(context, builder, signature, args):
        return builder.call(_external(builder, f"llvm.rint.v{LANES}f32", _floats, [_floats]), args)

    return vector(vector), generate


def _whole(number):
    return ir.Constant(_indices, [number] * LANES)


@numba.njit(nogil=True, forceinline=True, _nrt=False, fastmath={"contract"})
def exponential(value):
    """e^value, relative error 2e-7; clamped to what float32 can hold."""
    x = lesser_of(greater_of(value, f(-87.0)), f(88.0)) * f(1.4426950408889634)
    whole = _nearest_whole(x)
    y = x - whole  # in [-1/2, 1/2]: the Taylor series of 2^y
    series = ((y * f(1.5403530e-4) + f(1.3333558e-3)) * y + f(9.6181291e-3)) * y + f(5.5504109e-2)
    series = ((series * y + f(2.4022651e-1)) * y + f(6.9314718e-1)) * y + f(1.0)
    return _times_power_of_two(series, whole)


@numba.njit(nogil=True, forceinline=True, _nrt=False, fastmath={"contract"})
def logarithm2(value):
    """log2 of positive normal numbers, absolute error 2e-7 near 1."""
    exponent, m = _exponent_and_mantissa(value)
    large = m > f(1.4142135)
    m = select(large, m * f(0.5), m)
    exponent = select(large, exponent + f(1.0), exponent)
    t = (m - f(1.0)) / (m + f(1.0))  # ln m = 2 artanh t
    tt = t * t
    series = ((tt * f(1 / 9) + f(1 / 7)) * tt + f(1 / 5)) * tt + f(1 / 3)
    return (series * tt + f(1.0)) * t * f(2.885390082) + exponent


@intrinsic
def any_lane(typing, condition):
    """True if the condition holds in any lane."""

    def generate(context, builder, signature, args):
        word = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], word), ir.Constant(word, 0))

    return types.boolean(mask), generate


@intrinsic
def bits_of(typing, condition):
    """The mask as an integer, lane 0 in bit 0."""

    def generate(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(mask), generate


@intrinsic
def first_bit(typing, bits):
    """Position of the lowest bit that is set, of an integer that is not 0."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def sum_lanes(typing, value):
    """The sum of all lanes."""

    def generate(context, builder, signature, args):
        total, width = args[0], LANES
        while width > 1:
            width //= 2
            total = builder.fadd(total, _shuffle(builder, total, total, [(i + width) % LANES for i in range(LANES)]))
        return builder.extract_element(total, ir.Constant(_int, 0))

    return _scalar(vector), generate


# ---- tuples: one Vector per blended channel, in registers, whatever their number


def _unpack(builder, tuple_value, count):
    return [builder.extract_value(tuple_value, i) for i in range(count)]


def _pack(context, builder, kind, values):
    return context.make_tuple(builder, kind, values)


@intrinsic
def zeros_each(typing, like):
    """One Vector of zeros per element of the tuple `like`."""
    kind = types.UniTuple(vector, len(like))

    def generate(context, builder, signature, args):
        return _pack(context, builder, kind, [ir.Constant(_floats, [0.0] * LANES)] * len(like))

    return kind(like), generate


@intrinsic
def add_first(typing, sums, values):
    """sums[i] + values[i] for every i that sums has."""

    def generate(context, builder, signature, args):
        pairs = zip(_unpack(builder, args[0], len(sums)), _unpack(builder, args[1], len(sums)), strict=True)
        return _pack(context, builder, sums, [builder.fadd(s, v) for s, v in pairs])

    return sums(sums, values), generate


@intrinsic
def load_each(typing, like, array, index, stride):
    """One Vector per element of the tuple `like`: from index, index + stride, ..."""
    kind = types.UniTuple(vector, len(like))

    def generate(context, builder, signature, args):
        values, at = [], args[2]
        for _ in range(len(like)):
            values.append(builder.load(_pointer(context, builder, array, args[1], at, _floats), align=4))
            at = builder.add(at, args[3])
        return _pack(context, builder, kind, values)

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
                _splat(builder, builder.load(_pointer(context, builder, array, args[1], at, _float), align=4))
            )
        return _pack(context, builder, kind, values)

    return kind(like, array, types.intp), generate


@intrinsic
def multiply_add_each(typing, sums, factor, values):
    """sums[i] + factor * values[i] for every i."""

    def generate(context, builder, signature, args):
        pairs = zip(_unpack(builder, args[0], len(sums)), _unpack(builder, args[2], len(sums)), strict=True)
        return _pack(context, builder, sums, [builder.fadd(s, builder.fmul(args[1], v)) for s, v in pairs])

    return sums(sums, vector, sums), generate


@intrinsic
def dot(typing, start, a, b):
    """start + the sum of a[i] * b[i]."""

    def generate(context, builder, signature, args):
        total = args[0]
        for x, y in zip(_unpack(builder, args[1], len(a)), _unpack(builder, args[2], len(a)), strict=True):
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
            b = ir.Constant(_floats, [0.0] * LANES) if b is None else b
            keep = [lane if not lane & bit else LANES + (lane ^ bit) for lane in range(LANES)]
            swap = [lane ^ bit if not lane & bit else LANES + lane for lane in range(LANES)]
            folded.append(builder.fadd(_shuffle(builder, a, b, keep), _shuffle(builder, a, b, swap)))
        vectors, bit = folded, bit * 2
    total = vectors[0]
    while bit < LANES:
        total = builder.fadd(total, _shuffle(builder, total, total, [lane ^ bit for lane in range(LANES)]))
        bit *= 2
    return total


def _store_first(builder, pointer, value, count):
    if count == LANES:
        builder.store(value, pointer, align=4)
        return
    name = f"llvm.masked.store.v{LANES}f32.p0"
    function = _external(builder, name, ir.VoidType(), [_floats, pointer.type, _int, _bits])
    first = ir.Constant(_bits, [1] * count + [0] * (LANES - count))
    builder.call(function, [value, pointer, ir.Constant(_int, 4), first])


@intrinsic
def store_sums(typing, array, index, vectors):
    """Write the sum of each Vector of a tuple: array[index + i] = sum of lanes of vectors[i]; nothing beyond."""

    def generate(context, builder, signature, args):
        values = _unpack(builder, args[2], len(vectors))
        for start in range(0, len(values), LANES):
            part = values[start : start + LANES]
            at = builder.add(args[1], ir.Constant(args[1].type, start))
            pointer = _pointer(context, builder, array, args[0], at, _floats)
            _store_first(builder, pointer, _transpose_sum(builder, part), len(part))
        return context.get_dummy_value()

    return types.void(array, types.intp, vectors), generate
