"""Milliseconds of each stage of a training step on the CPU backend: python benchmarks/step.py [--threads 1 2]."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from cloud import cloud

from sfumato.kernels import cpu
from sfumato.kernels.cpu.threads import set_threads, threads
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings

SIZES = ((50_000, 640, 480), (200_000, 1280, 720))
RATES = Rates(1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6)  # small: every step sees the same scene


def stages(count: int, width: int, height: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The stages in order, each a call on what the one before it left."""
    gaussians, camera = cloud(count, width, height)
    settings = RenderSettings(depth=False)
    moments, background = Moments.zeros(gaussians), torch.zeros(3)
    photo = torch.randint(0, 256, (3, height, width), dtype=torch.uint8).permute(1, 2, 0)
    state: dict[str, Any] = {}

    def project() -> None:
        with torch.no_grad():
            state["splats"] = cpu.project(gaussians, camera, settings).leaves()

    def bin() -> None:
        state["tiles"] = cpu.bin(state["splats"], width, height, settings)

    def blend() -> None:
        state["image"] = cpu.blend(state["splats"], state["tiles"], background, settings)[0]

    def loss() -> None:
        leaf = state["image"].detach().requires_grad_()
        cpu.photometric(leaf, photo, 0.2).backward()
        state["gradient"] = leaf.grad

    def backward() -> None:
        state["image"].backward(state["gradient"])

    def carry() -> None:
        step = AdamStep(RATES, count=10)
        cpu.adam_from_splats(gaussians, state["splats"], camera, settings, moments, step)

    yield "project, SH", project
    yield "sort by depth, bin", bin
    yield "blend", blend
    yield "L1 + D-SSIM and gradient", loss
    yield "blend backward", backward
    yield "project backward + Adam", carry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[threads(), 1])
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    columns: list[tuple[str, dict[str, float]]] = []
    for count, width, height in SIZES:
        steps = list(stages(count, width, height))
        times: dict[tuple[int, str], list[float]] = {}
        for repeat in range(options.repeats + 3):  # the first three compile and warm up
            for number in options.threads:
                set_threads(number)
                for name, call in steps:
                    start = time.perf_counter()
                    call()
                    if repeat >= 3:
                        times.setdefault((number, name), []).append(1e3 * (time.perf_counter() - start))
        for number in options.threads:
            medians = {name: statistics.median(times[number, name]) for name, _ in steps}
            medians["**whole step**"] = sum(medians.values())
            columns.append((f"{count // 1000}k, {width}x{height}, {number} thread{'s'[: number > 1]}", medians))
    print("| ms, median of", options.repeats, "|", " | ".join(name for name, _ in columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for stage in columns[0][1]:
        print("|", stage, "|", " | ".join(f"{medians[stage]:.2f}" for _, medians in columns), "|")


if __name__ == "__main__":
    main()
