"""A scene to Gaussians: the training loop."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError, InputError, TileListError
from sfumato.core.gaussians import Gaussians
from sfumato.core.initialize import initialize
from sfumato.core.morton import morton_order
from sfumato.core.scene import Scene
from sfumato.core.threads import one_torch_thread
from sfumato.kernels.backends import choose, load
from sfumato.kernels.rooms import Rooms
from sfumato.kernels.stages import Moments, RenderSettings, Splats, TileLists
from sfumato.train.bounds import clamp_scales_, runaways
from sfumato.train.config import TrainConfig
from sfumato.train.density import Span
from sfumato.train.edit import Edit
from sfumato.train.lesson import Lesson
from sfumato.train.optimizer import Adam
from sfumato.train.photos import Photos
from sfumato.train.progressed import OnStep, Progressed, Watch, ignore
from sfumato.train.state import TrainingState
from sfumato.train.transfer import free_memory

__all__ = ["Training", "check_start", "train"]

DIVISORS = (4, 2, 1)  # the sizes that Coarse.divisor asks for
FOR_PHOTOS = 0.25  # of a GPU's free memory, where nobody says how much photos may take


def train(
    scene: Scene,
    config: TrainConfig | None = None,
    backend: str = "auto",
    on_step: OnStep = ignore,
    start: Gaussians | TrainingState | None = None,
    keep: int | None = None,
    on_device: int | None = None,
) -> Gaussians:
    """Gaussians that look like the scene's training photos (Kerbl et al. 2023, Algorithm 1).

    They are on the device where the backend trains them: with "auto" on the GPU, if there is one. The same scene,
    config and machine give the same bits, on a GPU where the config is deterministic. on_step is called after every
    step. start: Gaussians to start from in place of the scene's points, or the state of an interrupted training of this
    scene and config, which is gone on with, in its own tensors, as if it had not stopped. keep: bytes of photos to hold
    in memory; the rest is decoded again and again; None: all. on_device: bytes of photos to hold on the GPU; the rest
    is sent there again and again; None: up to a quarter of what is free there. Raises InputError when the scene has no
    training photo or no point to start from, BackendError when the backend cannot run here, or not with this config.
    """
    with one_torch_thread(), Training(scene, config or TrainConfig(), backend, start, keep, on_device) as training:
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
        on_device: int | None = None,
    ) -> None:
        """See `train`."""
        name, self.device = choose(backend)
        if config.half_shN and name != "gpu":
            raise BackendError(f"half_shN must be False on the {name} backend: it draws from shN in single precision")
        self.stages = load(name)
        self.config, self.scene = config.fixed(scene), scene
        self.extent, self.near = scene.extent, scene.near  # of all cameras: not to be asked for in every step
        self.steps, self.coarse = config.steps_for(scene), config.coarse_for(scene)
        span = Span(self.steps, self.extent, config.gaussians_for(scene), config.seed, config.time_from, self.device)
        self.span, self.strategy = span, config.density.start(span)
        state = start if isinstance(start, TrainingState) else _beginning(scene, self.config, start)
        state = state.to(self.device)
        self.watch = Watch(state.seconds)
        self.step, self.earlier, self.gaussians = state.step, state.earlier, state.gaussians
        self.optimizer = Adam(state.moments, state.earlier + state.step, config.shN_stride, config.sparse_adam)
        if state.strategy:
            self.strategy.restore(state.strategy)
        self.background = torch.tensor(scene.background, dtype=torch.float32, device=self.device)
        self.rooms = Rooms(config.most_pairs)
        self._half: Tensor | None = None  # of shN
        if on_device is None and self.device.type == "cuda":
            on_device = int(FOR_PHOTOS * free_memory(self.device))
        self.photos = Photos(scene.train, DIVISORS, config.seed, keep, state.photos, self.device, on_device)

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
        config, time = self.config, self.config.time_at(self.step, self.steps)
        lesson = self.photos.take(self.coarse.divisor(time))
        settings = config.settings_at(time, self.near)
        learned = self._learned(lesson, replace(settings, room=self.rooms.of(lesson.key)))
        self.rooms.learn(lesson.key, learned.tiles.count)
        if learned.tiles.missing:  # what was drawn is wrong; nothing has moved yet
            learned = self._learned(lesson, settings)
            self.rooms.learn(lesson.key, learned.tiles.count)

        self.strategy.observe(lesson.camera, learned.splats)
        rates, seen = config.rates_at(time, self.extent), (learned.splats, lesson.camera, settings)
        self.optimizer = self.optimizer.step(self.stages, learned.gaussians, seen, rates, settings.sh_degree)
        self.gaussians = learned.gaussians.detach()
        clamp_scales_(self.gaussians, self.extent)
        if self.optimizer.moved_shN:
            self._half = None
        self.step += 1
        if edit := self.strategy.edit(self.step, self.gaussians):
            self._follow(edit)
        if config.reorder_every and self.span.is_due(self.step, config.reorder_every):
            self._follow_foreign(morton_order(self.gaussians.means))
        return Progressed(
            self.step, self.steps, learned.loss, learned.image, lesson.photo, self.gaussians, self.watch.seconds,
            lesson.shown, self.state, self.earlier,
        )  # fmt: skip

    def _learned(self, lesson: Lesson, settings: RenderSettings) -> "_Learned":
        """The gradients of a photo."""
        stages, config = self.stages, self.config
        splats, tiles = self._listed(lesson.camera, settings)
        gaussians = self.gaussians.map(_leaf)
        image, alpha, _ = stages.blend(splats, tiles, self.background, settings)
        loss = stages.photometric(_where_shown(image, lesson), lesson.photo, config.ssim_weight)
        if lesson.empty is not None:
            loss = loss + config.empty_weight * (alpha * lesson.empty).mean()
        penalty = self.strategy.penalty(gaussians)
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        return _Learned(gaussians, splats, tiles, image, loss.detach())

    def _listed(self, camera: Camera, settings: RenderSettings) -> tuple[Splats, TileLists]:
        """Splats, where autograd starts: the optimizer carries their gradients on. And the tiles they touch.

        Gaussians that fill so many tiles that the lists would be too long are removed, the largest first.
        """
        while True:
            with torch.no_grad():
                splats = self.stages.project(self._drawn(), camera, settings).leaves()
            try:
                return splats, self.stages.bin(splats, camera.width, camera.height, settings)
            except TileListError:
                gone = runaways(splats, camera.width, camera.height, settings.most_pairs)
                if gone.all() or not gone.any():
                    raise
                self._follow_foreign((~gone).nonzero()[:, 0])

    def _drawn(self) -> Gaussians:
        """The Gaussians as pictures are drawn from them."""
        if not self.config.half_shN:
            return self.gaussians
        if self._half is None:
            self._half = self.gaussians.shN.half()
        return replace(self.gaussians, shN=self._half)

    def _follow_foreign(self, rows: Tensor) -> None:
        """Go on with these rows, in their order; the strategy did not ask for that."""
        edit = Edit(self.gaussians[rows], rows)
        self.strategy.follow(edit)
        self._follow(edit)

    def _follow(self, edit: Edit) -> None:
        if len(edit.gaussians) > len(self.gaussians):
            self.rooms.grow(len(edit.gaussians) / len(self.gaussians))
        if edit.gaussians.shN is not self.gaussians.shN:
            self._half = None
        self.gaussians, self.optimizer = edit.gaussians, self.optimizer.follow(edit)


@dataclass(frozen=True, eq=False)
class _Learned:
    """What a photo says; nothing has moved yet."""

    gaussians: Gaussians  # with the gradients of a penalty
    splats: Splats  # with theirs
    tiles: TileLists
    image: Tensor
    loss: Tensor


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
