"""Intrinsics in the words of transforms.json, to a lens."""

import math
from collections.abc import Mapping
from typing import Any

from sfumato.capture.brown import brown_lens
from sfumato.capture.datasets.common import finite, size_of
from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError

__all__ = ["lens_of"]

_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")  # also the order of nerfstudio's distortion_params
_FISHEYES = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_BROWN = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL", "FULL_OPENCV", "PERSPECTIVE", "BROWN")
_PANORAMAS = ("EQUIRECTANGULAR", "SPHERICAL", "OMNIDIRECTIONAL", "VR180")
_CUT = "cut it into perspective views, as `ns-process-data images --camera-type equirectangular` does"


def lens_of(named: str, values: Mapping[str, Any], width: int, height: int) -> Lens:
    """The lens of a frame whose photo has `width` x `height` pixels; `values` are the frame's over the file's.

    Focal lengths are fl_x and fl_y in pixels, else x_fov, y_fov in degrees, else camera_angle_x, camera_angle_y in
    radians; one axis is enough. Sizes default to the photo's, the principal point to its middle. Raises InputError,
    which begins with `named`, when a number is missing or impossible, or the camera is no perspective or fisheye.
    """
    size = size_of(named, _given(values, "w", width), _given(values, "h", height))
    fx, fy = _focal(named, values, "x", size[0]), _focal(named, values, "y", size[1])
    if fx is None and fy is None:
        raise InputError(f"{named} has no focal length: give fl_x or camera_angle_x")
    focals = (fx if fx is not None else fy or 0.0, fy if fy is not None else fx or 0.0)
    center = (_number(named, values, "cx", size[0] / 2), _number(named, values, "cy", size[1] / 2))
    try:
        return _lens(named, values, focals, center, size)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(named) else f"{named}: {error}") from None


def _lens(
    named: str,
    values: Mapping[str, Any],
    focals: tuple[float, float],
    center: tuple[float, float],
    size: tuple[int, int],
) -> Lens:
    listed = values.get("distortion_params")
    if isinstance(listed, list):
        values = {**values, **dict(zip(_DISTORTION, listed, strict=False))}
    k1, k2, k3, k4, p1, p2 = (_number(named, values, name, 0.0) for name in _DISTORTION)
    kind = str(_given(values, "camera_model", "OPENCV")).upper()
    if kind.startswith(_PANORAMAS) or values.get("is_equirectangular"):
        raise InputError(f"{named} is a panorama ({kind.lower()}), which cannot be learned from as it is; {_CUT}")
    if kind in _FISHEYES or values.get("is_fisheye"):
        return Lens("OPENCV_FISHEYE", (*focals, *center, k1, k2, k3, k4), *size)
    if "FISHEYE" in kind or kind.startswith("ORTHO"):
        raise InputError(f"{named} has camera_model {kind[:40]}, which cannot be read; undistort its photos first")
    if kind not in _BROWN:
        known = " ".join((*_BROWN, *_FISHEYES))
        raise InputError(f"{named} has camera_model {kind[:40]}, which is not known (known: {known}); correct it")
    return brown_lens(focals, center, (k1, k2, k3, k4), (p1, p2), size)


def _focal(named: str, values: Mapping[str, Any], axis: str, size: float) -> float | None:
    """Focal length in pixels along an axis, of a focal length or a field of view."""
    if values.get(f"fl_{axis}") is not None:
        return _number(named, values, f"fl_{axis}", 0.0)
    for key, unit in ((f"{axis}_fov", math.pi / 180), (f"camera_angle_{axis}", 1.0)):
        if values.get(key) is not None:
            angle = _number(named, values, key, 0.0) * unit
            if not 1e-4 < angle < math.pi - 1e-4:
                raise InputError(f"{named}: {key} must be the angle of a lens, within 0 and 180 degrees; got {angle}")
            return 0.5 * size / math.tan(angle / 2)
    return None


def _given(values: Mapping[str, Any], key: str, default: object) -> object:
    value = values.get(key)
    return default if value is None else value


def _number(named: str, values: Mapping[str, Any], key: str, default: float) -> float:
    return finite(f"{named}: {key}", _given(values, key, default))
