"""Scene: views (camera + photo), the sparse points they were solved with, and which views are held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.check import check_shape
from sfumato.core.errors import InputError

__all__ = ["EMPTY", "IGNORED", "SHOWN", "Picture", "Points", "Scene", "Size", "View", "hold_out"]

# what a mask says of a pixel: what the photo shows counts; it says nothing; nothing is there, so alpha must be 0
SHOWN, IGNORED, EMPTY = 255, 0, 128


class Size(NamedTuple):
    """What a picture takes in memory."""

    width: int  # pixels
    height: int
    has_mask: bool = False  # or may have one, where nobody knows yet

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height

    @property
    def bytes(self) -> int:
        """Of the colors, and of the mask."""
        return (4 if self.has_mask else 3) * self.pixels

    def smaller(self, times: float) -> "Size":
        """So many times less wide and high, and at least a pixel."""
        return Size(max(1, round(self.width / times)), max(1, round(self.height / times)), self.has_mask)


@dataclass(frozen=True, eq=False)
class Picture:
    """A photo's pixels, and which of them count."""

    pixels: Tensor  # (H, W, 3) uint8
    mask: Tensor | None = None  # (H, W) uint8 of SHOWN, IGNORED and EMPTY; None: all are SHOWN

    def __post_init__(self) -> None:
        check_shape("pixels", self.pixels, ("H", "W", 3))
        if self.pixels.dtype != torch.uint8:
            raise InputError(f"pixels must be uint8; got {self.pixels.dtype}")
        if self.mask is not None:
            check_shape("mask", self.mask, ("H", "W"), H=self.pixels.shape[0], W=self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class View:
    """One photo and the camera that took it."""

    name: str  # unique in its scene: the file's path inside the photo folder
    camera: Camera
    photo: Tensor | Picture | Callable[[], Picture]  # (H, W, 3) uint8; a function when it is decoded again each time
    split: Literal["train", "test"] = "train"
    may_be_masked: bool = True  # of a photo that is decoded again each time: False where it surely has no mask

    def __post_init__(self) -> None:
        if not callable(self.photo):
            self._check(self.picture())

    def picture(self) -> Picture:
        """The pixels and the mask; this decodes the photo where it is not kept in memory."""
        if isinstance(self.photo, Tensor):
            return Picture(self.photo)
        return self.photo if isinstance(self.photo, Picture) else self._check(self.photo())

    @property
    def size(self) -> Size:
        """What the picture takes, without decoding it."""
        if isinstance(self.photo, Tensor):
            has_mask = False
        else:
            has_mask = self.photo.mask is not None if isinstance(self.photo, Picture) else self.may_be_masked
        return Size(self.camera.width, self.camera.height, has_mask)

    @property
    def image(self) -> Tensor:
        """(H, W, 3) uint8 the pixels alone."""
        return self.picture().pixels

    def _check(self, picture: Picture) -> Picture:
        size = {"H": self.camera.height, "W": self.camera.width}
        check_shape(f"image of {self.name}", picture.pixels, ("H", "W", 3), **size)
        return picture


@dataclass(frozen=True, eq=False)
class Points:
    """Sparse points of structure from motion, or random ones where there are none."""

    xyz: Tensor  # (M, 3) world units, float32 in a scene
    rgb: Tensor  # (M, 3) uint8

    def __post_init__(self) -> None:
        check_shape("xyz", self.xyz, ("M", 3))
        check_shape("rgb", self.rgb, ("M", 3), M=self.xyz.shape[0])

    def __len__(self) -> int:
        return self.xyz.shape[0]


@dataclass(frozen=True, eq=False)
class Scene:
    """What training needs; the world's axes and units are those of the source."""

    views: list[View]
    points: Points
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)  # behind transparent photos, in [0, 1]
    protocol: dict[str, object] = field(default_factory=dict)  # how it was read, for the report
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the source's coordinates of this world's zero, float64

    @property
    def train(self) -> list[View]:
        """The views that are trained on."""
        return [view for view in self.views if view.split == "train"]

    @property
    def test(self) -> list[View]:
        """The views that are held out for evaluation."""
        return [view for view in self.views if view.split == "test"]

    @property
    def extent(self) -> float:
        """1.1 times the largest distance of a training camera from their mean, world units.

        The length that rates and size limits are relative to, as in the code of Kerbl et al. 2023.
        One camera alone has no such length: then its distance to the middle of the points.
        Raises InputError when all views are held out.
        """
        if not self.train:
            raise InputError("a scene with no training views has no extent: mark some views with split='train'")
        positions = torch.stack([view.camera.position for view in self.train]).double()
        radius = (positions - positions.mean(dim=0)).norm(dim=1).max().item()
        if radius == 0 and len(self.points):
            radius = (self.points.xyz.double().median(dim=0).values - positions[0]).norm().item()
        return 1.1 * radius or 1.0

    @property
    def near(self) -> float:
        """Distance from a camera up to which nothing is drawn, world units.

        The field's 0.2 suits scenes a few units across; in smaller ones it is a 25th of the extent.
        """
        return min(0.2, self.extent / 25) if self.train else 0.2


def hold_out(views: Sequence[View], every: int) -> list[View]:
    """Views in name order with each `every`-th one (the first included) marked as test; 0 marks none."""
    ordered = sorted(views, key=lambda view: view.name)
    return [
        replace(view, split="test" if every and index % every == 0 else "train") for index, view in enumerate(ordered)
    ]
