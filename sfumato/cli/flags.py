"""A verb's words to the dataclass that describes its flags."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["LINE", "Backend", "Count", "Input", "Output", "Seconds", "command_line", "parse"]

_Flags = TypeVar("_Flags")

Input = Annotated[Positional[Path], arg(metavar="INPUT")]
Output = Annotated[Path, arg(aliases=["-o"], metavar="OUT")]
Count = Annotated[int | None, arg(metavar="N")]
Seconds = Annotated[float | None, arg(metavar="S")]
LINE = "line"  # in a run's config.json, among the flags: what to type for them
Backend = Literal["auto", "gpu", "cpu", "reference"]


def parse(flags: type[_Flags], words: Sequence[str]) -> _Flags:
    """An instance of the dataclass `flags`, whose lower-case name is the verb's.

    Raises SystemExit with code 2 after saying which flag is wrong, with 0 after help.
    """
    return tyro.cli(flags, prog=f"sfumato {flags.__name__.lower()}", args=list(words), config=(FlagCreatePairsOff,))


def command_line(flags: "DataclassInstance", without: Sequence[str] = ()) -> str:
    """What to type for these flags: those that differ from their defaults, `without` some."""
    words = ["sfumato", type(flags).__name__.lower()]
    for field in fields(flags):
        value = getattr(flags, field.name)
        if field.name in without or value == field.default:
            continue
        if field.name != "input":
            words.append({"output": "-o"}.get(field.name, "--" + field.name.replace("_", "-")))
        if value is not True:
            words.append(shlex.quote(str(value)))
    return " ".join(words)
