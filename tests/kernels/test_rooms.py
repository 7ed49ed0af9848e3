"""Room for the next tile lists, from the counts of the last ones."""

from sfumato.kernels.rooms import Rooms
from sfumato.kernels.stages import MOST_PAIRS


def test_an_unknown_picture_has_no_room_yet() -> None:
    rooms = Rooms()
    rooms.learn(("photo 1", 640, 480), 1000)
    assert rooms.of(("photo 1", 320, 240)) is None


def test_a_quarter_more_than_there_were() -> None:
    rooms = Rooms()
    for count in (7, 1_000_000):
        rooms.learn("picture", count)
    assert rooms.of("picture") == 1_254_096  # 1.25 * 1,000,000 + 4096
    rooms.learn("empty", 0)
    assert rooms.of("empty") == 4096


def test_what_is_not_needed_is_forgotten_little_by_little() -> None:
    """Pictures in turn, one of which has many pairs: it must not be drawn twice each time."""
    rooms = Rooms()
    for count in (100_000, 20_000, 20_000):
        rooms.learn("picture", count)
    assert rooms.counts["picture"] == 81_000  # 0.9 * 0.9 * 100,000
    for _ in range(30):
        rooms.learn("picture", 20_000)
    assert rooms.counts["picture"] == 20_000


def test_more_gaussians_have_more_pairs() -> None:
    rooms = Rooms()
    rooms.learn("picture", 100_000)
    rooms.grow(1.5)
    assert rooms.of("picture") == 191_596  # 1.25 * 150,000 + 4096


def test_never_more_than_lists_can_hold() -> None:
    rooms = Rooms()
    rooms.learn("picture", 2_000_000_000)
    assert rooms.of("picture") == MOST_PAIRS
    rooms = Rooms(most_pairs=5000)
    rooms.learn("picture", 4000)
    assert rooms.of("picture") == 5000
