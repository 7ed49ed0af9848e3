"""A run that was made before, from its folder: how its photos were read, and where its training stands."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.cli.output import CHECKPOINTS
from sfumato.core.errors import InputError
from sfumato.core.files import write_text

if TYPE_CHECKING:
    from sfumato.core.scene import Scene
    from sfumato.train import Checkpoint, TrainConfig, TrainingState

__all__ = ["Earlier", "read_run", "write_run"]

_NAME = "config.json"


@dataclass(frozen=True, eq=False)
class Earlier:
    """What a run's folder says."""

    folder: Path
    command: dict[str, Any]  # the flags that the run was begun with
    config: "TrainConfig"
    checkpoint: "Checkpoint | None"  # None: it was stopped before the first one
    before: int = 0  # steps of the trainings that `config` extends

    def continued(self, scene: "Scene", extend: int | None) -> tuple["TrainConfig", "TrainingState | None"]:
        """The configuration and state to go on with. Raises InputError when the scene is another one, or there is
        nothing to go on with."""
        from sfumato.train import scene_digest

        if self.checkpoint is None:
            if extend is not None:
                raise InputError(f"{self.folder} has no checkpoint to extend; go on with --resume first")
            if (self.folder / "splat.ply").exists():  # beginning again would remove it
                raise InputError(
                    f"{self.folder} holds a splat, but no checkpoint to go on from; start again with --force"
                )
            return self.config, None
        if self.checkpoint.scene != scene_digest(scene):
            raise InputError(
                f"{self.folder} was trained on other photos, cameras or points than these; give the input it had, with "
                "the same flags, or start again with --force"
            )
        state, config = self.checkpoint.state, self.checkpoint.config
        if state.earlier < self.before == state.total:  # an extension that was stopped before its first checkpoint
            state, config = state.begun_again(), self.config
        if extend is None:
            return config, state
        if state.step < config.steps_for(scene):
            raise InputError(
                f"{self.folder} stands at step {state.step} of {config.steps_for(scene)}; go on with --resume, and "
                "extend it then"
            )
        return config.extended(extend), state.begun_again()


def write_run(
    folder: Path,
    command: Mapping[str, object],
    config: "TrainConfig",
    before: int = 0,
    usual: "TrainConfig | None" = None,
) -> None:
    """Write config.json: the flags and the configuration of a run, with a checksum.

    before: steps of the trainings that the configuration extends. usual: what the scene would get by itself, for those
    who compare.
    """
    from sfumato.evaluate.report import plain

    settings = {"command": plain(dict(command)), "train": plain(config.to_dict()), "before": before}
    beside = {} if usual is None else {"usual": plain(usual.to_dict())}
    text = json.dumps({**settings, "check": _check(settings), **beside}, indent=2)
    write_text(folder / _NAME, text + "\n")


def _check(settings: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def read_run(folder: Path) -> Earlier:
    """The run that a folder holds, its newest whole checkpoint included. Raises InputError when it holds none."""
    from sfumato.train import Checkpoints, TrainConfig

    path = folder / _NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no run to go on with: {path.name} is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); start again with --force") from None
    keys = ("command", "train", "before")
    command, trained, before = (record.get(key) if isinstance(record, Mapping) else None for key in keys)
    if not isinstance(command, dict) or not isinstance(trained, dict):
        raise InputError(f"{path} must hold the objects command and train; start again with --force")
    if record.get("check") != _check({"command": command, "train": trained, "before": before}):
        told = f"{path} is not as the run wrote it: its checksum is another one"
        raise InputError(f"{told}; copy it again, or start again with --force")
    try:
        config = TrainConfig.from_dict(trained)
    except InputError as error:
        raise InputError(f"{path}: {error}; start again with --force") from None
    return Earlier(folder, command, config, Checkpoints(folder / CHECKPOINTS).newest(), int(before or 0))
