"""Seconds to steps: a rehearsal tells how many steps of training fit into the time there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import perf_counter

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.kernels.backends import choose
from sfumato.kernels.stages import Rates
from sfumato.train.config import TrainConfig
from sfumato.train.progressed import OnStep, Progressed, ignore
from sfumato.train.trainer import train

__all__ = ["plan_steps"]

USED = 0.95  # of the seconds: the rest is for a machine that becomes busier
REHEARSED = 0.05  # of the seconds, but ...
LONGEST_REHEARSAL = 2.0  # ... no more seconds than this
CAPS = (20_000, 40_000)  # Gaussians of the rehearsals that tell what a Gaussian costs
TASTE = 8  # steps that tell how long the rehearsal may be
HURRY = 4  # times the rates: so that the few steps of a rehearsal lead to sizes and opacities that training leads to
_Learn = Callable[[TrainConfig, OnStep], None]


def plan_steps(
    scene: Scene,
    config: TrainConfig,
    seconds: float,
    backend: str = "auto",
    start: Gaussians | None = None,
    keep: int | None = None,
    most: int | None = None,
    on_device: int | None = None,
) -> TrainConfig:
    """The config with `steps`, and `max_gaussians` where it is None, so that planning and training fit into `seconds`.

    Measured by rehearsals: the whole training in a few dozen steps, thrown away afterwards. They pass through the
    same sizes of photos, numbers of Gaussians and edits, and 60 to 100 of their steps cost within 5 % of what those
    of training do on average. Kernels must be compiled before; those of a GPU are by a first rehearsal. start, keep and
    on_device are those of `train`. most: Gaussians that memory has room for, in rehearsals and in the plan; None: any
    number. Raises InputError when `seconds` is not positive, or too short for a single step.
    """
    if not seconds > 0:
        raise InputError(f"seconds must be positive; got {seconds}")
    began = perf_counter()
    caps = [_bounded(config.max_gaussians, most)] if config.max_gaussians else _caps(most)

    def learn(config: TrainConfig, on_step: OnStep) -> None:
        train(scene, config, backend, on_step, start, keep, on_device)

    if choose(backend)[0] == "gpu":
        learn(replace(config, max_gaussians=caps[0], steps=TASTE), ignore)
    costs = [_measure(learn, replace(config, max_gaussians=cap), seconds) for cap in caps]
    left = USED * seconds - (perf_counter() - began)

    def cap(steps: int) -> int:
        return _bounded(replace(config, steps=steps).gaussians_for(scene), most)

    def needed(steps: int) -> float:
        return _between(caps, [cost.fixed + steps * cost.per_step for cost in costs], cap(steps))

    steps = _most(lambda steps: needed(steps) <= left)
    if steps < 1:
        raise InputError(f"seconds must be enough to train; {seconds:g} are not; give more, or a number of steps")
    return replace(config, steps=steps, max_gaussians=cap(steps))


def _bounded(gaussians: int, most: int | None) -> int:
    return gaussians if most is None else min(gaussians, most)


def _caps(most: int | None) -> list[int]:
    """The caps to rehearse with, far enough apart to tell what a Gaussian costs."""
    if most is None or most >= CAPS[1]:
        return list(CAPS)
    return sorted({max(1, most // 2), most})


def _measure(learn: _Learn, config: TrainConfig, seconds: float) -> "_Rehearsal":
    """The costs of training, from a share of the seconds."""
    rehearsal = _rehearse(learn, config, TASTE)
    longer = int((min(LONGEST_REHEARSAL, REHEARSED * seconds) - rehearsal.fixed) / rehearsal.per_step)
    return _rehearse(learn, config, longer) if longer > 2 * TASTE else rehearsal


def _between(places: Sequence[int], values: Sequence[float], place: int) -> float:
    """The value at a place, on the line through one or two known ones; no less than the least of them."""
    if len(places) == 1:
        return values[0]
    slope = (values[1] - values[0]) / (places[1] - places[0])
    return max(min(values), values[0] + slope * (place - places[0]))


def _most(fits: Callable[[int], bool]) -> int:
    """The greatest number that fits, or 0; all lesser ones fit too."""
    good, bad = 0, 1
    while fits(bad):
        good, bad = bad, 2 * bad
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


@dataclass(frozen=True)
class _Rehearsal:
    """What training costs, in seconds."""

    fixed: float  # however many steps there are: preparation, and edits, whose number is always the same
    per_step: float


def _rehearse(learn: _Learn, config: TrainConfig, steps: int) -> _Rehearsal:
    ends: list[float] = []
    rows: list[int] = []

    def note(progressed: Progressed) -> None:
        ends.append(progressed.seconds)
        rows.append(progressed.gaussians.shN.data_ptr())

    rates = Rates(*(HURRY * rate for rate in config.rates))
    learn(replace(config, steps=steps, rates=rates), note)
    return _costs(ends, [before != after for before, after in pairwise(rows)])


def _costs(ends: Sequence[float], edited: Sequence[bool]) -> _Rehearsal:
    """From the seconds at the end of each step, and whether rows were moved in the second, third, ...

    A step with an edit counts as long as its neighbour without one, if there is one; the first step as the second.
    """
    durations = [after - before for before, after in pairwise(ends)]
    plain = list(durations)
    for index, moved in enumerate(edited):
        neighbours = [other for other in (index - 1, index + 1) if 0 <= other < len(edited) and not edited[other]]
        if moved and neighbours:
            plain[index] = min(durations[index], *(durations[other] for other in neighbours))
    per_step = (plain[0] + sum(plain)) / (1 + len(plain))
    return _Rehearsal(ends[-1] - per_step * len(ends), per_step)
