"""The k-d tree, against all distances."""

import pytest
import torch

from sfumato.edit.nearest import Nearest


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 100, 1003])
@pytest.mark.parametrize("dimensions", [1, 3, 6])
def test_the_nearest_of_all(seed: int, count: int, dimensions: int) -> None:
    there, here = torch.randn(count, dimensions).double() ** 3, torch.randn(500, dimensions).double() ** 3
    tree = Nearest(there)
    every = torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")
    for near in (None, torch.randint(count, (500,))):
        away, rows = tree.query(here, near)
        torch.testing.assert_close(away, every.amin(dim=1))
        torch.testing.assert_close(every.gather(1, rows[:, None])[:, 0], every.amin(dim=1))


def test_places_that_are_all_one(seed: int) -> None:
    away, rows = Nearest(torch.ones(100, 3)).query(torch.zeros(4, 3))
    assert away.tolist() == pytest.approx([3**0.5] * 4)
    assert ((rows >= 0) & (rows < 100)).all()
