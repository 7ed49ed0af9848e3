"""Which pairs of photos are worth matching: a few hundred features of each photo to a list of pairs."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from sfumato.capture.photos import map_photos
from sfumato.capture.sfm.vocabulary import alike
from sfumato.core.progress import Progress, silent

__all__ = ["BEST", "FAR", "LARGEST", "MANY", "Pair", "choose_pairs", "every_pair"]

Pair = tuple[int, int]  # two places in the list of photos, the smaller first

LARGEST = 384  # features of a photo that are compared, those of the largest scale
BEST = 6  # neighbours of each photo
FAR = 5  # less similar photos that each is matched with, too: neighbours alone let a long walk bend
BEST_IN_ORDER = 5  # besides those that come next
MANY = 150  # photos up to which every two are compared
ALIKE = 30  # candidates of each photo above that: those that look alike
NEAR = 20  # and those taken near by
WINDOW = 5  # photos that follow one in a sequence, all of which it is matched with
FORESTS = 3  # spanning forests of the best pairs, so that no group of photos hangs by a thread
MIN_MUTUAL = 6  # matches that a pair needs that is neither next in order nor holds the graph together
RATIO = 0.8  # a match is this much closer than the second best (Lowe 2004)
DISTANCE = 0.7  # farthest apart that two descriptors of a match are; both have length 1
AT_ONCE = 32  # photos that one is compared with in one product: 20 MB
STAGE = "comparing photos"


def every_pair(count: int) -> list[Pair]:
    """All pairs of `count` photos."""
    return [(a, b) for a in range(count) for b in range(a + 1, count)]


def choose_pairs(
    descriptors: Sequence[Tensor],
    *,
    places: Tensor | None = None,
    in_order: bool = False,
    best: int = BEST,
    progress: Progress = silent,
) -> list[Pair]:
    """Pairs to match: for each photo its `best` neighbours, some others from all over those that it shares anything
    with, and what keeps the graph of photos together.

    descriptors: (F, D) of each photo, of length 1, of its `LARGEST` features of largest scale; F may differ and may
        be 0. Large features are few, and are seen from near and far.
    places: (V, 3) metres, where each photo was taken; not a number where that is unknown.
    in_order: photos are in the order in which they were taken, so that neighbours in the list overlap.

    Candidates are compared by the number of mutual nearest neighbours among the large features (preemptive matching,
    Wu 2013). Up to 150 photos all pairs are candidates; above, those that look alike and those taken near by, so
    that pairs grow with the number of photos and not with its square.
    """
    count = len(descriptors)
    if count <= 2 * best:  # about as few pairs
        return every_pair(count)
    certain = set(_in_order(count, range(1, WINDOW + 1))) if in_order else set()
    candidates = sorted(_candidates(descriptors, places, in_order) - certain)
    scores = dict(zip(candidates, _mutual_matches(descriptors, candidates, progress), strict=True))
    likely = {pair: score for pair, score in scores.items() if score >= MIN_MUTUAL}
    far = _spread(likely, best)
    if in_order:
        return sorted(certain | far | _best_of_each(likely, min(best, BEST_IN_ORDER)))
    return sorted(far | _best_of_each(scores, best) | _forests(scores, count))


def _in_order(count: int, steps: Iterable[int]) -> Iterator[Pair]:
    return ((a, a + step) for step in steps for a in range(count - step))


def _candidates(descriptors: Sequence[Tensor], places: Tensor | None, in_order: bool) -> set[Pair]:
    """Pairs worth comparing."""
    count = len(descriptors)
    if count <= MANY:
        return set(every_pair(count))
    found = {(min(a, b), max(a, b)) for a, others in enumerate(alike(descriptors, ALIKE)) for b in others}
    if in_order:
        found |= set(_in_order(count, (2**power for power in range(3, (count - 1).bit_length()))))
    if places is not None:
        found |= _near_by(places)
    return found


def _near_by(places: Tensor) -> set[Pair]:
    """The nearest photos of each photo whose place is known."""
    known = places.isfinite().all(dim=1).nonzero()[:, 0]
    found: set[Pair] = set()
    for rows in torch.split(known, 1024):
        distances = torch.cdist(places[rows], places[known])
        nearest = known[distances.topk(min(NEAR + 1, len(known)), dim=1, largest=False).indices]
        for a, others in zip(rows.tolist(), nearest.tolist(), strict=True):
            found |= {(min(a, b), max(a, b)) for b in others if a != b}
    return found


def _mutual_matches(descriptors: Sequence[Tensor], pairs: Sequence[Pair], progress: Progress) -> list[int]:
    """For each pair, ordered by its first photo, the matches of the two photos' features."""
    partners: dict[int, list[int]] = {}
    for a, b in pairs:
        partners.setdefault(a, []).append(b)
    most = max((len(one) for one in descriptors), default=0)

    def compare(a: int) -> list[int]:
        others = [descriptors[b] for b in partners[a]]
        parts = (others[first : first + AT_ONCE] for first in range(0, len(others), AT_ONCE))
        return [count for part in parts for count in _matches_of(descriptors[a], part, most)]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a photo for each thread: several to a product wait for each other on a busy machine
    try:
        return [count for counts in map_photos(compare, sorted(partners), STAGE, progress) for count in counts]
    finally:
        torch.set_num_threads(threads)


def _matches_of(one: Tensor, others: Sequence[Tensor], most: int) -> list[int]:
    """Mutual nearest neighbours, clearly nearer than the second, between a photo's features and those of others."""
    if not len(one) or most < 2:
        return [0] * len(others)
    stacked = one.new_zeros(len(others), most, one.shape[1])  # features that are not there are at right angles to all
    for row, other in zip(stacked, others, strict=True):
        row[: len(other)] = other
    cosines = (one @ stacked.flatten(0, 1).T).view(len(one), len(others), most)
    back = cosines.argmax(dim=0)  # (others, most)
    (nearest, second), indices = _two_best(cosines)
    mutual = back.gather(1, indices.T) == torch.arange(len(one))
    distance = (2 - 2 * nearest).clamp(min=0).sqrt()
    good = (distance < DISTANCE) & (distance < RATIO * (2 - 2 * second).clamp(min=0).sqrt())
    counts: list[int] = (mutual & good.T).sum(dim=1).tolist()
    return counts


def _two_best(cosines: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The largest and the second largest of the last axis, and the place of the largest; `cosines` is spoiled."""
    nearest, indices = cosines.max(dim=-1)
    cosines.scatter_(-1, indices[..., None], -1.0)
    return (nearest, cosines.amax(dim=-1)), indices


def _best_of_each(scores: dict[Pair, int], best: int) -> set[Pair]:
    """The pairs that are among the `best` of one of their photos."""
    taken: dict[int, int] = {}
    found: set[Pair] = set()
    for pair in _by_score(scores):
        if any(taken.get(photo, 0) < best for photo in pair):
            found.add(pair)
        for photo in pair:
            taken[photo] = taken.get(photo, 0) + 1
    return found


def _spread(scores: dict[Pair, int], best: int) -> set[Pair]:
    """For each photo FAR pairs at even distances in the ranking behind its `best`: views from farther and farther."""
    ranked: dict[int, list[Pair]] = {}
    for pair in _by_score(scores):
        for photo in pair:
            ranked.setdefault(photo, []).append(pair)
    found: set[Pair] = set()
    for pairs in ranked.values():
        behind = pairs[best:]
        step = max(1, len(behind) // FAR)
        found.update(behind[step - 1 :: step][:FAR])
    return found


def _forests(scores: dict[Pair, int], count: int) -> set[Pair]:
    """Maximum spanning forests, one after the other, each of the pairs that those before left (Kruskal 1956)."""
    found: set[Pair] = set()
    for _ in range(FORESTS):
        root = list(range(count))
        for a, b in _by_score(scores):
            if (a, b) not in found and (first := _find(root, a)) != (second := _find(root, b)):
                root[first] = second
                found.add((a, b))
    return found


def _by_score(scores: dict[Pair, int]) -> list[Pair]:
    return sorted(scores, key=lambda pair: (-scores[pair], pair))


def _find(root: list[int], photo: int) -> int:
    while root[photo] != photo:
        root[photo] = root[root[photo]]
        photo = root[photo]
    return photo
