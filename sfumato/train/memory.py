"""What a training run is asked to do to the bytes it will hold at its peak, and to what fits a given number of them.

The peak is the sum of parts that are there at the same time. What a part costs per Gaussian, pixel or pair follows
from the tensors; the numbers that do not (`Costs`) were measured, and benchmarks/memory.py measures them again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError, InputError
from sfumato.core.limits import available_memory, taken_memory, usable_cores
from sfumato.core.scene import Picture, Points, Scene, Size, View
from sfumato.core.units import say_bytes
from sfumato.kernels.stages import MOST_PAIRS, TILE
from sfumato.train.config import TrainConfig
from sfumato.train.photos import under_way

__all__ = [
    "Costs",
    "Demand",
    "Fitted",
    "Prediction",
    "default_budget",
    "demand_of",
    "fit",
    "fit_loaded",
    "most_gaussians",
    "predict",
]

USED = 0.8  # of the memory that is free: other programs grow too, and a prediction may be wrong by a quarter
FEWEST_GAUSSIANS = 10_000  # fewer show little; before that, photos become smaller
MOST_CONSIDERED = 100_000_000  # Gaussians; no training has more
SMALLEST_SIDE = 64  # pixels; smaller photos show nothing
LEFTOVER = 0.1  # of what comes and goes: memory that the allocator holds back in pieces too small for the next tensor
VIEWER = 60_000_000  # bytes of the live page's server, and of the few held-out photos that it keeps
VIEWED, COPIED = 4 * 64, 1.25  # per Gaussian: packed, as bytes, those before, and being sent; and a copy of its numbers
READERS, READ_COPIES = 8, 3  # threads that load photos at most, and copies of a photo that each works on


@dataclass(frozen=True)
class Costs:
    """What a backend holds beside the tensors that are stored, in bytes."""

    base: int  # Python, torch, kernels, the libraries that read photos and cameras, and what reading them left behind
    gaussian: int  # splats, their gradients, and what lies between them and the Gaussians
    pixel: int  # of a training step: the picture, its gradient, the windows of D-SSIM
    pixel_masked: int  # more where the photo has a mask: what counts, as floats, and the picture without the rest
    pixel_scored: int  # of an evaluation: the picture, the photo as floats, their difference in double precision
    pair: int  # of a tile and a splat that touches it: both lists, and a row of gradients


COSTS = {
    # splats 56 and their gradients 44, records 64, places in lists 40, what the strategy counts 12
    "cpu": Costs(base=500_000_000, gaussian=216, pixel=77, pixel_masked=32, pixel_scored=150, pair=70),
    # autograd holds every intermediate result: of each of a tile's 256 pixels for each pair
    "reference": Costs(base=400_000_000, gaussian=3000, pixel=1300, pixel_masked=110, pixel_scored=500, pair=14_000),
}

# Pairs per Gaussian: a splat s pixels wide touches (1 + s / 16)^2 tiles on average. However many there are, splats
# overlap COVERED-fold, so that s^2 = COVERED pixels / Gaussians; and the low-pass alone makes them 0.4 tiles wide.
# Within a factor of 1.8 of what fox, fern and lego had at 20,000 to 100,000 Gaussians.
COVERED, LEAST_WIDTH = 35.0, 0.4


@dataclass(frozen=True)
class Demand:
    """What the memory of a training run depends on."""

    train: tuple[Size, ...]  # of the photos, as they are learned at full size
    test: tuple[Size, ...] = ()
    gaussians: int = 100_000  # the cap
    sh_degree: int = 3
    backend: str = "cpu"
    downscale: float = 1.0  # the files' photos are so many times wider and higher
    in_views: bool = True  # the scene holds all photos, decoded
    keep: int | None = None  # bytes of photos prepared for training that are held; None: all
    taken: int = 0  # bytes that the process holds before, without the photos
    watched: bool = False  # in the browser

    def smaller(self, factor: int) -> "Demand":
        """The same with photos 1/factor as wide and high."""
        train, test = (tuple(size.smaller(factor) for size in sizes) for sizes in (self.train, self.test))
        return replace(self, train=train, test=test, downscale=self.downscale * factor)


@dataclass(frozen=True)
class Prediction:
    """Bytes that a training run holds at its peak."""

    parts: Mapping[str, int]  # what for -> bytes, in the order of the table
    pairs: int  # of tiles and splats in the lists of a picture

    @property
    def total(self) -> int:
        """Of all parts: the largest resident set of the process."""
        return sum(self.parts.values())

    def table(self) -> list[tuple[str, int]]:
        """Rows of (what for, bytes), the sum last."""
        return [*self.parts.items(), ("peak", self.total)]

    def to_report(self) -> dict[str, object]:
        """For report.json."""
        return {"predicted_peak_bytes": self.total, "parts_bytes": dict(self.parts), "tile_list_entries": self.pairs}


@dataclass(frozen=True)
class Fitted:
    """A demand that fits its budget, and what was given up for that."""

    demand: Demand
    prediction: Prediction
    smaller: int  # photos are that many times smaller, on each side, than was asked for
    most_pairs: int  # for RenderSettings: longer tile lists would break the budget
    said: tuple[str, ...]  # a sentence for each thing that was given up

    @property
    def keep_in_views(self) -> int | None:
        """Bytes of photos for the scene to hold: None for all of them, or 0."""
        return None if self.demand.in_views else 0


def demand_of(
    train: Sequence[Size],
    test: Sequence[Size] = (),
    config: TrainConfig | None = None,
    backend: str = "auto",
    downscale: float = 1.0,
) -> Demand:
    """The demand of training on photos of these sizes, known from their headers; `taken` is what is held right now."""
    config = config or TrainConfig()
    return Demand(
        tuple(train),
        tuple(test),
        config.gaussians_for(_sketch(train)),
        config.sh_degree,
        "cpu" if backend == "auto" else backend,
        downscale,
        taken=taken_memory(),
    )


def _sketch(sizes: Sequence[Size]) -> Scene:
    """A scene with photos of these sizes and nothing on them: enough for the numbers that a config leaves open."""

    def nothing() -> Picture:
        raise AssertionError("nobody looks at these photos")

    views = [View(str(i), Camera(torch.eye(4), torch.eye(3), *size[:2]), nothing) for i, size in enumerate(sizes)]
    return Scene(views, Points(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.uint8)))


def predict(demand: Demand) -> Prediction:
    """The peak of loading, training and evaluating. Raises BackendError when the backend's costs are not known."""
    if demand.backend not in COSTS:
        raise BackendError(f"no backend named {demand.backend!r} has known costs (known: {' '.join(COSTS)})")
    costs, N = COSTS[demand.backend], demand.gaussians
    stored = 4 * (11 + 3 * harmonics.bases_of_degree(demand.sh_degree))  # bytes of a Gaussian's own numbers
    pixels = _largest(demand.train)
    pairs = _pairs(N, pixels)
    learning = max((s.pixels * (costs.pixel + s.has_mask * costs.pixel_masked) for s in demand.train), default=0)
    file = max((size.bytes for size in demand.train + demand.test), default=0) * demand.downscale**2
    loading = READ_COPIES * min(READERS, usable_cores()) * file  # before training: the rest is not there yet
    parts = {
        "Python, torch, libraries": max(costs.base, demand.taken),
        "photos": _photos(demand),
        "Gaussians": stored * N,
        "moments": 2 * stored * N,
        "gradients": costs.gaussian * N,
        "edits": 3 * stored * N,  # Gaussians and moments once more while rows move; checkpoints need no more
        "pictures": round(max(learning, costs.pixel_scored * _largest(demand.test), loading)),
        "tile lists": costs.pair * pairs,
    }
    if demand.watched:
        showing = round(READ_COPIES * file)  # one photo at a time is made small for a page
        parts["viewer"] = VIEWER + showing + (VIEWED + round(COPIED * stored)) * N
    moving = sum(parts[name] for name in ("gradients", "edits", "pictures", "tile lists"))
    return Prediction({**parts, "allocator": round(LEFTOVER * moving)}, pairs)


def _largest(sizes: Sequence[Size]) -> int:
    """Pixels of the largest photo."""
    return max((size.pixels for size in sizes), default=0)


def _photos(demand: Demand) -> int:
    """Bytes of photos in the scene, prepared for training, and under way.

    Those in the scene are learned from as they are, but at half size there is a copy of them. Of those that are decoded
    again, `keep` bounds all that is held, but not what is under way.
    """
    learned = sum(size.bytes for size in demand.train)
    if demand.in_views:
        tested = sum(size.bytes for size in demand.test)
        return learned + tested + learned // 4
    needed = learned + _under_way(demand)
    return needed if demand.keep is None else min(needed, max(demand.keep, _under_way(demand)))


def _under_way(demand: Demand) -> int:
    """Bytes of the photos that are decoded ahead, and of those being decoded."""
    return under_way(demand.train, demand.keep)


def _pairs(gaussians: int, pixels: int) -> int:
    """How many pairs of tile and splat a picture has."""
    width = math.sqrt(COVERED * pixels / max(1, gaussians)) / TILE + LEAST_WIDTH
    return min(round(gaussians * (1 + width) ** 2), gaussians * -(-pixels // TILE**2))


def default_budget() -> int:
    """Bytes that this process may hold in all where nobody says: what it has, and most of what is free."""
    return taken_memory() + int(USED * available_memory())


def fit(demand: Demand, budget: int) -> Fitted:
    """The demand, less what must be given up for its peak to stay within `budget` bytes.

    First photos are decoded again instead of held, then there are fewer Gaussians, then photos are smaller. Raises
    InputError when nothing of that is enough. The cap may be below the number of points: a choice of them is used.
    """
    for factor in _factors(demand):
        smaller = demand.smaller(factor) if factor > 1 else demand
        for attempt in (_held, _decoded_again, _streamed, _fewer_gaussians):
            if (chosen := attempt(smaller, budget)) is not None:
                return _fitted(demand, chosen, factor, budget)
    raise _too_little(_smallest(demand), "the smallest photos", budget)


def fit_loaded(demand: Demand, budget: int) -> Fitted:
    """As `fit`, when the photos are read: those that views hold stay, all keep their size, and Gaussians are fewer.

    Raises InputError when that is not enough.
    """
    attempts = (_held, _with_fewer) if demand.in_views else (_held, _streamed, _fewer_gaussians)
    for attempt in attempts:
        if (chosen := attempt(demand, budget)) is not None:
            return _fitted(demand, chosen, 1, budget)
    raise _too_little(replace(demand, gaussians=min(demand.gaussians, FEWEST_GAUSSIANS)), "these photos", budget)


def most_gaussians(demand: Demand, budget: int) -> int:
    """The highest cap, in thousands, that fits beside the rest of a demand that fits; no less than it asks for."""

    def fits(thousands: int) -> bool:
        return predict(replace(demand, gaussians=1000 * thousands)).total <= budget

    good = demand.gaussians // 1000
    return max(demand.gaussians, 1000 * _last(fits, good, max(good, MOST_CONSIDERED // 1000)))


def _too_little(least: Demand, photos: str, budget: int) -> InputError:
    return InputError(
        f"training must have at least {say_bytes(predict(least).total)} of memory here, with {least.gaussians:,}"
        f" Gaussians and {photos}; got {say_bytes(budget)}: close other programs, or raise --memory"
    )


def _factors(demand: Demand) -> range:
    """How many times smaller photos may become."""
    short = min((min(size.width, size.height) for size in demand.train), default=1)
    return range(1, max(1, short // SMALLEST_SIDE) + 1)


def _smallest(demand: Demand) -> Demand:
    smaller = demand.smaller(_factors(demand)[-1])
    return replace(smaller, in_views=False, keep=0, gaussians=min(demand.gaussians, FEWEST_GAUSSIANS))


def _held(demand: Demand, budget: int) -> Demand | None:
    return demand if predict(demand).total <= budget else None


def _decoded_again(demand: Demand, budget: int) -> Demand | None:
    return _held(replace(demand, in_views=False), budget)


def _streamed(demand: Demand, budget: int) -> Demand | None:
    """With as many photos held as there is room for."""
    bare = replace(demand, in_views=False, keep=0)
    room = budget - predict(bare).total
    return replace(bare, keep=_under_way(bare) + room) if room >= 0 else None


def _fewer_gaussians(demand: Demand, budget: int) -> Demand | None:
    """With as many Gaussians as fit beside the fewest photos."""
    bare = _with_fewer(replace(demand, in_views=False, keep=0), budget)
    return None if bare is None else _streamed(bare, budget)


def _with_fewer(demand: Demand, budget: int) -> Demand | None:
    """With as many Gaussians as fit beside everything else, in thousands."""

    def fits(thousands: int) -> bool:
        return predict(replace(demand, gaussians=1000 * thousands)).total <= budget

    least, most = FEWEST_GAUSSIANS // 1000, demand.gaussians // 1000
    if most < least or not fits(least):
        return None
    return replace(demand, gaussians=1000 * _last(fits, least, most))


def _last(fits: Callable[[int], bool], good: int, most: int) -> int:
    """The greatest number from `good`, which fits, to `most` that fits; all lesser ones fit too."""
    bad = most + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _fitted(asked: Demand, chosen: Demand, factor: int, budget: int) -> Fitted:
    prediction = predict(chosen)
    spare = (budget - prediction.total) // COSTS[chosen.backend].pair
    # the estimate is a mean over scenes: lists twice as long are usual, and not much beside all the rest
    most_pairs = min(MOST_PAIRS, prediction.pairs + max(prediction.pairs, spare))
    return Fitted(chosen, prediction, factor, most_pairs, tuple(_sentences(asked, chosen, factor, budget)))


def _sentences(asked: Demand, chosen: Demand, factor: int, budget: int) -> list[str]:
    """What was given up, in the order in which it is."""
    said = []
    within = f"to stay within {say_bytes(budget)} of memory"
    if chosen.keep is not None and asked.keep is None:
        said.append(f"photos are decoded again and again, with {say_bytes(chosen.keep)} of them held, {within}")
    elif asked.in_views and not chosen.in_views:
        said.append(f"photos are decoded again when their size changes, {within}")
    if chosen.gaussians < asked.gaussians:
        said.append(f"at most {chosen.gaussians:,} Gaussians instead of {asked.gaussians:,}, {within}")
    if factor > 1:
        now, before = (max(sizes, key=lambda size: size.pixels) for sizes in (chosen.train, asked.train))
        less = f"{now.width} x {now.height} pixels instead of {before.width} x {before.height}"
        said.append(f"photos of at most {less}, {within}")
    return said
