"""The codec of exported scenes: within its size for any scene, close to the original, and read alike by the browser."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.evaluate.metrics import psnr
from sfumato.render.path import orbit_around
from sfumato.render.render import render
from sfumato.view.packed import ROW
from sfumato.view.squeeze import BUDGET, LEAST, SEGMENT, Steps, budget_of, expand, squeeze, squeeze_with

from agreeing import browser_reads
from scenes import crowd, straight


def test_budget() -> None:
    """20, 26, 36 and 44 bytes a Gaussian after base64, but for the smallest scenes."""
    assert [4 / 3 * share for share in BUDGET] == [20, 26, 36, 44]
    assert [budget_of(1000, degree) for degree in range(4)] == [14_934, 19_434, 26_933, 32_932]
    assert budget_of(1, 3) == LEAST


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("size", [0.05, 1.0, 50.0])
def test_any_scene_fits(degree: int, size: float, seed: int) -> None:
    """Noise, in which nothing is worth less than anything else."""
    N = 3000
    noise = Gaussians(
        means=size * torch.randn(N, 3),
        quats=torch.randn(N, 4),
        log_scales=size * torch.randn(N, 3),
        logit_opacities=size * torch.randn(N),
        sh0=size * torch.randn(N, 1, 3),
        shN=size * torch.randn(N, (degree + 1) ** 2 - 1, 3),
    )
    data = squeeze(noise)
    assert len(data) <= budget_of(N, degree)
    assert len(data) > 0.95 * budget_of(N, degree) or b'"scale":0.015,' in data  # the finest there is
    assert len(expand(data)) == N


@pytest.mark.parametrize("N", [1, 2, ROW, ROW + 1])
def test_counts(N: int, seed: int) -> None:
    given = crowd(N)
    data = squeeze(given)
    assert len(data) <= budget_of(N, 3)
    got = expand(data)
    assert (len(got), got.degree) == (N, 3)
    distances = torch.cdist(got.means, given.means).min(dim=0).values
    assert distances.max() < 0.1


def test_odd_scenes(seed: int) -> None:
    """All in one place, far outliers, huge and tiny ones, numbers near the ends of float32."""
    for change in ("same", "outliers", "tiny", "huge", "far"):
        given = crowd(2000, 1)
        if change == "same":
            given = given.map(lambda tensor: tensor[:1].expand_as(tensor).clone())
        elif change == "outliers":
            given.means[:20] *= 1e6
        elif change == "far":
            given.means[:3] = torch.tensor([3e38, -3e38, 3e38])
        else:
            given.log_scales[:] += -60 if change == "tiny" else 80
        data = squeeze(given)
        got = expand(data)
        assert len(data) <= budget_of(2000, 1), change
        assert all(torch.isfinite(field).all() for field in got), change
        if change == "outliers":  # the others are as exact as ever
            inner = given.means[20:]
            assert torch.cdist(inner, got.means).min(dim=1).values.median() < 0.01


def test_what_cannot_be_drawn_is_left_out(seed: int) -> None:
    given = crowd(100, 2)
    given.means[0] = torch.nan
    given.quats[1] = 0
    assert len(expand(squeeze(given))) == 98
    with pytest.raises(InputError, match="no Gaussian that can be drawn"):
        squeeze(given[:2])
    assert expand(squeeze(crowd(10, 4))).degree == 3


def test_errors_are_half_a_step(seed: int) -> None:
    given = crowd(500, 3)
    steps = Steps(place=0.001, scale=0.05, turn=0.01, color=0.02, opacity=100, bands=(0.02, 0.03, 0.04))
    got = expand(squeeze_with(given, steps))
    got = got[torch.cdist(given.means, got.means).argmin(dim=1)]
    assert (got.means - given.means).abs().max() < 0.001 * given.scales.max()
    assert (got.log_scales - given.log_scales).abs().max() <= 0.0251
    assert (got.opacities - given.opacities).abs().max() <= 0.00501
    assert 0.28209479 * (got.sh0 - given.sh0).norm(dim=-1).max() <= 0.0101 * 3**0.5  # half a step on each of 3 axes
    for rows, step in ((slice(0, 3), 0.02), (slice(3, 8), 0.03), (slice(8, 15), 0.04)):
        assert (got.shN - given.shN)[:, rows].norm(dim=-1).max() <= 0.501 * step * 3**0.5
    # the rotation may be another one that gives the same Gaussian
    error = (got.covariances - given.covariances).flatten(1).norm(dim=1)
    assert (error / given.covariances.flatten(1).norm(dim=1)).max() < 0.08


def test_pictures_stay(seed: int) -> None:
    """Gaussians as noisy as these compress badly; a real scene does better."""
    given = crowd(4000, 3, spread=0.6, size=0.05)
    camera = straight(80, 80, (70.0, 70.0))
    for degree, least in ((0, 45), (3, 35)):
        scene = given.with_degree(degree)
        got = render(expand(squeeze(scene)), camera).image
        assert psnr(got.clamp(0, 1), render(scene, camera).image.clamp(0, 1)) > least


def test_real_scene(shared_data: Path) -> None:
    given = formats.read(shared_data / "splats" / "inria_9080.ply")
    data = squeeze(given)
    assert len(data) <= budget_of(len(given), given.degree)
    cameras = orbit_around(given.means[given.opacities > 0.3], 2, torch.tensor([0.0, -1, 0]), 160, 120)
    for camera in cameras:
        assert psnr(*(render(scene, camera).image.clamp(0, 1) for scene in (expand(data), given))) > 40


@pytest.mark.parametrize("degree", range(4))
def test_browser_reads_the_same(degree: int, repository: Path, tmp_path: Path, seed: int) -> None:
    given = crowd(3000, degree)
    given.means[:30] *= 100
    data = squeeze(given)
    told, arrays = browser_reads(data, repository, tmp_path, "columns")
    assert told == {"rows": [3000], "degree": degree}
    wanted = expand(data)
    theirs = np.frombuffer(arrays, np.float32)
    assert np.array_equal(theirs, torch.cat([field.flatten() for field in wanted]).numpy())


def test_browser_reads_segments(repository: Path, tmp_path: Path, seed: int) -> None:
    given = crowd(SEGMENT + 1500, 0)
    data = squeeze_with(given, Steps.of(100))
    told, _ = browser_reads(data, repository, tmp_path)
    assert told["count"] == SEGMENT + 1500
    cut, _ = browser_reads(data[:-10], repository, tmp_path)
    assert cut["count"] == SEGMENT
    assert f"truncated: {SEGMENT:,} of {SEGMENT + 1500:,} Gaussians are there" in cut["note"]
