"""A scene to Gaussians: the training loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.core.threads import one_torch_thread
from sfumato.kernels.backends import load
from sfumato.kernels.stages import Backend
from sfumato.train.average import Average
from sfumato.train.config import TrainConfig
from sfumato.train.density import Span
from sfumato.train.initialize import initialize
from sfumato.train.optimizer import Adam
from sfumato.train.photos import Photos

__all__ = ["OnStep", "Progressed", "ignore", "train"]

DIVISORS = (4, 2, 1)  # the sizes that Coarse.divisor asks for


@dataclass(frozen=True, eq=False)
class Progressed:
    """Where training stands after a step.

    The tensors are the trainer's own: the next step changes them in place, so copy what is to be kept. They always
    fit together, also when training is interrupted at any moment: the last `gaussians` can be saved.
    """

    step: int  # 1 to steps
    steps: int
    loss: float
    image: Tensor  # (H, W, 3) what was rendered
    photo: Tensor  # (H, W, 3) uint8 what it was compared with
    gaussians: Gaussians
    seconds: float  # since training began, without the time spent in on_step

    @property
    def psnr(self) -> float:
        """Of this step's picture against its photo, in decibels; computed when asked for."""
        error = self.image.detach().clamp(0, 1) - self.photo.to(self.image) / 255
        return -10 * error.square().mean().clamp(min=1e-10).log10().item()


OnStep = Callable[[Progressed], None]


def ignore(progressed: Progressed) -> None:
    """Tell nobody."""


def train(
    scene: Scene, config: TrainConfig | None = None, backend: str = "auto", on_step: OnStep = ignore
) -> Gaussians:
    """Gaussians that look like the scene's training photos (Kerbl et al. 2023, Algorithm 1).

    The same scene, config and machine give the same bits. on_step is called after every step. Raises InputError
    when the scene has no training photo or no point to start from, BackendError when the backend cannot run here.
    """
    with one_torch_thread():
        return _train(scene, config or TrainConfig(), load(backend), on_step)


def _train(scene: Scene, config: TrainConfig, stages: Backend, on_step: OnStep) -> Gaussians:
    watch = _Watch()
    config, extent = config.fixed(scene), scene.extent
    steps, coarse, most = config.steps_for(scene), config.coarse_for(scene), config.gaussians_for(scene)
    photos = Photos(scene.train, DIVISORS, config.seed)
    background = torch.tensor(scene.background)
    density = config.density
    gaussians = initialize(scene.points, config.sh_degree, density.opacity, density.scale, most, config.seed)
    optimizer = Adam.start(gaussians)
    strategy = density.start(Span(steps, extent, most, config.seed))
    average = Average(steps, config.average_from, config.average_over)

    for step in range(1, steps + 1):
        time = (step - 1) / steps
        camera, photo = photos.take(coarse.divisor(time))
        settings = config.settings_at(time, scene.near)
        gaussians = gaussians.map(_leaf)

        with torch.no_grad():  # autograd starts at the splats; the optimizer carries their gradients on
            splats = stages.project(gaussians, camera, settings).leaves()
        tiles = stages.bin(splats, camera.width, camera.height, settings)
        image, _, _ = stages.blend(splats, tiles, background, settings)
        loss = stages.photometric(image, photo, config.ssim_weight)
        penalty = strategy.penalty(gaussians)
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]

        strategy.observe(camera, splats)
        rates = config.rates_at(time, extent)
        optimizer = optimizer.step(stages, gaussians, (splats, camera, settings), rates, settings.sh_degree)
        gaussians = gaussians.detach()
        if edit := strategy.edit(step, gaussians):
            gaussians, optimizer = edit.gaussians, optimizer.follow(edit)
            average.follow(edit)
        average.update(step, gaussians)
        with watch.stopped():
            on_step(Progressed(step, steps, loss.item(), image, photo, gaussians, watch.seconds))

    trained = average.result(gaussians)
    return trained[trained.finite.nonzero()[:, 0]]


def _leaf(tensor: Tensor) -> Tensor:
    """The same memory without a gradient, ready to receive a penalty's."""
    return tensor.detach().requires_grad_()


class _Watch:
    """Seconds since it was made, without those it was stopped for."""

    def __init__(self) -> None:
        self._began = perf_counter()

    @property
    def seconds(self) -> float:
        return perf_counter() - self._began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count what happens inside."""
        stopped = perf_counter()
        yield
        self._began += perf_counter() - stopped
