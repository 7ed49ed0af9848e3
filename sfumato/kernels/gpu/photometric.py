"""Two images to the training loss and its gradient: L1 and D-SSIM, Eq. 7 of Kerbl et al. 2023.

The mathematics is that of kernels/cpu/photometric.py: forward makes the loss and SSIM's three derivatives at every
pixel, backward takes the window's mean over them again. Each program owns a strip of columns of one channel and
marches down its rows. The window's sums along a row come from shifted loads, which the cache next to the core serves;
the ten rows below that wait for it are partial sums in registers. So the pictures come from memory once per pass, and
nothing is shared between the lanes.

Nothing is added up by several programs: each writes its own share of the loss, and torch sums the shares, always in
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
W0: tl.constexpr = tl.constexpr(0.26601172486179436)  # exp(-k^2 / (2 * 1.5^2)) for k from 0 to 5, of sum 1 with k < 0
W1: tl.constexpr = tl.constexpr(0.2130055377112537)
W2: tl.constexpr = tl.constexpr(0.10936068950970002)
W3: tl.constexpr = tl.constexpr(0.03600077212843083)
W4: tl.constexpr = tl.constexpr(0.007598758135239185)
W5: tl.constexpr = tl.constexpr(0.00102838008447911)
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
    x, y = (_stepped(picture.detach().permute(2, 0, 1)) for picture in (image, target))
    layout = {"X_STEP": x.stride(2), "Y_STEP": y.stride(2), "BYTES": y.dtype == torch.uint8}
    return (x, x.stride(0), x.stride(1), y, y.stride(0), y.stride(1)), layout


def _stepped(planes: Tensor) -> Tensor:
    """The planes as they lie, or copied where columns lie in a way that no kernel is compiled for."""
    return planes if planes.stride(2) in STEPS else planes.clone(memory_format=torch.contiguous_format)


@triton.jit
def _tap(row, column, width, K: tl.constexpr, STEP: tl.constexpr, BYTES: tl.constexpr, INSIDE: tl.constexpr):
    """The numbers K columns to the right; 0 outside the picture, which INSIDE rules out."""
    if INSIDE:
        value = tl.load(row + (column * STEP + K * STEP))
    else:
        value = tl.load(row + (column * STEP + K * STEP), mask=(column + K >= 0) & (column + K < width), other=0)
    if BYTES:
        value = value.to(tl.float32) * (1 / 255)
    return value


@triton.jit
def _pair(x, y, column, width, K: tl.constexpr, W: tl.constexpr, X_STEP: tl.constexpr, Y_STEP: tl.constexpr,
          BYTES: tl.constexpr, INSIDE: tl.constexpr):  # fmt: skip
    """What the two columns K to the left and to the right, whose weight is W, add to `_across_images`."""
    a, b = _tap(x, column, width, -K, X_STEP, False, INSIDE), _tap(x, column, width, K, X_STEP, False, INSIDE)
    c, d = _tap(y, column, width, -K, Y_STEP, BYTES, INSIDE), _tap(y, column, width, K, Y_STEP, BYTES, INSIDE)
    return (a + b) * W, (c + d) * W, (a * a + b * b + c * c + d * d) * W, (a * c + b * d) * W


@triton.jit
def _across_images(x, y, column, width, X_STEP: tl.constexpr, Y_STEP: tl.constexpr, BYTES: tl.constexpr,
                   INSIDE: tl.constexpr):  # fmt: skip
    """The window along a row over x, y, xx + yy and xy, and |x - y| in its middle."""
    a = _tap(x, column, width, 0, X_STEP, False, INSIDE)
    b = _tap(y, column, width, 0, Y_STEP, BYTES, INSIDE)
    mx, my, squares, product = a * W0, b * W0, (a * a + b * b) * W0, a * b * W0
    for k in tl.static_range(1, 6):
        W: tl.constexpr = W1 if k == 1 else W2 if k == 2 else W3 if k == 3 else W4 if k == 4 else W5
        dx, dy, dsquares, dproduct = _pair(x, y, column, width, k, W, X_STEP, Y_STEP, BYTES, INSIDE)
        mx, my, squares, product = mx + dx, my + dy, squares + dsquares, product + dproduct
    return mx, my, squares, product, tl.abs(a - b)


@triton.jit
def _across(row, column, width, INSIDE: tl.constexpr):
    """The window along a row over one map."""
    mean = _tap(row, column, width, 0, 1, False, INSIDE) * W0
    for k in tl.static_range(1, 6):
        W: tl.constexpr = W1 if k == 1 else W2 if k == 2 else W3 if k == 3 else W4 if k == 4 else W5
        mean += (_tap(row, column, width, -k, 1, False, INSIDE) + _tap(row, column, width, k, 1, False, INSIDE)) * W
    return mean


@triton.jit
def _waiting(COLUMNS: tl.constexpr):
    """The partial sums of ten rows that have seen nothing yet."""
    zero = tl.zeros((COLUMNS,), tl.float32)
    return zero, zero, zero, zero, zero, zero, zero, zero, zero, zero


@triton.jit
def _down(waiting, row):
    """Add a row of the window's sums to the rows that wait for it, five above to five below: the first, the others."""
    return waiting[0] + row * W5, (
        waiting[1] + row * W4,
        waiting[2] + row * W3,
        waiting[3] + row * W2,
        waiting[4] + row * W1,
        waiting[5] + row * W0,
        waiting[6] + row * W1,
        waiting[7] + row * W2,
        waiting[8] + row * W3,
        waiting[9] + row * W4,
        row * W5,
    )


@triton.jit
def _strip(height, width, rows, COLUMNS: tl.constexpr):
    """This program's columns, whether all windows around them lie inside the picture, its first row and its last + 1."""
    first = tl.program_id(0) * COLUMNS
    inside = (first >= REACH) & (first + COLUMNS + REACH <= width)
    top = tl.program_id(2) * rows
    return first + tl.arange(0, COLUMNS), inside, top, tl.minimum(height, top + rows)


COUNTS = ["x_channel", "x_row", "y_channel", "y_row", "height", "width", "rows", "channels"]


@triton.jit(do_not_specialize=COUNTS)
def _loss_and_maps(
    x, x_channel, x_row, y, y_channel, y_row, maps, shares, height, width, rows, channels, l1_scale, ssim_scale,
    X_STEP: tl.constexpr, Y_STEP: tl.constexpr, BYTES: tl.constexpr, MAPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """This program's share of the loss; with MAPS, the loss's derivatives to m(x), m(x^2) and m(xy), three planes sets."""
    column, inside, top, bottom = _strip(height, width, rows, COLUMNS)
    channel = tl.program_id(1).to(tl.int64)
    x += channel * x_channel
    y += channel * y_channel
    set_size = height.to(tl.int64) * width * channels
    maps += channel * height * width

    distance, dissimilarity = tl.zeros((COLUMNS,), tl.float32), tl.zeros((COLUMNS,), tl.float32)
    xs, ys, squares, products = _waiting(COLUMNS), _waiting(COLUMNS), _waiting(COLUMNS), _waiting(COLUMNS)
    for line in range(tl.maximum(0, top - REACH), bottom + REACH):
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
            dissimilarity += tl.where(column < width, 1 - ssim, 0.0)
            if MAPS:
                scale = -ssim_scale
                by_d1, by_d2 = ssim * d2 * inverse, ssim * d1 * inverse  # ssim / d1, ssim / d2
                to_mean = (my * (n2 - n1) * inverse + mx * (by_d2 - by_d1)) * (2 * scale)
                at = maps + width.to(tl.int64) * (line - REACH)
                tl.store(at + column, to_mean, mask=column < width)
                tl.store(at + set_size + column, -scale * by_d2, mask=column < width)
                tl.store(at + 2 * set_size + column, n1 * inverse * (2 * scale), mask=column < width)
    share = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    tl.store(shares + share, tl.sum(distance * l1_scale + dissimilarity * ssim_scale, 0))


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
    set_size = height.to(tl.int64) * width * channels
    maps += channel * height * width
    gradient += channel * height * width
    scale = tl.load(incoming)

    means, squares, products = _waiting(COLUMNS), _waiting(COLUMNS), _waiting(COLUMNS)
    for line in range(tl.maximum(0, top - REACH), bottom + REACH):
        zero = tl.zeros((COLUMNS,), tl.float32)
        a, b, c = zero, zero, zero
        if line < height:
            at = maps + width.to(tl.int64) * line
            if inside:
                a = _across(at, column, width, True)
                b = _across(at + set_size, column, width, True)
                c = _across(at + 2 * set_size, column, width, True)
            else:
                a = _across(at, column, width, False)
                b = _across(at + set_size, column, width, False)
                c = _across(at + 2 * set_size, column, width, False)
        mean, means = _down(means, a)
        square, squares = _down(squares, b)
        product, products = _down(products, c)
        if line >= top + REACH:
            done = line - REACH
            here = _tap(x + x_row.to(tl.int64) * done, column, width, 0, X_STEP, False, False)
            wanted = _tap(y + y_row.to(tl.int64) * done, column, width, 0, Y_STEP, BYTES, False)
            sign = tl.where(here > wanted, l1_scale, tl.where(here < wanted, -l1_scale, 0.0))
            value = scale * (sign + mean + 2 * here * square + wanted * product)
            tl.store(gradient + width.to(tl.int64) * done + column, value, mask=column < width)
