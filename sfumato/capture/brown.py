"""Brown's distortion, with up to four radial terms, to the COLMAP model that says the same."""

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError

__all__ = ["brown_lens"]

_TOLERANCE = 0.25  # pixels; what a lens may differ from the one that was asked for


def brown_lens(
    focals: tuple[float, float],
    center: tuple[float, float],
    radial: tuple[float, ...],
    tangential: tuple[float, float],
    size: tuple[int, int],
) -> Lens:
    """The lens that bends by 1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8, and by p1, p2 as in OpenCV (Brown 1966).

    focals, center: fx fy and cx cy in pixels of a photo of `size` (width, height); radial: up to four, k1 first.

    COLMAP has no r^8: with k4, FULL_OPENCV's quotient of polynomials is fitted over the photo. Raises InputError when
    that misses by a quarter of a pixel, or a number cannot be one of a lens.
    """
    k1, k2, k3, k4 = (*radial, 0.0, 0.0, 0.0, 0.0)[:4]
    params = (*focals, *center)
    if k4 and all(np.isfinite((*params, *radial))) and min(focals) > 0:
        quotient = _quotient((k1, k2, k3, k4), _reach(focals, center, size), max(focals))
        k = [float(value) for value in quotient]
        return Lens("FULL_OPENCV", (*params, k[0], k[1], *tangential, *k[2:]), *size)
    if k3:
        return Lens("FULL_OPENCV", (*params, k1, k2, *tangential, k3, 0.0, 0.0, 0.0), *size)
    if k1 or k2 or any(tangential):
        return Lens("OPENCV", (*params, k1, k2, *tangential), *size)
    return Lens("PINHOLE", params, *size)


def _reach(focals: tuple[float, float], center: tuple[float, float], size: tuple[int, int]) -> float:
    """How far from the axis, at depth 1 and after distortion, the photo's farthest corner lies."""
    x, y = (max(abs(c), abs(side - c)) / f for f, c, side in zip(focals, center, size, strict=True))
    return float(np.hypot(x, y))


def _quotient(radial: tuple[float, ...], reach: float, focal: float) -> NDArray[np.float64]:
    """k1..k3 above and k4..k6 below the line, nearest to a polynomial of four terms as far as `reach`."""
    r = np.linspace(0, 3 * reach, 1201)[1:]
    wanted = 1 + r[:, None] ** [2, 4, 6, 8] @ np.array(radial)
    beyond = (r * wanted >= reach) | (np.gradient(r * wanted, r) <= 0)  # the photo ends, or the lens folds over
    end = int(beyond.argmax()) + 1 if beyond.any() else len(r)
    r, wanted = r[:end], wanted[:end]
    powers = (r[:, None] / r[-1]) ** [2, 4, 6]
    table = np.hstack([powers, -wanted[:, None] * powers])
    best, least = np.zeros(6), np.inf
    for terms in (6, 5, 4, 3):  # fewer below the line where more would put a pole into the photo
        solved = np.zeros(6)
        solved[:terms] = np.linalg.lstsq(table[:, :terms] * r[:, None], (wanted - 1) * r, rcond=1e-12)[0]
        above, below = 1 + powers @ solved[:3], 1 + powers @ solved[3:]
        off = np.abs(above - wanted * below) * r * focal / below.clip(min=1e-6)
        if below.min() > 0.1 and off.max() < least:
            best, least = solved, float(off.max())
    if not least < _TOLERANCE:
        raise InputError(f"the radial distortion {radial} cannot be said in COLMAP's terms; export undistorted photos")
    scaled: NDArray[np.float64] = best / r[-1] ** np.array([2, 4, 6, 2, 4, 6])
    return scaled
