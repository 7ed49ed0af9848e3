"""Triton's interpreter without a detour: the language is made ready once per launch, not per call of a helper."""

import functools
import inspect
from types import ModuleType
from typing import Any

__all__ = ["patch_language_once"]


def patch_language_once() -> bool:
    """Halve the time of interpreted kernels; True if Triton is as it must be for that, else nothing is changed.

    The interpreter replaces some hundred functions of triton.language before a kernel runs, and puts them back
    afterwards. It replaces them again wherever a kernel calls a helper, though they are what it makes of them already.
    """
    try:
        from triton.runtime import interpreter
    except ImportError:
        return False
    names = ("_patch_lang", "_LangPatchScope", "GridExecutor", "InterpretedFunction", "tl")
    patch = getattr(interpreter, "_patch_lang", None)
    if not all(hasattr(interpreter, name) for name in names) or list(inspect.signature(patch).parameters) != ["fn"]:
        return False
    if not hasattr(patch, "__wrapped__"):
        interpreter._patch_lang = _once_per_launch(interpreter, patch)
    return True


def _once_per_launch(interpreter: ModuleType, patch: Any) -> Any:
    ready: set[int] = set()  # modules of Triton's language that are patched until the launch ends

    @functools.cache
    def languages_of(fn: Any) -> frozenset[int]:
        """The modules of Triton's language that a function sees."""
        known = (interpreter.tl, interpreter.tl.core)
        return frozenset(id(value) for value in fn.__globals__.values() if any(value is module for module in known))

    @functools.wraps(patch)
    def patch_what_is_not(fn: Any) -> Any:
        languages = languages_of(fn)
        if languages and languages <= ready:
            return interpreter._LangPatchScope()  # nothing to put back
        scope = patch(fn)
        if not ready:  # the launch itself, not a helper that it calls
            restore = scope.restore
            scope.restore = lambda: (ready.clear(), restore())
        ready.update(languages)
        return scope

    return patch_what_is_not
