"""Checkpoints: the state of a training on the disk, so that a run survives whatever stops it."""

import errno
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.files import replacing_path, write_text
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.kernels.stages import Moments
from sfumato.train.config import TrainConfig
from sfumato.train.state import TrainingState

__all__ = ["KEPT", "Checkpoint", "Checkpoints", "scene_digest"]

KEPT = 2  # the newest may be damaged by what stopped the run
FORMAT = 1
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
WINDOWS_NO_ROOM = (39, 112)  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What one file pair holds."""

    state: TrainingState
    config: TrainConfig
    scene: str  # `scene_digest` of what was trained on


class Checkpoints:
    """A folder of checkpoints, the newest two: step-N.safetensors, and step-N.json that says it is complete.

    The JSON, written last, holds the other's SHA-256 and its own. Both appear whole or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: TrainingState, config: TrainConfig, scene: str) -> None:
        """Write a checkpoint, then remove the oldest ones. On a full disk the oldest one goes first.

        Later ones go first of all: damaged, they were passed over, and training took this road again. Raises OSError
        when there is no room even then, or the folder cannot be written.
        """
        self._remove([step for step in self._steps() if step > state.total])
        try:
            self._write(state, config, scene)
        except OSError as error:
            if error.errno not in NO_ROOM or len(self._steps()) < KEPT:
                raise
            self._remove(self._steps()[:-1])
            self._write(state, config, scene)
        self._remove(self._steps()[:-KEPT])
        self._remove_halves()

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, or None when there is none.

        Warns (SfumatoWarning) of damaged ones that are passed over. Raises InputError when all are damaged, or
        were written by a version of sfumato with another format.
        """
        problems = []
        for step in reversed(self._steps()):
            try:
                checkpoint = self._read(step)
            except _DamagedError as error:
                problems.append(f"{self._path(step)} {error}")
                continue
            for problem in problems:
                told = f"{problem}; going on from the one before, at step {checkpoint.state.total}"
                warnings.warn(told, SfumatoWarning, stacklevel=2)
            return checkpoint
        if problems:
            raise InputError(f"{'; '.join(problems)}; no whole checkpoint is left, so start again with --force")
        return None

    def _steps(self) -> list[int]:
        """Of the checkpoints that may be complete, ascending."""
        names = (path.stem.removeprefix("step-") for path in self.folder.glob("step-*.json"))
        return sorted(int(name) for name in names if name.isdecimal())

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.safetensors"

    def _remove(self, steps: list[int]) -> None:
        for step in steps:
            self._path(step).with_suffix(".json").unlink(missing_ok=True)  # first: then it is no checkpoint any more
            self._path(step).unlink(missing_ok=True)

    def _remove_halves(self) -> None:
        """Remove tensors without a description: a kill between two writes, or two removals, leaves them."""
        for path in self.folder.glob("step-*.safetensors"):
            if not path.with_suffix(".json").exists():
                path.unlink(missing_ok=True)

    def _write(self, state: TrainingState, config: TrainConfig, scene: str) -> None:
        path = self._path(state.total)
        with replacing_path(path) as beside:
            try:
                save_file(dict(_tensors(state)), beside)
            except SafetensorError as error:  # it wraps the system's error, number included, in words
                number = re.search(r"os error (\d+)", str(error))
                code = int(number[1]) if number else errno.EIO
                code = errno.ENOSPC if sys.platform == "win32" and code in WINDOWS_NO_ROOM else code
                raise OSError(code, str(error), str(path)) from None
            sha = _sha256(beside)
        about = {
            "format": FORMAT,
            "step": state.step,
            "earlier": state.earlier,
            "photos": state.photos,
            "seconds": state.seconds,
            "config": config.to_dict(),
            "scene": scene,
            "sha256": sha,
        }
        write_text(path.with_suffix(".json"), json.dumps({**about, "check": _check(about)}, indent=1) + "\n")

    def _read(self, step: int) -> Checkpoint:
        path = self._path(step)
        about = _about(path.with_suffix(".json"))
        if about["format"] != FORMAT:
            raise InputError(f"{path} was written by another version of sfumato; go on with that one")
        try:
            if _sha256(path) != about["sha256"]:
                raise _DamagedError("is damaged: its checksum is not the one it was written with")
            # copies: what is loaded stays tied to the file, which Windows then cannot remove
            tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise _DamagedError(f"cannot be read ({error})") from None
        parts = {prefix: _gaussians(tensors, prefix) for prefix in ("gaussians", "mean", "square")}
        state = TrainingState(
            step=about["step"],
            earlier=about["earlier"],
            photos=about["photos"],
            seconds=about["seconds"],
            gaussians=parts["gaussians"],
            moments=Moments(parts["mean"], parts["square"]),
            strategy={name[9:]: tensor for name, tensor in tensors.items() if name.startswith("strategy.")},
        )
        return Checkpoint(state, TrainConfig.from_dict(about["config"]), about["scene"])


def scene_digest(scene: Scene) -> str:
    """Of all that training sees but the pixels: names, cameras, splits, points, background."""
    digest = hashlib.sha256(repr((scene.background, scene.origin)).encode())
    for view in scene.views:
        camera = view.camera
        digest.update(f"{view.name}\0{view.split}\0{camera.width}x{camera.height}\n".encode())
        for tensor in (camera.viewmat, camera.K):
            digest.update(tensor.contiguous().numpy().tobytes())
    for tensor in (scene.points.xyz, scene.points.rgb):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


class _DamagedError(Exception):
    """What is wrong with a checkpoint, as the end of a sentence."""


def _tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    parts = {"gaussians": state.gaussians, "mean": state.moments.mean, "square": state.moments.square}
    for prefix, gaussians in parts.items():
        for name in Gaussians.names():
            yield f"{prefix}.{name}", getattr(gaussians, name).detach().cpu().contiguous()
    for name, tensor in state.strategy.items():
        yield f"strategy.{name}", tensor.cpu().clone()  # its own memory: safetensors refuses views of one tensor


def _gaussians(tensors: dict[str, Tensor], prefix: str) -> Gaussians:
    try:
        return Gaussians(**{name: tensors[f"{prefix}.{name}"] for name in Gaussians.names()})
    except KeyError as error:
        raise _DamagedError(f"has no tensor {error}") from None


def _about(path: Path) -> dict[str, Any]:
    """The JSON beside a checkpoint's tensors."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        check = about.pop("check")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _DamagedError(f"has a description that cannot be read ({path.name}: {error})") from None
    if check != _check(about):
        raise _DamagedError(f"has a damaged description ({path.name})")
    return dict(about)


def _check(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
