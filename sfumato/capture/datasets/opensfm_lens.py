"""Cameras of OpenSfM, whose numbers are shares of the photo's longer side, to lenses."""

from collections.abc import Mapping
from typing import Any

from sfumato.capture.brown import brown_lens
from sfumato.capture.datasets.common import finite, number
from sfumato.capture.shot import Lens
from sfumato.core.errors import InputError

__all__ = ["PANORAMAS", "lens_of"]

PANORAMAS = ("spherical", "equirectangular")
_ONE_FOCAL = {"perspective": "RADIAL", "fisheye": "RADIAL_FISHEYE"}  # the same polynomials in COLMAP
_BROWN = ("brown", "radial", "simple_radial")  # they differ in how many of the coefficients they have
_STRAIGHTEN = "run `opensfm undistort` and give the folder undistorted that it makes"


def lens_of(named: str, camera: Mapping[str, Any], size: tuple[int, int]) -> Lens:
    """The lens of a camera for photos of `size` (width, height); coefficients that are missing are zero.

    Focal lengths and principal points are shares of the longer side, the latter from the photo's middle. Raises
    InputError when the projection has no lens here (panoramas), or a number is missing or impossible.
    """
    kind = camera.get("projection_type", "perspective")
    longer, middle = max(size), (size[0] / 2, size[1] / 2)

    def value(key: str) -> float:
        return finite(f"{named}: {key}", camera.get(key, 0.0))

    try:
        if kind in _ONE_FOCAL:
            focal = longer * number(named, camera, "focal")
            return Lens(_ONE_FOCAL[kind], (focal, *middle, value("k1"), value("k2")), *size)
        if kind in (*_BROWN, "fisheye_opencv"):
            focals = (longer * number(named, camera, "focal_x"), longer * number(named, camera, "focal_y"))
            center = (middle[0] + longer * value("c_x"), middle[1] + longer * value("c_y"))
            k1, k2, k3 = value("k1"), value("k2"), value("k3")
            if kind == "fisheye_opencv":
                return Lens("OPENCV_FISHEYE", (*focals, *center, k1, k2, k3, value("k4")), *size)
            return brown_lens(focals, center, (k1, k2, k3), (value("p1"), value("p2")), size)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(named) else f"{named}: {error}") from None
    if kind in PANORAMAS:
        raise InputError(f"{named} takes panoramas, which cannot be learned from as they are; {_STRAIGHTEN}")
    raise InputError(f"{named} has projection_type {str(kind)[:40]!r}, which is not known; {_STRAIGHTEN}")
