"""The order along a Morton curve: by hand, near stays near, and whatever may stand in means."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.core.morton import interleaved, morton_order


def length_of_way(places: Tensor) -> float:
    return float((places[1:] - places[:-1]).norm(dim=1).mean())


def test_bits_in_turn_by_hand() -> None:
    cells = torch.tensor([[0b1, 0, 0], [0, 0b1, 0], [0, 0, 0b1], [0b101, 0b010, 0b111], [2**21 - 1] * 3])
    # 101, 010, 111 from the highest bit on: z y x = 1 0 1, 1 1 0, 1 0 1
    assert interleaved(cells).tolist() == [1, 2, 4, 0b101_110_101, 2**63 - 1]


def test_corners_of_a_cube_by_hand() -> None:
    """x turns fastest, then y, then z."""
    corners = torch.tensor([[x, y, z] for z in (-1.0, 1) for y in (-1.0, 1) for x in (-1.0, 1)])
    shuffled = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    assert shuffled[morton_order(corners[shuffled])].tolist() == list(range(8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_become_neighbours(dtype: torch.dtype, seed: int) -> None:
    means = torch.rand(20_000, 3, dtype=dtype)
    order = morton_order(means)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(20_000))
    assert length_of_way(means[order]) < 0.08 * length_of_way(means)
    assert torch.equal(order, morton_order(means))


def test_outliers_leave_cells_to_the_others(seed: int) -> None:
    means = torch.rand(10_000, 3)
    means[:50] *= 1e9
    order = morton_order(means)
    inner = order[order >= 50]
    assert length_of_way(means[inner]) < 0.1 * length_of_way(means[50:])


def test_more_than_the_sample(seed: int) -> None:
    means = 1e-3 * torch.randn(600_000, 3) + 5
    assert length_of_way(means[morton_order(means)]) < 0.05 * length_of_way(means)


def test_numbers_that_are_none_come_last(seed: int) -> None:
    means = torch.rand(5000, 3)
    means[::5, 1] = math.nan  # a fifth: more than the last percent
    means[3] = torch.tensor([math.inf, 0, -math.inf])
    means[4] = torch.tensor([3e38, -3e38, 3e38])
    order = morton_order(means)
    assert torch.equal(order[-1000:], torch.arange(0, 5000, 5))
    others = order[:-1000][~torch.isin(order[:-1000], torch.tensor([3, 4]))]
    assert length_of_way(means[others]) < 0.15 * length_of_way(means[others.sort().values])


def test_all_in_one_place_keep_their_order() -> None:
    assert morton_order(torch.full((7, 3), 4.0)).tolist() == list(range(7))
    assert morton_order(torch.full((7, 3), math.nan)).tolist() == list(range(7))
    assert morton_order(torch.zeros(1, 3)).tolist() == [0]
    assert morton_order(torch.zeros(0, 3)).tolist() == []


def test_any_strides_and_autograd(seed: int) -> None:
    means = torch.randn(100, 6)
    picked = means[:, ::2].requires_grad_()
    assert torch.equal(morton_order(picked), morton_order(means[:, ::2].clone()))
