"""Blend weights of Gaussians: what they must add up to, on every backend, and what is said of cameras."""

from dataclasses import replace

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.visibility import SEEN, visibility, weigh
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import askew, crowd, dot, few, straight

SETTINGS = RenderSettings(near=1e-3)


def behind(distance: float) -> Camera:
    """A camera `distance` behind the origin, that looks along z."""
    camera = straight(32, 32, (20.0, 20.0))
    viewmat = torch.eye(4)
    viewmat[2, 3] = distance
    return replace(camera, viewmat=viewmat)


def test_weights_are_what_a_color_gets_in_the_picture(backend: str, seed: int) -> None:
    """A picture in which one Gaussian is white and all others are black is the map of its weights."""
    gaussians = crowd(few(backend, 40, 6), 0, spread=0.5)
    camera = askew(*((40, 30) if few(backend, 1, 0) else (17, 9)))
    maps = torch.rand(camera.height, camera.width, 4)
    found = weigh(gaussians, camera, maps, SETTINGS, backend).weights
    dark = torch.full_like(gaussians.sh0, -0.5 / 0.28209479177387814)
    for row in range(0, len(gaussians), 5):
        sh0 = dark.clone()
        sh0[row] = -sh0[row]
        image = render(replace(gaussians, sh0=sh0), camera, SETTINGS, backend=backend).image[..., 0]
        expected = (image[..., None].cpu() * maps.cpu()).sum(dim=(0, 1))
        torch.testing.assert_close(found[row].cpu(), expected, rtol=1e-4, atol=1e-4)


def test_weights_add_up_to_alpha(fast_backend: str, seed: int) -> None:
    gaussians, camera = crowd(few(fast_backend, 300, 20), 2), askew(50 if few(fast_backend, 1, 0) else 20, 17)
    found = visibility(gaussians, [camera], SETTINGS, fast_backend)
    alpha = render(gaussians, camera, SETTINGS, backend=fast_backend).alpha
    assert found.total.sum().item() == pytest.approx(alpha.sum().item(), rel=1e-4)
    torch.testing.assert_close(found.total, found.largest)


def test_hidden_outside_and_near() -> None:
    """A ball before a wall hides what is behind it; what no camera looks at has no weight."""
    parts = [
        dot(0, 0, 1, 0.3, 0.99),  # a ball
        *[dot(0, 0, 1 + 0.01 * layer, 0.3, 0.99) for layer in range(1, 4)],
        dot(0, 0, 4, 0.05, 0.5),  # behind it
        dot(0, 0, -5, 0.3, 0.99),  # behind both cameras
        dot(1.5, 0, 4, 0.3, 0.9),  # beside it
    ]
    found = visibility(Gaussians.cat(parts), [behind(1.0), behind(2.0)], RenderSettings(near=0.1))
    assert found.cameras.tolist()[:1] == [2]
    assert found.cameras.tolist()[4:] == [0, 0, 2]
    assert found.total[4] < SEEN
    assert found.nearness[5] == torch.inf
    assert not found.seen[4]
    # the ball, half of what is seen, is 2 and 3 units away; the last 5 and 6
    assert found.nearness[0].item() == pytest.approx(1.0, rel=0.01)
    assert found.nearness[6].item() == pytest.approx(2.0, rel=0.02)
    assert (found.count, len(found)) == (2, 7)


def test_total_and_largest_over_cameras() -> None:
    gaussians = dot(0, 0, 0, 0.1, 0.5)
    one, other = (visibility(gaussians, [behind(z)]).total.item() for z in (2.0, 4.0))
    both = visibility(gaussians, [behind(4.0), behind(2.0)])
    assert one > 2 * other
    assert both.total.item() == pytest.approx(one + other, rel=1e-5)
    assert both.largest.item() == pytest.approx(one, rel=1e-6)


def test_nothing_to_see() -> None:
    found = visibility(Gaussians.empty(1), [straight()])
    assert len(found) == 0
    with pytest.raises(InputError, match="at least one camera"):
        visibility(Gaussians.empty(1), [])
    with pytest.raises(ShapeError, match=r"maps must be \(H, W, L\) with H=17, W=17; got \(3, 3, 1\)"):
        weigh(dot(0, 0, 1), straight(), torch.ones(3, 3, 1))
    assert weigh(dot(0, 0, 1), straight(), torch.ones(17, 17, 0)).weights.shape == (1, 0)
