"""Gradients to a step of Adam (Kingma and Ba 2015) in place: field by field, or from the splats in one pass."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.cpu.arrays import numbers
from sfumato.kernels.cpu.lens import lens_of, pull_back
from sfumato.kernels.cpu.project import BLOCK, bases_used, color_gradients, least_alpha
from sfumato.kernels.cpu.threads import helper, kernel, launch, take
from sfumato.kernels.stages import AdamStep, Moments, RenderSettings, Splats

__all__ = ["adam", "adam_from_splats"]

f = np.float32
ZERO, ONE = f(0), f(1)


class _Step(NamedTuple):
    """One step's numbers as float32."""

    beta1: np.float32
    beta2: np.float32
    rest1: np.float32  # 1 - beta1
    rest2: np.float32
    unbias1: np.float32  # 1 / (1 - beta1^count)
    unbias2: np.float32
    epsilon: np.float32


def _step_of(step: AdamStep) -> _Step:
    unbias1, unbias2 = 1 / (1 - step.beta1**step.count), 1 / (1 - step.beta2**step.count)
    values = (step.beta1, step.beta2, 1 - step.beta1, 1 - step.beta2, unbias1, unbias2, step.epsilon)
    return _Step(*(f(value) for value in values))


def adam(gaussians: Gaussians, moments: Moments, step: AdamStep) -> None:
    """See `stages.Backend.adam`."""
    fields = {name: getattr(gaussians, name) for name in gaussians.names()}
    touched = np.zeros(len(gaussians), np.bool_)
    for tensor in fields.values():
        if tensor.grad is not None:
            touched |= (tensor.grad.reshape(len(gaussians), -1) != 0).any(dim=1).numpy()
    touched |= not step.sparse
    for name, tensor in fields.items():
        width = tensor[0].numel() if len(gaussians) else 0
        moved = width
        if name == "shN" and step.sh_degree is not None:
            moved = min(width, 3 * (harmonics.bases_of_degree(step.sh_degree) - 1))
        if tensor.grad is None or moved == 0:
            continue
        arrays = _in_place(tensor, getattr(moments.mean, name), getattr(moments.square, name))
        (gradient,) = numbers(tensor.grad)
        rate = f(getattr(step.rates, name))
        rows = [array.reshape(len(gaussians), width) for array in (*arrays, gradient)]
        launch(_adam, -(-len(gaussians) // BLOCK), _step_of(step), rate, moved, touched, *rows)


def _in_place(*tensors: torch.Tensor) -> tuple[Any, ...]:
    for tensor in tensors:
        if not tensor.is_contiguous():
            raise InputError("Adam steps in place, so Gaussians and moments must be contiguous; use .contiguous()")
    return numbers(*tensors)


@helper
def _moved(value, mean, square, gradient, rate, s):
    """The number, its moments, after one step: Algorithm 1 of Kingma and Ba 2015."""
    mean = s.beta1 * mean + s.rest1 * gradient
    square = s.beta2 * square + s.rest2 * gradient * gradient
    return value - rate * (mean * s.unbias1) / (math.sqrt(square * s.unbias2) + s.epsilon), mean, square


@kernel
def _adam(counter, blocks, s, rate, moved, touched, values, means, squares, gradients):
    while True:
        block = take(counter)
        if block >= blocks:
            return
        for i in range(block * BLOCK, min(touched.size, (block + 1) * BLOCK)):
            if touched[i]:
                for k in range(moved):
                    values[i, k], means[i, k], squares[i, k] = _moved(
                        values[i, k], means[i, k], squares[i, k], gradients[i, k], rate, s
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
    N, bases = len(gaussians), bases_used(gaussians, settings)
    degree = gaussians.degree if step.sh_degree is None else min(step.sh_degree, gaussians.degree)
    moved = 3 * (harmonics.bases_of_degree(degree) - 1)
    incoming = []
    for name in ("means2d", "conics", "depths", "colors", "opacities"):
        tensor = getattr(splats, name)
        incoming.append(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)
    # a penalty's own gradients; no rows where a field has none
    own = [getattr(gaussians, name).grad for name in gaussians.names()]
    own = [torch.empty(0, *t.shape[1:]) if g is None else g for t, g in zip(gaussians, own, strict=True)]
    launch(
        _adam_from_splats, -(-N // BLOCK), lens_of(camera, settings, least_alpha(settings)), bases, moved,
        _step_of(step), tuple(f(rate) for rate in step.rates), step.sparse,
        _in_place(*gaussians), _in_place(*moments.mean), _in_place(*moments.square), numbers(*own),
        *numbers(splats.radii, splats.colors, *incoming),
    )  # fmt: skip


@kernel
def _adam_from_splats(
    counter, blocks, lens, bases, moved, s, rates, sparse, fields, first, second, own,
    radii, colors, g_means2d, g_conics, g_depths, g_colors, g_opacities,
):  # fmt: skip
    means, quats, log_scales, logits, sh0, shN = fields
    basis, weights = np.empty(25, np.float32), np.empty(25, np.float32)
    g_rest = np.zeros(shN.shape[1] * 3, np.float32)
    while True:
        block = take(counter)
        if block >= blocks:
            return
        for i in range(block * BLOCK, min(logits.size, (block + 1) * BLOCK)):
            seen = radii[i, 0] > ZERO
            if sparse and not seen:
                continue
            red, green, blue, vx, vy, vz = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
            g = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
            basis[0] = ZERO
            if seen:
                red = g_colors[i, 0] if colors[i, 0] > ZERO else ZERO
                green = g_colors[i, 1] if colors[i, 1] > ZERO else ZERO
                blue = g_colors[i, 2] if colors[i, 2] > ZERO else ZERO
                vx, vy, vz = color_gradients(i, lens, bases, basis, weights, means, sh0, shN, red, green, blue)
                splat = (
                    g_means2d[i, 0], g_means2d[i, 1], g_conics[i, 0], g_conics[i, 1], g_conics[i, 2],
                    g_depths[i], g_opacities[i],
                )  # fmt: skip
                g, _ = pull_back(lens, i, means, quats, log_scales, logits, splat)
                for k in range(1, bases):
                    g_rest[3 * k - 3], g_rest[3 * k - 2] = basis[k] * red, basis[k] * green
                    g_rest[3 * k - 1] = basis[k] * blue
            else:
                g_rest[:] = ZERO
            _move3(i, (g[0] + vx, g[1] + vy, g[2] + vz), means, first[0], second[0], own[0], rates[0], s)
            _move4(i, (g[6], g[7], g[8], g[9]), quats, first[1], second[1], own[1], rates[1], s)
            _move3(i, (g[3], g[4], g[5]), log_scales, first[2], second[2], own[2], rates[2], s)
            g_logit = g[10]
            if own[3].shape[0] > 0:
                g_logit += own[3][i]
            logits[i], first[3][i], second[3][i] = _moved(
                logits[i], first[3][i], second[3][i], g_logit, rates[3], s
            )  # fmt: skip
            g_base = (basis[0] * red, basis[0] * green, basis[0] * blue)
            _move3(i, g_base, sh0[:, 0], first[4][:, 0], second[4][:, 0], own[4][:, 0], rates[4], s)
            _move_rest(i, g_rest, moved, shN, first[5], second[5], own[5], rates[5], s)


@helper
def _move3(i, gradient, values, means, squares, own, rate, s):
    for k in range(3):
        g = gradient[k]
        if own.shape[0] > 0:
            g += own[i, k]
        values[i, k], means[i, k], squares[i, k] = _moved(values[i, k], means[i, k], squares[i, k], g, rate, s)


@helper
def _move4(i, gradient, values, means, squares, own, rate, s):
    for k in range(4):
        g = gradient[k]
        if own.shape[0] > 0:
            g += own[i, k]
        values[i, k], means[i, k], squares[i, k] = _moved(values[i, k], means[i, k], squares[i, k], g, rate, s)


@helper
def _move_rest(i, gradient, moved, values, means, squares, own, rate, s):
    value, mean, square = values[i].reshape(-1), means[i].reshape(-1), squares[i].reshape(-1)
    if own.shape[0] > 0:
        extra = own[i].reshape(-1)
        for k in range(moved):
            gradient[k] += extra[k]
    for k in range(moved):
        value[k], mean[k], square[k] = _moved(value[k], mean[k], square[k], gradient[k], rate, s)
