"""A trained cloud and the photos it never saw to numbers that carry their protocol, and to pictures."""

from sfumato.core.room import make_callable
from sfumato.evaluate.metrics import psnr, ssim
from sfumato.evaluate.report import Evaluation, ViewScore, evaluate, write_report

__all__ = ["Evaluation", "ViewScore", "evaluate", "psnr", "ssim", "write_report"]

make_callable(__name__, evaluate)
