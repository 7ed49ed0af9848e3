"""Scene: views (camera + photo), the sparse points they were solved with, and which views are held out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.check import check_shape
from sfumato.core.errors import InputError

__all__ = ["Points", "Scene", "View", "hold_out"]


@dataclass(frozen=True, eq=False)
class View:
    """One photo and the camera that took it."""

    name: str  # unique in its scene: the file's path inside the photo folder
    camera: Camera
    image: Tensor  # (H, W, 3) uint8
    split: Literal["train", "test"] = "train"

    def __post_init__(self) -> None:
        check_shape(f"image of {self.name}", self.image, ("H", "W", 3), H=self.camera.height, W=self.camera.width)
        if self.image.dtype != torch.uint8:
            raise InputError(f"image of {self.name} must be uint8; got {self.image.dtype}")


@dataclass(frozen=True, eq=False)
class Points:
    """Sparse points of structure from motion, or random ones where there are none."""

    xyz: Tensor  # (M, 3) float32 world units
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
