"""Gaussians to findings about where they are and how large: giants, needles, outliers, rounding, overdraw."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.edit.lint.finding import Finding, rows_of

__all__ = ["overdraw", "shape_findings"]

INNER = 0.95  # share of the centers that makes up the scene; the rest may be far away
GIANT = 1.0  # of the scene's radius: larger standard deviations are veils over everything
NEEDLE = 50.0  # times that the longest axis is longer than the next one ...
LONG = 0.05  # ... and of the scene's radius: shorter ones nobody sees
RARE = 1e-3  # share of a splat up to which needles are no habit
FAR = 20.0  # scene's radii
THIN = -19.0  # log scale: what writers put for a scale of 0 lies below
STEP = 0.25  # of a typical Gaussian's smallest width: larger steps of positions show
# Five trained scenes have 20 to 54, and 106 and 264 are in old files that circulate.
HEAVY = 300.0
KNUD = 1.6075  # exponent of Thomsen 2004


def shape_findings(gaussians: Gaussians) -> Iterator[Finding]:
    """What is odd about places and sizes; all numbers are finite."""
    middle = gaussians.means.double().median(dim=0).values
    away = (gaussians.means.double() - middle).norm(dim=1)
    radius = float(away.sort().values[min(len(away) - 1, int(INNER * len(away)))])
    scales = gaussians.scales.double().sort(dim=1).values
    yield from _sizes(gaussians, scales, radius)
    yield from _places(gaussians, scales, away, radius)
    if radius > 0:
        yield from _overdraw(gaussians, radius)


def overdraw(gaussians: Gaussians, radius: float) -> Tensor:
    """(N,) share of the scene's disc that each Gaussian covers, seen from far outside; at most 1.

    The mean shadow of an ellipsoid is a quarter of its surface (Cauchy 1841), whose area is that of Thomsen 2004 to
    1.1 %; a Gaussian ends where its alpha falls below 1/255. The sum is how many lie over a pixel on average.
    """
    a, b, c = gaussians.scales.double().unbind(dim=1)
    reach = 2 * (255 * gaussians.opacities.double()).clamp(min=1).log()  # squared, in standard deviations
    mean = ((a * b).pow(KNUD) + (a * c).pow(KNUD) + (b * c).pow(KNUD)) / 3
    return (reach * mean.pow(1 / KNUD) / radius**2).clamp(max=1)


def _sizes(gaussians: Gaussians, scales: Tensor, radius: float) -> Iterator[Finding]:
    if len(scales) > 50 and bool((gaussians.log_scales > 0).all()) and float(scales[:, 0].median()) > radius / 4:
        told = "are larger than one unit on every axis, and a quarter of the scene: as if no logarithm had been taken"
        yield Finding("plain-scale", "warning", told, "check the program that wrote it", len(scales))
    if radius > 0:
        giant = scales[:, 2] > GIANT * radius
        if giant.any():
            told = f"are wider than the scene: up to {float(scales[:, 2].max()) / radius:.3g} times its radius"
            advice = "a sky, or veils over everything; `sfumato clean` removes veils"
            yield Finding("giants", "warning", told, advice, int(giant.sum()), rows_of(giant))
        needle = (scales[:, 2] > NEEDLE * scales[:, 1]) & (scales[:, 2] > LONG * radius)
        if float(needle.double().mean()) > RARE:
            told = f"have the shape of a needle, over {NEEDLE:.0f} times as long as wide: a spike from other sides"
            advice = "`sfumato clean` removes the longest, and with --scene those that few cameras see"
            yield Finding("needles", "note", told, advice, int(needle.sum()), rows_of(needle))
    thin = (gaussians.log_scales < THIN).sum(dim=1)
    if (zero := thin >= 2).any():
        told = "have no width on two axes or three: renderers draw a hair or a dot"
        yield Finding("zero-scale", "warning", told, "leave them out", int(zero.sum()), rows_of(zero))


def _places(gaussians: Gaussians, scales: Tensor, away: Tensor, radius: float) -> Iterator[Finding]:
    far = away > FAR * radius
    if radius > 0 and far.any():
        told = f"lie over {FAR:.0f} times as far out as 95 % of all: up to {float(away.max()) / radius:,.0f} times"
        advice = "viewers may frame the scene too small, and formats that store positions in steps get coarse"
        yield Finding("outliers", "warning", told, advice, int(far.sum()), rows_of(far))
    near = gaussians.means[~far] if radius > 0 else gaussians.means
    step = torch.finfo(torch.float32).eps * float(near.abs().amax().double()) / 2
    typical = float(scales[:, 1].median())
    if step > STEP * typical > 0:
        told = (
            f"positions are up to {float(near.abs().amax()):,.0f}, where float32 has steps of {step:.2g}, and a "
            f"typical Gaussian is {typical:.2g} wide: surfaces are torn"
        )
        advice = "move it near zero before it is trained or written, and keep the offset elsewhere"
        yield Finding("steps", "warning", told, advice)


def _overdraw(gaussians: Gaussians, radius: float) -> Iterator[Finding]:
    shares = overdraw(gaussians, radius)
    layers = float(shares.sum())
    if not layers > HEAVY:
        return
    top = shares.argsort(descending=True)[: math.ceil(len(shares) / 100)]
    part = 100 * float(shares[top].sum()) / layers
    told = (
        f"seen from outside, {layers:,.0f} Gaussians lie over each pixel on average, where 20 to 60 are usual: slow "
        f"everywhere; the largest hundredth makes up {part:.0f} % of it"
    )
    rows = tuple(top[:5].tolist())
    yield Finding(
        "overdraw",
        "warning",
        told,
        "`sfumato clean` removes the largest, `sfumato edit --decimate` makes fewer",
        0,
        rows,
    )
