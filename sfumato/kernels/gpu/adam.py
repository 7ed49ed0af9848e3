"""Gradients to a step of Adam (Kingma and Ba 2015) in place: field by field, or from the splats in one pass.

A program of `_adam_from_splats` has BLOCK Gaussians, one per thread as long as gradients are computed. Then it walks
over each field's own memory with one number per thread, neighbours side by side, so that every number and its two
moments are read and written once, 128 bytes at a time; the gradients change hands through shared memory (tl.gather).
A number belongs to one program only: no atomics, and the result has the same bits on every run. Within a program, what
one thread has read for gradients another one steps; the exchange's barriers lie between, for gradients of a block's
rows are all computed before the first of them changes hands.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.gpu.launch import check, checked, cover, launch
from sfumato.kernels.gpu.lens import pull_back
from sfumato.kernels.gpu.math import reciprocal
from sfumato.kernels.gpu.memory import load_rows, side_by_side
from sfumato.kernels.gpu.project import color_gradients
from sfumato.kernels.lens import least_alpha, lens_of
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings, Splats

__all__ = ["adam", "adam_from_splats"]

NUMBERS = 1024  # of one field, per program of _adam
BLOCK = 64  # Gaussians per program of _adam_from_splats
CHUNK = 512  # numbers of shN that it moves at once; more would not fit in registers
WARPS = 2
# Where a field begins, as a number that Triton does not know: it then gives neighbours in memory to neighbouring
# threads. If it knew how they are aligned it would give each thread four, which the masks, that may cut between any
# two, break into four accesses of 16 bytes apart.
ORIGIN = 0
C0: tl.constexpr = tl.constexpr(harmonics.C0)


class _Step(NamedTuple):
    """One step's numbers; they are few, for a kernel holds every number it is given in a register."""

    beta1: float
    beta2: float
    rest1: float  # 1 - beta1
    rest2: float
    epsilon: float
    unbias: float  # 1 / (1 - beta2^count)
    unbias_shN: float  # the same, where shN has taken fewer steps


def _step_of(step: AdamStep) -> _Step:
    unbias = [1 / (1 - step.beta2 ** step.count_of(field)) for field in ("means", "shN")]
    return _Step(step.beta1, step.beta2, 1 - step.beta1, 1 - step.beta2, step.epsilon, *unbias)


def _rates_of(step: AdamStep) -> Rates:
    """The rates over 1 - beta1^count, which makes the first moments unbiased."""
    pairs = zip(Rates._fields, step.rates, strict=True)
    return Rates(*(rate / (1 - step.beta1 ** step.count_of(field)) for field, rate in pairs))


def adam(gaussians: Gaussians, moments: Moments, step: AdamStep) -> None:
    """See `stages.Backend.adam`."""
    N = len(gaussians)
    gradients = {name: getattr(gaussians, name).grad for name in gaussians.names()}
    gradients = {name: g for name, g in gradients.items() if g is not None and g.numel()}
    touched = torch.zeros(N if step.sparse else 0, dtype=torch.bool, device=gaussians.means.device)
    for gradient in gradients.values():
        if step.sparse:
            touched |= (gradient.reshape(N, -1) != 0).any(dim=1)
    s, rates = _step_of(step), _rates_of(step)
    for name, gradient in gradients.items():
        parts = _in_place(*(getattr(part, name) for part in (gaussians, moments.mean, moments.square)))
        width = gradient.numel() // N
        moved, unbias = (step.moved_of(width), s.unbias_shN) if name == "shN" else (width, s.unbias)
        launch(
            _adam, (cover(gradient.numel(), NUMBERS),), gradient.numel(), ORIGIN, s, unbias, getattr(rates, name),
            *parts, *checked(gradient), touched if step.sparse else None, WIDTH=width, MOVED=moved, BLOCK=NUMBERS,
        )  # fmt: skip


def _in_place(*tensors: Tensor) -> tuple[Tensor, ...]:
    check(*tensors)
    for tensor in tensors:
        if not tensor.is_contiguous():
            raise InputError("Adam steps in place, so Gaussians and moments must be contiguous; use .contiguous()")
    return tensors


@triton.jit
def _move(values, means, squares, at, mask, gradient, rate, unbias, s, PTX: tl.constexpr):
    """Step the numbers at `at`, Algorithm 1 of Kingma and Ba 2015; what is masked is neither read nor written."""
    mean = tl.load(means + at, mask=mask, other=0.0) * s.beta1 + gradient * s.rest1
    square = tl.load(squares + at, mask=mask, other=0.0) * s.beta2 + (gradient * gradient) * s.rest2
    value = tl.load(values + at, mask=mask, other=0.0)
    change = mean * rate * reciprocal(tl.sqrt(square * unbias) + s.epsilon, PTX)
    tl.store(values + at, value - change, mask=mask)
    tl.store(means + at, mean, mask=mask)
    tl.store(squares + at, square, mask=mask)


@triton.jit(do_not_specialize=["count", "origin"])
def _adam(
    count, origin, s, unbias, rate, values, means, squares, gradients, touched,
    WIDTH: tl.constexpr, MOVED: tl.constexpr, BLOCK: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """`count` numbers of one field, WIDTH a row, whose first MOVED are stepped; where touched is given, in its rows."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    at = first + (origin + tl.arange(0, BLOCK))
    mask = at < count
    if MOVED < WIDTH:
        mask &= at % WIDTH < MOVED
    if touched is not None:
        mask &= tl.load(touched + at // WIDTH, mask=mask, other=0) != 0
    gradient = tl.load(gradients + at, mask=mask, other=0.0)
    _move(values, means, squares, at, mask, gradient, rate, unbias, s, PTX)


def adam_from_splats(
    gaussians: Gaussians,
    splats: Splats,
    camera: Camera,
    settings: RenderSettings,
    moments: Moments,
    step: AdamStep,
) -> None:
    """See `stages.Backend.adam_from_splats`: each of a Gaussian's 59 numbers is read and written once."""
    N, width = len(gaussians), 3 * gaussians.shN.shape[1]
    if N == 0:
        return
    names = ("means2d", "conics", "depths", "colors", "opacities")
    launch(
        _adam_from_splats, (cover(N, BLOCK),), N, ORIGIN, lens_of(camera, settings, least_alpha(settings)),
        _step_of(step), _rates_of(step),
        _in_place(*gaussians), _in_place(*moments.mean), _in_place(*moments.square),
        tuple(_gradient(field) for field in gaussians), *checked(splats.radii, splats.colors),
        *(_gradient(getattr(splats, name)) for name in names),
        DEGREE=settings.degree_of(gaussians), WIDTH=width, MOVED=step.moved_of(width),
        ANTIALIASED=settings.antialiased, SPARSE=step.sparse, BLOCK=BLOCK, CHUNK=CHUNK, warps=WARPS,
    )  # fmt: skip


def _gradient(tensor: Tensor) -> Tensor | None:
    return None if tensor.grad is None or not tensor.numel() else checked(tensor.grad)[0]


@triton.jit
def _gradient_rows(table, first, row, mask, COUNT: tl.constexpr):
    """load_rows of a gradient's COUNT columns; zeros where there is none."""
    if table is None:
        numbers = ()
        for _ in tl.static_range(COUNT):
            numbers += (tl.zeros_like(row).to(tl.float32),)
    else:
        numbers = load_rows(table, first, row, COUNT, mask, COUNT)
    return numbers


@triton.jit
def _joined(a, b, c, d):
    """Four blocks (R,) as the columns of one (R, 4)."""
    return tl.join(tl.join(a, c), tl.join(b, d)).reshape(a.shape[0], 4)


@triton.jit
def _table(basis, PITCH: tl.constexpr):
    """A tuple of blocks (R,) as the columns of one (R, PITCH), 16 or 32, with zeros behind."""
    columns = basis
    for _ in tl.static_range(PITCH - len(basis)):
        columns += (tl.zeros_like(basis[0]),)
    if PITCH == 16:
        table = side_by_side(columns, 0)
    else:
        table = tl.join(side_by_side(columns[::2], 0), side_by_side(columns[1::2], 0)).reshape(basis[0].shape[0], 32)
    return table


@triton.jit
def _move_rows(
    n: tl.constexpr, parts, own, first, gradient, moving, rate, s, WIDTH: tl.constexpr, PTX: tl.constexpr
):  # fmt: skip
    """Step a block's rows of field n, WIDTH numbers each; gradient is (BLOCK, 4)."""
    row, column = tl.arange(0, gradient.shape[0])[:, None], tl.arange(0, 4)[None, :]
    at, mask = row * WIDTH + column, moving[:, None] & (column < WIDTH)
    _move_some(n, parts, own, first * WIDTH, at, mask, gradient, rate, s.unbias, s, PTX)


@triton.jit
def _move_some(
    n: tl.constexpr, parts, own, base, at, mask, gradient, rate, unbias, s, PTX: tl.constexpr
):  # fmt: skip
    """Step the numbers of field n at base + at, with a penalty's own gradient where there is one."""
    if own[n] is not None:
        gradient += tl.load(own[n] + base + at, mask=mask, other=0.0)
    _move(parts[0][n] + base, parts[1][n] + base, parts[2][n] + base, at, mask, gradient, rate, unbias, s, PTX)


@triton.jit(do_not_specialize=["N", "origin"])
def _adam_from_splats(
    N, origin, lens, s, rates, fields, first_moments, second_moments, own,
    radii, colors, g_means2d, g_conics, g_depths, g_colors, g_opacities,
    DEGREE: tl.constexpr, WIDTH: tl.constexpr, MOVED: tl.constexpr, ANTIALIASED: tl.constexpr, SPARSE: tl.constexpr,
    BLOCK: tl.constexpr, CHUNK: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """Gradients of a block's rows, then Adam over each field's own memory; of shN's WIDTH a row, the first MOVED."""
    first, row = tl.program_id(0).to(tl.int64) * BLOCK, tl.arange(0, BLOCK)
    inside = first + row < N
    seen = tl.load(radii + first * 2 + row * 2, mask=inside, other=0.0) > 0
    moving = seen if SPARSE else inside

    means, quats, log_scales, logits, _, shN = fields
    mx, my, mz = load_rows(means, first, row, 3, seen, 3)
    qw, qx, qy, qz = load_rows(quats, first, row, 4, seen, 4)
    log_scale, logit = load_rows(log_scales, first, row, 3, seen, 3), load_rows(logits, first, row, 1, seen, 1)
    # the unseen, read as 0, are put where every number is finite: before the camera; their gradients come out as 0
    mx, my = tl.where(seen, mx, lens.px + lens.r20), tl.where(seen, my, lens.py + lens.r21)
    mean, quat = (mx, my, tl.where(seen, mz, lens.pz + lens.r22)), (tl.where(seen, qw, 1.0), qx, qy, qz)
    mean2d, conic = _gradient_rows(g_means2d, first, row, seen, 2), _gradient_rows(g_conics, first, row, seen, 3)
    depth, opacity = _gradient_rows(g_depths, first, row, seen, 1), _gradient_rows(g_opacities, first, row, seen, 1)
    g, _ = pull_back(lens, mean, quat, log_scale, logit[0], mean2d + conic + depth + opacity, ANTIALIASED)
    color, g_color = load_rows(colors, first, row, 3, seen, 3), _gradient_rows(g_colors, first, row, seen, 3)
    v, basis, shade = color_gradients(lens, mean, color, g_color, shN, first, row, WIDTH, seen, DEGREE)

    parts, zero = (fields, first_moments, second_moments), tl.zeros_like(mx)
    shades = _joined(shade[0], shade[1], shade[2], zero)
    g_means = _joined(g[0] + v[0], g[1] + v[1], g[2] + v[2], zero)
    _move_rows(0, parts, own, first, g_means, moving, rates.means, s, 3, PTX)
    _move_rows(1, parts, own, first, _joined(g[6], g[7], g[8], g[9]), moving, rates.quats, s, 4, PTX)
    _move_rows(2, parts, own, first, _joined(g[3], g[4], g[5], zero), moving, rates.log_scales, s, 3, PTX)
    _move_some(3, parts, own, first, row, moving, g[10], rates.logit_opacities, s.unbias, s, PTX)
    _move_rows(4, parts, own, first, shades * C0, moving, rates.sh0, s, 3, PTX)

    if MOVED > 0:
        PITCH: tl.constexpr = 16 if WIDTH < 48 else 32
        table, shades = _table(basis, PITCH).reshape(BLOCK * PITCH), shades.reshape(BLOCK * 4)
        whole = moving.to(tl.int32)
        for start in range(0, BLOCK * WIDTH, CHUNK):
            at = start + tl.arange(0, CHUNK)
            i, number = tl.minimum(at // WIDTH, BLOCK - 1), at % WIDTH
            mask = (at < BLOCK * WIDTH) & (number < MOVED) & (tl.gather(whole, i, 0) != 0)
            gradient = tl.gather(table, i * PITCH + number // 3 + 1, 0) * tl.gather(shades, i * 4 + number % 3, 0)
            _move_some(5, parts, own, first * WIDTH + origin, at, mask, gradient, rates.shN, s.unbias_shN, s, PTX)
