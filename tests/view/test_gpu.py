"""A training on a pretended GPU, watched: snapshots and held-out pictures are those of the CPU."""

from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest
import torch

from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.core.scene import View
from sfumato.evaluate import psnr
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render
from sfumato.view.held import HeldOut
from sfumato.view.pace import Pace
from sfumato.view.packed import most_important, pack, to_bytes
from sfumato.view.snapshots import Snapshots, Worker

from on_gpu import machine_with_gpu
from pretend import PretendGPU
from scenes import crowd, straight


@pytest.fixture
def gpu() -> Iterator[PretendGPU]:
    with machine_with_gpu() as gpu:
        yield gpu


def snapshot(gaussians: Gaussians, last: bool) -> bytes:
    """What pages would be sent."""
    failures: list[Any] = []
    worker = Worker(lambda what, error: failures.append(error))
    snapshots = Snapshots(worker, Pace(1.0), lambda: None)
    if last:
        snapshots.take_last(gaussians, 7, 50)
    else:
        snapshots.take(gaussians, 7, most=50)
    while snapshots.busy:
        sleep(0.01)
    worker.close()
    assert failures == []
    assert snapshots.newest is not None
    return snapshots.newest.data


@pytest.mark.parametrize("last", [False, True])
def test_snapshots_of_gaussians_on_a_gpu(gpu: PretendGPU, seed: int, last: bool) -> None:
    gaussians = crowd(80, 2)
    wanted = to_bytes(pack(most_important(gaussians, 50)), step=7, of=80)
    assert snapshot(gaussians.to(gpu.device), last) == wanted


def test_held_out_pictures_of_gaussians_on_a_gpu(gpu: PretendGPU, seed: int) -> None:
    """Drawn and measured by training's thread, packed by any other: what that gets is on the CPU."""
    gaussians, camera = crowd(60, 1), straight(48, 40, (40.0, 40.0))
    settings = RenderSettings(depth=False)
    photo = to_uint8(render(gaussians, camera, settings, backend="cpu").image + 0.05 * torch.rand(40, 48, 3))
    shown = []
    for cloud in (gaussians, gaussians.to(gpu.device)):
        held = HeldOut([View("a", camera, photo)], psnr)
        held.prepare()
        held.draw(cloud, 3, settings, (0.0, 0.0, 0.0), "auto" if cloud is not gaussians else "cpu")()
        shown.append((held.latest(0), held.shown[0].psnr))
    assert shown[0] == shown[1]
