"""Camera: where a pinhole camera stands, how it projects, and how large its picture is."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.check import check_shape
from sfumato.core.errors import InputError

__all__ = ["Camera"]


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with OpenCV axes: x right, y down, z forward.

    The top-left pixel's center is (0.5, 0.5), so the picture covers [0, width] x [0, height].
    Raises ShapeError or InputError when a matrix has the wrong shape or the picture no pixels.
    """

    viewmat: Tensor  # (4, 4) camera <- world
    K: Tensor  # (3, 3) pixels <- camera
    width: int
    height: int

    def __post_init__(self) -> None:
        check_shape("viewmat", self.viewmat, (4, 4))
        check_shape("K", self.K, (3, 3))
        if self.width < 1 or self.height < 1:
            raise InputError(f"width and height must be at least 1 pixel; got {self.width} x {self.height}")

    @classmethod
    def look_at(cls, position: Tensor, target: Tensor, up: Tensor, focal: float, width: int, height: int) -> "Camera":
        """A camera at `position` (3,) looking at `target` (3,), `up` (3,) upwards, `focal` in pixels.

        Raises InputError where those leave the direction open.
        """
        forward = torch.nn.functional.normalize(target - position, dim=0)
        sideways = torch.linalg.cross(forward, torch.nn.functional.normalize(up, dim=0))
        if not forward.any():
            raise InputError(f"position and target must differ; both are {position.tolist()}")
        if sideways.norm() < 1e-6:
            raise InputError(f"up must not be parallel to the direction of view; got {up.tolist()}")
        right = torch.nn.functional.normalize(sideways, dim=0)
        down = torch.linalg.cross(forward, right)
        viewmat = torch.eye(4, dtype=position.dtype)
        viewmat[:3, :3] = torch.stack([right, down, forward])
        viewmat[:3, 3] = -viewmat[:3, :3] @ position
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=position.dtype)
        return cls(viewmat, K, width, height)

    @property
    def position(self) -> Tensor:
        """(3,) the center of projection in the world."""
        return -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera with its picture resampled to `width` x `height`: intrinsics scale exactly."""
        scale = torch.tensor([width / self.width, height / self.height, 1.0]).to(self.K)
        return replace(self, K=scale[:, None] * self.K, width=width, height=height)

    def to(self, *args: object) -> "Camera":
        """The same camera with its matrices moved as by `Tensor.to`."""
        return replace(self, viewmat=self.viewmat.to(*args), K=self.K.to(*args))  # type: ignore[call-overload]
