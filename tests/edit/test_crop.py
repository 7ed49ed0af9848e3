"""Regions: boxes, spheres, what cameras see, and the hull of cameras and pictures."""

import math

import pytest
import torch

from sfumato import edit
from sfumato.core.asset import Asset
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians

from scenes import crowd, dot, straight


def at(*places: tuple[float, float, float]) -> Gaussians:
    return Gaussians.cat([dot(*place) for place in places])


def ring(count: int = 12, radius: float = 4.0, height: float = -1.5) -> list[Camera]:
    """Cameras in a circle around zero that look at it, from above."""
    cameras = []
    for angle in torch.arange(count) * 2 * math.pi / count:
        position = torch.tensor([radius * math.cos(angle), height, radius * math.sin(angle)])
        cameras.append(Camera.look_at(position, torch.zeros(3), torch.tensor([0.0, -1, 0]), 50.0, 50, 50))
    return cameras


def test_box_holds_its_ends() -> None:
    some = at((0, 0, 0), (1, 1, 1), (1.1, 0, 0), (0.5, 0.5, -0.1))
    assert edit.inside_box(some, (0, 0, 0), (1, 1, 1)).tolist() == [True, True, False, False]
    assert edit.inside_box(some, (-math.inf,) * 3, (math.inf, 0.5, math.inf)).tolist() == [True, False, True, True]


def test_box_turned_about_its_middle() -> None:
    some = at((1.3, 0, 0), (0.9, 0.9, 0), (0, 1.3, 0))
    turned = edit.rotation_about((0, 0, 1), 45)
    assert edit.inside_box(some, (-1, -1, -1), (1, 1, 1)).tolist() == [False, True, False]
    assert edit.inside_box(some, (-1, -1, -1), (1, 1, 1), turned).tolist() == [True, False, True]
    far = edit.translate(some, (7, 8, 9))
    assert edit.inside_box(far, (6, 7, 8), (8, 9, 10), turned).tolist() == [True, False, True]
    # a quarter turn of a long box: which way it turns
    long = edit.rotation_about((0, 0, 1), 30)
    assert edit.inside_box(at((math.cos(math.pi / 6), 0.5, 0)), (-1, -0.1, -1), (1, 0.1, 1), long).item()


def test_sphere() -> None:
    some = at((1, 2, 5), (1, 2, 3), (1, 2, 5.01))
    assert edit.inside_sphere(some, (1, 2, 3), 2).tolist() == [True, True, False]


def test_crops_keep_rows_of_either_kind(seed: int) -> None:
    some = crowd(100, 1)
    inside = edit.inside_sphere(some, (0, 0, 3), 1)
    assert 0 < inside.sum() < 100
    cropped = edit.crop_sphere(Asset(some, generator="me"), (0, 0, 3), 1)
    assert torch.equal(cropped.gaussians.shN, some.shN[inside])
    assert cropped.generator == "me"
    assert len(edit.crop_box(some, (9, 9, 9), (10, 10, 10))) == 0
    assert edit.keep(some, torch.ones(100, dtype=torch.bool)) is some


def test_views_seeing_counts_pictures() -> None:
    camera = straight(20, 10, (10.0, 10.0))  # one unit to each side, half a unit up and down at depth 1
    some = at((0, 0, 1), (0.99, 0, 1), (1.01, 0, 1), (0, 0.51, 1), (0, 0, -1), (1.9, 0, 2))
    assert edit.views_seeing(some, [camera, camera]).tolist() == [2, 2, 0, 0, 0, 2]
    assert len(edit.crop_views(some, [camera], 1)) == 3


def test_hull_of_a_ring_holds_the_thing_and_its_foot_but_not_the_background() -> None:
    some = at((0, 0, 0), (0, 1, 0), (1, -1, 1), (3, -1, 0), (0, 0, 9), (0, 12, 0), (0, -9, 0))
    assert edit.inside_camera_hull(some, ring()).tolist() == [True, True, True, True, False, False, False]
    assert edit.inside_camera_hull(some, ring(), grow=20).all()
    assert edit.inside_camera_hull(some, ring(), grow=0.6).tolist() == [True, True, True] + 4 * [False]


def test_hull_is_convex_and_as_wide_as_it_should_be(seed: int) -> None:
    cameras = ring(40, height=0.0)
    places = 6 * (torch.rand(4000, 3) - 0.5) * torch.tensor([2.0, 0.01, 2.0])
    some = Gaussians.empty(0).map(lambda t: t.new_zeros(4000, *t.shape[1:]))
    some = Gaussians(places, *list(some)[1:])
    inside = edit.inside_camera_hull(some, cameras)
    radius = places.norm(dim=1)
    assert inside[radius < 3.95].all()
    assert not inside[radius > 4.06].any()


def test_hull_moves_with_the_splat(seed: int) -> None:
    some, cameras = crowd(500, 0, spread=2.5), ring()
    rotation, shift = edit.rotation_about((1, 2, 3), 50), (5.0, 6.0, 7.0)
    before = edit.inside_camera_hull(some, cameras)
    there = [edit.move_camera(camera, rotation, shift, 3.0) for camera in cameras]
    after = edit.inside_camera_hull(edit.move(some, rotation, shift, 3.0), there)
    assert 50 < before.sum() < 450
    assert (before != after).sum() < 10  # the planes around it stand elsewhere


def test_hull_of_photos_side_by_side_reaches_to_what_they_see() -> None:
    cameras = [edit.move_camera(straight(20, 20), torch.eye(3), (x, 0.0, 0.0)) for x in (-0.5, 0.0, 0.5)]
    some = at((0, 0, 1), (0, 0, 4), (0, 0, 5), (0, 0, 6), (0, 0, 50))
    assert edit.inside_camera_hull(some, cameras).tolist() == [True, True, True, False, False]  # the median is 5


def test_what_is_no_region_is_refused() -> None:
    some = at((0, 0, 0))
    with pytest.raises(InputError, match="from its lowest corner to its highest; got 1 0 0 to 0 1 1"):
        edit.inside_box(some, (1, 0, 0), (0, 1, 1))
    with pytest.raises(InputError, match="lowest corner"):
        edit.inside_box(some, (math.nan, 0, 0), (0, 1, 1))
    with pytest.raises(InputError, match="turned must have finite corners"):
        edit.inside_box(some, (0, 0, 0), (math.inf, 1, 1), torch.eye(3))
    with pytest.raises(InputError, match="radius above 0"):
        edit.inside_sphere(some, (0, 0, 0), 0)
    with pytest.raises(ShapeError, match="center"):
        edit.inside_sphere(some, (0, 0), 1)
    with pytest.raises(InputError, match="at least 1 camera"):
        edit.inside_camera_hull(some, [])
    with pytest.raises(InputError, match="grow"):
        edit.inside_camera_hull(some, ring(), 0)
    with pytest.raises(InputError, match="at_least"):
        edit.crop_views(some, ring(), 0)
    with pytest.raises(ShapeError, match="mask"):
        edit.keep(some, torch.ones(2, dtype=torch.bool))
