"""What the viewer is to show, as the JSON that its page reads."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from sfumato.core.camera import Camera
from sfumato.core.scene import Scene, View

__all__ = ["Page", "PageCamera", "SplatFile", "Split", "cameras_of", "embeddable", "near_of", "up_of"]

NEAR = 0.2  # world units, where no camera says how large the scene is

_Vector = tuple[float, float, float]
Split = Literal["train", "test"]


@dataclass(frozen=True)
class SplatFile:
    """A splat that the page is to fetch."""

    url: str
    name: str
    bytes: int

    def to_json(self) -> dict[str, object]:
        """As the page reads it."""
        return {"url": self.url, "name": self.name, "bytes": self.bytes}


@dataclass(frozen=True)
class PageCamera:
    """A camera in plain numbers, OpenCV axes, and where its photo is."""

    name: str
    viewmat: tuple[float, ...]  # 16, row by row: camera <- world
    K: tuple[float, float, float, float]  # fx, fy, cx, cy in pixels
    width: int
    height: int
    split: Split = "train"
    photo: str | None = None  # URL; of a camera that was read from a run: path inside its folder

    @classmethod
    def of(cls, camera: Camera, name: str = "", split: Split = "train", photo: str | None = None) -> "PageCamera":
        """The same camera for the page."""
        viewmat, K = camera.viewmat.detach().double().cpu(), camera.K.detach().double().cpu()
        focal = (K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item())
        return cls(name, tuple(viewmat.flatten().tolist()), focal, camera.width, camera.height, split, photo)

    @property
    def position(self) -> _Vector:
        """The center of projection in the world."""
        m = self.viewmat
        x, y, z = (-sum(m[4 * row + axis] * m[4 * row + 3] for row in range(3)) for axis in range(3))
        return x, y, z

    def pose(self) -> dict[str, object]:
        """What the page's `start` holds."""
        return {"viewmat": list(self.viewmat), "K": list(self.K), "width": self.width, "height": self.height}

    def to_json(self) -> dict[str, object]:
        """As the page reads it."""
        return {"name": self.name, **self.pose(), "split": self.split, "photo": self.photo}


@dataclass(frozen=True)
class Page:
    """What a page is to show."""

    title: str
    splat: SplatFile | Literal["embedded"] | None = None  # None: it comes later, from training or from a dropped file
    up: _Vector | None = None  # unit, in the world; None: the page guesses
    background: _Vector = (0.0, 0.0, 0.0)  # in [0, 1]
    near: float = NEAR  # world units; what is nearer is not drawn
    antialiased: bool = False
    cameras: Sequence[PageCamera] = field(default=())
    start: PageCamera | None = None  # None: the page chooses
    live: bool = False

    @classmethod
    def of_scene(
        cls, title: str, scene: Scene, photo: Callable[[int], str | None] = lambda index: None, live: bool = False
    ) -> "Page":
        """A page with the scene's cameras, background and near plane; photo: URL of the view with that index."""
        cameras = cameras_of(scene.views, photo)
        start = next((camera for camera in cameras if camera.split == "test"), next(iter(cameras), None))
        return cls(title, None, up_of(cameras), scene.background, scene.near, False, cameras, start, live)

    def to_json(self) -> dict[str, object]:
        """The object that the page reads."""
        splat = self.splat.to_json() if isinstance(self.splat, SplatFile) else None
        return {
            "title": self.title,
            "splat": {"embedded": True} if self.splat == "embedded" else splat,
            "up": None if self.up is None else list(self.up),
            "background": list(self.background),
            "near": self.near,
            "antialiased": self.antialiased,
            "cameras": [camera.to_json() for camera in self.cameras],
            "start": self.start.pose() if self.start else None,
            "live": self.live,
        }


def embeddable(page: Page) -> str:
    """The page's JSON, which no name in it can lead out of the `<script type="application/json">` it is put into."""
    text = json.dumps(page.to_json(), allow_nan=False, separators=(",", ":"))  # ASCII: also U+2028 is escaped
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def cameras_of(views: Sequence[View], photo: Callable[[int], str | None] = lambda index: None) -> list[PageCamera]:
    """The cameras of views, in their order; photo: URL of the view with that index."""
    return [PageCamera.of(view.camera, view.name, view.split, photo(index)) for index, view in enumerate(views)]


def up_of(cameras: Sequence[PageCamera]) -> _Vector | None:
    """Mean of the cameras' up directions, unit; None where there are none, or they cancel out."""
    if not cameras:
        return None
    x, y, z = (-sum(camera.viewmat[4 + axis] for camera in cameras) / len(cameras) for axis in range(3))
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length) if length > 0.1 else None


def near_of(cameras: Sequence[PageCamera]) -> float:
    """Distance up to which nothing is drawn, as `Scene.near` has it; without cameras the field's 0.2."""
    places = torch.tensor([camera.position for camera in cameras if camera.split == "train"], dtype=torch.float64)
    extent = 1.1 * (places - places.mean(dim=0)).norm(dim=1).max().item() if len(places) else 0.0
    return min(NEAR, extent / 25) or NEAR
