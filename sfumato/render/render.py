"""Gaussians and a camera to a picture, differentiable on every backend."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.backends import load
from sfumato.kernels.rooms import Rooms
from sfumato.kernels.stages import Backend, RenderSettings, Splats

__all__ = ["Render", "render"]

MOST_REMEMBERED = 256  # kinds of pictures whose tile lists' length is remembered: a number each

_rooms = Rooms()  # of this process: so that a frame on a GPU need not wait until its pairs are counted


@dataclass(frozen=True, eq=False)
class Render:
    """What one camera sees."""

    image: Tensor  # (H, W, 3), not clamped above
    alpha: Tensor  # (H, W) in [0, 1]
    depth: Tensor | None  # (H, W) expected depth in world units, 0 where alpha is 0; None if not asked for
    splats: Splats


def render(
    gaussians: Gaussians,
    camera: Camera,
    settings: RenderSettings | None = None,
    background: Tensor | None = None,
    backend: str = "auto",
) -> Render:
    """The picture of `gaussians` by `camera` over `background` (3,), black by default.

    It is drawn where the Gaussians are, and stays there; the camera and the background may be on the CPU.
    Differentiable down to the stored numbers. On a GPU, settings.room, or what a picture like this one needed the last
    time, is room for the tile lists; where that was too little, the picture is drawn again. Raises BackendError when
    the backend cannot run here, TileListError when there are more than settings.most_pairs pairs.
    """
    settings = settings or RenderSettings()
    means = gaussians.means
    behind = means.new_zeros(3) if background is None else background.to(means.device, means.dtype, non_blocking=True)
    stages = load(backend, means.device)
    splats = stages.project(gaussians, camera, settings)
    return Render(*_blended(stages, splats, camera, behind, settings), splats)


def _blended(
    stages: Backend, splats: Splats, camera: Camera, background: Tensor, settings: RenderSettings
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Image, alpha and depth. Whether pairs are missing is asked when the GPU has all its work, so it never idles."""
    kind = (splats.means2d.device, camera.width, camera.height, len(splats.means2d))
    room = _rooms.of(kind) if settings.room is None else settings.room
    tiles = stages.bin(splats, camera.width, camera.height, replace(settings, room=room))
    drawn = stages.blend(splats, tiles, background, settings)
    _remember(kind, tiles.count)
    if tiles.missing:
        tiles = stages.bin(splats, camera.width, camera.height, replace(settings, room=None))
        drawn = stages.blend(splats, tiles, background, settings)
    return drawn


def _remember(kind: Hashable, count: int) -> None:
    if len(_rooms.counts) >= MOST_REMEMBERED:
        _rooms.counts.clear()
    _rooms.learn(kind, count)
