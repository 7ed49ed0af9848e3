"""A view to what a step learns from: its photo at one size, and what its mask says of it."""

from dataclasses import dataclass, replace

from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.image import planar, resize, resize_mask
from sfumato.core.scene import EMPTY, IGNORED, SHOWN, View

__all__ = ["Lesson", "Prepared", "prepare"]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a step learns from."""

    camera: Camera
    photo: Tensor  # (H, W, 3) uint8, laid out color by color; black where it is ignored
    shown: Tensor | None  # (H, W, 1) 1 where the photo counts, 0 where it is ignored; None: it counts everywhere
    empty: Tensor | None  # (H, W) 1 where alpha must be 0; None: nowhere
    key: tuple[int, int] = (0, 1)  # the number of its view, and how many times smaller it is


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photo at one size, as small as it can be held: of a view in memory, at full size, it is the view's own."""

    camera: Camera
    photo: Tensor  # (H, W, 3) uint8
    mask: Tensor | None = None  # (H, W) uint8 of SHOWN, IGNORED and EMPTY; None: all are SHOWN
    has_ignored: bool = False
    has_empty: bool = False

    @property
    def bytes(self) -> int:
        """Of its tensors."""
        return self.photo.nbytes + (0 if self.mask is None else self.mask.nbytes)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What is sent to a GPU."""
        return (self.photo,) if self.mask is None else (self.photo, self.mask)

    def having(self, tensors: tuple[Tensor, ...]) -> "Prepared":
        """The same with its tensors elsewhere."""
        photo, *mask = tensors
        return replace(self, photo=photo, mask=mask[0] if mask else None)

    def lesson(self, key: tuple[int, int]) -> Lesson:
        """What the mask says is spelled out for this one step: so it takes a byte a pixel, instead of many."""
        if self.mask is None:
            return Lesson(self.camera, self.photo, None, None, key)
        empty = (self.mask == EMPTY).float() if self.has_empty else None
        if not self.has_ignored:
            return Lesson(self.camera, self.photo, None, empty, key)
        shown = (self.mask != IGNORED)[..., None]
        return Lesson(self.camera, planar(self.photo * shown), shown.float(), empty, key)  # a product keeps the layout


def prepare(view: View, divisor: int) -> Prepared:
    """The view's photo, each side `divisor` times smaller. Raises what decoding it raises."""
    width, height, _ = view.size.smaller(divisor)
    camera, picture = view.camera.resized(width, height), view.picture()
    photo = planar(resize(picture.pixels, width, height))
    mask = None if picture.mask is None else resize_mask(picture.mask, width, height)
    if mask is None or bool((mask == SHOWN).all()):
        return Prepared(camera, photo)
    return Prepared(camera, photo, mask, bool((mask == IGNORED).any()), bool((mask == EMPTY).any()))
