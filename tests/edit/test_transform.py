"""Moved splats: covariances and lights as numbers say, pictures as before from cameras that move along."""

import math

import pytest
import torch

from sfumato import edit
from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import askew, crowd, dot

AXIS, DEGREES = (0.3, -1.0, 0.5), 70.0


def moved(gaussians: Gaussians) -> tuple[Gaussians, torch.Tensor, torch.Tensor, float]:
    rotation, shift = edit.rotation_about(AXIS, DEGREES), torch.tensor([0.5, -2.0, 1.0])
    return edit.move(gaussians, rotation, shift, 1.7), rotation, shift, 1.7


def test_covariances_are_those_of_moved_space(seed: int) -> None:
    before = crowd(50).map(torch.Tensor.double)
    after, rotation, shift, factor = moved(before)
    linear = factor * rotation
    torch.testing.assert_close(after.covariances, linear @ before.covariances @ linear.T, rtol=1e-10, atol=0)
    torch.testing.assert_close(after.means, before.means @ linear.T + shift)
    assert torch.equal(after.logit_opacities, before.logit_opacities)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_colors_turn_along(degree: int, seed: int) -> None:
    before = crowd(20, degree).map(torch.Tensor.double)
    after, rotation, _, _ = moved(before)
    seen = torch.nn.functional.normalize(torch.randn(20, 3).double(), dim=1)
    here = torch.einsum("nk,nkc->nc", harmonics.basis(degree, seen), before.sh)
    there = torch.einsum("nk,nkc->nc", harmonics.basis(degree, seen @ rotation.T), after.sh)
    torch.testing.assert_close(there, here, rtol=0, atol=1e-9)


def test_the_picture_from_a_camera_that_moves_along_stays(seed: int) -> None:
    before, camera = crowd(300), askew(40, 30)
    after, rotation, shift, factor = moved(before)
    along = edit.move_camera(camera, rotation, shift, factor)
    near = 0.2
    a = render(before, camera, RenderSettings(near=near), backend="reference").image
    b = render(after, along, RenderSettings(near=near * factor), backend="reference").image
    assert (a - b).abs().max() < 2e-4
    assert a.std() > 0.05


def test_without_a_turn_bits_stay(seed: int) -> None:
    before = crowd(20, 2)
    after = edit.translate(before, (1, 2, 3))
    assert torch.equal(after.means, before.means + torch.tensor([1.0, 2, 3]))
    for name in ("quats", "log_scales", "sh0", "shN"):
        assert getattr(after, name) is getattr(before, name)
    larger = edit.scale(before, 2)
    assert torch.equal(larger.means, 2 * before.means)
    torch.testing.assert_close(larger.scales, 2 * before.scales)


def test_a_quarter_turn_by_hand() -> None:
    # counterclockwise about z as seen from its tip: x goes to y
    assert torch.allclose(edit.rotate(dot(1, 0, 0), (0, 0, 2), 90).means, torch.tensor([[0.0, 1, 0]]), atol=1e-7)
    half = math.sqrt(0.5)
    turned = edit.turn(dot(1, 0, 0), (3 * half, 0, 0, 3 * half))
    assert torch.allclose(turned.means, torch.tensor([[0.0, 1, 0]]), atol=1e-7)


def test_what_an_asset_says_moves_along() -> None:
    asset = Asset(dot(1, 0, 0), up=(0, 1, 0), origin=(10, 0, 0), meters_per_unit=2.0, generator="me")
    turned = edit.rotate(asset, (0, 0, 1), 90)
    assert turned.up == pytest.approx((-1, 0, 0))
    assert turned.origin == pytest.approx((0, 10, 0))  # 11 0 0 of the source is 0 11 0 now
    small = edit.scale(asset, 0.5)
    assert (small.meters_per_unit, small.origin, small.up) == (4.0, (5, 0, 0), (0, 1, 0))
    shifted = edit.translate(asset, (5, 0, 0))
    assert (shifted.origin, shifted.generator) == ((10, 0, 0), "me")
    assert shifted.gaussians.means.tolist() == [[6, 0, 0]]


@pytest.mark.parametrize("up", [(0, 1, 0), (0, -1, 0), (1, 0, 0), (0.2, 0.3, -5), (1e-30, 0, 0), (0, 0, 1e30)])
def test_upright(up: tuple[float, float, float]) -> None:
    asset = edit.upright(Asset(dot(*(value / math.hypot(*up) for value in up))), up)
    assert torch.allclose(asset.gaussians.means, torch.tensor([[0.0, -1, 0]]), atol=1e-6)
    assert asset.up == (0, -1, 0)
    again = edit.upright(asset)
    assert torch.equal(again.gaussians.means, asset.gaussians.means)


def test_upright_in_another_frame() -> None:
    asset = edit.upright(Asset(dot(0, 0, 1), axes="RUB", up=(0, 0, 1)))
    assert asset.up == (0, 1, 0)
    assert torch.allclose(asset.gaussians.means, torch.tensor([[0.0, 1, 0]]), atol=1e-6)


def test_upright_turns_no_more_than_needed() -> None:
    rotation = edit.upright_rotation((0.0, -1.0, 0.1))
    assert torch.rad2deg(torch.arccos((rotation.trace() - 1) / 2)).item() == pytest.approx(5.7106, abs=1e-3)


def test_the_middle_is_of_what_is_solid() -> None:
    parts = [dot(x, 0, 0, opacity=0.9) for x in (1, 2, 3)] + [dot(100, 0, 0, opacity=0.1) for _ in range(9)]
    assert edit.middle(Gaussians.cat(parts)).tolist() == [2, 0, 0]
    assert edit.middle(Gaussians.empty()).tolist() == [0, 0, 0]


def test_what_is_no_movement_is_refused() -> None:
    some = dot(0, 0, 0)
    for factor in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="scale must be a positive number"):
            edit.scale(some, factor)
    with pytest.raises(InputError, match="axis must be a direction; got 0 0 0"):
        edit.rotate(some, (0, 0, 0), 10)
    with pytest.raises(InputError, match="degrees must be a finite number"):
        edit.rotate(some, (0, 0, 1), math.inf)
    with pytest.raises(InputError, match="offset must be three finite numbers"):
        edit.translate(some, (0, math.nan, 0))
    with pytest.raises(ShapeError, match="offset"):
        edit.translate(some, (0, 1))
    with pytest.raises(InputError, match="quaternion"):
        edit.turn(some, (0, 0, 0, 0))
    with pytest.raises(InputError, match="rotation"):
        edit.move(some, torch.diag(torch.tensor([1.0, 1, -1])), (0, 0, 0))
    with pytest.raises(InputError, match="which way is up"):
        edit.upright(Asset(some))
