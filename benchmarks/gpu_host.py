"""What the host alone spends on a GPU's training step: python benchmarks/gpu_host.py [--repeats 300] [--profile STAGE].

Small scenes wait for it. Needs no GPU: tensors are tiny and on the CPU, launches go the whole way through Triton and
end at a driver that does nothing. Prints microseconds of CPU time, medians, for each stage, for the step that they are,
and for a step of a training. What CUDA's driver adds to each launch and allocation comes on top. The first run compiles
the kernels, which takes a minute or two; Triton keeps them.
"""

import argparse
import cProfile
import pstats
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from jitted import Driver, pretend, scene

from sfumato.core.scene import Points, Scene, View
from sfumato.kernels.gpu import adam_from_splats, bin, blend, photometric, project
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings
from sfumato.train import TrainConfig
from sfumato.train.config import Coarse
from sfumato.train.density import MCMC
from sfumato.train.trainer import Training

COUNT, WIDTH, HEIGHT, DEGREE = 48, 64, 48, 3
MICROSECOND = 1000  # nanoseconds
Calls = dict[str, Callable[[], Any]]


class Step:
    """The stages of one step, as the trainer calls them; each works on what the ones before left."""

    def __init__(self) -> None:
        gaussians, self.camera, self.photo = scene(COUNT, WIDTH, HEIGHT)
        self.gaussians = gaussians.with_degree(DEGREE)
        self.settings = RenderSettings(depth=False, room=1000)
        self.moments, self.background = Moments.zeros(self.gaussians), torch.zeros(3)

    def calls(self) -> Calls:
        """In their order."""
        return {
            "project": self._project,
            "bin": self._bin,
            "blend": self._blend,
            "photometric": self._photometric,
            "backward": lambda: self.loss.backward(),
            "adam_from_splats": self._adam,
        }

    def _project(self) -> None:
        with torch.no_grad():
            self.splats = project(self.gaussians, self.camera, self.settings).leaves()

    def _bin(self) -> None:
        self.tiles = bin(self.splats, WIDTH, HEIGHT, self.settings)

    def _blend(self) -> None:
        self.image, _, _ = blend(self.splats, self.tiles, self.background, self.settings)

    def _photometric(self) -> None:
        self.loss = photometric(self.image, self.photo, 0.2)

    def _adam(self) -> None:
        step = AdamStep(Rates(1, 1, 1, 1, 1, 1), count=10)
        adam_from_splats(self.gaussians, self.splats, self.camera, self.settings, self.moments, step)


def training(strategy: Any, steps: int) -> Training:
    """One that edits nothing in its first half, of a handful of photos."""
    views = []
    for i in range(3):
        _, camera, photo = scene(0, WIDTH, HEIGHT, at=float(i))
        views.append(View(f"{i}.png", camera, photo))
    points = Points(xyz=torch.rand(COUNT, 3), rgb=torch.zeros(COUNT, 3, dtype=torch.uint8))
    config = TrainConfig(steps=steps, max_gaussians=COUNT, sh_every=0.0, coarse=Coarse(0.0, 0.0))
    rests = replace(config, density=replace(strategy, start_at=0.5))
    return Training(Scene(views, points), rests, "gpu")


def timed(calls: Calls, repeats: int, driver: Driver) -> dict[str, list[int]]:
    """Nanoseconds of every call, repeat by repeat."""
    times: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            began = thread_time_ns()
            call()
            times[name].append(thread_time_ns() - began)
        driver.take()
    return times


def show(name: str, times: list[int]) -> None:
    """One line."""
    print(f"{name:<30} {median(times) / MICROSECOND:7.0f} us")


def report(repeats: int, driver: Driver) -> None:
    """Everything, once it is warm."""
    calls = Step().calls()
    timed(calls, 20, driver)
    times = timed(calls, repeats, driver)
    for name, each in times.items():
        show(name, each)
    show("step", [sum(each) for each in zip(*times.values(), strict=True)])
    for strategy in (TrainConfig().density, MCMC()):
        with training(strategy, 4 * (repeats + 20)) as run:
            timed({"": run.advance}, 20, driver)
            show(f"step of a training, {strategy.name}", timed({"": run.advance}, repeats, driver)[""])


def profile(stage: str, repeats: int, driver: Driver) -> None:
    """Where the time of a stage, or of a 'training', goes."""
    calls = Step().calls() if stage != "training" else {stage: training(TrainConfig().density, 4 * repeats).advance}
    timed(calls, 20, driver)
    profiler = cProfile.Profile()
    for _ in range(repeats - 20):
        for name, call in calls.items():
            profiler.runcall(call) if stage in (name, "step") else call()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--profile", metavar="STAGE", help="of a stage, the 'step' or a 'training': where time goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        driver = pretend(patch, compiles=True)
        if options.profile:
            profile(options.profile, options.repeats, driver)
        else:
            report(options.repeats, driver)


if __name__ == "__main__":
    main()
