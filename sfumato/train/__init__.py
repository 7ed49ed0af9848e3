"""Render and photo to loss to Gaussians: training, its settings and its strategies."""

from sfumato.core.room import make_callable
from sfumato.train.config import TrainConfig
from sfumato.train.initialize import initialize
from sfumato.train.planning import plan_steps
from sfumato.train.trainer import Progressed, train

__all__ = ["Progressed", "TrainConfig", "initialize", "plan_steps", "train"]

make_callable(__name__, train)
