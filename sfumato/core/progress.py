"""How long work tells whoever waits: a function called with the stage's name, what is done and the total."""

from collections.abc import Callable

__all__ = ["Progress", "silent"]

Progress = Callable[[str, int, int], None]  # stage, done, total (0 when the total is unknown)


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
