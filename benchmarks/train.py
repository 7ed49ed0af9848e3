"""Test PSNR against seconds of training, as a table: python benchmarks/train.py DATA [--rows fox lego] [--repeats 3].

DATA is the folder with fox, fern and lego. Seconds are of planning and training only: kernels are compiled and photos
loaded before. With --variants, each row is run with each of several configurations, by which defaults are chosen.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sfumato
from sfumato.train import TrainConfig, plan_steps, train
from sfumato.train.config import Coarse
from sfumato.train.density import Adaptive


@dataclass(frozen=True)
class Row:
    """One line of the table: how a scene is read, how long training may take, and what it must reach."""

    scene: str
    downscale: float
    seconds: float | None  # None: the default number of steps
    psnr: float  # decibels, at least
    limit: float  # seconds, at most


ROWS = {
    "fox-half-30s": Row("fox", 2, 30, 31.3, 30),
    "fox-half": Row("fox", 2, None, 31.7, 75),
    "fox": Row("fox", 1, None, 31.4, 130),
    "fern": Row("fern", 1, None, 26.1, 130),
    "lego": Row("lego", 1, None, 33.1, 75),
    "fox-photos": Row("fox", 2, None, 31.0, 240),  # no cameras: structure from motion too, whole wall time
}


def adaptive(**changes: Any) -> Callable[[TrainConfig], TrainConfig]:
    return lambda config: replace(config, density=replace(Adaptive(), **changes))


def general(**changes: Any) -> Callable[[TrainConfig], TrainConfig]:
    return lambda config: replace(config, **changes)


def harmonics(rate: float) -> Callable[[TrainConfig], TrainConfig]:
    return lambda config: replace(config, rates=config.rates._replace(shN=rate))


VARIANTS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "default": lambda config: config,
    "mcmc": lambda config: replace(TrainConfig.make("mcmc"), steps=config.steps),
    "signed gradient": adaptive(probe="signed"),
    "opacity reset": adaptive(resets=(0.15,)),
    "more edits": adaptive(every=0.0167),
    "growth at once": adaptive(full_at=0.0, threshold=4e-4),
    "all photos full size": general(coarse=Coarse(0, 0)),
    "shorter coarse": general(coarse=Coarse(0.05, 0.2)),
    "longer coarse": general(coarse=Coarse(0.25, 0.65)),
    "harmonics at the paper's rate": harmonics(1.25e-4),
    "harmonics at twice that": harmonics(2.5e-4),
    "harmonics at eight times that": harmonics(1e-3),
    "nothing for empty pixels": general(empty_weight=0.0),
    "three times as much for empty pixels": general(empty_weight=0.3),
    "rates fall from half time": general(others_from=0.5),
    "30k": general(max_gaussians=30_000),
    "60k": general(max_gaussians=60_000),
    "100k": general(max_gaussians=100_000),
    "quality": lambda config: TrainConfig.make(quality=True),
}


@dataclass(frozen=True)
class Result:
    """What one run reached."""

    psnr: float
    ssim: float
    seconds: float
    steps: int
    gaussians: int


def run(scene: sfumato.Scene, config: TrainConfig, seconds: float | None, backend: str) -> Result:
    """Train and evaluate once."""
    began = time.perf_counter()
    if seconds is not None:
        config = plan_steps(scene, config, seconds, backend)
    trained = train(scene, config, backend)
    took = time.perf_counter() - began
    scores = sfumato.evaluate(trained, scene.test, background=scene.background, backend=backend)
    return Result(scores.psnr, scores.ssim, took, config.steps_for(scene), len(trained))


def run_photos(photos: Path, row: Row, seed: int) -> Result:
    """The command line on a folder of photos and nothing else, in a process of its own; seconds are wall time."""
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder) / "photos"  # a new place: nothing of an earlier run is found again
        copies.mkdir()
        for photo in sorted(photos.iterdir()):
            (copies / photo.name).write_bytes(photo.read_bytes())
        out = Path(folder) / "out"
        flags = ["-o", str(out), "--downscale", f"{row.downscale:g}", "--seed", str(seed)]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sfumato", "train", str(copies), *flags], check=True)
        took = time.perf_counter() - began
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    test, training = report["test"], report["train"]
    return Result(test["psnr"], test["ssim"], took, training["steps"], training["gaussians"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with fox, fern and lego")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["default"])
    parser.add_argument("--seconds", type=float, help="instead of each row's own")
    parser.add_argument("--steps", type=int, help="instead of the default; takes --seconds' place")
    parser.add_argument("--repeats", type=int, default=1, help="seeds 0, 1, ...")
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()

    print("| row | variant | PSNR | SSIM | seconds | steps | Gaussians | wanted |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in options.rows:
        row = ROWS[name]
        scene = None
        for variant in options.variants:
            results = []
            for seed in range(options.repeats):
                if name == "fox-photos":
                    results.append(run_photos(options.data / row.scene / "images", row, seed))
                    continue
                if scene is None:
                    scene = sfumato.load_scene(options.data / row.scene, downscale=row.downscale, holdout=8)
                    train(scene, TrainConfig(steps=8), options.backend)  # compiles
                config = replace(VARIANTS[variant](TrainConfig(steps=options.steps)), seed=seed)
                seconds = None if options.steps else options.seconds or row.seconds
                results.append(run(scene, config, seconds, options.backend))
            print(line(name, variant, row, results), flush=True)


def line(name: str, variant: str, row: Row, results: list[Result]) -> str:
    """Means over the repeats; for PSNR also how far they lie from it."""
    mean = {key: statistics.fmean(getattr(result, key) for result in results) for key in Result.__annotations__}
    spread = max(abs(result.psnr - mean["psnr"]) for result in results)
    psnr = f"{mean['psnr']:.2f}" + (f" ± {spread:.2f}" if len(results) > 1 else "")
    return (
        f"| {name} | {variant} | {psnr} | {mean['ssim']:.4f} | {mean['seconds']:.1f} | {mean['steps']:.0f} "
        f"| {mean['gaussians']:,.0f} | {row.psnr} dB in {row.limit:g} s |"
    )


if __name__ == "__main__":
    main()
