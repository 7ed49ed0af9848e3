"""A package that can be called: `sfumato.render(...)` works, and `sfumato.render.path` is still a module."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


def make_callable(room: str, function: Callable[..., Any]) -> None:
    """Let the imported package `room` be called like `function`.

    A room and its main verb share a name. Importing the room binds that name in `sfumato` to the package, whichever
    import comes first; a package that answers calls makes the order of imports irrelevant.
    """

    class Room(ModuleType):
        """A package with one main verb."""

        __call__ = staticmethod(function)
        __wrapped__ = staticmethod(function)  # the signature that help() and inspect show

    sys.modules[room].__class__ = Room
