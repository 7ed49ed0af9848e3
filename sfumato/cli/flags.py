"""A verb's words to the dataclass that describes its flags."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

__all__ = ["Backend", "Count", "Input", "Output", "Seconds", "parse"]

_Flags = TypeVar("_Flags")

Input = Annotated[Positional[Path], arg(metavar="INPUT")]
Output = Annotated[Path, arg(aliases=["-o"], metavar="OUT")]
Count = Annotated[int | None, arg(metavar="N")]
Seconds = Annotated[float | None, arg(metavar="S")]
Backend = Literal["auto", "reference", "cpu"]


def parse(flags: type[_Flags], words: Sequence[str]) -> _Flags:
    """An instance of the dataclass `flags`, whose lower-case name is the verb's.

    Raises SystemExit with code 2 after saying which flag is wrong, with 0 after help.
    """
    return tyro.cli(flags, prog=f"sfumato {flags.__name__.lower()}", args=list(words), config=(FlagCreatePairsOff,))
