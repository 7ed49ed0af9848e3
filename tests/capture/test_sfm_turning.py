"""A camera that only turned is told from one that moved, whatever it saw."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sfumato.capture.sfm.turning import is_turned

Pairs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
FOCAL, NOISE = 0.8, 0.0005  # in lengths of the photo's longer side


def turned(degrees: float) -> NDArray[np.float64]:
    """Camera <- world, turned around its vertical axis, a little askew."""
    y, x = np.radians(degrees), np.radians(0.1 * degrees)
    across = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]) @ across


def seen(points: NDArray[np.float64], turn: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pinhole projection, with the noise of features and a lens that bends a little."""
    x = (points - position) @ turn.T
    x = FOCAL * x[:, :2] / x[:, 2:]
    bent = x * (1 + 0.01 * (x * x).sum(axis=1, keepdims=True))
    return bent + np.random.default_rng(len(x)).normal(0, NOISE, x.shape)


def pairs(points: NDArray[np.float64], step: float, degrees: float) -> Pairs:
    """What five cameras in a row share, each `step` to the side of the last and turned by `degrees`."""
    shots = [seen(points, turned(degrees * i), np.array([step * i, 0.0, 0.0])) for i in range(5)]
    return [(shots[i], shots[j]) for i in range(5) for j in range(i)]


@pytest.fixture
def room(seed: int) -> NDArray[np.float64]:
    """Points in front of the cameras at depths from 2 to 6."""
    random = np.random.default_rng(seed)
    return np.column_stack([random.uniform(-1, 1, (200, 2)), random.uniform(2, 6, 200)])


def test_turning_alone_is_seen(room: NDArray[np.float64]) -> None:
    assert is_turned(pairs(room, 0.0, 5.0))


@pytest.mark.parametrize(("step", "degrees"), [(0.2, 0.0), (0.2, 3.0), (0.15, -4.0)])
def test_walking_is_not_turning(room: NDArray[np.float64], step: float, degrees: float) -> None:
    assert not is_turned(pairs(room, step, degrees))


def test_walking_along_a_poster_is_not_turning(room: NDArray[np.float64]) -> None:
    poster = np.column_stack([room[:, :2], np.full(len(room), 3.0) + 0.2 * room[:, 0]])
    assert not is_turned(pairs(poster, 0.3, -4.0))


def test_too_little_to_tell_is_not_turning(room: NDArray[np.float64]) -> None:
    assert not is_turned([])
    assert not is_turned(pairs(room, 0.0, 5.0)[:2])
    assert not is_turned(pairs(room, 0.0, 0.1))  # hardly any motion: another fault
