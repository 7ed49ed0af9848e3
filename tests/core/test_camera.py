"""Camera: axes, position, exact intrinsics after resizing, sentences for bad shapes."""

import pytest
import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, ShapeError


def pixels(camera: Camera, points: Tensor) -> Tensor:
    """(M, 2) where world points (M, 3) land."""
    seen = points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    projected = seen @ camera.K.T
    return projected[:, :2] / projected[:, 2:]


def looking_along_x() -> Camera:
    position, target, up = torch.tensor([[1.0, 0, 0], [3.0, 0, 0], [0.0, 0, 1]])
    return Camera.look_at(position, target, up, focal=100, width=80, height=60)


def test_look_at_by_hand() -> None:
    camera = looking_along_x()
    # 2 ahead is the middle; 1 up at distance 2 is 100 * 1 / 2 = 50 pixels higher; left (+y) is further left
    points = torch.tensor([[3.0, 0, 0], [3.0, 0, 1], [3.0, 0.2, 0]])
    torch.testing.assert_close(pixels(camera, points), torch.tensor([[40.0, 30], [40.0, -20], [30.0, 30]]))
    torch.testing.assert_close(camera.position, torch.tensor([1.0, 0, 0]))


def test_look_at_is_a_rotation(seed: int) -> None:
    position, target, up = torch.randn(3, 3, dtype=torch.float64)
    camera = Camera.look_at(position, target, up, 50, 10, 10)
    turn = camera.viewmat[:3, :3]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3).double())
    assert torch.linalg.det(turn).item() == pytest.approx(1)
    torch.testing.assert_close(camera.position, position)


def test_look_at_needs_a_direction() -> None:
    point, up = torch.tensor([1.0, 2, 3]), torch.tensor([0.0, 0, 1])
    with pytest.raises(InputError, match="up must not be parallel"):
        Camera.look_at(point, point + 2 * up, up, 50, 10, 10)
    with pytest.raises(InputError, match="position and target must differ"):
        Camera.look_at(point, point, up, 50, 10, 10)


@pytest.mark.parametrize(("width", "height"), [(40, 30), (37, 29), (160, 120), (1, 1)])
def test_resized_is_exact(width: int, height: int, seed: int) -> None:
    camera = looking_along_x()
    points = torch.randn(20, 3) + torch.tensor([5.0, 0, 0])
    small = camera.resized(width, height)
    factors = torch.tensor([width / 80, height / 60])  # picture coordinates run from 0 to the width
    torch.testing.assert_close(pixels(small, points), pixels(camera, points) * factors)
    assert (small.width, small.height) == (width, height)


def test_to_double() -> None:
    camera = looking_along_x().to(torch.float64)
    assert camera.viewmat.dtype == camera.K.dtype == torch.float64


def test_shapes_are_named() -> None:
    with pytest.raises(ShapeError, match=r"^viewmat must be \(4, 4\); got \(3, 4\)$"):
        Camera(torch.zeros(3, 4), torch.eye(3), 4, 4)
    with pytest.raises(ShapeError, match=r"^K must be \(3, 3\); got \(4,\)$"):
        Camera(torch.eye(4), torch.zeros(4), 4, 4)
    with pytest.raises(InputError, match=r"^width and height must be at least 1 pixel; got 0 x 4$"):
        Camera(torch.eye(4), torch.eye(3), 0, 4)
