"""A training that is killed (-9) forty times at random moments, and ends with the bits of one that never was.

A program of its own: it forks, which only a process without other threads may do. Arguments: the folder for the
checkpoints, the strategy, the seed of the moments. Prints how often it killed, and how often in mid-writing.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from conftest import toy_scene

from sfumato.train import Checkpoints, Progressed, TrainConfig, scene_digest, train

KILLS = 40
STEPS = 600
EVERY = 2  # steps between checkpoints


def main() -> None:
    folder, strategy, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    scene = toy_scene()
    config = TrainConfig(steps=STEPS, max_gaussians=60, density=TrainConfig.make(strategy).density)
    moment, unsafe, steps = random.Random(seed), 0, set()
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            go_on(scene, config, folder)
        patience = time.monotonic() + 30
        before = newest(folder)
        while newest(folder) == before and time.monotonic() < patience:  # it gets somewhere each time
            time.sleep(0.001)
        time.sleep(moment.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"a child ended by itself, with {status}, at step {newest(folder)}")
        unsafe += bool(list(folder.glob(".*.part"))) or any(
            not path.with_suffix(".json").exists() for path in folder.glob("*.safetensors")
        )
        steps.add(newest(folder))
    child = os.fork()
    if child == 0:
        go_on(scene, config, folder)
    _, status = os.waitpid(child, 0)
    kept = Checkpoints(folder).newest()
    if status or kept is None or kept.state.step != STEPS:
        sys.exit(f"the last child ended with {status}")
    whole = train(scene, config, "reference")
    if not all(torch.equal(a, b) for a, b in zip(kept.state.gaussians, whole, strict=True)):
        sys.exit("the bits differ")
    if len(steps) < 10:
        sys.exit(f"killed at too few different steps: {sorted(steps)}")
    print(KILLS, unsafe)


def newest(folder: Path) -> str:
    """The name of the newest checkpoint, complete or not."""
    return max((path.name for path in folder.glob("step-*.json")), default="")


def go_on(scene: object, config: TrainConfig, folder: Path) -> None:
    """Train from the newest checkpoint to the end; never returns."""
    checkpoints = Checkpoints(folder)
    kept = checkpoints.newest()

    def on_step(progressed: Progressed) -> None:
        if progressed.step % EVERY == 0:
            checkpoints.save(progressed.state(), config, digest)

    digest = scene_digest(scene)
    try:
        train(scene, config, "reference", on_step, kept.state if kept else None)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
