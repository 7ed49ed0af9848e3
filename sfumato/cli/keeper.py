"""When a training's checkpoints are written, and what happens when one cannot be."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfumato.train import Checkpoints, Progressed, TrainConfig

__all__ = ["Keeper", "Saving"]


@dataclass(frozen=True)
class Saving:
    """How often a checkpoint is written."""

    seconds: float = 30.0  # 0: none at all
    steps: int | None = None  # also after every so many


class Keeper:
    """Writes checkpoints as training goes on."""

    def __init__(
        self, checkpoints: "Checkpoints", config: "TrainConfig", scene: str, saving: Saving, say: Callable[[str], None]
    ) -> None:
        self._checkpoints, self._config, self._scene, self._saving, self._say = checkpoints, config, scene, saving, say
        self._last = perf_counter()
        self._warned = False
        self.saved: int | None = None  # the step of the last checkpoint that was written

    def wants(self, progressed: "Progressed") -> bool:
        """True when it is time, and after the last step, so that training can be extended."""
        if not self._saving.seconds:
            return False
        due = self._saving.steps is not None and progressed.step % self._saving.steps == 0
        return due or progressed.step == progressed.steps or perf_counter() - self._last >= self._saving.seconds

    def save(self, progressed: "Progressed") -> None:
        """Write a checkpoint. Where that fails, training goes on, and the person is told once."""
        if not self._saving.seconds or progressed.state is None:
            return
        try:
            self._checkpoints.save(progressed.state(), self._config, self._scene)
            self.saved = progressed.step
        except OSError as error:
            if not self._warned:
                folder = self._checkpoints.folder
                self._say(f"{folder}: no checkpoint could be written ({error.strerror or error}); training goes on")
            self._warned = True
        self._last = perf_counter()
