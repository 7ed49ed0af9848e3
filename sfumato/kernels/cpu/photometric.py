"""Two images to the training loss and its gradient in one go: L1 and D-SSIM, Eq. 7 of Kerbl et al. 2023.

With m the 11x11 window's local mean, SSIM at a pixel depends on x through m(x), m(x^2) and m(xy). The first pass makes
the derivatives to these three; the window is symmetric, so the gradient to x is its mean over them again:
m(d/dm(x)) + 2 x m(d/dm(x^2)) + y m(d/dm(xy)), the second pass. Both work row by row: down the columns into a padded
row, then along it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.kernels.cpu.arrays import image_planes
from sfumato.kernels.cpu.memory import load, store
from sfumato.kernels.cpu.simd import LANES, greater_of, select, splat, sum_lanes, zeros
from sfumato.kernels.cpu.threads import helper, kernel, launch, scratch, take

__all__ = ["photometric"]

f = np.float32
ZERO, ONE, TWO = f(0), f(1), f(2)
REACH = 5  # pixels to either side
_weights = np.exp(-(np.arange(-REACH, REACH + 1.0) ** 2) / (2 * 1.5**2))
WINDOW = (_weights / _weights.sum()).astype(np.float32)
W5, W4, W3, W2, W1, W0 = WINDOW[: REACH + 1]
C1, C2 = f(0.01**2), f(0.03**2)
PAD = 16  # floats left and right of a row, zeros
ROWS = 16  # of a block of work
NUMBER = np.arange(LANES, dtype=np.float32)


def photometric(image: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    """See `stages.Backend.photometric`. The target gets no gradient."""
    if image.shape != target.shape:
        shapes = f"{tuple(image.shape)} and {tuple(target.shape)}"
        raise InputError(f"image and target must have the same shape; got {shapes}")
    loss: Tensor = _Photometric.apply(image, target, ssim_weight)
    return loss


class _Photometric(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        image, target, ssim_weight = inputs
        x, y = _widened(image_planes(image)), _widened(image_planes(target))
        channels, height, stride = x.shape
        width = image.shape[1]
        gradient = torch.empty(channels, height, stride)
        maps = scratch("ssim", 3 * x.size)
        blocks = channels * (-(-height // ROWS))
        ssims, distances = np.zeros(blocks), np.zeros(blocks)
        count = channels * height * width
        flat = x.reshape(-1), y.reshape(-1)
        shape = (channels, height, width, stride)
        launch(_ssim_and_maps, blocks, shape, *flat, maps, f(-ssim_weight / count), ssims)
        launch(
            _gradient, blocks, shape, *flat, maps, f((1 - ssim_weight) / count), gradient.numpy().reshape(-1), distances
        )
        ctx.save_for_backward(gradient[:, :, :width].permute(1, 2, 0))
        loss = (1 - ssim_weight) * distances.sum() / count + ssim_weight + ssims.sum()
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        (scale,) = gradients
        return (gradient if scale == 1 else gradient * scale), None, None


def _widened(planes: Any) -> Any:
    """The planes, at least one vector wide: zeros beyond the picture are what the window sees there anyway."""
    missing = LANES - planes.shape[2]
    return planes if missing <= 0 else np.pad(planes, ((0, 0), (0, 0), (0, missing)))


@helper
def _across(row, at):
    """The window along a row, around each of LANES pixels."""
    near = (load(row, at - 1) + load(row, at + 1)) * W1 + load(row, at) * W0
    middle = (load(row, at - 3) + load(row, at + 3)) * W3 + (load(row, at - 2) + load(row, at + 2)) * W2
    far = (load(row, at - 5) + load(row, at + 5)) * W5 + (load(row, at - 4) + load(row, at + 4)) * W4
    return far + middle + near


@helper
def _column_means(x, y, at, stride, first, last, row, size, column):
    """Down the columns: x, y, xx + yy and xy, of LANES columns into four rows of `row`."""
    mx, my, squares, product = zeros(), zeros(), zeros(), zeros()
    for k in range(first, last):
        i = at + (k - REACH) * stride
        a, b = load(x, i), load(y, i)
        wa, wb = a * WINDOW[k], b * WINDOW[k]
        mx += wa
        my += wb
        squares += wa * a + wb * b
        product += wa * b
    store(row, PAD + column, mx)
    store(row, size + PAD + column, my)
    store(row, 2 * size + PAD + column, squares)
    store(row, 3 * size + PAD + column, product)


@kernel
def _ssim_and_maps(counter, blocks, shape, x, y, maps, scale, ssims):
    """Sum of scale * SSIM, and scale times its derivatives to m(x), m(x^2), m(xy), as three planes sets in maps."""
    _, height, width, stride = shape
    per_plane = (height + ROWS - 1) // ROWS
    size, count = stride + 2 * PAD, x.size
    row, number = np.zeros(4 * size, np.float32), NUMBER
    while True:
        block = take(counter)
        if block >= blocks:
            return
        plane, top = (block // per_plane) * height * stride, (block % per_plane) * ROWS
        total = 0.0
        for line in range(top, min(height, top + ROWS)):
            first, last = max(0, REACH - line), min(2 * REACH + 1, height + REACH - line)
            base, column = plane + line * stride, 0
            while column < stride:
                column = min(column, stride - LANES)
                if last - first == 2 * REACH + 1:
                    _column_means(x, y, base + column, stride, 0, 2 * REACH + 1, row, size, column)
                else:
                    _column_means(x, y, base + column, stride, first, last, row, size, column)
                column += LANES
            column = 0
            while column < stride:
                new = column  # the last vector overlaps the one before
                column = min(column, stride - LANES)
                at = PAD + column
                mx, my = _across(row, at), _across(row, size + at)
                squares, product = _across(row, 2 * size + at), _across(row, 3 * size + at)
                means, both = mx * mx + my * my, mx * my
                d1, d2 = means + C1, squares - means + C2
                n1, n2 = both * TWO + C1, (product - both) * TWO + C2
                inverse = splat(ONE) / (d1 * d2)
                ssim = n1 * n2 * inverse
                by_d1, by_d2 = ssim * d2 * inverse, ssim * d1 * inverse  # ssim / d1, ssim / d2
                to_mean = ((my * (n2 - n1)) * inverse + mx * (by_d2 - by_d1)) * (TWO * scale)
                to_square, to_product = by_d2 * -scale, (n1 * inverse) * (TWO * scale)
                if new == column and column + LANES <= width:
                    total += sum_lanes(ssim)
                else:
                    lanes = load(number, 0)
                    inside = lanes < f(width - column)
                    counted = inside & (lanes >= f(new - column))
                    total += sum_lanes(select(counted, ssim, zeros()))
                    to_mean = select(inside, to_mean, zeros())
                    to_square, to_product = select(inside, to_square, zeros()), select(inside, to_product, zeros())
                store(maps, base + column, to_mean)
                store(maps, count + base + column, to_square)
                store(maps, 2 * count + base + column, to_product)
                column += LANES
        ssims[block] = total * scale


@helper
def _column_sums(maps, at, count, stride, first, last, row, size, column):
    """Down the columns of the three maps, into three rows of `row`."""
    a, b, c = zeros(), zeros(), zeros()
    for k in range(first, last):
        i = at + (k - REACH) * stride
        a += load(maps, i) * WINDOW[k]
        b += load(maps, count + i) * WINDOW[k]
        c += load(maps, 2 * count + i) * WINDOW[k]
    store(row, PAD + column, a)
    store(row, size + PAD + column, b)
    store(row, 2 * size + PAD + column, c)


@kernel
def _gradient(counter, blocks, shape, x, y, maps, l1_scale, gradient, distances):
    """Gradient of the loss to x, and the sum of |x - y|."""
    _, height, width, stride = shape
    per_plane = (height + ROWS - 1) // ROWS
    size, count = stride + 2 * PAD, x.size
    row, number = np.zeros(3 * size, np.float32), NUMBER
    while True:
        block = take(counter)
        if block >= blocks:
            return
        plane, top = (block // per_plane) * height * stride, (block % per_plane) * ROWS
        total = 0.0
        for line in range(top, min(height, top + ROWS)):
            first, last = max(0, REACH - line), min(2 * REACH + 1, height + REACH - line)
            base, column = plane + line * stride, 0
            while column < stride:
                column = min(column, stride - LANES)
                if last - first == 2 * REACH + 1:
                    _column_sums(maps, base + column, count, stride, 0, 2 * REACH + 1, row, size, column)
                else:
                    _column_sums(maps, base + column, count, stride, first, last, row, size, column)
                column += LANES
            column = 0
            while column < stride:
                new = column
                column = min(column, stride - LANES)
                at = PAD + column
                a, b, c = _across(row, at), _across(row, size + at), _across(row, 2 * size + at)
                here, wanted = load(x, base + column), load(y, base + column)
                apart = here - wanted
                distance = greater_of(apart, zeros() - apart)
                if new == column and column + LANES <= width:
                    total += sum_lanes(distance)
                else:
                    lanes = load(number, 0)
                    counted = (lanes < f(width - column)) & (lanes >= f(new - column))
                    total += sum_lanes(select(counted, distance, zeros()))
                sign = select(apart > ZERO, splat(l1_scale), select(apart < ZERO, splat(-l1_scale), zeros()))
                store(gradient, base + column, sign + a + here * b * TWO + wanted * c)
                column += LANES
        distances[block] = total
