"""The choice of pairs: photos as sets of descriptors along a path, without any structure from motion."""

import itertools

import pytest
import torch
from torch import Tensor

from sfumato.capture.sfm.pairs import BEST, FAR, choose_pairs, every_pair
from sfumato.capture.sfm.vocabulary import alike


def walk(count: int, features: int = 40, step: int = 10, seed: int = 0, loop: bool = False) -> list[Tensor]:
    """Descriptors of photos along a path: each sees `features` things, `step` of which are new; noise on each."""
    random = torch.Generator().manual_seed(seed)
    total = count * step if loop else count * step + features
    things = torch.nn.functional.normalize(torch.randn(total, 128, generator=random), dim=1)
    photos = []
    for number in range(count):
        seen = things[torch.arange(number * step, number * step + features) % total]
        noisy = seen + 0.02 * torch.randn(seen.shape, generator=random)
        photos.append(torch.nn.functional.normalize(noisy, dim=1)[torch.randperm(features, generator=random)])
    return photos


def overlapping(count: int, reach: int) -> set[tuple[int, int]]:
    return {(a, b) for a, b in every_pair(count) if b - a <= reach}


def test_few_photos_all_pairs() -> None:
    assert choose_pairs(walk(5)) == every_pair(5)
    assert choose_pairs([]) == []


@pytest.mark.parametrize("count", [40, 151, 400])
def test_neighbours_are_found(count: int) -> None:
    """Whether every two photos are compared, or only those that look alike."""
    pairs = set(choose_pairs(walk(count)))
    assert overlapping(count, 2) <= pairs  # half of what they see is the same


def test_pairs_grow_with_the_number_of_photos() -> None:
    sizes = {count: len(choose_pairs(walk(count, features=24, step=6))) for count in (250, 500, 1000)}
    assert sizes[1000] < 1000 * (BEST + 3)
    assert sizes[1000] < 2.1 * sizes[500] < 2.1 * 2.1 * sizes[250]


def test_two_groups_stay_connected() -> None:
    """Each photo has more than enough neighbours in its own group; the few that join the groups are kept too."""
    groups = [*walk(20, step=1, seed=1), *walk(20, step=1, seed=2)]
    joined = walk(40, features=10, step=0, seed=3)
    for photo in (18, 19, 20, 21):  # both groups' ends share ten things
        groups[photo] = torch.cat([groups[photo], joined[photo]])
    across = [pair for pair in choose_pairs(groups) if pair[0] < 20 <= pair[1]]
    assert len(across) >= 3
    assert {(18, 20), (18, 21), (19, 20), (19, 21)} & set(across)


@pytest.mark.parametrize("count", [60, 200])
def test_a_sequence_keeps_its_order_and_closes_its_loop(count: int) -> None:
    pairs = set(choose_pairs(walk(count, loop=True), in_order=True))
    assert overlapping(count, 5) <= pairs
    assert {(0, count - 1), (0, count - 2), (1, count - 1)} <= pairs
    assert len(pairs) < 12 * count


def test_places_find_what_looks_do_not() -> None:
    """Neighbours share so little that it is lost among what each sees alone, but they were taken side by side."""
    random = torch.Generator().manual_seed(4)
    photos = []
    shared = walk(200, features=16, step=8, seed=5)
    for number in range(200):
        alone = torch.nn.functional.normalize(torch.randn(80, 128, generator=random), dim=1)
        photos.append(torch.cat([alone, shared[number]]))
    places = torch.zeros(200, 3, dtype=torch.float64)
    places[:, 0] = torch.arange(200) + 4e6  # metres from the middle of the Earth
    places[7] = float("nan")
    wanted = {pair for pair in overlapping(200, 1) if 7 not in pair}
    assert wanted <= set(choose_pairs(photos, places=places))
    assert not wanted <= set(choose_pairs(photos))


def test_photos_without_features() -> None:
    photos = walk(30)
    photos[3] = photos[4] = torch.zeros(0, 128)
    pairs = set(choose_pairs(photos))
    assert overlapping(30, 2) - {pair for pair in every_pair(30) if {3, 4} & set(pair)} <= pairs
    assert choose_pairs([torch.zeros(0, 128)] * 200)  # nothing to go by, but no harm


def test_what_looks_alike() -> None:
    found = alike(walk(50), 4)
    assert all(number not in others for number, others in enumerate(found))
    assert all(abs(others[0] - number) <= 2 for number, others in enumerate(found))
    assert [len(others) for others in alike(walk(3), 10)] == [2, 2, 2]
    assert alike([], 4) == []


@pytest.mark.parametrize("in_order", [False, True])
def test_photos_from_farther_and_farther_are_matched_too(in_order: bool) -> None:
    """Neighbours alone let a walk bend: of the 50 photos on either side that share something, some of all are taken."""
    count, reach = 120, 45  # those at 45 share 15 of 60 things
    pairs = set(choose_pairs(walk(count, features=60, step=1), in_order=in_order))
    for photo in range(reach, count - reach, 5):
        steps = sorted(abs(a - b) for a, b in pairs if photo in (a, b))
        gaps = [after - before for before, after in itertools.pairwise(steps)]
        assert steps[-1] >= 40
        assert max(gaps) <= 15
    assert len(pairs) < count * (BEST + FAR + 5)  # the next five, in a sequence, and far fewer than all
