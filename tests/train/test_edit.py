"""Edits move rows, and the optimizer's moments and the moving average follow."""

import pytest
import torch

from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.train.average import Average
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
    adam = Adam.start(numbered(3))
    for moment in adam.moments:
        for tensor, value in zip(moment, numbered(3), strict=True):
            tensor.copy_(value)
    edit = Edit(numbered(4), torch.tensor([2, 0, 0, 1]), torch.tensor([False, False, True, False]))
    followed = adam.follow(edit)
    assert rows(followed.moments.mean) == [3, 1, 0, 2]
    assert rows(followed.moments.square) == [3, 1, 0, 2]
    assert rows(adam.moments.mean) == [1, 2, 3]  # the old one is left as it was


def test_an_edit_of_numbers_alone_keeps_the_moments_in_place() -> None:
    adam = Adam.start(numbered(3))
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


def test_average_is_the_exponential_mean_of_the_late_steps() -> None:
    average = Average(steps=10, start_at=0.7, horizon=0.2)  # from step 7 on, half of the newest each
    values = [numbered(1).map(lambda t, k=k: t * k) for k in range(11)]
    for step in range(1, 11):
        average.update(step, values[step])
    # 7, then (7 + 8) / 2 = 7.5, (7.5 + 9) / 2 = 8.25, (8.25 + 10) / 2 = 9.125
    assert rows(average.result(numbered(1))) == [9.125]


def test_average_follows_edits() -> None:
    average = Average(steps=2, start_at=0.5, horizon=1.0)
    average.update(1, numbered(3))
    average.follow(Edit(numbered(2), torch.tensor([2, 1]), torch.tensor([False, True])))
    assert rows(average.result(numbered(1))) == [3, 2]  # the second is fresh: the edit's own number


def test_without_late_steps_the_last_gaussians_are_the_result() -> None:
    assert rows(Average(steps=10, start_at=1.0, horizon=0.1).result(numbered(2))) == [1, 2]
