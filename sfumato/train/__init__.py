"""Render and photo to loss to Gaussians: training, its settings and its strategies."""

from sfumato.core.initialize import initialize
from sfumato.core.room import make_callable
from sfumato.train.checkpoint import Checkpoint, Checkpoints, scene_digest
from sfumato.train.config import TrainConfig
from sfumato.train.planning import plan_steps
from sfumato.train.progressed import Progressed
from sfumato.train.state import TrainingState
from sfumato.train.trainer import check_start, train

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Progressed",
    "TrainConfig",
    "TrainingState",
    "check_start",
    "initialize",
    "plan_steps",
    "scene_digest",
    "train",
]

make_callable(__name__, train)
