"""Room for the next tile lists, from the counts of the last ones."""

from sfumato.kernels.rooms import Rooms
from sfumato.kernels.stages import MOST_PAIRS


def test_an_unknown_picture_has_no_room_yet() -> None:
    rooms = Rooms()
    rooms.learn(("photo 1", 640, 480), 1000)
    assert rooms.of(("photo 1", 320, 240)) is None


def test_a_quarter_more_than_the_last_time() -> None:
    rooms = Rooms()
    for count in (7, 1_000_000):
        rooms.learn("picture", count)
    assert rooms.of("picture") == 1_254_096  # 1.25 * 1,000,000 + 4096
    rooms.learn("empty", 0)
    assert rooms.of("empty") == 4096


def test_never_more_than_lists_can_hold() -> None:
    rooms = Rooms()
    rooms.learn("picture", 2_000_000_000)
    assert rooms.of("picture") == MOST_PAIRS
    rooms = Rooms(most_pairs=5000)
    rooms.learn("picture", 4000)
    assert rooms.of("picture") == 5000
