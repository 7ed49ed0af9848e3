"""What a page that watches costs training: python benchmarks/live.py SCENE [--downscale 2] [--steps 600] [--rounds 3].

Trains SCENE in turns without and with a live page (A B A B ...), all in this process and from the same seed. The page
is a program of its own that takes every snapshot as soon as there is one, and draws nothing. A browser that draws in
software on the same cores is another matter: the two then share the processor. On a machine that others use, too, look
at processor time: it counts training, packing and serving, whoever waits for whom.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import sfumato
from sfumato.core.limits import usable_cores
from sfumato.evaluate import psnr
from sfumato.train import Progressed, TrainConfig, train
from sfumato.view.live import Live, Moment
from sfumato.view.page import Page
from sfumato.view.server import Background, create_app

SAID = {"step": "the median step", "wall": "steps on average", "processor": "processor time of all threads"}
WARM = 0.1  # of the steps, that are not counted: the page connects, memory is first touched
PAGE = """
import json, sys
from websockets.sync.client import connect
count = total = left = 0
try:
    with connect(sys.argv[1], compression=None, max_size=None) as socket:
        socket.send('{"type":"ready"}')
        while True:
            message = socket.recv()
            if isinstance(message, bytes):
                left -= len(message)
                if left == 0:
                    socket.send('{"type":"ready"}')
                continue
            found = json.loads(message)
            if found["type"] == "snapshot":
                left = found["bytes"]
                count, total = count + 1, total + left
except Exception as error:
    print(json.dumps({"snapshots": count, "bytes": total, "end": str(error)}))
"""


@dataclass(frozen=True)
class Turn:
    """One training."""

    step: float  # seconds from the end of a step to the end of the next, median
    wall: float  # the same, mean: with the steps in which a snapshot was taken or a photo rendered
    processor: float  # seconds of all threads, per step
    snapshots: int
    megabytes: float


@contextmanager
def watched(scene: sfumato.Scene, backend: str) -> Iterator[tuple[Live, "subprocess.Popen[str]"]]:
    """A live page that somebody looks at."""
    live = Live(scene, psnr, backend)
    with Background(create_app(Page.of_scene("bench", scene, live=True), {}, live.routes), port=0) as server:
        address = server.url.replace("http", "ws", 1) + "live"
        page = subprocess.Popen([sys.executable, "-c", PAGE, address], stdout=subprocess.PIPE, text=True)
        while not live.channel.waiting:
            time.sleep(0.05)
        yield live, page
        live.end()
    live.close()


def run(scene: sfumato.Scene, config: TrainConfig, backend: str, seen: bool) -> Turn:
    """Train once."""
    ends: list[float] = []
    busy: list[float] = []
    told = {"snapshots": 0, "bytes": 0}
    with watched(scene, backend) if seen else nullcontext((None, None)) as (live, page):

        def on_step(progressed: Progressed) -> None:
            every = max(1, progressed.steps // 500)
            value = progressed.psnr if progressed.step % every == 0 else None  # as the command line does
            if live is not None:
                done, count = progressed.step, len(progressed.gaussians)
                if value is not None:
                    live.measured(done, progressed.loss, value, count, progressed.seconds)
                degree = config.sh_degree_at(config.time_at(done, progressed.steps))
                live.step(
                    Moment(done, progressed.steps, progressed.loss, count, progressed.seconds, degree),
                    progressed.gaussians,
                )
            ends.append(time.perf_counter())
            busy.append(time.process_time())

        train(scene, config, backend, on_step)
    if page is not None:
        told = json.loads(page.communicate(timeout=30)[0])
    first = int(WARM * len(ends))
    steps = [after - before for before, after in pairwise(ends[first:])]
    processor = (busy[-1] - busy[first]) / len(steps)
    step, wall = statistics.median(steps), statistics.fmean(steps)
    return Turn(step, wall, processor, told["snapshots"], told["bytes"] / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--downscale", type=float, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--max-gaussians", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()

    scene = sfumato.load_scene(options.scene, downscale=options.downscale, holdout=8)
    config = replace(TrainConfig(steps=options.steps), max_gaussians=options.max_gaussians).fixed(scene)
    train(scene, replace(config, steps=8), options.backend)  # compiles
    turns: dict[bool, list[Turn]] = {False: [], True: []}
    print("| turn | watched | ms a step, median | mean | processor | snapshots | MB sent |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for number in range(options.rounds):
        for seen in (False, True):
            turn = run(scene, config, options.backend, seen)
            turns[seen].append(turn)
            times = " | ".join(f"{1e3 * seconds:.2f}" for seconds in (turn.step, turn.wall, turn.processor))
            print(
                f"| {number + 1} | {'yes' if seen else 'no'} | {times} | {turn.snapshots} | {turn.megabytes:.0f} |",
                flush=True,
            )
    cap = config.gaussians_for(scene)
    print(f"\nOn {usable_cores()} cores, with up to {cap:,} Gaussians, a page that takes every snapshot makes a step")
    for name in ("step", "wall", "processor"):
        without, seen_by = (statistics.median(getattr(turn, name) for turn in turns[seen]) for seen in (False, True))
        share = 100 * (seen_by / without - 1)
        print(f"  {share:+5.1f} % longer: {1e3 * without:.2f} to {1e3 * seen_by:.2f} ms ({SAID[name]})")
    print("Wanted: within 5 %.")


if __name__ == "__main__":
    main()
