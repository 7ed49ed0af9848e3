"""Adam: the moments of every stored number, and one step of the backend's kernel with them."""

from dataclasses import dataclass, replace

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import AdamStep, Backend, Moments, Rates, RenderSettings, Splats
from sfumato.train.edit import Edit

__all__ = ["Adam"]


@dataclass(frozen=True, eq=False)
class Adam:
    """The optimizer of Kingma and Ba 2015; a step works in place on large tensors and returns the next Adam."""

    moments: Moments
    count: int = 0  # steps taken
    shN_stride: int = 1  # k: shN moves in every k-th of them
    sparse: bool = False  # rows without a gradient stay

    def step(
        self,
        stages: Backend,
        gaussians: Gaussians,
        seen: tuple[Splats, Camera, RenderSettings],
        rates: Rates,
        sh_degree: int | None = None,
    ) -> "Adam":
        """Carry the gradients of the splats that were `seen` to the gaussians and move them, in place.

        Gradients on the gaussians' own fields (a penalty's) count too. Higher degrees than `sh_degree` stay.
        """
        splats, camera, settings = seen
        after = replace(self, count=self.count + 1)
        step = AdamStep(
            rates,
            after.count,
            sh_degree=sh_degree if after.moved_shN else 0,
            sparse=self.sparse,
            sh_count=None if self.shN_stride == 1 else max(1, after.count // self.shN_stride),
        )
        stages.adam_from_splats(gaussians, splats, camera, settings, self.moments, step)
        return after

    @property
    def moved_shN(self) -> bool:
        """True where the last step was one of those that move shN."""
        return self.count % self.shN_stride == 0

    def follow(self, edit: Edit) -> "Adam":
        """The moments go where their rows go; fresh rows and forgotten fields start from zero."""
        return replace(self, moments=Moments(*(edit.carry(moment) for moment in self.moments)))
