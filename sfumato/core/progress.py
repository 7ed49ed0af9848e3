"""How long work tells whoever waits: how far it is, and, in a sentence, what is worth knowing."""

from collections.abc import Callable

__all__ = ["Note", "Progress", "mute", "silent"]

Progress = Callable[[str, int, int], None]  # stage, done, total (0 when the total is unknown)
Note = Callable[[str], None]  # one sentence


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def mute(sentence: str) -> None:
    """Tell nobody."""
