"""Predicted and measured peak of memory, and budgets that must hold: python benchmarks/memory.py DATA [--backend cpu].

DATA is the folder with fox, fern and lego. Each line is a process of its own that loads the scene, trains until the
cap of Gaussians has been reached and all photos have been seen at full size, and evaluates the held-out photos. The
schedule is that of training, in fewer steps; --steps trains longer. --masked gives each photo a mask that ignores a
quarter of it. With --backend gpu each line goes on with the same of the GPU's memory, where what is measured is the
most that torch's tensors held (`allocated`) and that torch had taken for them (`reserved`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import sfumato
from sfumato.capture.photos import list_photos
from sfumato.core.limits import taken_memory
from sfumato.core.scene import Size
from sfumato.evaluate.machine import peak_memory
from sfumato.kernels import backends
from sfumato.train import TrainConfig, train
from sfumato.train.demand import Demand, demand_of, predict
from sfumato.train.memory import Fitted, fit

SCENES = ("fox", "fern", "lego")
CAPS = (20_000, 50_000, 100_000)
BUDGETS = (1.0, 0.9, 0.8, 0.7)  # of what is predicted; what does not fit is refused


class Plan:
    """What load_scene is told once it knows the photos' sizes: what fits the budget, if there is one."""

    def __init__(self, config: TrainConfig, backend: str, share: float | None) -> None:
        self.config, self.backend, self.share = config, backend, share
        self.budget: int | None = None
        self.demand: Demand | None = None
        self.fitted: Fitted | None = None

    def __call__(self, train: Sequence[Size], test: Sequence[Size]) -> tuple[float, int | None]:
        self.demand = demand_of(train, test, self.config, self.backend)
        if self.share is None:
            return 1.0, None
        self.budget = int(self.share * predict(self.demand).total)
        self.fitted = fit(self.demand, self.budget)
        return self.fitted.smaller, self.fitted.keep_in_views


def one(data: Path, cap: int, steps: int, backend: str, share: float | None) -> dict[str, Any]:
    """Load, train and evaluate in this process; what was predicted before and measured after."""
    config = TrainConfig(steps=steps, max_gaussians=cap)
    name, device = backends.choose(backend)
    if prepare := getattr(backends.load(name), "prepare", None):
        prepare()  # compiling takes memory too, once in a kernel's life
    plan = Plan(config, backend, share)
    before = taken_memory()
    try:
        scene = sfumato.load_scene(data, fit=plan)
    except sfumato.InputError as error:
        return {"refused": str(error), "budget": plan.budget}
    demand = plan.demand
    assert demand is not None
    if plan.fitted is not None:
        demand = plan.fitted.demand
        config = replace(config, max_gaussians=demand.gaussians, most_pairs=plan.fitted.most_pairs)
    else:  # the official split of a dataset is known only now
        sizes = [[view.size for view in views] for views in (scene.train, scene.test)]
        demand = replace(demand, train=tuple(sizes[0]), test=tuple(sizes[1]))
    loaded = taken_memory()
    every = sum(size.bytes for size in demand.train)
    on_device = every if demand.on_device is None else demand.on_device
    trained = train(scene, config, backend, keep=demand.keep, on_device=on_device)
    learned = peak_memory()
    sfumato.evaluate(trained, scene.test[:4], background=scene.background, backend=backend)
    gpu = {}
    if device.type == "cuda":
        gpu = {
            "gpu predicted": predict(demand).device_total,
            "gpu allocated": torch.cuda.max_memory_allocated(device),
            "gpu reserved": torch.cuda.max_memory_reserved(device),
            "gpu parts": dict(predict(demand).device),
        }
    return {
        **gpu,
        "predicted": predict(demand).total,
        "parts": dict(predict(demand).parts),
        "measured": peak_memory(),
        "before": before,
        "loaded": loaded,
        "learned": learned,
        "gaussians": len(trained),
        "budget": plan.budget,
        "said": plan.fitted.said if plan.fitted else (),
    }


def with_masks(data: Path, folder: Path) -> Path:
    """A folder with links to what is in `data`, and a mask for each photo."""
    for path in data.iterdir():
        (folder / path.name).symlink_to(path.resolve(), target_is_directory=path.is_dir())
    for name in list_photos(data):
        with Image.open(data / name) as photo:
            width, height = photo.size
        mask = Image.new("L", (width, height), 255)
        mask.paste(0, (0, 0, width, height // 4))
        path = (folder / "masks" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(path)
    return folder


def measured(arguments: Sequence[str]) -> dict[str, Any]:
    """What `one` finds in a fresh process."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _of_gpu(found: dict[str, Any]) -> str:
    """More columns where a GPU computed: predicted, allocated, reserved, the last two over the first."""
    if "gpu predicted" not in found:
        return ""
    predicted, allocated, reserved = (found[f"gpu {name}"] for name in ("predicted", "allocated", "reserved"))
    megabytes = " | ".join(f"{amount / 1e6:.0f}" for amount in (predicted, allocated, reserved))
    return f" {megabytes} | {allocated / predicted:.2f} | {reserved / predicted:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with fox, fern and lego")
    parser.add_argument("--backend", default="cpu", choices=backends.NAMES)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES))
    parser.add_argument("--caps", nargs="+", type=int, default=list(CAPS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--budgets", nargs="*", type=float, default=list(BUDGETS), help="shares of what is predicted")
    parser.add_argument("--masked", action="store_true", help="with a mask for each photo")
    parser.add_argument("--verbose", action="store_true", help="the parts too")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # this process measures itself with this cap
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(one(options.data, options.one, options.steps, options.backend, options.share)))
        return

    def run(scene: str, cap: int, *more: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            place = options.data / scene
            place = with_masks(place, Path(folder)) if options.masked else place
            settings = ["--one", str(cap), "--steps", str(options.steps), "--backend", options.backend]
            return measured([str(place), *settings, *more])

    more = (" GPU predicted MB | allocated MB | reserved MB | allocated / predicted | reserved / predicted |", 5)
    words, columns = more if backends.choose(options.backend)[1].type == "cuda" else ("", 0)
    print("| scene | cap | predicted MB | measured MB | measured / predicted |" + words)
    print("|---|---|---|---|---|" + columns * "---|", flush=True)
    for scene in options.scenes:
        for cap in options.caps:
            found = run(scene, cap)
            ratio = found["measured"] / found["predicted"]
            line = f"| {scene} | {cap:,} | {found['predicted'] / 1e6:.0f} | {found['measured'] / 1e6:.0f} "
            print(f"{line}| {ratio:.2f} |{_of_gpu(found)}", flush=True)
            if options.verbose:
                print(json.dumps(found), file=sys.stderr, flush=True)
    print("\n| scene | budget MB | measured MB | what was given up |")
    print("|---|---|---|---|", flush=True)
    for scene in options.scenes:
        for share in options.budgets:
            found = run(scene, max(options.caps), "--share", str(share))
            peak = f"{found['measured'] / 1e6:.0f}" if "measured" in found else "refused"
            said = found.get("refused") or "; ".join(found["said"]) or "nothing"
            print(f"| {scene} | {found['budget'] / 1e6:.0f} | {peak} | {said} |", flush=True)


if __name__ == "__main__":
    main()
