"""A scene to Gaussians: the training loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, TileListError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.core.threads import one_torch_thread
from sfumato.kernels.backends import load
from sfumato.kernels.stages import Moments, RenderSettings, Splats, TileLists
from sfumato.train.bounds import clamp_scales_, runaways
from sfumato.train.config import TrainConfig
from sfumato.train.density import Span
from sfumato.train.edit import Edit
from sfumato.train.initialize import initialize
from sfumato.train.optimizer import Adam
from sfumato.train.photos import Lesson, Photos
from sfumato.train.state import TrainingState

__all__ = ["OnStep", "Progressed", "Training", "check_start", "ignore", "train"]

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
    photo: Tensor  # (H, W, 3) uint8 what it was compared with, black where the photo's mask ignores it
    gaussians: Gaussians
    seconds: float  # since training began, without the time spent in on_step
    shown: Tensor | None = None  # (H, W, 1) 1 where the photo counts, 0 where its mask ignores it; None: everywhere
    state: Callable[[], TrainingState] | None = None  # for checkpoints; ask before the next step
    earlier: int = 0  # steps of the trainings before this one

    @property
    def psnr(self) -> float:
        """Of this step's picture against its photo, where that counts, in decibels; computed when asked for.

        Not a number where the mask ignores all of the photo.
        """
        error = (self.image.detach().clamp(0, 1) - self.photo.to(self.image) / 255).square()
        if self.shown is not None:
            error = error * self.shown / self.shown.mean()
        return -10 * error.mean().clamp(min=1e-10).log10().item()


OnStep = Callable[[Progressed], None]


def ignore(progressed: Progressed) -> None:
    """Tell nobody."""


def train(
    scene: Scene,
    config: TrainConfig | None = None,
    backend: str = "auto",
    on_step: OnStep = ignore,
    start: Gaussians | TrainingState | None = None,
    keep: int | None = None,
) -> Gaussians:
    """Gaussians that look like the scene's training photos (Kerbl et al. 2023, Algorithm 1).

    The same scene, config and machine give the same bits. on_step is called after every step. start: Gaussians to
    start from in place of the scene's points, or the state of an interrupted training of this scene and config, which
    is gone on with, in its own tensors, as if it had not stopped. keep: bytes of photos to hold in memory; the rest
    is decoded again and again; None: all. Raises InputError when the scene has no training photo or no point to start
    from, BackendError when the backend cannot run here.
    """
    with one_torch_thread(), Training(scene, config or TrainConfig(), backend, start, keep) as training:
        while training.step < training.steps:
            progressed = training.advance()
            with training.watch.stopped():
                on_step(progressed)
        return training.result()


class Training:
    """A training run between two steps."""

    def __init__(
        self,
        scene: Scene,
        config: TrainConfig,
        backend: str = "auto",
        start: Gaussians | TrainingState | None = None,
        keep: int | None = None,
    ) -> None:
        """See `train`."""
        self.stages = load(backend)
        self.config, self.scene, self.extent = config.fixed(scene), scene, scene.extent
        self.steps, self.coarse = config.steps_for(scene), config.coarse_for(scene)
        span = Span(self.steps, self.extent, config.gaussians_for(scene), config.seed, config.time_from)
        self.strategy = config.density.start(span)
        state = start if isinstance(start, TrainingState) else _beginning(scene, self.config, start)
        self.watch = _Watch(state.seconds)
        self.step, self.earlier, self.gaussians = state.step, state.earlier, state.gaussians
        self.optimizer = Adam(state.moments, state.earlier + state.step)
        if state.strategy:
            self.strategy.restore(state.strategy)
        self.background = torch.tensor(scene.background)
        self.photos = Photos(scene.train, DIVISORS, config.seed, keep, state.photos)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *error: object) -> None:
        self.photos.close()

    def state(self) -> TrainingState:
        """All that the next step depends on."""
        return TrainingState(
            step=self.step,
            gaussians=self.gaussians,
            moments=self.optimizer.moments,
            strategy=self.strategy.state(),
            photos=self.photos.position,
            earlier=self.earlier,
            seconds=self.watch.seconds,
        )

    def result(self) -> Gaussians:
        """The Gaussians so far, without those that are not finite."""
        return self.gaussians[self.gaussians.finite.nonzero()[:, 0]]

    def advance(self) -> Progressed:
        """Do one step: render, compare, carry the gradients back, move, edit."""
        stages, config, time = self.stages, self.config, self.config.time_at(self.step, self.steps)
        lesson = self.photos.take(self.coarse.divisor(time))
        camera, settings = lesson.camera, config.settings_at(time, self.scene.near)
        splats, tiles = self._listed(camera, settings)
        gaussians = self.gaussians.map(_leaf)
        image, alpha, _ = stages.blend(splats, tiles, self.background, settings)
        loss = stages.photometric(_where_shown(image, lesson), lesson.photo, config.ssim_weight)
        if lesson.empty is not None:
            loss = loss + config.empty_weight * (alpha * lesson.empty).mean()
        penalty = self.strategy.penalty(gaussians)
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]

        self.strategy.observe(camera, splats)
        rates = config.rates_at(time, self.extent)
        seen = (splats, camera, settings)
        self.optimizer = self.optimizer.step(stages, gaussians, seen, rates, settings.sh_degree)
        self.gaussians = gaussians.detach()
        clamp_scales_(self.gaussians, self.extent)
        self.step += 1
        if edit := self.strategy.edit(self.step, self.gaussians):
            self._follow(edit)
        return Progressed(
            self.step, self.steps, loss.item(), image, lesson.photo, self.gaussians, self.watch.seconds, lesson.shown,
            self.state, self.earlier,
        )  # fmt: skip

    def _listed(self, camera: Camera, settings: RenderSettings) -> tuple[Splats, TileLists]:
        """Splats, where autograd starts: the optimizer carries their gradients on. And the tiles they touch.

        Gaussians that fill so many tiles that the lists would be too long are removed, the largest first.
        """
        while True:
            with torch.no_grad():
                splats = self.stages.project(self.gaussians, camera, settings).leaves()
            try:
                return splats, self.stages.bin(splats, camera.width, camera.height, settings)
            except TileListError:
                gone = runaways(splats, camera.width, camera.height, settings.most_pairs)
                if gone.all() or not gone.any():
                    raise
                staying = (~gone).nonzero()[:, 0]
                self._follow(Edit(self.gaussians[staying], staying))

    def _follow(self, edit: Edit) -> None:
        self.gaussians, self.optimizer = edit.gaussians, self.optimizer.follow(edit)


def check_start(scene: Scene, config: TrainConfig, gaussians: Gaussians) -> None:
    """Raise InputError when there are more Gaussians to start from than there may ever be."""
    most = config.gaussians_for(scene)
    if len(gaussians) > most:
        raise InputError(
            f"the splat to start from has {len(gaussians):,} Gaussians, more than the cap of {most:,}; raise "
            "max_gaussians, or the memory that allows so many"
        )


def _beginning(scene: Scene, config: TrainConfig, gaussians: Gaussians | None) -> TrainingState:
    """The state before the first step."""
    if gaussians is None:
        density, most = config.density, config.gaussians_for(scene)
        gaussians = initialize(scene.points, config.sh_degree, density.opacity, density.scale, most, config.seed)
    else:
        check_start(scene, config, gaussians)
        gaussians = gaussians.with_degree(config.sh_degree).map(Tensor.clone)
    return TrainingState(0, gaussians, Moments.zeros(gaussians))


def _where_shown(image: Tensor, lesson: Lesson) -> Tensor:
    """The picture, black where the photo's mask ignores it, as the photo is: no loss and no gradient there."""
    return image if lesson.shown is None else image * lesson.shown


def _leaf(tensor: Tensor) -> Tensor:
    """The same memory without a gradient, ready to receive a penalty's."""
    return tensor.detach().requires_grad_()


class _Watch:
    """Seconds since it was made, without those it was stopped for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._began = perf_counter() - seconds

    @property
    def seconds(self) -> float:
        return perf_counter() - self._began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count what happens inside."""
        stopped = perf_counter()
        yield
        self._began += perf_counter() - stopped
