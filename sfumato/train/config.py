"""TrainConfig: every number of a training run with its source, and the schedules over time made of them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sfumato.core.errors import InputError
from sfumato.core.scene import Scene
from sfumato.kernels.stages import MOST_PAIRS, Rates, RenderSettings
from sfumato.train.bounds import LARGEST
from sfumato.train.density import MCMC, Adaptive, Density

__all__ = ["Coarse", "TrainConfig"]

MIN_STEPS = 4000  # for a scene of a few photos
EPOCHS = 58  # and this often past each photo, if that is more; the paper: 30 000 steps for about 200 photos
QUALITY_STEPS = 5.0  # times as many as usual
QUALITY_GAUSSIANS = 200_000  # a step with twice as many takes about twice as long
GAUSSIANS_PER_STEP = 15  # for photos of USUAL pixels; more look worse on held-out photos after the same time,
USUAL = 125_000  # and larger photos can use more, with the fourth root of their pixels
FEWEST_GAUSSIANS, MOST_GAUSSIANS = 10_000, 100_000
REFINE_FROM = 0.5  # the time at which photos are of full size and growth has ended
LARGE, VERY_LARGE = 100_000, 600_000  # pixels from which photos are learned coarsely for longer
_DENSITIES: dict[str, Callable[..., Density]] = {"adaptive": Adaptive, "mcmc": MCMC}


@dataclass(frozen=True)
class Coarse:
    """Photos are learned at a quarter and then half of their size until these shares of the training."""

    quarter_until: float
    half_until: float

    def divisor(self, time: float) -> int:
        """How many times smaller photos are at this share of the training."""
        return 4 if time < self.quarter_until else 2 if time < self.half_until else 1


@dataclass(frozen=True)
class TrainConfig:
    """A run of training, reproducible from these numbers and the scene alone.

    Schedules are functions of time, the share of the steps that are done, so fewer or more steps rescale them all.
    Numbers without a source are the best found by benchmarks/train.py. Raises InputError when a number is out of
    its range.
    """

    steps: int | None = None  # None: as many as suit the scene, see `steps_for`
    patience: float = 1.0  # times as many steps as usual, where steps is None
    seed: int = 0
    max_gaussians: int | None = None  # hard cap, from the first Gaussian on; None: see `gaussians_for`
    density: Density = field(default_factory=Adaptive)
    sh_degree: int = 3
    sh_every: float = 0.07  # one more degree of spherical harmonics after each such share; the paper: 1000 of 30 000
    ssim_weight: float = 0.2  # lambda of Eq. 7 of Kerbl et al. 2023
    rates: Rates = Rates(  # noqa: RUF009 (a NamedTuple is as frozen as a number)
        means=1.6e-4,  # times the extent of the scene; this one and the next from the code of Kerbl et al. 2023
        quats=1e-3,
        log_scales=5e-3,
        logit_opacities=0.05,
        sh0=2.5e-3,
        shN=2.5e-3 / 5,  # the code of Kerbl et al. 2023: / 20; short trainings gain 0.5 dB from the faster rate
    )
    means_end: float = 0.01  # what is left of the rate of means at the end, exponentially (Kerbl et al. 2023)
    others_end: float = 0.1  # what is left of the other rates, ...
    others_from: float = 0.8  # ... falling from this time on; earlier costs short trainings up to 0.4 dB
    coarse: Coarse | None = None  # None: by the size of the photos, see `coarse_for`
    empty_weight: float = 0.1  # of the mean alpha where masks say that nothing is there
    most_pairs: int = MOST_PAIRS  # of tile and splat in one picture; where it is passed, the largest Gaussians go
    time_from: float = 0.0  # the time before the first step: a whole training passes from 0 to 1
    # For Gaussians by the million on a GPU, where a step's time goes into reading and writing their numbers.
    # shN is three quarters of a Gaussian. Moved in every k-th step, it is neither read nor written by Adam in the
    # others, whose gradients of it are lost: it learns k times slower.
    shN_stride: int = 1
    # Adam leaves Gaussians alone that a photo does not see: fewer are read and written, and those that are seldom seen
    # no longer drift on by their old momentum, so results differ.
    sparse_adam: bool = False
    # Pictures are drawn from a copy of shN in half precision, rounded whenever shN has moved, while Adam moves numbers
    # in single precision: half as much is read, 2 (K - 1) 3 bytes a Gaussian more are held, and colors are rounded to a
    # part in 2000. On the gpu backend only. Gains most with a stride, as the copy then lasts for so many steps.
    half_shN: bool = False
    # After each such share of the training rows are sorted so that neighbours in space are neighbours in memory (Morton
    # 1966), which caches like; it costs as much as an edit. 0: never.
    reorder_every: float = 0.0
    # On a GPU, too, the same bits each time, as the other backends always give: gradients are added in a fixed order,
    # which takes time, and memory for each pair of tile and splat.
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps must be at least 1; got {self.steps}")
        if not self.patience > 0:
            raise InputError(f"patience must be positive; got {self.patience}")
        if self.max_gaussians is not None and self.max_gaussians < 1:
            raise InputError(f"max_gaussians must be at least 1; got {self.max_gaussians}")
        if not 0 <= self.time_from < 1:
            raise InputError(f"time_from must be at least 0 and less than 1; got {self.time_from}")
        if self.shN_stride < 1:
            raise InputError(f"shN_stride must be at least 1; got {self.shN_stride}")
        if not 0 <= self.reorder_every <= 1:
            raise InputError(f"reorder_every must be a share of the training, 0 to 1; got {self.reorder_every}")
        if not 0 <= self.sh_degree <= 4:
            raise InputError(f"sh_degree must be 0 to 4; got {self.sh_degree}")

    @classmethod
    def make(
        cls,
        strategy: Literal["adaptive", "mcmc"] = "adaptive",
        quality: bool = False,
        steps: int | None = None,
        max_gaussians: int | None = None,
        seed: int = 0,
    ) -> "TrainConfig":
        """The configuration behind the command line's flags; quality takes about ten times as long.

        Raises InputError for an unknown strategy.
        """
        if strategy not in _DENSITIES:
            raise InputError(f"no strategy named {strategy!r} (known: {' '.join(_DENSITIES)})")
        config = cls(steps=steps, seed=seed, density=_DENSITIES[strategy]())
        if quality:
            config = replace(config, patience=QUALITY_STEPS, max_gaussians=QUALITY_GAUSSIANS)
        return config if max_gaussians is None else replace(config, max_gaussians=max_gaussians)

    def fixed(self, scene: Scene) -> "TrainConfig":
        """The same with the numbers in place that are left open for the scene to decide."""
        steps, gaussians, coarse = self.steps_for(scene), self.gaussians_for(scene), self.coarse_for(scene)
        return replace(self, steps=steps, max_gaussians=gaussians, coarse=coarse)

    def refining(self) -> "TrainConfig":
        """The same for Gaussians that are good already: full-size photos, all harmonics, no growth, slower rates.

        However large they are: a sky that another program learned may be wider than the cameras' extent.
        """
        density = self.density
        if isinstance(density, Adaptive | MCMC):
            density = replace(density, clamp_scale=LARGEST)
        return replace(self, time_from=REFINE_FROM, density=density)

    def extended(self, steps: int) -> "TrainConfig":
        """The same for so many steps more, which fall again from the highest rates of late training."""
        return replace(self, steps=steps, time_from=self.others_from)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The configuration that `to_dict` made a dictionary of. Raises InputError when it is another one's."""
        try:
            density = dict(values["density"])
            coarse = values["coarse"]
            made = {
                **values,
                "density": _DENSITIES[density["name"]](**{k: _frozen(v) for k, v in density.items()}),
                "rates": Rates(**values["rates"]),
                "coarse": None if coarse is None else Coarse(**coarse),
            }
            return cls(**made)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"this training configuration was not written by this version of sfumato: {error}"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """In terms of JSON."""
        return {**asdict(self), "rates": self.rates._asdict()}

    def time_at(self, step: int, steps: int) -> float:
        """The time, 0 to 1, after so many of the steps."""
        return self.time_from + (1 - self.time_from) * (step / steps)

    def steps_for(self, scene: Scene) -> int:
        """How many steps to take: `steps`, or what the number of training photos asks for."""
        return self.steps or max(
            1, round((1 - self.time_from) * self.patience * max(MIN_STEPS, EPOCHS * len(scene.train)))
        )

    def gaussians_for(self, scene: Scene) -> int:
        """The hard cap: `max_gaussians`, or as many as the steps can settle, since each has 59 numbers to learn."""
        settled = round(GAUSSIANS_PER_STEP * (_pixels(scene) / USUAL) ** 0.25 * self.steps_for(scene))
        return self.max_gaussians or max(FEWEST_GAUSSIANS, min(MOST_GAUSSIANS, settled))

    def coarse_for(self, scene: Scene) -> Coarse:
        """When photos are small: `coarse`, or what their size asks for."""
        if self.coarse:
            return self.coarse
        if _pixels(scene) > VERY_LARGE:
            return Coarse(0.25, 0.65)
        return Coarse(0.15, 0.5) if _pixels(scene) > LARGE else Coarse(0.05, 0.2)

    def rates_at(self, time: float, extent: float) -> Rates:
        """Learning rates at a share of the training, for a scene of this extent in world units."""
        means = self.rates.means * extent * self.means_end**time
        late = max(0.0, (time - self.others_from) / (1 - self.others_from))
        others = [rate * self.others_end**late for rate in self.rates[1:]]
        return Rates(means, *others)

    def sh_degree_at(self, time: float) -> int:
        """The highest degree of spherical harmonics that is learned at a share of the training."""
        return min(self.sh_degree, int(time / self.sh_every)) if self.sh_every > 0 else self.sh_degree

    def settings_at(self, time: float, near: float) -> RenderSettings:
        """How pictures are rendered at a share of the training, from `near` world units on."""
        return RenderSettings(
            sh_degree=self.sh_degree_at(time),
            near=near,
            depth=False,
            probe=self.density.probe,
            most_pairs=self.most_pairs,
            deterministic=self.deterministic,
        )


def _frozen(value: Any) -> Any:
    """Lists as tuples: JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _pixels(scene: Scene) -> int:
    """Of the largest photo that is trained on."""
    return max((view.camera.width * view.camera.height for view in scene.train), default=0)
