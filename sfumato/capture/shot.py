"""Shot: a photo's file, the lens it was taken with (distortion included) and where the camera stood."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.scene import Points

__all__ = ["LARGEST", "LENS_MODELS", "Capture", "Lens", "Shot", "points_from_arrays", "same_shape"]

# COLMAP's models in the order of their numbers, and how many parameters each has
LENS_MODELS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
    "RAD_TAN_THIN_PRISM_FISHEYE": 16,
    "SIMPLE_DIVISION": 4,
    "DIVISION": 5,
    "SIMPLE_FISHEYE": 3,
    "FISHEYE": 4,
    "EUCM": 6,
    "EQUIRECTANGULAR": 2,
}
_ONE_FOCAL = {
    "SIMPLE_PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "SIMPLE_DIVISION",
    "SIMPLE_FISHEYE",
}
# models that are a pinhole when the parameters behind the principal point are all zero
_POLYNOMIAL = {"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"}
_POLYNOMIAL |= {"SIMPLE_DIVISION", "DIVISION"}
LARGEST = 1e30  # world units; farther points are mistakes, and float32 ends soon


@dataclass(frozen=True)
class Lens:
    """A COLMAP camera model: its name, its parameters in COLMAP's order, the size of its photos.

    Raises InputError when the model is unknown, its parameters are too few, too many, not finite or enormous, or a
    focal length is not above zero.
    """

    model: str
    params: tuple[float, ...]  # f cx cy ... or fx fy cx cy ..., pixels
    width: int
    height: int

    def __post_init__(self) -> None:
        wanted = LENS_MODELS.get(self.model)
        if wanted is None:
            raise InputError(f"camera model {self.model} is not known (known: {' '.join(LENS_MODELS)})")
        if len(self.params) != wanted:
            raise InputError(f"camera model {self.model} must have {wanted} parameters; got {len(self.params)}")
        if not all(abs(value) < LARGEST for value in self.params):  # false for NaN, too
            raise InputError(f"camera model {self.model} must have finite parameters; got {self.params}")
        if min(self.focals) <= 0:
            raise InputError(f"camera model {self.model} must have a focal length above 0; got {min(self.focals)}")
        if self.width < 1 or self.height < 1:
            raise InputError(f"a camera's photos must have pixels; got {self.width} x {self.height}")

    @property
    def focals(self) -> tuple[float, float]:
        """(fx, fy) in pixels."""
        return (self.params[0], self.params[0] if self.model in _ONE_FOCAL else self.params[1])

    @property
    def center(self) -> tuple[float, float]:
        """(cx, cy) in pixels; the top-left pixel's center is (0.5, 0.5)."""
        first = 1 if self.model in _ONE_FOCAL else 2
        return (self.params[first], self.params[first + 1])

    @property
    def is_pinhole(self) -> bool:
        """True when straight lines stay straight, so that the photo can be used as it is."""
        first = 3 if self.model in _ONE_FOCAL else 4
        return self.model in _POLYNOMIAL and not any(self.params[first:])

    def resized(self, width: int, height: int) -> "Lens":
        """The same lens with its photos resampled to `width` x `height`; distortion does not change."""
        if (width, height) == (self.width, self.height):
            return self
        x, y = width / self.width, height / self.height
        if self.model == "EQUIRECTANGULAR":
            scales: tuple[float, ...] = (x, y)
        else:  # one focal length for both axes cannot follow both: the mean is exact when the shape is kept
            scales = ((x + y) / 2, x, y) if self.model in _ONE_FOCAL else (x, y, x, y)
        scaled = (value * scale for value, scale in zip(self.params, scales, strict=False))
        return replace(self, params=(*scaled, *self.params[len(scales) :]), width=width, height=height)


@dataclass(frozen=True)
class Shot:
    """A photo's file, its lens and its pose."""

    name: str  # unique in its capture; forward slashes
    path: Path
    lens: Lens
    viewmat: NDArray[np.float64]  # (4, 4) camera <- world, OpenCV axes
    split: Literal["train", "test"] | None = None  # None: nobody decided
    mask: Path | None = None  # a picture that says which pixels count
    has_alpha: bool = False  # as far as somebody has looked

    def camera(self, lens: Lens) -> Camera:
        """The pinhole camera, in float64, of the photo once it shows what `lens`, a pinhole, would show."""
        (fx, fy), (cx, cy) = lens.focals, lens.center
        K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
        return Camera(torch.from_numpy(self.viewmat), K, lens.width, lens.height)


@dataclass(frozen=True)
class Capture:
    """What a reader found: shots, points if there are any, and how it was read."""

    reader: str
    shots: list[Shot]
    points: Points | None  # float64, for the source's origin may be far away
    protocol: dict[str, object] = field(default_factory=dict)
    is_synthetic: bool = False  # rendered on transparent ground, and its cameras look at the origin


def points_from_arrays(xyz: NDArray[np.floating[Any]], rgb: NDArray[np.uint8]) -> Points:
    """Points, in float64, from (M, 3) world units and (M, 3) colors, without those that are not finite."""
    finite = (np.abs(xyz) < LARGEST).all(axis=1)
    return Points(torch.from_numpy(xyz[finite].astype(np.float64)), torch.from_numpy(rgb[finite].copy()))


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """True when the two (width, height) differ by a scale, but for rounding."""
    (w, h), (v, u) = size, other
    return abs(w * u - v * h) <= 1.5 * max(w, h, v, u)
