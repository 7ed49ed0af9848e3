"""Two images to the training loss and its gradient: L1 and D-SSIM, Eq. 7 of Kerbl et al. 2023.

The mathematics is that of kernels/cpu/photometric.py: forward makes the loss and SSIM's three derivatives at every
pixel, backward takes the window's mean over them again. Each program owns a strip of columns of one channel and
marches down its rows. The window's sums along a row come from shifted loads, which the cache next to the core serves;
the ten rows whose windows are not complete yet are partial sums in registers. So what is read comes from memory once
per pass, and lanes have nothing to tell each other.

No two programs write to the same place: each writes its own share of the loss, and torch sums the shares, always in
the same order. So the result has the same bits each time.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.core.errors import BackendError, InputError
from sfumato.kernels.gpu.launch import check, cover, launch

__all__ = ["photometric"]

COLUMNS = 128  # of a strip, one per lane
WARPS = COLUMNS // 32
MOST_ROWS, LEAST_ROWS = 64, 16  # of a program, ten more are read: many are cheaper, few keep a large GPU busy
PROGRAMS = 1024  # wanted, for as long as programs have enough rows
STEPS = (1, 3, 4)  # numbers from one column to the next that kernels are compiled for

REACH: tl.constexpr = tl.constexpr(5)  # pixels to either side
# exp(-k^2 / (2 * 1.5^2)) for k from 0 to REACH; the sum with those of k < 0 is 1
W: tl.constexpr = tl.constexpr(
    (0.26601172486179436, 0.2130055377112537, 0.10936068950970002, 0.03600077212843083, 0.007598758135239185,
     0.00102838008447911)
)  # fmt: skip
C1: tl.constexpr = tl.constexpr(0.01**2)
C2: tl.constexpr = tl.constexpr(0.03**2)


def photometric(image: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    """See `stages.Backend.photometric`. Raises BackendError when the target asks for a gradient."""
    if image.shape != target.shape:
        shapes = f"{tuple(image.shape)} and {tuple(target.shape)}"
        raise InputError(f"image and target must have the same shape; got {shapes}")
    grad = torch.is_grad_enabled()
    if grad and target.requires_grad:
        raise BackendError("the gpu backend has no gradient for target (backend='reference' has); detach it")
    check(image)
    check(target, dtype=torch.uint8 if target.dtype == torch.uint8 else torch.float32)
    loss: Tensor = _Photometric.apply(image, target, float(ssim_weight), grad and image.requires_grad)
    return loss


class _Photometric(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        image, target, ssim_weight, learning = inputs
        height, width, channels = image.shape
        count = max(1, image.numel())
        l1_scale, ssim_scale = (1 - ssim_weight) / count, ssim_weight / count
        rows, grid = _shares(channels, height, width)
        shares = torch.empty(grid[0] * grid[1] * grid[2], device=image.device)
        maps = torch.empty(3, channels, height, width, device=image.device) if learning else shares
        images, layout = _planes(image, target)
        sizes = (height, width, rows, channels)
        launch(
            _loss_and_maps, grid, *images, maps, shares, *sizes, l1_scale, ssim_scale,
            warps=WARPS, **layout, MAPS=learning, COLUMNS=COLUMNS,
        )  # fmt: skip
        ctx.save_for_backward(image, target, maps)
        ctx.l1_scale = l1_scale
        return shares.sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        image, target, maps = ctx.saved_tensors
        height, width, channels = image.shape
        gradient = torch.empty(channels, height, width, device=image.device)
        rows, grid = _shares(channels, height, width)
        images, layout = _planes(image, target)
        sizes = (height, width, rows, channels)
        launch(
            _gradient, grid, *images, maps, gradient, gradients[0].contiguous(), *sizes, ctx.l1_scale,
            warps=WARPS, **layout, COLUMNS=COLUMNS,
        )  # fmt: skip
        return gradient.permute(1, 2, 0), None, None, None


def _shares(channels: int, height: int, width: int) -> tuple[int, tuple[int, int, int]]:
    """Rows of a program, and the grid: strips, channels, blocks of rows."""
    strips = cover(width, COLUMNS)
    wanted = height * strips * channels // PROGRAMS
    rows = min(MOST_ROWS, max(LEAST_ROWS, wanted))
    return rows, (strips, channels, cover(height, rows))


def _planes(image: Tensor, target: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Both pictures and their strides from channel to channel and row to row; what kernels are compiled for."""
    x, y = (_stepped(picture.permute(2, 0, 1)) for picture in (image, target))
    layout = {"X_STEP": x.stride(2), "Y_STEP": y.stride(2), "BYTES": y.dtype == torch.uint8}
    return (x, x.stride(0), x.stride(1), y, y.stride(0), y.stride(1)), layout


def _stepped(planes: Tensor) -> Tensor:
    """The planes as they lie, or copied where columns lie in a way that no kernel is compiled for."""
    return planes if planes.stride(2) in STEPS else planes.clone(memory_format=torch.contiguous_format)


@triton.jit
def _across_images(x, y, column, width, X_STEP: tl.constexpr, Y_STEP: tl.constexpr, BYTES: tl.constexpr,
                   INSIDE: tl.constexpr):  # fmt: skip
    """The window along a row over x, y, xx + yy and xy, and |x - y| in its middle; zeros outside the picture."""
    x_at, y_at, to_right = x + column * X_STEP, y + column * Y_STEP, width - column
    a, c = tl.load(x_at), _fractions(tl.load(y_at), BYTES)
    apart = tl.abs(a - c)
    mx, my, squares, product = a * W[0], c * W[0], (a * a + c * c) * W[0], a * c * W[0]
    for k in tl.static_range(1, 6):
        if INSIDE:
            a, b = tl.load(x_at + -k * X_STEP), tl.load(x_at + k * X_STEP)
            c, d = tl.load(y_at + -k * Y_STEP), tl.load(y_at + k * Y_STEP)
        else:
            left, right = column >= k, to_right > k
            a, b = tl.load(x_at + -k * X_STEP, left, 0), tl.load(x_at + k * X_STEP, right, 0)
            c, d = tl.load(y_at + -k * Y_STEP, left, 0), tl.load(y_at + k * Y_STEP, right, 0)
        c, d = _fractions(c, BYTES), _fractions(d, BYTES)
        mx += (a + b) * W[k]
        my += (c + d) * W[k]
        squares += (a * a + b * b + c * c + d * d) * W[k]
        product += (a * c + b * d) * W[k]
    return mx, my, squares, product, apart


@triton.jit
def _fractions(values, BYTES: tl.constexpr):
    """Colors in [0, 1], from bytes or from floats that are such already."""
    if BYTES:
        values = values.to(tl.float32) * (1 / 255)
    return values


@triton.jit
def _across(row, column, width, INSIDE: tl.constexpr):
    """The window along a row over one map; zeros outside the picture."""
    at, to_right = row + column, width - column
    mean = tl.load(at) * W[0]
    for k in tl.static_range(1, 6):
        if INSIDE:
            mean += (tl.load(at + -k) + tl.load(at + k)) * W[k]
        else:
            mean += (tl.load(at + -k, column >= k, 0) + tl.load(at + k, to_right > k, 0)) * W[k]
    return mean


@triton.jit
def _waiting(COLUMNS: tl.constexpr):
    """The partial sums of ten rows that have seen nothing yet."""
    zero = tl.zeros((COLUMNS,), tl.float32)
    return zero, zero, zero, zero, zero, zero, zero, zero, zero, zero


@triton.jit
def _down(waiting, row):
    """Add a row of the window's sums to the rows that wait for it, five above to five below: the first, the others."""
    return waiting[0] + row * W[5], (
        waiting[1] + row * W[4],
        waiting[2] + row * W[3],
        waiting[3] + row * W[2],
        waiting[4] + row * W[1],
        waiting[5] + row * W[0],
        waiting[6] + row * W[1],
        waiting[7] + row * W[2],
        waiting[8] + row * W[3],
        waiting[9] + row * W[4],
        row * W[5],
    )


@triton.jit
def _strip(height, width, rows, COLUMNS: tl.constexpr):
    """This program's columns, whether all windows around them lie inside the picture, its first row and its last + 1.

    Lanes beyond the picture repeat its last column, and write what the lane there writes.
    """
    first = tl.program_id(0) * COLUMNS
    inside = (first >= REACH) & (first + COLUMNS + REACH <= width)
    top = tl.program_id(2) * rows
    column = tl.minimum(first + tl.arange(0, COLUMNS), width - 1)
    return column, inside, top, tl.minimum(height, top + rows)


COUNTS = ["x_channel", "x_row", "y_channel", "y_row", "height", "width", "rows", "channels"]


@triton.jit(do_not_specialize=COUNTS)
def _loss_and_maps(
    x, x_channel, x_row, y, y_channel, y_row, maps, shares, height, width, rows, channels, l1_scale, ssim_scale,
    X_STEP: tl.constexpr, Y_STEP: tl.constexpr, BYTES: tl.constexpr, MAPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """This program's share of the loss; with MAPS, the loss's derivatives to m(x), m(x^2) and m(xy) at each pixel."""
    column, inside, top, bottom = _strip(height, width, rows, COLUMNS)
    channel = tl.program_id(1).to(tl.int64)
    x += channel * x_channel
    y += channel * y_channel
    map_size = height.to(tl.int64) * width * channels
    maps += channel * height * width

    distance, dissimilarity = tl.zeros((COLUMNS,), tl.float32), tl.zeros((COLUMNS,), tl.float32)
    xs, ys, squares, products = _waiting(COLUMNS), _waiting(COLUMNS), _waiting(COLUMNS), _waiting(COLUMNS)
    line = tl.maximum(0, top - REACH)
    while line < bottom + REACH:  # no range: Triton 3.6 cannot interpret one whose ends are arguments
        zero = tl.zeros((COLUMNS,), tl.float32)
        a, b, c, d, apart = zero, zero, zero, zero, zero
        if line < height:
            x_line, y_line = x + x_row.to(tl.int64) * line, y + y_row.to(tl.int64) * line
            if inside:
                a, b, c, d, apart = _across_images(x_line, y_line, column, width, X_STEP, Y_STEP, BYTES, True)
            else:
                a, b, c, d, apart = _across_images(x_line, y_line, column, width, X_STEP, Y_STEP, BYTES, False)
            distance += tl.where((line >= top) & (line < bottom), apart, 0.0)
        mx, xs = _down(xs, a)
        my, ys = _down(ys, b)
        square, squares = _down(squares, c)
        product, products = _down(products, d)
        if line >= top + REACH:
            means, both = mx * mx + my * my, mx * my
            d1, d2 = means + C1, square - means + C2
            n1, n2 = 2 * both + C1, 2 * (product - both) + C2
            inverse = 1 / (d1 * d2)
            ssim = n1 * n2 * inverse
            dissimilarity += 1 - ssim
            if MAPS:
                scale = -ssim_scale
                by_d1, by_d2 = ssim * d2 * inverse, ssim * d1 * inverse  # ssim / d1, ssim / d2
                to_mean = (my * (n2 - n1) * inverse + mx * (by_d2 - by_d1)) * (2 * scale)
                at = maps + width.to(tl.int64) * (line - REACH)
                tl.store(at + column, to_mean)
                tl.store(at + map_size + column, -scale * by_d2)
                tl.store(at + 2 * map_size + column, n1 * inverse * (2 * scale))
        line += 1
    share = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    once = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS) < width
    tl.store(shares + share, tl.sum(tl.where(once, distance * l1_scale + dissimilarity * ssim_scale, 0.0), 0))


@triton.jit(do_not_specialize=COUNTS)
def _gradient(
    x, x_channel, x_row, y, y_channel, y_row, maps, gradient, incoming, height, width, rows, channels, l1_scale,
    X_STEP: tl.constexpr, Y_STEP: tl.constexpr, BYTES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradient of the loss to x, times the one number that comes in."""
    column, inside, top, bottom = _strip(height, width, rows, COLUMNS)
    channel = tl.program_id(1).to(tl.int64)
    x += channel * x_channel
    y += channel * y_channel
    map_size = height.to(tl.int64) * width * channels
    maps += channel * height * width
    gradient += channel * height * width
    scale = tl.load(incoming)

    means, squares, products = _waiting(COLUMNS), _waiting(COLUMNS), _waiting(COLUMNS)
    line = tl.maximum(0, top - REACH)
    while line < bottom + REACH:
        zero = tl.zeros((COLUMNS,), tl.float32)
        a, b, c = zero, zero, zero
        if line < height:
            at = maps + width.to(tl.int64) * line
            if inside:
                a = _across(at, column, width, True)
                b = _across(at + map_size, column, width, True)
                c = _across(at + 2 * map_size, column, width, True)
            else:
                a = _across(at, column, width, False)
                b = _across(at + map_size, column, width, False)
                c = _across(at + 2 * map_size, column, width, False)
        mean, means = _down(means, a)
        square, squares = _down(squares, b)
        product, products = _down(products, c)
        if line >= top + REACH:
            done = line - REACH
            here = tl.load(x + x_row.to(tl.int64) * done + column * X_STEP)
            wanted = _fractions(tl.load(y + y_row.to(tl.int64) * done + column * Y_STEP), BYTES)
            sign = tl.where(here > wanted, l1_scale, tl.where(here < wanted, -l1_scale, 0.0))
            value = scale * (sign + mean + 2 * here * square + wanted * product)
            tl.store(gradient + width.to(tl.int64) * done + column, value)
        line += 1
