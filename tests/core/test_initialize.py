"""Points to first Gaussians."""

import math
from time import perf_counter

import pytest
import torch

from sfumato.core import neighbors
from sfumato.core.errors import InputError
from sfumato.core.initialize import initialize
from sfumato.core.neighbors import neighbor_distances
from sfumato.core.scene import Points


def points(xyz: torch.Tensor) -> Points:
    return Points(xyz, torch.full((len(xyz), 3), 255, dtype=torch.uint8))


def clouds() -> dict[str, torch.Tensor]:
    """What makes a search by boxes hard."""
    xyz, shell = torch.randn(700, 3), torch.nn.functional.normalize(torch.randn(1500, 3), dim=1)
    xyz[:5] *= 100  # far from all others
    xyz[300:310] = xyz[310]  # eleven at one place
    shell[0] = 0  # as far from each of the others
    line = torch.rand(400, 3) * torch.tensor([1.0, 0, 0])
    grid = torch.randint(0, 8, (900, 3)).float()
    tails = torch.randn(2000, 3) * torch.rand(2000, 1) ** -2
    return {"far": xyz, "shell": shell, "line": line, "grid": grid, "tails": tails, "few": xyz[:5], "leaf": xyz[:17]}


@pytest.mark.parametrize("name", ["far", "shell", "line", "grid", "tails", "few", "leaf"])
def test_neighbor_distances_are_exact(name: str, seed: int) -> None:
    xyz = clouds()[name]
    distances = torch.cdist(xyz.double(), xyz.double(), compute_mode="donot_use_mm_for_euclid_dist")
    want = distances.topk(4, largest=False).values[:, 1:].square().mean(dim=1).sqrt()
    torch.testing.assert_close(neighbor_distances(xyz).double(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("knob", ["TURNS", "BATCH", "ALONE"])
def test_neighbors_do_not_depend_on_how_many_look_together(
    knob: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    cloud = clouds()["tails"]
    want = neighbor_distances(cloud)
    monkeypatch.setattr(neighbors, knob, 3)
    torch.testing.assert_close(neighbor_distances(cloud), want, rtol=0, atol=0)


@pytest.mark.parametrize(("N", "want"), [(1, 1.0), (2, 2.0), (3, 2.0)])
def test_few_points_have_the_neighbours_there_are(N: int, want: float) -> None:
    corners = torch.tensor([[0.0, 0, 0], [2, 0, 0], [1, math.sqrt(3), 0]])  # sides of 2
    torch.testing.assert_close(neighbor_distances(corners[:N]), torch.full((N,), want))


def test_many_points_take_a_moment(seed: int) -> None:
    began = perf_counter()
    neighbor_distances(torch.randn(20_000, 3))
    assert perf_counter() - began < 5  # brute force takes many times longer; 0.2 s on a quiet machine


def test_first_gaussians_are_round_and_colored() -> None:
    square = points(torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [3, 4, 0]]))
    first = initialize(square, sh_degree=2, opacity=0.1, scale=0.5)
    rms = math.sqrt((3**2 + 4**2 + 5**2) / 3)
    torch.testing.assert_close(first.scales, torch.full((4, 3), 0.5 * rms))
    torch.testing.assert_close(first.opacities, torch.full((4,), 0.1))
    torch.testing.assert_close(0.5 + 0.28209479177387814 * first.sh0, torch.ones(4, 1, 3))
    assert first.degree == 2
    assert not first.shN.any()


def test_equal_points_get_a_finite_size() -> None:
    assert initialize(points(torch.zeros(10, 3))).finite.all()


def test_the_cap_holds_from_the_start(seed: int) -> None:
    cloud = points(torch.randn(50, 3))
    first, again, other = (initialize(cloud, max_gaussians=20, seed=s).means for s in (1, 1, 2))
    assert len(first) == 20
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_broken_points_are_left_out_and_none_is_refused() -> None:
    xyz = torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0], [1, torch.inf, 0]])
    assert len(initialize(points(xyz))) == 1
    with pytest.raises(InputError, match="points must hold at least one finite point"):
        initialize(points(xyz[1:]))
