"""What benchmarks/gpu.py prints of each scene: stages, shares of ceilings, whole steps, goals, errors."""

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import gpu_static
import torch
from cloud import cloud
from gpu_ceilings import Ceilings, Clock, ceilings
from gpu_launches import describe
from gpu_steps import Gsplat, Ours, Scene
from gpu_truth import compare

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.evaluate.machine import commit, gpu, versions
from sfumato.formats import ply
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings

__all__ = ["report"]

TINY = ((12,), ((20, 18),))  # for --smoke
TRUE_TILES = 64  # of a picture that are compared with the reference

# what is wanted: of every scene, and of the scene of GOAL_SCENE on an H200
GOAL_SPEEDUP = 3.0  # times as fast as gsplat's step
GOAL_SCENE = (1_000_000, 1920, 1080)
GOAL_STEP = 3.0  # ms
GOAL_PICTURES = 1000.0  # a second


def scenes(options: argparse.Namespace, device: torch.device) -> Iterator[Scene]:
    """The clouds, then the splats of files, from a camera that looks at their middle."""
    counts, sizes = TINY if options.smoke else (options.counts, options.sizes)
    for count in counts:
        for width, height in sizes:
            yield _scene(f"cloud of {count:,}, {width}x{height}", *cloud(count, width, height), device)
    for file in options.ply:
        gaussians = ply.read(file)
        for width, height in sizes:
            name = f"{file.name}, {len(gaussians.means):,}, {width}x{height}"
            yield _scene(name, gaussians, look_at(gaussians, width, height), device)


def _scene(name: str, gaussians: Gaussians, camera: Camera, device: torch.device) -> Scene:
    random = torch.Generator().manual_seed(0)
    photo = torch.randint(0, 256, (3, camera.height, camera.width), generator=random, dtype=torch.uint8)
    return Scene(name, gaussians.map(lambda t: t.to(device)), camera, photo.permute(1, 2, 0).to(device))


def look_at(gaussians: Gaussians, width: int, height: int) -> Camera:
    """A camera in front of the middle of a splat, whose photos had y pointing down."""
    middle = gaussians.means.median(dim=0).values
    radius = (gaussians.means - middle).norm(dim=1).median()
    position = middle + radius * torch.tensor([1.5, -0.7, -1.5])
    return Camera.look_at(position, middle, torch.tensor([0.0, -1.0, 0.0]), 0.9 * width, width, height)


def measure(scene: Scene, clock: Clock, best: Ceilings, target: str, repeats: int, rivals: bool) -> bool:
    """Print all about one scene; whether its results are right."""
    print(f"\n## {scene.name}\n")
    trainers, peaks = {}, {}
    for name, make in {"ours": lambda: Ours(scene, load("gpu", clock.device)), "gsplat": lambda: Gsplat(scene)}.items():
        if name == "ours" or rivals:
            trainers[name], peaks[name] = _with_peak(make, clock)
    ours = trainers["ours"]
    calls = {stage: call for trainer in trainers.values() for stage, call in trainer.stages().items()}
    ms = clock.turns(calls, repeats)
    steps = clock.throughput({name: trainer.step for name, trainer in trainers.items()}, repeats)
    drawn = clock.throughput({name: trainer.draw for name, trainer in trainers.items()}, repeats)
    pictures = {name: 1e3 / spent for name, spent in drawn.items()}

    traffic, rates = ours.least_bytes(), instructions(ours, target)
    print("| stage | ms | least GB/s | of copying | instructions/s | of multiplying |")
    print("|---|---|---|---|---|---|")
    for name, spent in ms.items():
        print(f"| {name} | {spent:.3f} | {_shares(name, spent, traffic, rates, best)} |")
    print(f"\n{ours.pairs:,} pairs; {int(ours.splats.seen.sum()):,} Gaussians seen")
    for name in trainers:
        print(
            f"{name}: whole step {steps[name]:.3f} ms, {pictures[name]:.0f} pictures a second, "
            f"at most {peaks[name] / 2**20:.0f} MiB of tensors"
        )
    if rivals and trainers["gsplat"].ssim is None:
        print("gsplat's loss is L1 alone: fused_ssim is not installed")
    _goals(scene, steps, pictures)
    return truth(scene)


def _with_peak(make: Callable[[], Any], clock: Clock) -> tuple[Any, int]:
    """A trainer, and the most bytes of tensors that it held at once in a step: Gaussians, moments and what passes."""
    before = torch.cuda.memory_allocated(clock.device) if clock.on_gpu else 0
    trainer = make()
    trainer.step()
    if not clock.on_gpu:
        return trainer, 0
    clock.wait()
    torch.cuda.reset_peak_memory_stats(clock.device)
    trainer.step()
    clock.wait()
    return trainer, torch.cuda.max_memory_allocated(clock.device) - before


def _shares(name: str, ms: float, traffic: dict[str, int], rates: dict[str, float], best: Ceilings) -> str:
    if name not in traffic:
        return " | | | "
    bandwidth = traffic[name] / ms * 1e3
    cells = [f"{bandwidth / 1e9:.0f}", f"{bandwidth / best.bytes:.0%}", "", ""]
    if name in rates:
        rate = rates[name] / ms * 1e3  # a multiply-add of a warp is one instruction
        cells[2:] = [f"{rate / 1e9:.1f} G", f"{rate / (best.fmas / best.lanes):.0%}"]
    return " | ".join(cells)


def instructions(ours: Ours, target: str) -> dict[str, float]:
    """Instructions of warps that the blend kernels execute in their innermost loops, as counted in machine code."""
    found = {}
    visits = ours.visits()
    held = os.environ.pop("TRITON_INTERPRET", None)  # the other process compiles
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            for name, each in visits.items():
                launch = describe(*each.launch)
                row = gpu_static.judge(launch, target, pool.submit(gpu_static.measure, launch, target).result())
                if not row.per_visit > 0:
                    raise RuntimeError(f"{name} cannot be counted for {target}: {row.broken()}")
                print(f"{name}: {each.count:,} visits of {row.per_visit:.0f} instructions of {target}")
                found[name] = each.count * row.per_visit
    finally:
        if held is not None:
            os.environ["TRITON_INTERPRET"] = held
    print()
    return found


def _goals(scene: Scene, steps: dict[str, float], pictures: dict[str, float]) -> None:
    def say(what: str, got: float, wanted: float, reached: bool) -> None:
        print(f"goal: {what}: {got:.2f}, wanted {wanted:g}: {'reached' if reached else 'MISSED'}")

    if "gsplat" in steps:
        speedup = steps["gsplat"] / steps["ours"]
        say("times as fast as gsplat's step", speedup, GOAL_SPEEDUP, speedup >= GOAL_SPEEDUP)
    if (len(scene.gaussians.means), scene.camera.width, scene.camera.height) == GOAL_SCENE:
        say("ms of a step, on an H200", steps["ours"], GOAL_STEP, steps["ours"] <= GOAL_STEP)
        say("pictures a second, on an H200", pictures["ours"], GOAL_PICTURES, pictures["ours"] >= GOAL_PICTURES)


def truth(scene: Scene) -> bool:
    """Print how far from the reference we are; whether that is near enough."""
    found = compare(
        scene.gaussians, scene.camera, RenderSettings(depth=False), load("gpu", scene.photo.device), TRUE_TILES
    )
    errors = ", ".join(f"{name} {error:.1e}" for name, error in found.gradients.items())
    print(
        f"against float64 on {found.tiles} tiles: colors at most {found.color:.1e} apart, "
        f"{found.apart:.2%} beyond rounding; "
        f"gradients apart by their length: {errors}: {'right' if found.good else 'WRONG'}"
    )
    return found.good


def target_of(device: torch.device) -> str:
    """What gpu_static.py calls this card; where kernels are interpreted, an H200."""
    if device.type != "cuda":
        return "sm_90"
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(device).gcnArchName).split(":")[0]
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def report(options: argparse.Namespace) -> int:
    """Measure and print everything; 1 when results are wrong, else 0."""
    device = torch.device("cpu") if options.smoke else torch.device("cuda", torch.cuda.current_device())
    card = {"name": "the interpreter: times mean nothing"} if options.smoke else gpu(device)
    about = {**card, **versions(), "commit": commit()}
    print("# " + ", ".join(f"{name} {value}" for name, value in about.items()))
    clock = Clock(device)
    best = ceilings(clock)
    print(
        f"\ncopying {best.bytes / 1e9:.0f} GB/s, multiply-adds {best.fmas / 1e12:.2f} T/s "
        f"({best.fmas / best.lanes / 1e9:.0f} G instructions of warps/s), exp2 {best.exp2s / 1e12:.2f} T/s"
    )
    rivals = not options.no_gsplat and _importable()
    if not rivals:
        print("gsplat is not here: nothing stands beside our numbers")
    right = True
    for scene in scenes(options, device):
        try:
            right &= measure(scene, clock, best, target_of(device), options.repeats, rivals)
        except torch.OutOfMemoryError as error:
            print(f"does not fit into the card's memory: {str(error).splitlines()[0]}")
    return 0 if right else 1


def _importable() -> bool:
    try:
        import gsplat  # noqa: F401
    except Exception as error:  # it compiles itself when imported, in which anything may fail
        print(f"gsplat: {type(error).__name__}: {error}")
        return False
    return True
