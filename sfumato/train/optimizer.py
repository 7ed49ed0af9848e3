"""Adam: the moments of every stored number, and one step of the backend's kernel with them."""

from dataclasses import dataclass

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
        step = AdamStep(rates, self.count + 1, sh_degree=sh_degree)
        stages.adam_from_splats(gaussians, splats, camera, settings, self.moments, step)
        return Adam(self.moments, self.count + 1)

    def follow(self, edit: Edit) -> "Adam":
        """The moments go where their rows go; fresh rows and forgotten fields start from zero."""
        return Adam(Moments(*(edit.carry(moment) for moment in self.moments)), self.count)
