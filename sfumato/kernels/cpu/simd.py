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
    "BITS",
    "FLOAT",
    "FLOATS",
    "INDICES",
    "INT",
    "LANES",
    "any_lane",
    "bits_of",
    "broadcast",
    "exponential",
    "external",
    "first_bit",
    "greater_of",
    "lesser_of",
    "logarithm2",
    "mask",
    "pack",
    "pointer_to",
    "scalar",
    "select",
    "shuffle",
    "splat",
    "square_root",
    "sum_lanes",
    "unpack",
    "vector",
    "zeros",
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

FLOAT, INT = ir.FloatType(), ir.IntType(32)
FLOATS = ir.VectorType(FLOAT, LANES)
BITS = ir.VectorType(ir.IntType(1), LANES)
INDICES = ir.VectorType(INT, LANES)


class _Vector(types.Type):
    def __init__(self):
        super().__init__(name=f"Vector{LANES}")


class _Mask(types.Type):
    def __init__(self):
        super().__init__(name=f"Mask{LANES}")


vector, mask = _Vector(), _Mask()
scalar = types.float32


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, frontend):
        super().__init__(manager, frontend, FLOATS)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, frontend):
        super().__init__(manager, frontend, BITS)


# ---- building blocks in LLVM


def shuffle(builder, a, b, lanes):
    """The lanes of two vectors picked by number; those of b count on from a's."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT, len(lanes)), lanes))


def broadcast(builder, value):
    """A float in every lane."""
    undefined = ir.Constant(FLOATS, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(INT, 0))
    return shuffle(builder, first, undefined, [0] * LANES)


def pointer_to(context, builder, array_type, array, index, pointee):
    """The address of array[index] as a pointer to `pointee`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.PointerType(pointee))


def external(builder, name, result, arguments):
    """LLVM's function of that name, declared where it is not yet."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def unpack(builder, tuple_value, count):
    """A tuple's values."""
    return [builder.extract_value(tuple_value, i) for i in range(count)]


def pack(context, builder, kind, values):
    """Values as a tuple of that kind."""
    return context.make_tuple(builder, kind, values)


# ---- operators: a Vector with a Vector or a float32


def _arithmetic(operation, instruction):
    @infer_global(operation)
    class _Template(ConcreteTemplate):
        cases = [  # noqa: RUF012
            signature(vector, vector, vector),
            signature(vector, vector, scalar),
            signature(vector, scalar, vector),
        ]

    def lower(context, builder, signature, args):
        a, b = (
            arg if kind is vector else broadcast(builder, arg) for kind, arg in zip(signature.args, args, strict=True)
        )
        return getattr(builder, instruction)(a, b)

    for kinds in ((vector, vector), (vector, scalar), (scalar, vector)):
        lower_builtin(operation, *kinds)(lower)


def _comparison(operation, sign):
    @infer_global(operation)
    class _Template(ConcreteTemplate):
        cases = [signature(mask, vector, vector), signature(mask, vector, scalar)]  # noqa: RUF012

    def lower(context, builder, signature, args):
        a, b = args
        return builder.fcmp_ordered(sign, a, b if signature.args[1] is vector else broadcast(builder, b))

    for kinds in ((vector, vector), (vector, scalar)):
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
    return builder.fsub(ir.Constant(FLOATS, [-0.0] * LANES), args[0])


@infer_global(operator.and_)
class _And(ConcreteTemplate):
    cases = [signature(mask, mask, mask)]  # noqa: RUF012


@lower_builtin(operator.and_, mask, mask)
def _lower_and(context, builder, signature, args):
    return builder.and_(*args)


# ---- lanes


@intrinsic
def splat(typing, value):
    """The same float32 in every lane."""
    return vector(scalar), lambda context, builder, signature, args: broadcast(builder, args[0])


@intrinsic
def zeros(typing):
    """0 in every lane."""
    return vector(), lambda context, builder, signature, args: ir.Constant(FLOATS, [0.0] * LANES)


@intrinsic
def select(typing, condition, a, b):
    """Lane by lane, a where the condition holds, else b."""
    return vector(mask, vector, vector), lambda context, builder, signature, args: builder.select(*args)


def _extreme(sign):
    """Lane by lane, the one of two (at most one of them a float32) that is to the `sign` side."""

    def typed(typing, a, b):
        def generate(context, builder, signature, args):
            a, b = (
                arg if kind is vector else broadcast(builder, arg)
                for kind, arg in zip(signature.args, args, strict=True)
            )
            return builder.select(builder.fcmp_ordered(sign, a, b), a, b)

        return vector(a, b), generate

    return intrinsic(typed)


lesser_of, greater_of = _extreme("<"), _extreme(">")


@intrinsic
def square_root(typing, value):
    """Lane by lane."""

    def generate(context, builder, signature, args):
        function = external(builder, f"llvm.sqrt.v{LANES}f32", FLOATS, [FLOATS])
        return builder.call(function, args)

    return vector(vector), generate


@intrinsic
def _exponent_and_mantissa(typing, value):
    """e and m with value = m 2^e and m in [1, 2), of positive normal numbers."""

    def generate(context, builder, signature, args):
        bits = builder.bitcast(args[0], INDICES)
        exponent = builder.sub(builder.lshr(bits, _whole(23)), _whole(127))
        mantissa = builder.or_(builder.and_(bits, _whole(0x7FFFFF)), _whole(127 << 23))
        parts = [builder.sitofp(exponent, FLOATS), builder.bitcast(mantissa, FLOATS)]
        return pack(context, builder, signature.return_type, parts)

    return types.UniTuple(vector, 2)(vector), generate


@intrinsic
def _times_power_of_two(typing, value, exponent):
    """value 2^exponent for whole exponents from -126 to 127."""

    def generate(context, builder, signature, args):
        bits = builder.shl(builder.add(builder.fptosi(args[1], INDICES), _whole(127)), _whole(23))
        return builder.fmul(args[0], builder.bitcast(bits, FLOATS))

    return vector(vector, vector), generate


@intrinsic
def _nearest_whole(typing, value):
    """Rounded to whole numbers."""

    def generate(context, builder, signature, args):
        return builder.call(external(builder, f"llvm.rint.v{LANES}f32", FLOATS, [FLOATS]), args)

    return vector(vector), generate


def _whole(number):
    return ir.Constant(INDICES, [number] * LANES)


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
            total = builder.fadd(total, shuffle(builder, total, total, [(i + width) % LANES for i in range(LANES)]))
        return builder.extract_element(total, ir.Constant(INT, 0))

    return scalar(vector), generate
