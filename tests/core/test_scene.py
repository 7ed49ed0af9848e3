"""Scene: who is held out, how large the scene is, what a view must hold."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.scene import SHOWN, Picture, Points, Scene, Size, View, hold_out


def view(name: str, x: float = 0.0, split: str = "train") -> View:
    """A 4 x 3 photo taken at (x, 0, 0)."""
    viewmat = torch.eye(4)
    viewmat[0, 3] = -x
    image = torch.zeros(3, 4, 3, dtype=torch.uint8)
    return View(name, Camera(viewmat, torch.eye(3), 4, 3), image, split)  # type: ignore[arg-type]


def points(*xyz: tuple[float, float, float]) -> Points:
    return Points(torch.tensor(xyz).reshape(-1, 3), torch.zeros(len(xyz), 3, dtype=torch.uint8))


def test_hold_out_every_third_by_name() -> None:
    views = hold_out([view(name) for name in ("d", "b", "a", "c", "e")], every=3)
    assert [v.name for v in views] == ["a", "b", "c", "d", "e"]
    assert [v.name for v in views if v.split == "test"] == ["a", "d"]


def test_hold_out_none() -> None:
    views = hold_out([view("a", split="test"), view("b")], every=0)
    assert [v.split for v in views] == ["train", "train"]


def test_scene_splits() -> None:
    scene = Scene([view("a", split="test"), view("b"), view("c")], points())
    assert [v.name for v in scene.train] == ["b", "c"]
    assert [v.name for v in scene.test] == ["a"]


def test_extent_by_hand() -> None:
    # training cameras at 0 and 4: mean 2, radius 2, times 1.1; the test camera does not count
    scene = Scene([view("a", 0), view("b", 4), view("t", 100, "test")], points((9, 9, 9)))
    assert scene.extent == pytest.approx(2.2)


def test_extent_of_one_camera() -> None:
    # the middle of the points is 3 away
    assert Scene([view("a")], points((0, 0, 3))).extent == pytest.approx(3.3)
    assert Scene([view("a")], points()).extent == 1.0


def test_extent_needs_a_training_view() -> None:
    with pytest.raises(InputError, match="no training views"):
        _ = Scene([view("a", split="test")], points()).extent


def test_view_checks_its_photo() -> None:
    camera = view("a").camera
    with pytest.raises(ShapeError, match=r"^image of a.jpg must be \(H, W, 3\) with H=3, W=4; got \(4, 3, 3\)$"):
        View("a.jpg", camera, torch.zeros(4, 3, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"^pixels must be uint8; got torch.float32$"):
        View("a.jpg", camera, torch.zeros(3, 4, 3))


def test_points_check_their_colors() -> None:
    with pytest.raises(ShapeError, match=r"^rgb must be \(M, 3\) with M=2; got \(1, 3\)$"):
        Points(torch.zeros(2, 3), torch.zeros(1, 3, dtype=torch.uint8))
    assert len(points((1, 2, 3))) == 1


def test_size_of_a_view() -> None:
    plain = view("a")
    assert plain.size == Size(4, 3) == (4, 3, False)
    shown, decoded = Picture(plain.image), Picture(plain.image, torch.full((3, 4), SHOWN, dtype=torch.uint8))
    assert [replace(plain, photo=picture).size.has_mask for picture in (shown, decoded)] == [False, True]
    never: Any = lambda: pytest.fail("was decoded")  # noqa: E731
    assert replace(plain, photo=never).size == (4, 3, True)
    assert replace(plain, photo=never, may_be_masked=False).size == (4, 3, False)


def test_bytes_of_a_size() -> None:
    assert (Size(4, 3).bytes, Size(4, 3, True).bytes, Size(4, 3, True).pixels) == (36, 48, 12)
    assert Size(1000, 7, True).smaller(3) == (333, 2, True)
    assert Size(1000, 7).smaller(100) == (10, 1, False)
