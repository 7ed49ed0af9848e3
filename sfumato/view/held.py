"""Held-out photos to pictures that show how far training has come: each beside its render, in turn."""

import io
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import resize, resize_mask, to_uint8
from sfumato.core.scene import Picture, View
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

__all__ = ["HeldOut", "Measure", "Shown", "small_jpeg"]

MOST = 6  # views, evenly chosen
LARGEST = 960  # pixels, the longer side of what is rendered and shown
QUALITY = 85

Measure = Callable[[Tensor, Tensor, Tensor | None], float]  # image, target, mask -> decibels


@dataclass(frozen=True)
class Shown:
    """How well one held-out photo is met; step 0: not rendered yet."""

    name: str
    width: int
    height: int
    step: int = 0
    psnr: float = math.nan  # decibels, at the size that is shown


class HeldOut:
    """A few held-out views, one of which is rendered at a time."""

    def __init__(self, views: Sequence[View], measure: Measure) -> None:
        """views: all that are held out. measure: PSNR."""
        self._views = _even(views)
        self._measure = measure
        self._lock = threading.Lock()
        self._pictures: dict[int, Picture] = {}
        self._renders: dict[int, bytes] = {}
        self._turn = 0
        self.shown = [Shown(view.name, *_fit(view.camera)) for view in self._views]

    def __len__(self) -> int:
        return len(self._views)

    @property
    def complete(self) -> bool:
        """True when every view has been rendered: before, the mean would be of fewer photos."""
        return all(shown.step for shown in self.shown)

    def mean(self) -> tuple[int, float] | None:
        """The mean step and the mean PSNR, in decibels, of the latest renders, which are of different steps."""
        found = [(shown.step, shown.psnr) for shown in self.shown if math.isfinite(shown.psnr)]
        if not found or not self.complete:
            return None
        steps, values = zip(*found, strict=True)
        return round(sum(steps) / len(found)), sum(values) / len(found)

    def prepare(self) -> None:
        """Decode the photos."""
        for index, view in enumerate(self._views):
            picture, size = view.picture(), _fit(view.camera)
            mask = None if picture.mask is None else resize_mask(picture.mask, *size)
            small = Picture(resize(picture.pixels, *size).contiguous(), mask)
            with self._lock:
                self._pictures[index] = small

    @property
    def ready(self) -> bool:
        """True when all photos are decoded, and there are some."""
        return 0 < len(self._views) == len(self._pictures)

    def draw(
        self,
        gaussians: Gaussians,
        step: int,
        settings: RenderSettings,
        background: tuple[float, float, float],
        backend: str,
    ) -> Callable[[], None]:
        """Render the view whose turn it is and measure it; returns what is left to do, which any thread may."""
        index = self._turn % len(self._views)
        self._turn += 1
        view, picture, before = self._views[index], self._pictures[index], self.shown[index]
        camera = view.camera.resized(before.width, before.height)
        with torch.no_grad():
            image = render(gaussians, camera, settings, torch.tensor(background), backend).image
        psnr = self._measure(image, picture.pixels, picture.mask)
        image = image.cpu()  # the rest is done beside training, and not by its GPU

        def encode() -> None:
            data = small_jpeg(to_uint8(image))
            with self._lock:
                self._renders[index] = data
                self.shown[index] = replace(before, step=step, psnr=psnr)

        return encode

    def photo(self, index: int) -> bytes | None:
        """The photo as JPEG; None before it was decoded."""
        picture = self._pictures.get(index)
        return None if picture is None else small_jpeg(picture.pixels)

    def latest(self, index: int) -> bytes | None:
        """The latest render as JPEG; None before the first."""
        return self._renders.get(index)


def small_jpeg(pixels: Tensor) -> bytes:
    """(H, W, 3) uint8 as JPEG of at most LARGEST pixels along the longer side."""
    height, width = pixels.shape[:2]
    times = max(1.0, max(width, height) / LARGEST)
    small = resize(pixels, max(1, round(width / times)), max(1, round(height / times)))
    file = io.BytesIO()
    Image.fromarray(small.contiguous().numpy()).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _even(views: Sequence[View]) -> list[View]:
    """At most MOST of the views, from all of their range."""
    count = min(MOST, len(views))
    return [views[(2 * number + 1) * len(views) // (2 * count)] for number in range(count)]


def _fit(camera: Camera) -> tuple[int, int]:
    times = max(1.0, max(camera.width, camera.height) / LARGEST)
    return max(1, round(camera.width / times)), max(1, round(camera.height / times))
