"""What it costs training not to hold its photos in memory: python benchmarks/photos.py SCENE [--steps 300].

The same training with every photo held, with memory for about half of them, and with none, in turns. Photos are
undistorted once before. The results must be equal to the bit.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import sfumato
from sfumato.core.threads import one_torch_thread
from sfumato.train import TrainConfig
from sfumato.train.trainer import Training


@dataclass(frozen=True)
class Result:
    """What one run took."""

    step: float  # seconds, mean
    waited: float  # share of the time
    means: torch.Tensor  # where the Gaussians went


def run(scene: sfumato.Scene, config: TrainConfig, keep: int | None, backend: str) -> Result:
    with one_torch_thread(), Training(scene, config, backend, keep=keep) as training:
        began = time.perf_counter()
        for _ in range(training.steps):
            training.advance()
        took = time.perf_counter() - began
        return Result(took / training.steps, training.photos.waited / took, training.result().means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, help="a dataset, such as fox")
    parser.add_argument("--downscale", type=float, default=1)
    parser.add_argument("--steps", type=int, default=300, help="of the whole training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()

    config = TrainConfig(steps=options.steps)
    with tempfile.TemporaryDirectory() as folder:
        held, streamed = (
            sfumato.load_scene(options.scene, downscale=options.downscale, keep=keep, cache=Path(folder))
            for keep in (None, 0)
        )
        size = sum(3 * view.camera.width * view.camera.height for view in held.train)
        kinds = {"all held": (held, None), "half held": (streamed, size // 2), "none held": (streamed, 0)}
        runs: dict[str, list[Result]] = {name: [] for name in kinds}
        run(held, replace(config, steps=3), None, options.backend)  # kernels are compiled
        for _ in range(options.repeats):
            for name, (scene, keep) in kinds.items():
                runs[name].append(run(scene, config, keep, options.backend))
    print("| photos | ms per step | waited for photos |")
    print("|---|---|---|")
    for name, results in runs.items():
        step = statistics.median(result.step for result in results)
        print(f"| {name} | {1000 * step:.1f} | {statistics.median(result.waited for result in results):.2%} |")
    first = runs["all held"][0].means
    equal = all(torch.equal(result.means, first) for results in runs.values() for result in results)
    print(f"\n{options.steps} steps, median of {options.repeats}, results {'equal to the bit' if equal else 'DIFFER'}")


if __name__ == "__main__":
    main()
