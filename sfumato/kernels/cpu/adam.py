"""Gradients to a step of Adam (Kingma and Ba 2015) in place: field by field, or from the splats in one pass."""

from typing import Any, NamedTuple

import numpy as np
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.cpu.arrays import numbers
from sfumato.kernels.cpu.lens import lens_of, pull_back
from sfumato.kernels.cpu.memory import load, load_some, store, store_some
from sfumato.kernels.cpu.project import STORED, bases_used, color_gradients, rows, splat_gradients
from sfumato.kernels.cpu.simd import LANES, square_root
from sfumato.kernels.cpu.threads import helper, kernel, launch, take, workspace
from sfumato.kernels.lens import least_alpha
from sfumato.kernels.stages import AdamStep, Moments, RenderSettings, Splats

__all__ = ["adam", "adam_from_splats"]

BLOCK = 64  # Gaussians; their gradients stay in the first-level cache
f = np.float32
ZERO = f(0)


class _Step(NamedTuple):
    """One step's numbers as float32."""

    beta1: np.float32
    beta2: np.float32
    rest1: np.float32  # 1 - beta1
    rest2: np.float32
    unbias1: np.float32  # 1 / (1 - beta1^count)
    unbias2: np.float32
    epsilon: np.float32


def _step_of(step: AdamStep, field: str) -> _Step:
    count = step.count_of(field)
    unbias1, unbias2 = 1 / (1 - step.beta1**count), 1 / (1 - step.beta2**count)
    values = (step.beta1, step.beta2, 1 - step.beta1, 1 - step.beta2, unbias1, unbias2, step.epsilon)
    return _Step(*(f(value) for value in values))


def adam(gaussians: Gaussians, moments: Moments, step: AdamStep) -> None:
    """See `stages.Backend.adam`."""
    N = len(gaussians)
    gradients = {name: tensor.grad for name, tensor in zip(gaussians.names(), gaussians, strict=True)}
    touched = torch.zeros(N, dtype=torch.bool)
    for gradient in gradients.values():
        if gradient is not None and step.sparse:
            touched |= (gradient.reshape(N, -1) != 0).any(dim=1)
    for name, gradient in gradients.items():
        if gradient is None or gradient.numel() == 0:
            continue
        width = gradient.numel() // N
        fields = (getattr(part, name) for part in (gaussians, moments.mean, moments.square))
        arrays = (*_in_place(*fields), *numbers(gradient))
        rate, moved = f(getattr(step.rates, name)), step.moved_of(width) if name == "shN" else width
        launch(
            _adam, -(-N // BLOCK), _step_of(step, name), rate, width, moved, step.sparse, touched.numpy(),
            *(array.reshape(-1) for array in arrays),
        )  # fmt: skip


def _in_place(*tensors: torch.Tensor) -> tuple[Any, ...]:
    for tensor in tensors:
        if not tensor.is_contiguous():
            raise InputError("Adam steps in place, so Gaussians and moments must be contiguous; use .contiguous()")
    return numbers(*tensors)


@helper
def _stepped(value, mean, square, gradient, rate, s):
    """Numbers and their moments after one step: Algorithm 1 of Kingma and Ba 2015."""
    mean = mean * s.beta1 + gradient * s.rest1
    square = square * s.beta2 + (gradient * gradient) * s.rest2
    change = (mean * (rate * s.unbias1)) / (square_root(square * s.unbias2) + s.epsilon)
    return value - change, mean, square


@helper
def _move(values, means, squares, start, gradients, at, count, rate, s):
    """Step `count` numbers from `start` on, whose gradients lie from `at` on."""
    whole = count - count % LANES
    for k in range(0, whole, LANES):
        i, gradient = start + k, load(gradients, at + k)
        value, mean, square = _stepped(load(values, i), load(means, i), load(squares, i), gradient, rate, s)
        store(values, i, value)
        store(means, i, mean)
        store(squares, i, square)
    if whole < count:  # masked: what lies behind belongs to another row, maybe another thread
        i, few = start + whole, count - whole
        gradient = load_some(gradients, at + whole, few)
        value, mean, square = _stepped(
            load_some(values, i, few), load_some(means, i, few), load_some(squares, i, few), gradient, rate, s
        )
        store_some(values, i, value, few)
        store_some(means, i, mean, few)
        store_some(squares, i, square, few)


@helper
def _move_rows(values, means, squares, first, last, width, moved, sparse, touched, gradients, at, rate, s):
    """The first `moved` numbers of each row from `first` to `last`; gradients of these rows start at `at`."""
    if moved == width and not sparse:
        _move(values, means, squares, first * width, gradients, at, (last - first) * width, rate, s)
        return
    for i in range(first, last):
        if touched[i] or not sparse:
            _move(values, means, squares, i * width, gradients, at + (i - first) * width, moved, rate, s)


@kernel
def _adam(counter, blocks, s, rate, width, moved, sparse, touched, values, means, squares, gradients):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        first, last = block * BLOCK, min(touched.size, (block + 1) * BLOCK)
        _move_rows(
            values, means, squares, first, last, width, moved, sparse, touched, gradients, first * width, rate, s
        )


def adam_from_splats(
    gaussians: Gaussians,
    splats: Splats,
    camera: Camera,
    settings: RenderSettings,
    moments: Moments,
    step: AdamStep,
) -> None:
    """See `stages.Backend.adam_from_splats`: each of a Gaussian's 59 numbers is read and written once."""
    N, rest = len(gaussians), 3 * gaussians.shN.shape[1]
    if N == 0:
        return
    incoming = []
    for name in ("means2d", "conics", "depths", "colors", "opacities"):
        tensor = getattr(splats, name)
        incoming.append(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)
    # a penalty's own gradients; empty where a field has none
    own = [torch.empty(0) if tensor.grad is None else tensor.grad.reshape(-1) for tensor in gaussians]
    tables = tuple(array.reshape(N, -1 if N else 1) for array in _in_place(*gaussians))
    states = [tuple(array.reshape(-1) for array in _in_place(*part)) for part in (moments.mean, moments.square)]
    launch(
        _adam_from_splats, -(-N // BLOCK), lens_of(camera, settings, least_alpha(settings)),
        bases_used(gaussians, settings), step.moved_of(rest), step.sparse,
        _step_of(step, "means"), _step_of(step, "shN"), tuple(f(rate) for rate in step.rates),
        tables, *states, numbers(*own), *numbers(splats.radii, splats.colors, *rows(incoming)),
    )  # fmt: skip


@kernel
def _adam_from_splats(
    counter, blocks, lens, bases, moved, sparse, s, s_shN, rates, fields, first_moments, second_moments, own,
    radii, colors, g_means2d, g_conics, g_depths, g_colors, g_opacities,
):  # fmt: skip
    """Block by block: gradients of the block's rows into the workspace, then Adam over each field's own memory."""
    means, quats, log_scales, logits, sh0, shN = fields
    rest = shN.shape[1]
    room, local = workspace(BLOCK * (14 + rest)), workspace((STORED + 3) * LANES)
    g_means, g_quats = room[: 3 * BLOCK], room[3 * BLOCK : 7 * BLOCK]
    g_log_scales, g_logits = room[7 * BLOCK : 10 * BLOCK], room[10 * BLOCK : 11 * BLOCK]
    g_sh0, g_shN = room[11 * BLOCK : 14 * BLOCK], room[14 * BLOCK :]
    basis, weights, shades = workspace(25 * LANES), workspace(25 * LANES), local[STORED * LANES :]
    seen = radii[:, 0] > ZERO
    while True:
        block = take(counter)
        if block >= blocks:
            return
        first, last = block * BLOCK, min(logits.size, (block + 1) * BLOCK)
        for lanes in range(first, last, LANES):
            splat = splat_gradients(lanes, last - 1, g_means2d, g_conics, g_depths, g_opacities)
            g, _ = pull_back(lens, lanes, last - 1, means, quats, log_scales, logits, splat)
            v = color_gradients(lens, lanes, last - 1, bases, basis, weights, means, shN, colors, g_colors, shades)
            for k in range(3):
                store(local, k * LANES, g[k] + v[k])
            for k in range(3, STORED):
                store(local, k * LANES, g[k])
            for lane in range(min(LANES, last - lanes)):
                j = lanes + lane - first
                if not seen[lanes + lane]:
                    for k in range(3):
                        g_means[3 * j + k], g_log_scales[3 * j + k], g_sh0[3 * j + k] = ZERO, ZERO, ZERO
                    for k in range(4):
                        g_quats[4 * j + k] = ZERO
                    g_logits[j] = ZERO
                    for k in range(moved):
                        g_shN[rest * j + k] = ZERO
                    continue
                for k in range(3):
                    g_means[3 * j + k] = local[k * LANES + lane]
                    g_log_scales[3 * j + k] = local[(3 + k) * LANES + lane]
                    g_sh0[3 * j + k] = basis[lane] * shades[k * LANES + lane]
                for k in range(4):
                    g_quats[4 * j + k] = local[(6 + k) * LANES + lane]
                g_logits[j] = local[10 * LANES + lane]
                red, green, blue = shades[lane], shades[LANES + lane], shades[2 * LANES + lane]
                for k in range(1, min(bases, moved // 3 + 1)):
                    at, value = rest * j + 3 * (k - 1), basis[k * LANES + lane]
                    g_shN[at], g_shN[at + 1], g_shN[at + 2] = value * red, value * green, value * blue
                for k in range(3 * (bases - 1), moved):
                    g_shN[rest * j + k] = ZERO
        moments = (first_moments, second_moments)
        _field(0, 3, 3, means, g_means, first, last, sparse, seen, moments, own, rates, s)
        _field(1, 4, 4, quats, g_quats, first, last, sparse, seen, moments, own, rates, s)
        _field(2, 3, 3, log_scales, g_log_scales, first, last, sparse, seen, moments, own, rates, s)
        _field(3, 1, 1, logits, g_logits, first, last, sparse, seen, moments, own, rates, s)
        _field(4, 3, 3, sh0, g_sh0, first, last, sparse, seen, moments, own, rates, s)
        _field(5, rest, moved, shN, g_shN, first, last, sparse, seen, moments, own, rates, s_shN)


@helper
def _field(n, width, moved, values, gradients, first, last, sparse, seen, moments, own, rates, s):
    """Add the penalty's gradient where there is one, and step the block's rows of field n."""
    extra, flat, rate = own[n], values.reshape(-1), rates[n]
    mean, square = moments[0][n], moments[1][n]
    if extra.size > 0:
        for k in range((last - first) * width):
            gradients[k] += extra[first * width + k]
    _move_rows(flat, mean, square, first, last, width, moved, sparse, seen, gradients, 0, rate, s)
