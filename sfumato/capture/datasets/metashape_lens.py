"""The lens of a sensor in Agisoft Metashape's XML, as a COLMAP model."""

from pathlib import Path
from xml.etree.ElementTree import Element

from sfumato.capture.brown import brown_lens
from sfumato.capture.datasets.common import finite, size_of
from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError

__all__ = ["lens_of"]

_FISHEYES = ("fisheye", "equidistant_fisheye", "equidistantfisheye")  # one projection under two names
_SKEW_LIMIT = 1.0  # pixels at the edge of the photo; COLMAP's models have none
_LARGEST = 1e6  # what no distortion reaches
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
    calibration, kind = _calibration(named, sensor)
    resolution = next((found for item in (calibration, sensor) for found in item.iterfind("resolution")), None)
    if resolution is None:
        raise InputError(f"{named} has no resolution; export the cameras again")
    width, height = size_of(named, *(_parse(f"{named}: {k}", resolution.get(k)) for k in ("width", "height")))
    values = {item.tag: _parse(f"{named}: {item.tag}", item.text) for item in calibration if item.tag in _KNOWN}
    _check(named, values, width, height)
    b1, cx, cy = (values.get(key, 0.0) for key in ("b1", "cx", "cy"))
    focals, center = (values["f"] + b1, values["f"]), (width / 2 + cx, height / 2 + cy)
    k1, k2, k3, k4 = (values.get(key, 0.0) for key in _RADIAL)
    tangential = (values.get("p2", 0.0), values.get("p1", 0.0))
    if kind == "frame":
        try:
            return brown_lens(focals, center, (k1, k2, k3, k4), tangential, (width, height))
        except InputError as error:
            raise InputError(f"{named}: {error}") from None
    if any(tangential):
        return Lens("THIN_PRISM_FISHEYE", (*focals, *center, k1, k2, *tangential, k3, k4, 0.0, 0.0), width, height)
    return Lens("OPENCV_FISHEYE", (*focals, *center, k1, k2, k3, k4), width, height)


def _calibration(named: str, sensor: Element) -> tuple[Element, str]:
    """What alignment found, or else what was set before, and the projection. Raises InputError for other ones."""
    calibrations = sensor.findall("calibration")
    adjusted = [item for item in calibrations if item.get("class") == "adjusted"]
    calibration = next(reversed(adjusted or calibrations), None)
    kind = (sensor.get("type", "frame") if calibration is None else calibration.get("type") or "frame").lower()
    if kind not in ("frame", *_FISHEYES):
        raise InputError(f"{named} is {kind}, which cannot be read; render its photos as frame cameras first")
    if calibration is None:
        raise InputError(f"{named} has no calibration; align the photos, then export the cameras again")
    return calibration, kind


def _parse(named: str, text: str | None) -> float:
    try:
        return finite(named, float(text or ""))
    except ValueError:
        raise InputError(f"{named} must be a finite number; got {(text or 'nothing')[:40]}") from None


def _check(named: str, values: dict[str, float], width: int, height: int) -> None:
    """Refuse what COLMAP's models cannot say."""
    if "f" not in values and "fx" in values:
        raise InputError(
            f"{named} was written by a PhotoScan before 1.2, whose lenses differ; export it from Metashape"
        )
    if values.get("f", 0) <= 0 or values["f"] + values.get("b1", 0) <= 0:
        raise InputError(f"{named} must have a focal length f above 0; got {values.get('f', 'nothing')}")
    side = max(width, height)
    if not 1e-3 * side < values["f"] < 1e6 * side or any(abs(values.get(key, 0)) > 100 * side for key in ("cx", "cy")):
        told = f"f {values['f']:g}, cx {values.get('cx', 0):g}, cy {values.get('cy', 0):g}"
        raise InputError(f"{named} must have numbers of a lens, in pixels; got {told} for {width} x {height} pixels")
    if any(abs(values.get(key, 0)) > _LARGEST for key in (*_RADIAL, "p1", "p2")):
        raise InputError(f"{named} must have distortion below {_LARGEST:g}; export the cameras again")
    skew = abs(values.get("b2", 0)) * height / 2 / values["f"]
    if skew > _SKEW_LIMIT:
        raise InputError(f"{named} is skewed by {skew:.1f} pixels (b2); export undistorted photos, or align without b2")
    if values.get("p3") or values.get("p4"):
        raise InputError(f"{named} has p3 or p4, which cannot be represented; export undistorted photos")
