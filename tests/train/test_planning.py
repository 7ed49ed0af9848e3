"""Seconds to steps, with a training whose clock the test turns."""

from dataclasses import dataclass, replace

import pytest
import torch

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.train import Progressed, TrainConfig, planning, train
from sfumato.train.density import Span
from sfumato.train.planning import plan_steps
from sfumato.train.progressed import OnStep

CONFIG = TrainConfig(max_gaussians=30)


@dataclass
class Clockwork:
    """A training that takes exactly these seconds."""

    start: float
    step: float
    edit: float = 0.0  # each of 20
    gaussian: float = 0.0  # more per step for each one that is allowed
    now: float = 0.0

    def train(self, scene: Scene, config: TrainConfig, backend: str, on_step: OnStep, *more: object) -> None:
        assert config.steps is not None
        gaussians, began, span = Gaussians.empty(1), self.now, Span(config.steps, 1.0, 1, 0)
        self.now += self.start
        nothing = torch.zeros(1, 1, 3)
        for step in range(1, config.steps + 1):
            slow = 0.25 if step < 0.2 * config.steps else 1.0  # small photos at first
            self.now += slow * (self.step + self.gaussian * (config.max_gaussians or 0))
            if span.is_due(step, 0.05):
                self.now += self.edit
                gaussians = Gaussians(*(torch.zeros(step, *t.shape[1:]) for t in gaussians))
            on_step(Progressed(step, config.steps, 0.0, nothing, nothing, gaussians, self.now - began))


@pytest.mark.parametrize(
    ("clock", "least"),
    [
        (Clockwork(0, 0.01), 0.88),
        (Clockwork(0.5, 0.01), 0.88),
        (Clockwork(0.1, 0.5), 0.8),  # so slow that a few steps of rehearsal must do
        (Clockwork(0.1, 0.004, edit=0.02), 0.88),
    ],
    ids=["plain", "long start", "slow", "with edits"],
)
def test_planning_and_training_fit_into_the_seconds(
    toy: Scene, monkeypatch: pytest.MonkeyPatch, clock: Clockwork, least: float
) -> None:
    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", clock.train)
    config = plan_steps(toy, CONFIG, 60.0, "reference")
    planned = clock.now
    clock.train(toy, config, "reference", lambda progressed: None)
    assert planned < 10
    assert least * 60 < clock.now <= 60
    assert config == TrainConfig(max_gaussians=30, steps=config.steps)


def test_too_little_time_is_refused(toy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clockwork(1.0, 1.0)
    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", clock.train)
    with pytest.raises(InputError, match="seconds must be enough to train; 2 are not"):
        plan_steps(toy, CONFIG, 2.0, "reference")
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="seconds must be positive"):
            plan_steps(toy, CONFIG, wrong, "reference")


def test_the_cap_is_planned_with_the_steps(toy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clockwork(0.1, 0.004, gaussian=2e-7)
    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", clock.train)
    config = plan_steps(toy, TrainConfig(), 60.0, "reference")
    clock.train(toy, config, "reference", lambda progressed: None)
    assert 0.85 * 60 < clock.now <= 60
    assert config.max_gaussians == TrainConfig(steps=config.steps).gaussians_for(toy)
    assert 20_000 < config.max_gaussians < 100_000


def test_rehearsals_start_from_what_training_starts_from(toy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clockwork(0.1, 0.004), set()

    def noted(scene: Scene, config: TrainConfig, backend: str, on_step: OnStep, *more: object) -> None:
        seen.add(more)
        clock.train(scene, config, backend, on_step)

    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", noted)
    start = Gaussians.empty(1)
    plan_steps(toy, CONFIG.refining(), 60.0, "reference", start, 1000, on_device=7)
    assert seen == {(start, 1000, 7)}


@pytest.mark.parametrize(
    ("most", "rehearsed"),
    [(None, [20_000, 40_000]), (10**6, [20_000, 40_000]), (20_001, [10_000, 20_001]), (1, [1])],
)
def test_rehearsals_stay_within_memory(
    toy: Scene, monkeypatch: pytest.MonkeyPatch, most: int | None, rehearsed: list[int]
) -> None:
    clock, seen = Clockwork(0.1, 0.004, gaussian=2e-7), []

    def noted(scene: Scene, config: TrainConfig, backend: str, on_step: OnStep, *more: object) -> None:
        seen.append((config.max_gaussians, config.most_pairs))
        clock.train(scene, config, backend, on_step)

    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", noted)
    config = plan_steps(toy, TrainConfig(most_pairs=12_345), 60.0, "reference", most=most)
    assert sorted(set(seen)) == [(cap, 12_345) for cap in rehearsed]
    wanted = TrainConfig(steps=config.steps).gaussians_for(toy)
    assert config.max_gaussians == (wanted if most is None else min(most, wanted))
    clock.train(toy, config, "reference", lambda progressed: None)
    assert 0.85 * 60 < clock.now <= 60  # fewer Gaussians leave time for more steps


def test_a_cap_that_is_asked_for_stays_within_memory(toy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clockwork(0.1, 0.004)
    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", clock.train)
    assert plan_steps(toy, CONFIG, 60.0, "reference", most=7).max_gaussians == 7
    assert plan_steps(toy, CONFIG, 60.0, "reference", most=70).max_gaussians == 30


def test_a_real_training_can_be_planned(toy: Scene) -> None:
    config = plan_steps(toy, CONFIG, 3.0, "reference")
    assert config.steps is not None
    assert config.steps >= 1
    assert len(train(toy, replace(config, steps=min(5, config.steps)), "reference"))


def test_a_gpu_compiles_its_kernels_before_anything_is_measured(toy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training takes 3 seconds more; that makes the plan shorter by them, and by no more."""
    clock = Clockwork(0.1, 0.004)
    asked: list[tuple[int | None, int | None]] = []

    def learn(scene: Scene, config: TrainConfig, backend: str, on_step: OnStep, *more: int | None) -> None:
        clock.now += 0.0 if asked else 3.0
        asked.append((config.steps, more[-1]))
        clock.train(scene, config, backend, on_step)

    monkeypatch.setattr(planning, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(planning, "train", learn)
    monkeypatch.setattr(planning, "choose", lambda name: (name, None))
    config = plan_steps(toy, CONFIG, 30.0, "gpu", on_device=7)
    assert {room for _, room in asked} == {7}
    clock.train(toy, config, "gpu", lambda progressed: None)
    assert 0.88 * 30 < clock.now <= 30
