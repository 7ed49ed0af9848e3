"""Test PSNR against seconds of training on a GPU, as tables: python benchmarks/train_gpu.py DATA [--repeats 3].

DATA is the folder with fox, fern and lego. Each scene is trained with the default configuration and scored on the way,
at the marks of --seconds, while the clock stands still; then trained anew for each mark, with as many steps as
planning finds to fit, planning included. Seconds begin with the first tensor on the GPU: before, photos are decoded and
a training of a few steps has compiled the kernels; what that takes is printed. Where gsplat's examples are found, its
simple_trainer is measured beside it, in trainings of --gsplat-steps; it reads COLMAP's cameras only, so not lego.
--smoke takes tiny pictures and few steps, in Triton's interpreter where there is no GPU: its numbers mean nothing.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from gsplat_trainer import LEAST_STEPS, PUBLISHED_STEPS, find_trainer, train_gsplat
from train import ROWS, VARIANTS, Row
from training_points import HEAD, Point, row

import sfumato
from sfumato.core.errors import BackendError, InputError
from sfumato.core.threads import one_torch_thread
from sfumato.evaluate import machine
from sfumato.kernels.backends import choose
from sfumato.train import TrainConfig, plan_steps, train
from sfumato.train.trainer import Training

SCENES = [name for name in ROWS if name not in ("fox-photos", "fox-half-30s")]  # pictures of different sizes
MARKS = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
GSPLAT_STEPS = (LEAST_STEPS, 1000, 2000, 4000, 7000, PUBLISHED_STEPS)
WARM_STEPS = 20  # pass through all degrees of harmonics and all sizes of photos
SMOKE_SIZE = 24  # pixels, about


class Clock:
    """Seconds since it was made, without those it was stopped for; what the GPU was asked to do counts when done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._wait()
        self._began = perf_counter()

    @property
    def passed(self) -> float:
        """Seconds, whatever the GPU is still at."""
        return perf_counter() - self._began

    @contextmanager
    def stopped(self) -> Iterator[float]:
        """The time stands still inside, at this many seconds."""
        self._wait()
        stopped = perf_counter()
        yield stopped - self._began
        self._wait()
        self._began += perf_counter() - stopped

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def scored(
    scene: sfumato.Scene, config: TrainConfig, backend: str, clock: Clock, marks: list[float]
) -> dict[float | None, Point]:
    """Train; what was reached at each mark that came, and, at None, at the end."""
    points: dict[float | None, Point] = {}
    left = list(marks)
    with one_torch_thread(), Training(scene, config, backend) as training:
        while training.step < training.steps:
            training.advance()
            came, left = _parted(left, clock.passed)
            ended = training.step == training.steps
            if came or ended:
                with clock.stopped() as seconds:
                    point = score(training.result(), scene, backend, seconds, training.step)
                points[None if ended else came[-1]] = point
    return points


def _parted(marks: list[float], passed: float) -> tuple[list[float], list[float]]:
    return [mark for mark in marks if mark <= passed], [mark for mark in marks if mark > passed]


def score(gaussians: sfumato.Gaussians, scene: sfumato.Scene, backend: str, seconds: float, steps: int) -> Point:
    """What these Gaussians, reached after so many seconds and steps, are worth on the held-out photos."""
    scores = sfumato.evaluate(gaussians, scene.test, background=scene.background, backend=backend)
    return Point(seconds, scores.psnr, scores.ssim, steps, len(gaussians))


def measure(scene: sfumato.Scene, config: TrainConfig, options: argparse.Namespace) -> dict[str, list[Point]]:
    """A name for each training, or mark of one, to what its repeats reached."""
    _, device = choose(options.backend)
    found: dict[str, list[Point]] = defaultdict(list)
    for seed in range(options.repeats):
        config = replace(config, seed=seed)
        points = scored(scene, config, options.backend, Clock(device), list(options.seconds))
        steps = config.steps_for(scene)
        for mark, point in points.items():
            part = "" if mark is None else f", {mark:g} s into it"
            found[f"sfumato, {steps:,} steps{part}"].append(point)
        for mark in [] if options.smoke or options.steps else options.seconds:
            clock = Clock(device)
            try:
                planned = plan_steps(scene, config, mark, options.backend)
            except InputError as error:
                print(error, file=sys.stderr)
                continue
            point = scored(scene, planned, options.backend, clock, [])[None]
            found[f"sfumato, planned for {mark:g} s"].append(point)
    return found


def measure_gsplat(trainer: Path, data: Path, wanted: Row, options: argparse.Namespace) -> dict[str, list[Point]]:
    """The same of gsplat's simple_trainer; nothing, and why, where it fails."""
    found: dict[str, list[Point]] = defaultdict(list)
    try:
        train_gsplat(trainer, data, round(wanted.downscale), LEAST_STEPS)  # it may compile itself
        for steps in options.gsplat_steps:
            for _ in range(options.repeats):
                found[f"gsplat, {steps:,} steps"].append(train_gsplat(trainer, data, round(wanted.downscale), steps))
    except RuntimeError as error:
        print(error, file=sys.stderr)
    return found


def load(data: Path, wanted: Row, smoke: bool) -> sfumato.Scene:
    """The scene; of tiny pictures, with one to compare with, for --smoke."""
    scene = sfumato.load_scene(data / wanted.scene, downscale=wanted.downscale, holdout=8)
    if not smoke:
        return scene
    times = max(scene.train[0].camera.width, scene.train[0].camera.height) / SMOKE_SIZE
    scene = sfumato.load_scene(data / wanted.scene, downscale=wanted.downscale * times, holdout=8)
    return replace(scene, views=[*scene.train, *scene.test[:1]])


def about(device: torch.device) -> str:
    """What the numbers were made with."""
    facts: dict[str, object] = {"commit": machine.commit(), "processor": machine.processor(), **machine.versions()}
    if device.type == "cuda":
        facts = {**machine.gpu(device), **facts}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if value is not None)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with fox, fern and lego")
    parser.add_argument("--rows", nargs="+", choices=SCENES, default=SCENES)
    parser.add_argument("--variant", choices=VARIANTS, default="default", help="a configuration of benchmarks/train.py")
    parser.add_argument("--seconds", type=_numbers, default=MARKS, help="marks, such as 2,5,10")
    parser.add_argument("--steps", type=int, help="instead of the default; nothing is planned then")
    parser.add_argument("--repeats", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--backend", default="gpu", help="another one only to try this script")
    parser.add_argument("--gsplat", type=Path, help="gsplat's folder `examples`; default: of an installed checkout")
    parser.add_argument("--gsplat-steps", type=_counts, default=GSPLAT_STEPS, help="such as 1000,7000,30000")
    parser.add_argument("--smoke", action="store_true", help="only to see that it runs; numbers mean nothing")
    return parser.parse_args()


def _numbers(text: str) -> list[float]:
    return sorted(float(number) for number in text.split(","))


def _counts(text: str) -> list[int]:
    return sorted(int(number) for number in text.split(","))


def main() -> int:
    options = parse()
    if options.smoke:
        options.seconds, options.steps, options.repeats = [0.0], 3, 1
        if not torch.cuda.is_available():
            os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
    try:
        _, device = choose(options.backend)
    except BackendError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 2
    if options.backend == "gpu" and device.type != "cuda" and not options.smoke:
        print("nothing was measured: torch sees no GPU, and Triton's interpreter says nothing of one", file=sys.stderr)
        return 2
    trainer = find_trainer(options.gsplat)
    print(about(device), end="\n\n")
    if trainer is None:
        print("gsplat was not measured: its examples/simple_trainer.py was not found (see --gsplat).", end="\n\n")
    lines = [line for name in options.rows for line in compare(name, trainer, options)]
    print(f"\n{HEAD}", *lines, sep="\n")
    return 0


def compare(name: str, trainer: Path | None, options: argparse.Namespace) -> Iterator[str]:
    """The rows of a scene."""
    wanted = ROWS[name]
    scene = load(options.data, wanted, options.smoke)
    config = VARIANTS[options.variant](TrainConfig(steps=options.steps))
    if options.smoke:
        config = replace(config, max_gaussians=20)
    took = warm(scene, config, options.backend)
    camera = scene.train[0].camera
    size = f"{name}, {camera.width}x{camera.height}"
    photos = f"{len(scene.train)} photos, {len(scene.test)} held out"
    print(f"{size}: {photos}; decoding and compiling took {took:.1f} s before", flush=True)
    found = measure(scene, config, options)
    if trainer and not options.smoke and (options.data / wanted.scene / "sparse").is_dir():
        found |= measure_gsplat(trainer, options.data / wanted.scene, wanted, options)
    for training, points in found.items():
        yield row(size, training, points)


def warm(scene: sfumato.Scene, config: TrainConfig, backend: str) -> float:
    """Seconds that a few steps take, in which all is compiled that training and scoring need."""
    began = perf_counter()
    trained = train(scene, replace(config, steps=min(WARM_STEPS, config.steps or WARM_STEPS)), backend)
    score(trained, scene, backend, 0, 0)
    return perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
