"""Recolored splats: what is seen from any direction is the change of what was seen."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sfumato import edit
from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import askew, crowd, dot

LUMA = torch.tensor([0.2126, 0.7152, 0.0722]).double()


def seen(gaussians: Gaussians, directions: Tensor) -> Tensor:
    """(N, 3) colors from directions (N, 3), before they are clamped."""
    values = harmonics.basis(gaussians.degree, directions)
    return 0.5 + torch.einsum("nk,nkc->nc", values, gaussians.sh)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda g: edit.exposure(g, 1.5), lambda c: c * 2 ** (1.5 / 2.2)),
        (lambda g: edit.contrast(g, 1.3), lambda c: 0.5 + 1.3 * (c - 0.5)),
        (lambda g: edit.saturation(g, 0.0), lambda c: (c @ LUMA)[:, None].expand(-1, 3)),
        (lambda g: edit.saturation(g, 2.0), lambda c: 2 * c - (c @ LUMA)[:, None]),
        (lambda g: edit.recolor(g, torch.eye(3), (0.1, 0.2, -0.3)), lambda c: c + torch.tensor([0.1, 0.2, -0.3])),
        (
            lambda g: edit.recolor(g, [[0, 1, 0], [1, 0, 0], [0, 0, 2]]),
            lambda c: torch.stack([c[:, 1], c[:, 0], 2 * c[:, 2]], dim=1),
        ),
    ],
)
@pytest.mark.parametrize("degree", [0, 1, 3])
def test_colors_from_everywhere(
    degree: int, function: Callable[[Gaussians], Gaussians], wanted: Callable[[Tensor], Tensor], seed: int
) -> None:
    before = crowd(30, degree).map(torch.Tensor.double)
    directions = torch.nn.functional.normalize(torch.randn(30, 3).double(), dim=1)
    after = function(before)
    torch.testing.assert_close(seen(after, directions), wanted(seen(before, directions)), rtol=0, atol=1e-6)
    assert after.means is before.means


def test_the_picture_changes_as_its_colors(seed: int) -> None:
    before = crowd(60, 2)
    bright = Gaussians(*list(before)[:4], before.sh0.abs() * 0.3 + 1.0, before.shN * 0.1)  # nothing is clamped
    camera, settings = askew(30, 20), RenderSettings(near=0.01)
    a = render(bright, camera, settings, backend="reference").image
    b = render(edit.exposure(bright, -1), camera, settings, backend="reference").image
    assert a.amax() > 0.5
    torch.testing.assert_close(b, a * 0.5 ** (1 / 2.2), rtol=0, atol=1e-5)


def test_a_stop_of_linear_light_is_twice_the_number() -> None:
    linear = edit.exposure(Asset(dot(0, 0, 0, rgb=(0.1, 0.2, 0.3)), color_space="linear"), 1)
    assert linear.gaussians.sh0.mul(0.28209479177387814).add(0.5).flatten().tolist() == pytest.approx([0.2, 0.4, 0.6])


def test_white_balance_keeps_gray_as_bright() -> None:
    red, green, blue = edit.mean_color(edit.white_balance(dot(0, 0, 0, rgb=(0.5, 0.5, 0.5)), 0.4, 0.3)).tolist()
    assert red > blue
    assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(0.5, abs=1e-6)
    assert math.log2(red / blue) * 2.2 == pytest.approx(0.4, abs=1e-5)
    assert math.log2(red * blue / green**2) / 2 * 2.2 == pytest.approx(0.3, abs=1e-5)


def test_a_tint_is_the_mean_and_shading_stays(seed: int) -> None:
    painted = edit.tint(
        Gaussians.cat([dot(0, 0, 0, rgb=(0.2, 0.2, 0.2)), dot(1, 0, 0, rgb=(0.6, 0.6, 0.6))]), (0.8, 0.4, 0.1)
    )
    colors = painted.sh0[:, 0] * 0.28209479177387814 + 0.5
    torch.testing.assert_close(colors, torch.tensor([[0.4, 0.2, 0.05], [1.2, 0.6, 0.15]]))


def test_the_mean_color_is_of_what_is_large_and_solid() -> None:
    some = [
        dot(0, 0, 0, 1.0, 0.99, (1, 0, 0)),
        dot(0, 0, 0, 0.01, 0.99, (0, 1, 0)),
        dot(0, 0, 0, 1.0, 0.001, (0, 0, 1)),
    ]
    red, green, blue = edit.mean_color(Gaussians.cat(some)).tolist()
    assert red > 0.99
    assert green < 0.01
    assert blue < 0.01
    assert edit.mean_color(Gaussians.empty()).tolist() == [0.5, 0.5, 0.5]


def test_what_is_no_color_is_refused() -> None:
    some = dot(0, 0, 0)
    with pytest.raises(InputError, match="from 0 to 1; got 2 0 0"):
        edit.tint(some, (2, 0, 0))
    with pytest.raises(InputError, match="stops must be a number of stops"):
        edit.exposure(some, math.nan)
    with pytest.raises(InputError, match="contrast must be"):
        edit.contrast(some, -1)
    with pytest.raises(InputError, match="saturation must be"):
        edit.saturation(some, math.inf)
    with pytest.raises(InputError, match="finite"):
        edit.recolor(some, torch.full((3, 3), math.nan))
    with pytest.raises(ShapeError, match="matrix"):
        edit.recolor(some, torch.eye(2))
