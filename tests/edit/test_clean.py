"""Floaters that were planted into a scene of a ball are found, each for its reason, and the ball stays."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sfumato
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.clean import REASONS, Criteria, clean, inspect
from sfumato.edit.visibility import Visibility, visibility
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import crowd, dot

SETTINGS = RenderSettings(near=0.1, depth=False)
BOLD = Criteria(few=0.35, isolated=60.0)  # of 16 cameras; and so that there are different reasons
DOWN = torch.tensor([0.0, -1.0, 0.0])


def ball(N: int = 3000) -> Gaussians:
    """A solid-looking sphere of radius 1: Fibonacci's points, each as wide as the gaps."""
    row = torch.arange(N) + 0.5
    height, angle = 1 - 2 * row / N, row * math.pi * (1 + math.sqrt(5))
    wide = (1 - height**2).sqrt()
    means = torch.stack([wide * angle.cos(), height, wide * angle.sin()], dim=1)
    one = dot(0, 0, 0, 0.04, 0.9, (0.8, 0.5, 0.2))
    return replace(Gaussians.cat([one] * N), means=means)


def ring(count: int = 16, distance: float = 4.0) -> list[Camera]:
    """Cameras all around that look at the ball."""
    angles = torch.arange(count) * 2 * math.pi / count
    places = distance * torch.stack([angles.cos(), torch.full_like(angles, -0.2), angles.sin()], dim=1)
    return [Camera.look_at(place, torch.zeros(3), DOWN, 120.0, 64, 48) for place in places]


def stretched(gaussians: Gaussians, longest: float, width: float) -> Gaussians:
    """Upright."""
    return replace(gaussians, log_scales=torch.tensor([[width, longest, width]]).log())


def before(camera: Camera, share: float, scale: float) -> Gaussians:
    """A blob on the way from the camera to the ball's middle."""
    x, y, z = ((1 - share) * camera.position).tolist()
    return dot(x, y, z, scale, 0.9)


def planted() -> dict[str, Gaussians]:
    cameras = ring()
    return {
        "faint": dot(0, 0, 1, 0.04, 0.005),
        "giant": dot(0.5, 0, 0, 3.0, 0.1),
        "needle": stretched(dot(0, 1, 0), 0.8, 0.01),
        "isolated": dot(0, 6, 0, 0.02, 0.9),
        "unseen": dot(0.1, 0, 0, 0.01, 0.02),  # inside the ball
        "near": before(cameras[3], 0.2, 0.08),
        "lonely": before(cameras[5], 0.5, 0.15),
        "spike": stretched(before(cameras[8], 0.45, 1.0), 0.45, 0.01),
    }


def asked() -> tuple[Gaussians, Visibility]:
    parts = [ball(), *planted().values()]
    gaussians = Gaussians.cat(parts)
    return gaussians, visibility(gaussians, ring(), SETTINGS)


def test_each_is_found_for_its_reason_and_the_ball_stays() -> None:
    gaussians, seen = asked()
    found = inspect(gaussians, BOLD, seen)
    names = [list(REASONS)[reason - 1] if reason else "" for reason in found.reasons[-8:].tolist()]
    assert names == list(planted())
    gone = found.removed[:-8]
    assert torch.equal(gone, found.of("unseen")[:-8])  # at its poles, where no camera looks
    assert gone.sum() < 0.25 * len(gone)
    assert {**found.counts, "unseen": 1} == {name: int(name in planted()) for name in REASONS}
    assert len(clean(gaussians, BOLD, seen)) == len(ball()) - gone.sum()


def test_pictures_are_as_before_the_floaters_came() -> None:
    gaussians, seen = asked()
    cleaned = clean(gaussians, BOLD, seen)
    camera = ring()[3]  # the one with a blob before it
    truth, dirty, after = (render(g, camera, SETTINGS).image for g in (ball(), gaussians, cleaned))
    assert (dirty - truth).abs().mean() > 0.05
    assert (after - truth).abs().mean() < 0.002


def test_without_cameras_only_what_needs_none() -> None:
    gaussians, _ = asked()
    found = inspect(gaussians, BOLD)
    assert [name for name, count in found.counts.items() if count] == ["faint", "giant", "needle", "isolated"]
    assert torch.equal(found.kept, ~found.removed)
    assert torch.equal(found.of("giant").nonzero()[:, 0], torch.tensor([len(ball()) + 1]))


@pytest.mark.parametrize("name", ["faint", "giant", "needle", "isolated", "unseen", "near", "lonely", "spike"])
def test_what_is_not_looked_for_stays(name: str) -> None:
    gaussians, seen = asked()
    assert inspect(gaussians, BOLD, seen).counts[name] > 0
    assert inspect(gaussians, replace(BOLD, **{name: None}), seen).counts[name] == 0


def test_broken_rows_come_first() -> None:
    gaussians = ball(50)
    gaussians.means[3, 1] = math.nan
    gaussians.logit_opacities[3] = -20.0  # faint, too
    gaussians.quats[7] = 0
    gaussians.sh0[9] = math.inf
    found = inspect(gaussians, Criteria())
    assert {name: count for name, count in found.counts.items() if count} == {"not finite": 2, "no rotation": 1}
    assert found.removed.nonzero()[:, 0].tolist() == [3, 7, 9]
    assert inspect(gaussians[torch.tensor([3, 9])]).counts["not finite"] == 2  # and no other row is left to compare


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_very_few(count: int) -> None:
    """A handful is no scene in which something could be large or alone."""
    gaussians = ball(5)[:count]
    found = inspect(gaussians)
    assert len(found.reasons) == count
    assert not found.removed.any()


def test_larger_and_elsewhere_is_the_same() -> None:
    """Criteria are relative: units and place of the world do not matter."""
    gaussians, seen = asked()
    moved = gaussians.transform(torch.eye(3), torch.tensor([300.0, -20.0, 5.0]), 10.0)
    assert torch.equal(inspect(gaussians, seen=seen).reasons, inspect(moved, seen=seen).reasons)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match=r"faint must be a number from 0 on, or None; got -1"):
        Criteria(faint=-1)
    with pytest.raises(InputError, match=r"near must be .* got nan"):
        Criteria(near=math.nan)
    with pytest.raises(InputError, match=r"seen must be of the same 3,000 Gaussians; got 10"):
        inspect(ball(), seen=visibility(ball(10), ring(1)))
    with pytest.raises(InputError, match="no reason 'ugly'"):
        inspect(ball(10)).of("ugly")


def test_a_real_splat(shared_data: Path) -> None:
    """A scan by other people's code: next to nothing is wrong with it, and what goes is told."""
    gaussians = sfumato.read(shared_data / "splats" / "inria_9080.ply")
    found = inspect(gaussians)
    assert 0 < found.removed.sum() < 0.05 * len(gaussians)
    assert sum(found.counts.values()) == int(found.removed.sum())


@pytest.mark.parametrize(("count", "few"), [(1, 0), (2, 0), (3, 1), (5, 1), (6, 2), (12, 2), (40, 4)])
def test_who_is_seen_by_few_cameras(seed: int, count: int, few: int) -> None:
    """Of two photos nothing is seen by few: what is near them is the scene itself."""
    gaussians = crowd(50, 0)
    cameras = torch.arange(50) % 5 + 1  # of one, two, ... five cameras
    ones = torch.ones(50)
    seen = Visibility(ones, ones, cameras, 0.1 * ones, count)
    criteria = Criteria(faint=None, giant=None, needle=None, isolated=None, unseen=None, lonely=None, spike=None)
    assert inspect(gaussians, criteria, seen).counts["near"] == 10 * few
