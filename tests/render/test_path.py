"""Camera paths: what they go through, how far they stay away, and where up is."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.render.path import focus_of, orbit, orbit_around, smooth_path, up_of

UP = torch.tensor([0.0, -1.0, 0.0])
CENTER = torch.tensor([1.0, 2.0, 3.0])


def ring(angles: list[float], height: float = 1.0, radius: float = 4.0) -> list[Camera]:
    """Cameras around CENTER that look at it, `height` above it."""
    cameras = []
    for angle in angles:
        flat = torch.tensor([math.sin(angle), 0.0, -math.cos(angle)])
        cameras.append(Camera.look_at(CENTER + radius * flat + height * UP, CENTER, UP, 50.0, 64, 48))
    return cameras


def positions(cameras: list[Camera]) -> Tensor:
    return torch.stack([camera.position for camera in cameras])


def is_rotation(camera: Camera) -> bool:
    turn = camera.viewmat[:3, :3].double()
    return torch.allclose(turn @ turn.T, torch.eye(3).double(), atol=1e-5) and torch.det(turn).item() > 0.99


def test_up_and_focus_of_a_ring() -> None:
    cameras = ring([0.0, 0.7, 1.9, 3.0, 4.4])
    assert torch.allclose(up_of(cameras).float(), UP, atol=3e-3)
    assert torch.allclose(focus_of(cameras).float(), CENTER, atol=1e-3)


def test_up_is_not_tilted_by_cameras_that_all_look_down() -> None:
    cameras = ring([-0.5, -0.2, 0.0, 0.3, 0.5], height=4.0)  # from one side, 45 degrees down
    assert torch.dot(up_of(cameras).float(), UP) > math.cos(math.radians(3))


def test_up_of_cameras_that_all_look_the_same_way() -> None:
    cameras = [
        Camera.look_at(torch.tensor([x, 0.0, 0.0]), torch.tensor([x, 0.0, 1.0]), UP, 50.0, 64, 48)
        for x in (-1.0, 0.0, 1.0)
    ]
    assert torch.allclose(up_of(cameras).float(), UP, atol=1e-5)
    points = torch.tensor([[0.0, 0.0, 7.0]]).expand(5, 3)
    assert focus_of(cameras, points).tolist() == pytest.approx([0, 0, 7], abs=0.01)
    for camera in orbit(cameras, 8, points):
        assert camera.position[2].item() < 3
        assert is_rotation(camera)


def test_orbit_goes_round_where_photos_do() -> None:
    cameras = orbit(ring([index * 0.63 for index in range(10)]), 40)
    offsets = positions(cameras) - CENTER
    assert torch.allclose(offsets[:, 1], torch.full((40,), -1.0), atol=1e-3)
    assert torch.allclose(offsets[:, [0, 2]].norm(dim=1), torch.full((40,), 4.0), atol=1e-3)
    steps = (positions(cameras) - positions(cameras).roll(1, 0)).norm(dim=1)
    assert steps.max() < 1.01 * steps.min()  # closed, even speed
    for camera in cameras:
        seen = camera.viewmat[:3, :3] @ CENTER + camera.viewmat[:3, 3]
        assert torch.allclose(seen[:2], torch.zeros(2), atol=1e-3)
        assert seen[2] > 0
        assert is_rotation(camera)


def test_orbit_swings_where_photos_stand_on_one_side() -> None:
    cameras = orbit(ring([2.9, 3.0, 3.3, 3.6, 3.8]), 30)  # across the seam of atan2
    offsets = positions(cameras) - CENTER
    angles = torch.atan2(offsets[:, 0], -offsets[:, 2]) % (2 * math.pi)
    assert angles.min() > 2.85
    assert angles.max() < 3.85
    assert angles.max() - angles.min() > 0.7
    steps = (positions(cameras) - positions(cameras).roll(1, 0)).norm(dim=1)
    assert steps.max() < 4 * 0.12  # closed: no jump from the last frame to the first


@pytest.mark.parametrize("count", [1, 2, 3])
def test_orbit_of_few_cameras(count: int) -> None:
    cameras = orbit(ring([0.0, 0.5, 1.0][:count]), 5, CENTER[None])
    assert len(cameras) == 5
    assert all(is_rotation(camera) and torch.isfinite(camera.viewmat).all() for camera in cameras)


def test_orbit_around_points_keeps_them_in_view(seed: int) -> None:
    points = torch.randn(500, 3) + CENTER
    points[7] = math.nan
    for camera in orbit_around(points, 12, UP, 80, 60):
        good = points[torch.isfinite(points).all(dim=1)]
        seen = good @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
        pixels = seen @ camera.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        inside = (pixels >= 0).all(dim=1) & (pixels <= torch.tensor([80, 60])).all(dim=1) & (seen[:, 2] > 0)
        assert inside.float().mean() > 0.9
        assert camera.position[1] < CENTER[1]  # above: up is -y


def test_smooth_path_goes_through_every_camera() -> None:
    keys = ring([0.0, 0.4, 1.5, 1.8, 3.0])
    cameras = smooth_path(keys, 2001)
    assert torch.equal(cameras[0].K, keys[2].K)
    for key in keys:
        gaps = [(camera.viewmat - key.viewmat).abs().max().item() for camera in cameras]
        assert min(gaps) < 0.02
    assert torch.allclose(cameras[0].viewmat, keys[0].viewmat, atol=1e-4)
    assert torch.allclose(cameras[-1].viewmat, keys[-1].viewmat, atol=1e-4)
    assert all(is_rotation(camera) for camera in cameras[::100])
    speeds = (positions(cameras)[1:] - positions(cameras)[:-1]).norm(dim=1)
    assert (speeds[1:] - speeds[:-1]).abs().max() < 0.02 * speeds.max()  # no jolt at a key


def test_smooth_path_of_one_camera_and_of_equal_cameras() -> None:
    (key,) = ring([0.3])
    for cameras in (smooth_path([key], 3), smooth_path([key, key, key], 3)):
        assert all(torch.allclose(camera.viewmat, key.viewmat, atol=1e-5) for camera in cameras)


def test_no_cameras_is_an_error() -> None:
    with pytest.raises(InputError, match="at least 1 camera"):
        smooth_path([], 3)
    with pytest.raises(InputError, match="1 frame"):
        orbit(ring([0.0]), 0)
    with pytest.raises(InputError, match="needs points"):
        orbit_around(torch.zeros(0, 3), 3, UP, 8, 8)
