"""Colors to other colors: exposure, contrast, saturation, white balance, a tint, or any matrix and offset.

Color is linear in the spherical harmonics, 0.5 + basis @ sh, so that any linear change of colors is one of the
coefficients, exactly and from all sides; only where a color was, or becomes, less than zero does the renderer's clamp
see it first. Files hold colors encoded for screens (sRGB), about light to the power of 1 / 2.2: a gain of light is a
gain of colors by that power. An asset that says it holds linear light is taken at its word.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.check import check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.condition.properties import LUMA
from sfumato.edit.either import Splat, changed, gaussians_of

__all__ = ["contrast", "exposure", "mean_color", "recolor", "saturation", "tint", "white_balance"]

GAMMA = 2.2  # of screens
MIDDLE = 0.5  # gray that contrast leaves as it is
DARKEST = 0.02  # mean brightness that a tint takes for granted, lest noise in the dark be shown


def recolor(
    splat: Splat, matrix: Tensor | Sequence[Sequence[float]], offset: Tensor | Sequence[float] = (0, 0, 0)
) -> Splat:
    """Change every color c, seen from anywhere, to matrix @ c + offset.

    Exact, since color is linear in the spherical harmonics, but where a color was, or becomes, less than zero: the
    renderer's clamp sees it first.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to recolor.
    matrix : Tensor or nested sequence, (3, 3)
        Of red, green and blue as files hold them, 0 to 1.
    offset : Tensor or sequence, (3,)
        Added to red, green and blue.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When a number is not finite.

    Examples
    --------
    >>> swapped = edit.recolor(gaussians, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])  # red and blue
    >>> torch.allclose(swapped.sh0[:, 0, 0], gaussians.sh0[:, 0, 2], atol=1e-6)
    True
    """
    gaussians = gaussians_of(splat)
    mix, shift = (torch.as_tensor(value).detach().to(gaussians.sh0.device, torch.float64) for value in (matrix, offset))
    check_shape("matrix", mix, (3, 3))
    check_shape("offset", shift, (3,))
    if not bool(mix.isfinite().all() and shift.isfinite().all()):
        raise InputError("matrix and offset must be finite numbers")
    dc = harmonics.sh0_from_rgb(mix.sum(dim=1) / 2 + shift)  # of what was gray: all coefficients zero
    turn = mix.T.to(gaussians.sh0)
    return changed(splat, replace(gaussians, sh0=gaussians.sh0 @ turn + dc.to(gaussians.sh0), shN=gaussians.shN @ turn))


def exposure(splat: Splat, stops: float) -> Splat:
    """Make a splat brighter or darker, in stops of light.

    Files hold light to the power of 1 / 2.2, about; an Asset that says its colors are linear is taken at its word.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to expose.
    stops : float
        Twice the light for each, half of it for each below zero; -30 to 30.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When `stops` is out of its range.
    """
    return recolor(splat, _gain(splat, "stops", stops) * torch.eye(3))


def contrast(splat: Splat, factor: float) -> Splat:
    """Bring colors farther from middle gray (0.5), or nearer.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to recolor.
    factor : float
        How many times as far, from 0 on; 1 changes nothing.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the factor is below 0 or not finite.
    """
    _check_factor("contrast", factor)
    return recolor(splat, factor * torch.eye(3), [MIDDLE * (1 - factor)] * 3)


def saturation(splat: Splat, factor: float) -> Splat:
    """Bring colors farther from the gray of the same brightness (Rec. 709), or nearer.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to recolor.
    factor : float
        How many times as far: 0 is gray, 1 changes nothing.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the factor is below 0 or not finite.
    """
    _check_factor("saturation", factor)
    gray = torch.tensor(LUMA).expand(3, 3)
    return recolor(splat, factor * torch.eye(3) + (1 - factor) * gray)


def white_balance(splat: Splat, warmth: float, magenta: float = 0.0) -> Splat:
    """Weigh red against blue, and both against green; gray keeps its brightness (Rec. 709).

    Parameters
    ----------
    splat : Gaussians or Asset
        What to recolor.
    warmth : float
        Stops of light of red against blue; above 0 is warmer.
    magenta : float
        Stops of light of both against green; above 0 is less green.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When one of them is not from -30 to 30, in its share for a channel.
    """
    gains = torch.tensor(
        [
            _gain(splat, "warmth", warmth / 2) * _gain(splat, "magenta", magenta / 3),
            _gain(splat, "magenta", -2 * magenta / 3),
            _gain(splat, "warmth", -warmth / 2) * _gain(splat, "magenta", magenta / 3),
        ]
    )
    return recolor(splat, (gains / (gains @ torch.tensor(LUMA))).diag())


def tint(splat: Splat, rgb: Tensor | Sequence[float]) -> Splat:
    """Paint everything in one color, lighter and darker as it was: on average it becomes that color.

    Parameters
    ----------
    splat : Gaussians or Asset
        What to paint.
    rgb : Tensor or sequence, (3,)
        The color, 0 to 1.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When it is no color.
    """
    paint = torch.as_tensor(rgb).detach().to("cpu", torch.float64)
    check_shape("rgb", paint, (3,))
    if not bool(((paint >= 0) & (paint <= 1)).all()):
        raise InputError(
            f"a color is three numbers from 0 to 1; got {' '.join(f'{value:g}' for value in paint.tolist())}"
        )
    luma = torch.tensor(LUMA, dtype=torch.float64)
    brightness = max(DARKEST, (mean_color(gaussians_of(splat)) @ luma).item())
    return recolor(splat, torch.outer(paint, luma) / brightness)


def mean_color(gaussians: Gaussians) -> Tensor:
    """Find the mean color of a splat: over its Gaussians, by opacity times size as seen.

    Parameters
    ----------
    gaussians : Gaussians
        The splat.

    Returns
    -------
    Tensor, (3,), float64
        Red, green and blue, 0 to 1; gray when there are none.
    """
    if not len(gaussians):
        return torch.full((3,), 0.5, dtype=torch.float64)
    ordered = gaussians.log_scales.detach().double().sort(dim=1).values
    weights = (
        gaussians.opacities.detach().double() * (ordered[:, 1] + ordered[:, 2]).sub(ordered[:, 1:].sum(1).max()).exp()
    )
    colors = harmonics.rgb_from_sh0(gaussians.sh0.detach()[:, 0].double()).clamp(0, 1)
    return ((weights[:, None] * colors).sum(dim=0) / weights.sum().clamp(min=1e-300)).cpu()


def _gain(splat: Gaussians | Asset, name: str, stops: float) -> float:
    """What multiplies colors when light is multiplied by 2^stops."""
    if not abs(stops) <= 30:
        raise InputError(f"{name} must be a number of stops of -30 to 30; got {stops:g}")
    linear = isinstance(splat, Asset) and splat.color_space == "linear"
    return math.pow(2.0, stops if linear else stops / GAMMA)


def _check_factor(name: str, factor: float) -> None:
    if not 0 <= factor < math.inf:
        raise InputError(f"{name} must be a number of at least 0; got {factor:g}")
