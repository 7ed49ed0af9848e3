"""Each formula of rendering with numbers worked out by hand, on every backend."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch

from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import C0, C1
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings

from scenes import dot, draw, rasterize, straight

SETTINGS = RenderSettings()


def close(got: torch.Tensor, *wanted: float) -> None:
    torch.testing.assert_close(got.detach().double().reshape(-1), torch.tensor(wanted).double(), rtol=2e-5, atol=2e-6)


def test_center_lands_where_the_pinhole_says(backend: str) -> None:
    # x: 10 * 0.5 / 2 + 9 = 11.5; y: 20 * -0.25 / 2 + 7 = 4.5; depth 2
    camera = straight(16, 16, focal=(10, 20), center=(9, 7))
    splats = load(backend).project(dot(0.5, -0.25, 2), camera, SETTINGS)
    close(splats.means2d[0], 11.5, 4.5)
    close(splats.depths, 2)
    close(splats.opacities, 0.5)


def test_covariance_straight_ahead(backend: str) -> None:
    # focal / z * scale = 10 / 2 * 0.2 = 1 pixel; 1 + 0.3 = 1.3 pixels^2
    splats = load(backend).project(dot(0, 0, 2), straight(), SETTINGS)
    close(splats.conics[0], 1 / 1.3, 0, 1 / 1.3)


def test_covariance_of_a_turned_ellipse(backend: str) -> None:
    # scales 0.4 and 0.2 are 2 and 1 pixels; turned by 45 degrees: xx = yy = (4 + 1) / 2, xy = (4 - 1) / 2
    half = math.pi / 8
    ellipse = replace(
        dot(0, 0, 2),
        log_scales=torch.tensor([[0.4, 0.2, 0.1]]).log(),
        quats=3 * torch.tensor([[math.cos(half), 0, 0, math.sin(half)]]),
    )
    splats = load(backend).project(ellipse, straight(), SETTINGS)
    determinant = 2.8 * 2.8 - 1.5 * 1.5
    close(splats.conics[0], 2.8 / determinant, -1.5 / determinant, 2.8 / determinant)


def test_covariance_off_the_axis(backend: str) -> None:
    # d(10 x / z) is 5 along x and -10 * 1 / 4 = -2.5 along z: 0.04 * (25 + 6.25) = 1.25, + 0.3
    splats = load(backend).project(dot(1, 0, 2), straight(), SETTINGS)
    close(splats.conics[0], 1 / 1.55, 0, 1 / 1.3)


def test_jacobian_stays_near_the_picture(backend: str) -> None:
    # slope 2 is taken at (16 - 8) / 10 + 0.3 * 16 / 20 = 1.04: 5 along x, -5.2 along z; at 28 pixels all the same
    splats = load(backend).project(dot(4, 0, 2, scale=1), straight(16, 16), SETTINGS)
    close(splats.means2d[0], 28, 8)
    close(splats.conics[0], 1 / (25 + 5.2**2 + 0.3), 0, 1 / 25.3)


def test_jacobian_margin_is_a_share_of_the_picture_beside_the_center(backend: str) -> None:
    # center at 12 of 16: to the left -1.2 - 0.24, to the right 0.4 + 0.24
    camera = straight(16, 16, center=(12, 8))
    left, right = dot(-4, 0, 2, scale=1), dot(4, 0, 2, scale=1)
    splats = load(backend).project(Gaussians.cat([left, right]), camera, SETTINGS)
    close(1 / splats.conics[:, 0], 25 * (1 + 1.44**2) + 0.3, 25 * (1 + 0.64**2) + 0.3)


def test_box_is_where_alpha_reaches_its_least(backend: str) -> None:
    # alpha = 0.5 exp(-d^2 / 2.6) = 1 / 255 at d = sqrt(2.6 log 127.5)
    splats = load(backend).project(dot(0, 0, 2), straight(), SETTINGS)
    radius = math.sqrt(2.6 * math.log(127.5))
    torch.testing.assert_close(splats.radii[0].double(), torch.tensor([radius] * 2).double(), rtol=1e-4, atol=0)


def test_color_depends_on_the_direction(backend: str) -> None:
    # seen along +z: band 1 is (0, C1, 0); 0.5 + 0.2 C0 + 0.3 C1 in red
    gaussian = replace(dot(0, 0, 2), sh0=torch.tensor([[[0.2, 0, 0]]]), shN=torch.zeros(1, 3, 3))
    gaussian.shN[0, :, 0] = torch.tensor([9, 0.3, 9])
    colors = load(backend).project(gaussian, straight(), SETTINGS).colors
    close(colors[0], 0.5 + 0.2 * C0 + 0.3 * C1, 0.5, 0.5)
    colors = load(backend).project(gaussian, straight(), replace(SETTINGS, sh_degree=0)).colors
    close(colors[0], 0.5 + 0.2 * C0, 0.5, 0.5)


def test_color_is_not_negative(backend: str) -> None:
    colors = load(backend).project(dot(0, 0, 2, rgb=(-0.5, 0.25, 2)), straight(), SETTINGS).colors
    close(colors[0], 0, 0.25, 2)


def test_antialiased_opacity(backend: str) -> None:
    # area before and after the low-pass: sqrt(1 * 1 / (1.3 * 1.3)) = 1 / 1.3
    splats = load(backend).project(dot(0, 0, 2), straight(), replace(SETTINGS, antialiased=True))
    close(splats.opacities, 0.5 / 1.3)


def test_over_front_to_back(backend: str) -> None:
    # given back to front, both on the center of the middle pixel: 0.4, then 0.6 * 0.3 = 0.18, 0.42 is left
    far = dot(0, 0, 3, opacity=0.3, rgb=(0, 1, 0))
    near = dot(0, 0, 2, opacity=0.4, rgb=(1, 0, 0))
    image, alpha, depth, _ = draw(
        backend, Gaussians.cat([far, near]), straight(), background=torch.tensor([0.0, 0.5, 1.0])
    )
    close(image[8, 8], 0.4, 0.18 + 0.21, 0.42)
    close(alpha[8, 8], 0.58)
    assert depth is not None
    close(depth[8, 8], (0.4 * 2 + 0.18 * 3) / 0.58)


def test_falloff(backend: str) -> None:
    # one pixel to the right: 0.4 exp(-1 / 2.6)
    image, alpha, _, _ = draw(backend, dot(0, 0, 2, opacity=0.4, rgb=(1, 0, 0)), straight())
    close(alpha[8, 9], 0.4 * math.exp(-1 / 2.6))
    close(image[8, 9], 0.4 * math.exp(-1 / 2.6), 0, 0)


def test_equal_depths_keep_the_order_of_rows(backend: str) -> None:
    red, green = dot(0, 0, 2, rgb=(1, 0, 0)), dot(0, 0, 2, rgb=(0, 1, 0))
    close(draw(backend, Gaussians.cat([red, green]), straight())[0][8, 8], 0.5, 0.25, 0)
    close(draw(backend, Gaussians.cat([green, red]), straight())[0][8, 8], 0.25, 0.5, 0)


def test_alpha_is_at_most_alpha_max(backend: str) -> None:
    _, alpha, _, _ = draw(backend, dot(0, 0, 2, opacity=0.99999), straight(), replace(SETTINGS, alpha_max=0.9))
    close(alpha[8, 8], 0.9)


def test_faint_contributions_are_left_out(backend: str) -> None:
    _, alpha, depth, _ = draw(backend, dot(0, 0, 2, opacity=0.4), straight(), replace(SETTINGS, alpha_min=0.35))
    # 0.4 on the center; 0.4 exp(-1 / 2.6) = 0.27 beside it
    assert depth is not None
    close(alpha[8, 7:10], 0, 0.4, 0)
    close(depth[8, 7:10], 0, 2, 0)
    assert draw(backend, dot(0, 0, 2, opacity=0.3), straight(), replace(SETTINGS, alpha_min=0.35))[1].max() == 0


def test_dark_pixels_are_finished(backend: str) -> None:
    # 0.1 is left after the first, 0.01 after the second: below 0.05, so the third is not drawn
    three = [dot(0, 0, z, scale=0.1 * z, opacity=0.9, rgb=(z == 2, z == 3, z == 4)) for z in (2, 3, 4)]
    image, alpha, _, _ = draw(backend, Gaussians.cat(three), straight(), replace(SETTINGS, transmittance_min=0.05))
    close(image[8, 8], 0.9, 0.09, 0)
    close(alpha[8, 8], 0.99)


def test_near_plane(backend: str) -> None:
    rows = Gaussians.cat([dot(0, 0, z, scale=0.01) for z in (-2, 0, 0.19, 0.2, 0.21)])
    assert load(backend).project(rows, straight(), SETTINGS).seen.tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("axis", [0, 1])
def test_seen_means_reaching_the_outermost_pixel_centers(backend: str, axis: int) -> None:
    # those are at 0.5 and 16.5; the dot of 1.3 pixels^2 reaches sqrt(2.6 log 127.5) = 3.55 pixels
    reach, settings = math.sqrt(2.6 * math.log(127.5)), replace(SETTINGS, fov_margin=10)
    for place, seen in ((0.49, False), (0.51, True), (16.49, True), (16.51, False)):
        center = [8.0, 8.0]
        center[axis] = place - reach if place < 8 else place + reach
        camera = straight(center=(center[0], center[1]))
        assert load(backend).project(dot(0, 0, 2), camera, settings).seen.item() == seen, place


def test_splats_beside_the_picture_are_unseen(backend: str) -> None:
    # the last pixel center is 8 right of the middle; a dot of 1.3 pixels^2 reaches 3.5 pixels, wider off the axis
    rows = Gaussians.cat([dot(0.2 * pixels, 0, 2) for pixels in (20, 14, 9, 0, -9, -20)])
    seen = load(backend).project(rows, straight(), SETTINGS).seen.tolist()
    assert seen == [False, False, True, True, True, False]


@pytest.mark.parametrize("probe", ["signed", "absolute"])
def test_probe_of_a_dot(backend: str, probe: Literal["signed", "absolute"]) -> None:
    """Pixels left and right pull against each other: the signed probe is what is left, the absolute one their sum."""
    settings = replace(SETTINGS, probe=probe)
    gaussian = dot(0, 0, 2, opacity=0.4, rgb=(1, 0, 0)).map(torch.Tensor.requires_grad_)
    image, _, _, splats = draw(backend, gaussian, straight(), settings)
    image[6:10, 6:10, 0].sum().backward()
    assert splats.probe.grad is not None
    # the dot is on pixel (8, 8): forces alpha * d / 1.3 at distances d = -2, -1, 0, 1 in x and in y
    falloff = {d: math.exp(-d * d / 2.6) for d in (-2, -1, 0, 1)}
    signed = 0.4 * sum(falloff.values()) * sum(d / 1.3 * falloff[d] for d in falloff)
    absolute = 0.4 * sum(falloff.values()) * sum(abs(d) / 1.3 * falloff[d] for d in falloff)
    close(splats.probe.grad[0], *[signed if probe == "signed" else absolute] * 2)


def test_probe_is_the_gradient_of_the_means(backend: str) -> None:
    stages = load(backend)
    rows = Gaussians.cat([dot(0.1, 0.3, 2, rgb=(1, 0, 0)), dot(-0.3, 0.1, 3, rgb=(0, 1, 1))])
    splats = stages.project(rows, straight(), SETTINGS).leaves()
    image, _, _ = rasterize(backend, splats, straight(), SETTINGS, torch.zeros(3))
    (image * torch.linspace(0, 1, 17)[:, None]).sum().backward()
    assert splats.probe.grad is not None
    assert splats.means2d.grad is not None
    assert splats.means2d.grad.abs().min() > 1e-3
    torch.testing.assert_close(splats.probe.grad, splats.means2d.grad)
