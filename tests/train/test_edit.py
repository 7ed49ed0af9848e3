"""Edits move rows, and the optimizer's moments follow."""

import pytest
import torch

from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import Moments
from sfumato.train.edit import Edit
from sfumato.train.optimizer import Adam


def numbered(N: int) -> Gaussians:
    """Row i holds i + 1 everywhere."""
    return Gaussians.empty(1).map(
        lambda t: (torch.arange(N) + 1.0).reshape(-1, *[1] * (t.ndim - 1)).repeat(1, *t.shape[1:])
    )


def rows(gaussians: Gaussians) -> list[float]:
    assert all((t.reshape(len(gaussians), -1) == gaussians.logit_opacities[:, None]).all() for t in gaussians)
    return gaussians.logit_opacities.tolist()


def test_moments_follow_their_rows_and_fresh_ones_forget() -> None:
    adam = Adam(Moments.zeros(numbered(3)))
    for moment in adam.moments:
        for tensor, value in zip(moment, numbered(3), strict=True):
            tensor.copy_(value)
    edit = Edit(numbered(4), torch.tensor([2, 0, 0, 1]), torch.tensor([False, False, True, False]))
    followed = adam.follow(edit)
    assert rows(followed.moments.mean) == [3, 1, 0, 2]
    assert rows(followed.moments.square) == [3, 1, 0, 2]
    assert rows(adam.moments.mean) == [1, 2, 3]  # the old one is left as it was


def test_an_edit_of_numbers_alone_keeps_the_moments_in_place() -> None:
    adam = Adam(Moments.zeros(numbered(3)))
    assert adam.follow(Edit(numbered(3))).moments.mean.shN.data_ptr() == adam.moments.mean.shN.data_ptr()


def test_forgotten_fields_restart_in_every_row() -> None:
    carried = Edit(numbered(3), forget=("logit_opacities",)).carry(numbered(3))
    assert carried.logit_opacities.tolist() == [0, 0, 0]
    assert carried.means[:, 0].tolist() == [1, 2, 3]


def test_fresh_without_parents_does_not_touch_the_given_rows() -> None:
    given = numbered(2)
    assert rows(Edit(numbered(2), fresh=torch.tensor([True, False])).carry(given)) == [0, 2]
    assert rows(given) == [1, 2]


def test_edits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"parents must be \(N,\) with N=2; got \(3,\)"):
        Edit(numbered(2), parents=torch.arange(3))
    with pytest.raises(ShapeError, match="fresh"):
        Edit(numbered(2), fresh=torch.zeros(1, dtype=torch.bool))
    with pytest.raises(InputError, match="opacity"):
        Edit(numbered(2), forget=("opacity",))
