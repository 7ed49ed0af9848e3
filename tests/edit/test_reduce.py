"""Fewer Gaussians: moments stay, rows that are not merged stay, and pictures lose less than by leaving some out."""

import math

import pytest
import torch

from sfumato import edit
from sfumato.core.asset import Asset
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit import reduce
from sfumato.edit.mixture import Mixture, Shapes, area
from sfumato.evaluate import psnr
from sfumato.formats import read
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import askew, crowd, dot


def test_two_become_one_with_their_moments() -> None:
    both = Gaussians.cat([dot(0, 0, 0, 0.1, 0.4, (1, 0, 0)), dot(0.4, 0, 0, 0.1, 0.2, (0, 1, 0))])
    one = edit.decimate(both, 1)
    # masses 0.4 and 0.2 of the same size: two thirds and a third
    assert one.means[0].tolist() == pytest.approx([0.4 / 3, 0, 0], abs=1e-6)
    variances = sorted(one.scales[0].square().tolist())
    assert variances == pytest.approx([0.01, 0.01, 0.01 + 2 / 9 * 0.16], rel=1e-5)
    assert one.sh0[0, 0].mul(0.28209479177387814).add(0.5).tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=1e-6)
    sizes = [area(Mixture.of(g).covariances.T)[0].item() for g in (both[:1], one)]
    assert one.opacities.item() * sizes[1] == pytest.approx(0.6 * sizes[0], rel=1e-5)  # the mass


def test_what_would_be_more_than_opaque_becomes_larger() -> None:
    one = edit.decimate(Gaussians.cat([dot(0, 0, 0, 0.1, 0.9), dot(0, 0, 0, 0.1, 0.9)]), 1)
    assert one.opacities.item() == pytest.approx(0.99, abs=1e-5)  # 0.9, then 0.9 of the rest
    assert one.scales[0].square().tolist() == pytest.approx([0.01 * 1.8 / 0.999] * 3, rel=1e-4)


def test_equal_ones_cost_nothing_and_far_ones_by_their_mass() -> None:
    def cost(a: Gaussians, b: Gaussians) -> float:
        return Shapes.of(Mixture.of(a)).costs(Shapes.of(Mixture.of(b))).item()

    here, mass = dot(0, 0, 0, 0.1), 0.5 * 0.01
    assert cost(here, here) == pytest.approx(0, abs=1e-9)
    assert cost(here, dot(9, 0, 0, 0.1)) == pytest.approx(math.sqrt(2 * mass), rel=0.05)
    near, nearer = cost(here, dot(0.1, 0, 0, 0.1)), cost(here, dot(0.05, 0, 0, 0.1))
    assert 0 < nearer < near < cost(here, dot(0.1, 0, 0, 0.1, rgb=(1, 1, 0)))


def test_cost_is_the_integral_it_says(seed: int) -> None:
    """Of two flat, turned ones, by a sum over random places."""
    pair = crowd(2, 0, spread=0.05, size=0.1).map(torch.Tensor.double)
    mixture = Mixture.of(pair)
    shapes = Shapes.of(mixture)
    one, two = shapes[torch.tensor([0])], shapes[torch.tensor([1])]

    def matrix(six: torch.Tensor) -> torch.Tensor:
        xx, yy, zz, xy, xz, yz = six[:, 0].tolist()
        return torch.tensor([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], dtype=torch.float64)

    normal = torch.distributions.MultivariateNormal
    f = (one.masses / (one.masses + two.masses)).item()
    apart = pair.means[1] - pair.means[0]
    covariances = [matrix(one.covariances), matrix(two.covariances)]
    joint = f * covariances[0] + (1 - f) * covariances[1] + f * (1 - f) * torch.outer(apart, apart)
    a, b = normal(pair.means[0], covariances[0]), normal(pair.means[1], covariances[1])
    c = normal(pair.means[0] + (1 - f) * apart, joint)
    wide = normal(c.mean, 2 * joint)
    places = wide.sample((400_000,))
    before = f * a.log_prob(places).exp() + (1 - f) * b.log_prob(places).exp()
    density = wide.log_prob(places).exp()
    lost = ((before - c.log_prob(places).exp()).square() / density).mean() / (before.square() / density).mean()
    colors = 2.0 * f * (1 - f) * (one.colors - two.colors).square().sum()
    wanted = (one.masses + two.masses).sqrt() * (lost + colors)
    assert one.costs(two).item() == pytest.approx(wanted.item(), rel=0.02)


def test_rows_that_are_not_merged_keep_their_bits(seed: int) -> None:
    some = crowd(200, 2)
    fewer = edit.decimate(Asset(some, generator="me"), 150)
    assert (len(fewer), fewer.generator) == (150, "me")
    rows = {tuple(row) for row in some.means.tolist()}
    same = [index for index, row in enumerate(fewer.gaussians.means.tolist()) if tuple(row) in rows]
    assert len(same) >= 100  # 50 mergers change at most 100 rows to 50
    first = same[0]
    origin = [tuple(row) for row in some.means.tolist()].index(tuple(fewer.gaussians.means[first].tolist()))
    for new, old in zip(fewer.gaussians, some, strict=True):
        assert torch.equal(new[first], old[origin])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 77, 199, 200, 500])
def test_any_count(count: int, seed: int) -> None:
    some = crowd(200, 1)
    fewer = edit.decimate(some, count)
    assert len(fewer) == min(count, 200)
    assert fewer.finite.all()
    assert fewer.degree == 1
    assert torch.equal(edit.decimate(some, count).means, fewer.means)  # nothing is left to chance


@pytest.mark.parametrize("N", [2, 3, 9])
def test_all_in_one_place(N: int) -> None:
    some = Gaussians.cat([dot(1, 2, 3)] * N)
    fewer = edit.decimate(some, 1)
    assert torch.allclose(fewer.means, torch.tensor([[1.0, 2, 3]]))
    assert fewer.finite.all()


def test_flat_and_tiny_ones_stay_finite(seed: int) -> None:
    some = crowd(100, 0)
    flat = Gaussians(some.means, some.quats, some.log_scales - torch.tensor([0, 0, 20.0]), *list(some)[3:])
    assert edit.decimate(flat, 20).finite.all()
    tiny = Gaussians(1e-6 * some.means, some.quats, some.log_scales - 30, *list(some)[3:])
    assert edit.decimate(tiny, 20).finite.all()
    gone = Gaussians(some.means, some.quats, some.log_scales, some.logit_opacities - 200, *list(some)[4:])
    assert edit.decimate(gone, 20).finite.all()


def test_pictures_lose_less_than_by_leaving_out(shared_data: object) -> None:
    """A part of a real splat: beside the most important half, the half that is merged."""
    whole = read(f"{shared_data}/splats/inria_9080.ply")
    ordered = edit.in_morton_order(whole)[:4000]
    importance = ordered.opacities * ordered.log_scales.sort(dim=1).values[:, 1:].sum(dim=1).exp()
    middle, spread = ordered.means.median(dim=0).values, ordered.means.std(dim=0).max()
    eye = middle + 3 * spread * torch.tensor([0.5, -0.4, -0.8])
    camera = Camera.look_at(eye, middle, torch.tensor([0.0, -1, 0]), 120.0, 96, 72)
    settings = RenderSettings(near=0.01, depth=False)

    def picture(gaussians: Gaussians) -> torch.Tensor:
        return render(gaussians, camera, settings, backend="cpu").image

    wanted = picture(ordered)
    left_out = picture(ordered[importance.topk(2000).indices])
    merged = picture(edit.decimate(ordered, 2000))
    assert psnr(merged, wanted) > psnr(left_out, wanted) + 1


def test_disjoint_pairs_are_the_best_first() -> None:
    first, second = torch.tensor([0, 1, 2, 4, 0]), torch.tensor([1, 2, 3, 5, 5])
    chosen = reduce._disjoint(first, second, 6, 9)  # 1-2 falls to 0-1, 0-5 to both
    assert torch.stack(chosen).T.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert torch.stack(reduce._disjoint(first, second, 6, 2)).T.tolist() == [[0, 1], [2, 3]]


def test_progress_reaches_its_end(seed: int) -> None:
    told: list[tuple[str, int, int]] = []
    edit.decimate(crowd(100, 0), 10, lambda *step: told.append(step))
    assert told[0] == ("merging", 0, 90)
    assert told[-1] == ("merging", 90, 90)


def test_degree_and_order(seed: int) -> None:
    some = crowd(50, 3)
    assert edit.limit_degree(some, 1).shN.shape == (50, 3, 3)
    assert edit.limit_degree(some, 4) is some
    ordered = edit.in_morton_order(some)
    assert sorted(ordered.means[:, 0].tolist()) == sorted(some.means[:, 0].tolist())
    near, far = ((g.means[1:] - g.means[:-1]).norm(dim=1).mean() for g in (ordered, some))
    assert near < 0.8 * far
    camera = askew(20, 15)
    a, b = (render(g, camera, backend="reference").image for g in (some, ordered))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_what_cannot_be_is_refused(seed: int) -> None:
    some = crowd(5, 0)
    with pytest.raises(InputError, match="count must be at least 1"):
        edit.decimate(some, 0)
    with pytest.raises(InputError, match="sh_degree must be 0 to 4; got 5"):
        edit.limit_degree(some, 5)
    some.means[2, 0] = math.nan
    with pytest.raises(InputError, match="finite"):
        edit.decimate(some, 2)
