"""The lens of a sensor in Agisoft Metashape's XML, as a COLMAP model."""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.datasets.common import finite, size_of
from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError

__all__ = ["lens_of"]

_FISHEYES = ("fisheye", "equidistant_fisheye", "equidistantfisheye")  # one projection under two names
_SKEW_LIMIT = 1.0  # pixels at the edge of the photo; COLMAP's models have none
_FIT_LIMIT = 0.5  # pixels at the worst corner; how well a quotient must follow Metashape's polynomial: to 0.15 for
# a drone whose polynomial nearly turns back in the corners, to 0.05 elsewhere
_RADIAL = ("k1", "k2", "k3", "k4")
_KNOWN = ("f", "fx", "cx", "cy", "b1", "b2", *_RADIAL, "p1", "p2", "p3", "p4")


def lens_of(path: Path, sensor: Element) -> Lens:
    """The lens of a sensor: what alignment found, else what was set before.

    Metashape (appendix "Camera models" of its manual), with x = X / Z, y = Y / Z, r2 = x^2 + y^2, for fisheyes all
    scaled by atan(r) / r:

        x' = x (1 + k1 r2 + k2 r2^2 + k3 r2^3 + k4 r2^4) + p1 (r2 + 2 x^2) + 2 p2 x y
        y' = y (1 + ...) + p2 (r2 + 2 y^2) + 2 p1 x y
        u = w / 2 + cx + x' (f + b1) + y' b2,  v = h / 2 + cy + y' f

    so p1 and p2 have changed places against OpenCV. Raises InputError when the sensor's numbers are damaged or its
    projection cannot be represented.
    """
    named = f"{path}: sensor {sensor.get('label') or sensor.get('id')}"
    calibrations = sensor.findall("calibration")
    adjusted = [item for item in calibrations if item.get("class") == "adjusted"]
    calibration = next(reversed(adjusted or calibrations), None)
    kind = (sensor.get("type", "frame") if calibration is None else calibration.get("type") or "frame").lower()
    if kind not in ("frame", *_FISHEYES):
        raise InputError(f"{named} is {kind}, which cannot be read; render its photos as frame cameras first")
    if calibration is None:
        raise InputError(f"{named} has no calibration; align the photos, then export the cameras again")
    resolution = calibration.find("resolution")
    resolution = sensor.find("resolution") if resolution is None else resolution
    if resolution is None:
        raise InputError(f"{named} has no resolution; export the cameras again")
    width, height = size_of(named, *(_parse(f"{named}: {k}", resolution.get(k)) for k in ("width", "height")))
    values = {item.tag: _parse(f"{named}: {item.tag}", item.text) for item in calibration if item.tag in _KNOWN}
    _check(named, values, height)
    b1, cx, cy = (values.get(key, 0.0) for key in ("b1", "cx", "cy"))
    head = (values["f"] + b1, values["f"], width / 2 + cx, height / 2 + cy)
    model, tail = (_frame if kind == "frame" else _fisheye)(named, values, _reach(head, width, height))
    return Lens(model, (*head, *tail), width, height)


def _parse(named: str, text: str | None) -> float:
    try:
        return finite(named, float(text or ""))
    except ValueError:
        raise InputError(f"{named} must be a finite number; got {(text or 'nothing')[:40]}") from None


def _check(named: str, values: dict[str, float], height: int) -> None:
    """Refuse what COLMAP's models cannot say."""
    if "f" not in values and "fx" in values:
        raise InputError(
            f"{named} was written by a PhotoScan before 1.2, whose lenses differ; export it from Metashape"
        )
    if values.get("f", 0) <= 0 or values["f"] + values.get("b1", 0) <= 0:
        raise InputError(f"{named} must have a focal length f above 0; got {values.get('f', 'nothing')}")
    skew = abs(values.get("b2", 0)) * height / 2 / values["f"]
    if skew > _SKEW_LIMIT:
        raise InputError(f"{named} is skewed by {skew:.1f} pixels (b2); export undistorted photos, or align without b2")
    if values.get("p3") or values.get("p4"):
        raise InputError(f"{named} has p3 or p4, which cannot be represented; export undistorted photos")


def _reach(head: tuple[float, ...], width: int, height: int) -> float:
    """Distance of the farthest corner from the principal point, in focal lengths."""
    fx, fy, cx, cy = head
    return float(np.hypot(max(cx, width - cx) / fx, max(cy, height - cy) / fy))


def _frame(named: str, values: dict[str, float], reach: float) -> tuple[str, tuple[float, ...]]:
    k1, k2, k3, k4 = (values.get(key, 0.0) for key in _RADIAL)
    tangential = (values.get("p2", 0.0), values.get("p1", 0.0))
    if k4:
        fit = _as_quotient(named, np.array([k1, k2, k3, k4]), reach, values["f"])
        return "FULL_OPENCV", (*fit[:2], *tangential, *fit[2:])
    if k3:
        return "FULL_OPENCV", (k1, k2, *tangential, k3, 0.0, 0.0, 0.0)
    return ("OPENCV", (k1, k2, *tangential)) if k1 or k2 or any(tangential) else ("PINHOLE", ())


def _fisheye(named: str, values: dict[str, float], reach: float) -> tuple[str, tuple[float, ...]]:
    k1, k2, k3, k4 = (values.get(key, 0.0) for key in _RADIAL)
    tangential = (values.get("p2", 0.0), values.get("p1", 0.0))
    if any(tangential):
        return "THIN_PRISM_FISHEYE", (k1, k2, *tangential, k3, k4, 0.0, 0.0)
    return "OPENCV_FISHEYE", (k1, k2, k3, k4)


def _as_quotient(named: str, k: NDArray[np.float64], reach: float, focal: float) -> tuple[float, ...]:
    """(k1 ... k6) of COLMAP's (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3), s = r^2, that follow
    Metashape's polynomial of degree 4 within the photo. Raises InputError when they cannot, within _FIT_LIMIT.
    """
    radii = np.linspace(0, 4 * reach, 4001)
    polynomial = 1 + np.stack([radii ** (2 * i) for i in range(1, 5)], axis=1) @ k
    bent = radii * polynomial
    seen = np.logical_and.accumulate((np.diff(bent, prepend=-1) > 0) & (bent <= reach))  # up to the turning point
    radii, polynomial = radii[seen], polynomial[seen]
    limit = max(float(radii[-1]), 1e-3)
    powers = np.stack([(radii / limit) ** (2 * i) for i in (1, 2, 3)], axis=1)  # in [0, 1], well conditioned
    weights = radii[:, None] / limit  # the error in pixels grows with the radius
    table = np.hstack([powers, -polynomial[:, None] * powers])
    fit = np.linalg.lstsq(weights * table, weights[:, 0] * (polynomial - 1), rcond=None)[0]
    quotient = (1 + powers @ fit[:3]) / (1 + powers @ fit[3:])
    error = focal * float(np.abs(radii * (quotient - polynomial)).max())
    if not error < _FIT_LIMIT:
        raise InputError(f"{named} has a k4 that cannot be represented ({error:.2g} pixels off); align without k4")
    return tuple(float(value / limit ** (2 * i)) for value, i in zip(fit, (1, 2, 3, 1, 2, 3), strict=True))
