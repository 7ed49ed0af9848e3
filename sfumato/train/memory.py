"""What a training run is asked to do to what of it fits into memory, and into a GPU's.

First what costs only time is given up, then Gaussians, then the size of photos; each is said in a sentence.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from sfumato.core.errors import InputError
from sfumato.core.limits import available_memory, taken_memory
from sfumato.core.units import say_bytes
from sfumato.kernels.stages import MOST_PAIRS
from sfumato.train.demand import Demand, Prediction, pair_bytes, predict
from sfumato.train.photos import under_way

__all__ = ["Fitted", "default_budget", "default_gpu_budget", "fit", "fit_loaded", "most_gaussians"]

USED = 0.8  # of the memory that is free: other programs grow too, and a prediction may be wrong by a quarter
FEWEST_GAUSSIANS = 10_000  # fewer show little; before that, photos become smaller
MOST_CONSIDERED = 100_000_000  # Gaussians; no training has more
SMALLEST_SIDE = 64  # pixels; smaller photos show nothing

_Fits = Callable[[Demand], bool]


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


def default_budget() -> int:
    """Bytes that this process may hold in all where nobody says: what it has, and most of what is free."""
    return taken_memory() + int(USED * available_memory())


def default_gpu_budget(device: torch.device) -> int | None:
    """The same of a GPU's memory; None for the CPU."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(torch.cuda.memory_reserved(device) + USED * free)


def fit(demand: Demand, budget: int, gpu: int | None = None) -> Fitted:
    """The demand, less what must be given up for its peak to stay within `budget` bytes, and within `gpu` on a GPU.

    First photos are not kept on the GPU, or decoded again instead of held, then there are fewer Gaussians, then photos
    are smaller. Raises InputError when nothing of that is enough. The cap may be below the number of points: a choice
    of them is used. gpu: None for any number.
    """
    for factor in _factors(demand):
        smaller = demand.smaller(factor) if factor > 1 else demand
        placed = _placed(smaller, gpu)
        for attempt in (_held, _decoded_again, _streamed, _fewer_gaussians):
            if placed is not None and (chosen := attempt(placed, budget)) is not None:
                return _fitted(demand, placed, chosen, factor, (budget, gpu))
    raise _too_little(_smallest(demand), "the smallest photos", budget, gpu)


def fit_loaded(demand: Demand, budget: int, gpu: int | None = None) -> Fitted:
    """As `fit`, when the photos are read: those that views hold stay, all keep their size, and Gaussians are fewer.

    Raises InputError when that is not enough.
    """
    placed = _placed(demand, gpu)
    for attempt in (_held, _with_fewer_held) if demand.in_views else (_held, _streamed, _fewer_gaussians):
        if placed is not None and (chosen := attempt(placed, budget)) is not None:
            return _fitted(demand, placed, chosen, 1, (budget, gpu))
    least = replace(demand, gaussians=min(demand.gaussians, FEWEST_GAUSSIANS), on_device=0)
    raise _too_little(least, "these photos", budget, gpu)


def most_gaussians(demand: Demand, budget: int, gpu: int | None = None) -> int:
    """The highest cap, in thousands, that fits beside the rest of a demand that fits; no less than it asks for."""

    def fits(thousands: int) -> bool:
        wanted = replace(demand, gaussians=1000 * thousands)
        return _fits_memory(budget)(wanted) and _fits_gpu(gpu)(wanted)

    good = demand.gaussians // 1000
    return max(demand.gaussians, 1000 * _last(fits, good, max(good, MOST_CONSIDERED // 1000)))


def _fits_memory(budget: int) -> _Fits:
    return lambda demand: predict(demand).total <= budget


def _fits_gpu(gpu: int | None) -> _Fits:
    return lambda demand: gpu is None or predict(demand).device_total <= gpu


def _too_little(least: Demand, photos: str, budget: int, gpu: int | None) -> InputError:
    needed, such = predict(least), f"{least.gaussians:,} Gaussians and {photos}"
    if gpu is not None and needed.device_total > gpu:
        return InputError(
            f"training must have at least {say_bytes(needed.device_total)} of the GPU's memory here, with {such}; got"
            f" {say_bytes(gpu)}: close other programs that use it, raise --gpu-memory, or train with --backend cpu"
        )
    return InputError(
        f"training must have at least {say_bytes(needed.total)} of memory here, with {such}; got {say_bytes(budget)}:"
        " close other programs, or raise --memory"
    )


def _factors(demand: Demand) -> range:
    """How many times smaller photos may become."""
    short = min((min(size.width, size.height) for size in demand.train), default=1)
    return range(1, max(1, short // SMALLEST_SIDE) + 1)


def _smallest(demand: Demand) -> Demand:
    smaller = demand.smaller(_factors(demand)[-1])
    fewest = min(demand.gaussians, FEWEST_GAUSSIANS)
    return replace(smaller, in_views=False, keep=0, on_device=0, gaussians=fewest)


def _placed(demand: Demand, gpu: int | None) -> Demand | None:
    """With as many photos kept on the GPU as there is room for, and fewer Gaussians where there is none."""
    fits = _fits_gpu(gpu)
    if gpu is None or fits(demand):
        return demand
    bare = replace(demand, on_device=0)
    chosen = bare if fits(bare) else _with_fewer(bare, fits)
    return None if chosen is None else replace(chosen, on_device=gpu - predict(chosen).device_total)


def _held(demand: Demand, budget: int) -> Demand | None:
    return demand if predict(demand).total <= budget else None


def _decoded_again(demand: Demand, budget: int) -> Demand | None:
    return _held(replace(demand, in_views=False), budget)


def _streamed(demand: Demand, budget: int) -> Demand | None:
    """With as many photos held as there is room for."""
    bare = replace(demand, in_views=False, keep=0)
    room = budget - predict(bare).total
    return replace(bare, keep=under_way(bare.train, 0) + room) if room >= 0 else None


def _fewer_gaussians(demand: Demand, budget: int) -> Demand | None:
    """With as many Gaussians as fit beside the fewest photos."""
    bare = _with_fewer_held(replace(demand, in_views=False, keep=0), budget)
    return None if bare is None else _streamed(bare, budget)


def _with_fewer_held(demand: Demand, budget: int) -> Demand | None:
    return _with_fewer(demand, _fits_memory(budget))


def _with_fewer(demand: Demand, fits: _Fits) -> Demand | None:
    """With as many Gaussians as fit beside everything else, in thousands."""

    def wanted(thousands: int) -> Demand:
        return replace(demand, gaussians=1000 * thousands)

    least, most = FEWEST_GAUSSIANS // 1000, demand.gaussians // 1000
    if most < least or not fits(wanted(least)):
        return None
    return wanted(_last(lambda thousands: fits(wanted(thousands)), least, most))


def _last(fits: Callable[[int], bool], good: int, most: int) -> int:
    """The greatest number from `good`, which fits, to `most` that fits; all lesser ones fit too."""
    bad = most + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _fitted(asked: Demand, placed: Demand, chosen: Demand, factor: int, budgets: tuple[int, int | None]) -> Fitted:
    prediction = predict(chosen)
    spare = _spare(prediction, chosen, budgets) // pair_bytes(chosen)
    # the estimate is a mean over scenes: lists twice as long are usual, and not much beside all the rest
    most_pairs = min(MOST_PAIRS, prediction.pairs + max(prediction.pairs, spare))
    said = (*_said_of_gpu(asked, placed, budgets[1]), *_said(asked, placed, chosen, factor, budgets))
    return Fitted(chosen, prediction, factor, most_pairs, said)


def _spare(prediction: Prediction, chosen: Demand, budgets: tuple[int, int | None]) -> int:
    """Bytes that are left where tile lists are."""
    budget, gpu = budgets
    if not chosen.on_gpu:
        return budget - prediction.total
    return MOST_PAIRS * pair_bytes(chosen) if gpu is None else gpu - prediction.device_total


def _said_of_gpu(asked: Demand, placed: Demand, gpu: int | None) -> list[str]:
    """What was given up for the GPU's memory, in the order in which it is."""
    if gpu is None:
        return []
    said, within = [], f"to stay within {say_bytes(gpu)} of the GPU's memory"
    if placed.on_device is not None and asked.on_device is None:
        kept = say_bytes(placed.on_device)
        said.append(f"photos are sent to the GPU again and again, with {kept} of them kept there, {within}")
    if placed.gaussians < asked.gaussians:
        said.append(f"at most {placed.gaussians:,} Gaussians instead of {asked.gaussians:,}, {within}")
    return said


def _said(asked: Demand, placed: Demand, chosen: Demand, factor: int, budgets: tuple[int, int | None]) -> list[str]:
    """What was given up for the rest of the memory, and at last for either."""
    said = []
    within = f"to stay within {say_bytes(budgets[0])} of memory"
    if chosen.keep is not None and asked.keep is None:
        said.append(f"photos are decoded again and again, with {say_bytes(chosen.keep)} of them held, {within}")
    elif asked.in_views and not chosen.in_views:
        said.append(f"photos are decoded again when their size changes, {within}")
    if chosen.gaussians < placed.gaussians:
        said.append(f"at most {chosen.gaussians:,} Gaussians instead of {placed.gaussians:,}, {within}")
    if factor > 1:
        now, before = (max(sizes, key=lambda size: size.pixels) for sizes in (chosen.train, asked.train))
        less = f"{now.width} x {now.height} pixels instead of {before.width} x {before.height}"
        why = within if budgets[1] is None else f"{within}, and {say_bytes(budgets[1])} of the GPU's"
        said.append(f"photos of at most {less}, {why}")
    return said
