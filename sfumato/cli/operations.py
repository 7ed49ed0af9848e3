"""The words of `sfumato edit` to operations in the order they were typed, and what each of them says of itself."""

import difflib
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from sfumato.cli.chain import Chain

__all__ = ["OPERATIONS", "Operation", "Verb", "operations_help", "parse_operations"]

_NUMBER = re.compile(r"[-+]?(?:\d|\.\d|inf|nan)", re.IGNORECASE)


@dataclass(frozen=True)
class Verb:
    """An operation that can be asked for."""

    flag: str
    takes: tuple[str, ...]  # what its numbers are called; "EXPR" stands for text
    group: str
    help: str
    run: str  # the method of Chain that does it
    least: int = -1  # how many must be given; -1: all
    words: tuple[str, ...] = ()  # that may stand instead of the numbers

    @property
    def form(self) -> str:
        """What to type."""
        shown = " ".join(self.takes)
        if self.least == 0:
            shown = f"[{shown}]"
        return " ".join([self.flag, "|".join([shown, *self.words])]).strip()


@dataclass(frozen=True)
class Operation:
    """An operation that was asked for."""

    verb: Verb
    values: tuple[float | str, ...]

    @property
    def said(self) -> str:
        """As it was typed."""
        values = (value if isinstance(value, str) else f"{value:.10g}" for value in self.values)
        return " ".join([self.verb.flag, *values])

    def apply(self, chain: "Chain") -> str:
        """Do it; returns what was done, in words."""
        done: str = getattr(chain, self.verb.run)(*self.values)
        return done


_XYZ = ("X", "Y", "Z")
OPERATIONS = (
    Verb("--translate", _XYZ, "place", "Move by world units.", "translate"),
    Verb("--rotate", (*_XYZ, "DEGREES"), "place", "Turn about an axis through zero.", "rotate"),
    Verb("--rotate-quaternion", ("QW", "QX", "QY", "QZ"), "place", "Turn about zero by a quaternion.", "turn"),
    Verb("--scale", ("S",), "place", "Make S times as large, about zero.", "scale"),
    Verb("--center", (), "place", "Move the middle of what is solid to zero.", "center"),
    Verb("--up", _XYZ, "place", "Turn so that this direction is up; auto: what the file or the cameras of --scene say.",
         "up", words=("auto",)),
    Verb("--crop-box", ("X0", "Y0", "Z0", "X1", "Y1", "Z1"), "keep a part",
         "What lies between the lowest corner of a box and its highest.", "crop_box"),
    Verb("--crop-turned-box", ("X0", "Y0", "Z0", "X1", "Y1", "Z1", "X", "Y", "Z", "DEGREES"), "keep a part",
         "The same with the box turned about an axis through its middle.", "crop_turned_box"),
    Verb("--crop-sphere", (*_XYZ, "R"), "keep a part", "What lies at most R from a point.", "crop_sphere"),
    Verb("--crop-camera-hull", ("GROW",), "keep a part",
         "What lies among the cameras of --scene and what they look at: the convex hull of them and of their pictures,"
         " held where their axes meet, or as far away as half of what they see; GROW times as large.",
         "crop_camera_hull", least=0),
    Verb("--crop-views", ("K",), "keep a part", "What at least K cameras of --scene have in their pictures.",
         "crop_views"),
    Verb("--select", ("EXPR",), "keep a part", 'What meets a condition, as "opacity > 0.1 and max_scale < 1".',
         "select"),
    Verb("--remove", ("EXPR",), "keep a part", "What does not meet it.", "remove"),
    Verb("--exposure", ("STOPS",), "color", "Twice the light for each stop; half of it for -1.", "exposure"),
    Verb("--contrast", ("F",), "color", "Colors F times as far from middle gray.", "contrast"),
    Verb("--saturation", ("F",), "color", "Colors F times as far from gray: 0 is gray.", "saturation"),
    Verb("--white-balance", ("WARMTH", "MAGENTA"), "color", "Stops of red against blue, and of both against green.",
         "white_balance", least=1),
    Verb("--gain", ("R", "G", "B"), "color", "Multiply each channel.", "gain"),
    Verb("--offset", ("R", "G", "B"), "color", "Add to each channel, which goes from 0 to 1.", "offset"),
    Verb("--recolor", ("R", "G", "B"), "color", "Paint in one color, 0 to 1, lighter and darker as it was.", "recolor"),
    Verb("--sh-degree", ("N",), "size", "Keep spherical harmonics up to degree N.", "sh_degree"),
    Verb("--decimate", ("N",), "size",
         "Merge what is near and alike until N Gaussians are left, or 50%; with --scene the held-out photos tell"
         " what that costs.", "decimate", words=("PERCENT%",)),
    Verb("--morton", (), "size", "Put neighbours next to each other, which compresses better.", "morton"),
    Verb("--where", ("EXPR",), "only some", "What follows is done only to those that meet the condition now;"
         " all ends this.", "where", words=("all",)),
)  # fmt: skip
_BY_FLAG = {verb.flag: verb for verb in OPERATIONS}

_EXAMPLES = """examples:
  sfumato edit a.ply -o b.ply --up 0 0 1 --remove "opacity < 0.02"
  sfumato edit a.ply -o b.spz --rotate 1 0 0 -90 --scale 0.1 --sh-degree 1
  sfumato edit a.ply -o b.ply --where "red > 2 * blue" --recolor 0.1 0.3 0.8
  sfumato edit a.ply -o b.ply --scene photos --crop-camera-hull --decimate 50%"""


def parse_operations(words: Sequence[str], others: Sequence[str]) -> tuple[list[Operation], list[str]]:
    """The operations among the words, in order, and the words that are left, for the flags named in `others`.

    Raises InputError for a flag that is neither, and for numbers that are missing or none.
    """
    operations, left = [], []
    at = 0
    while at < len(words):
        flag, equals, value = words[at].partition("=")
        verb = _BY_FLAG.get(flag.replace("_", "-"))
        at += 1
        if verb is None:
            if flag.startswith("-") and not _NUMBER.match(flag):
                _check_known(flag, others)
            left.append(words[at - 1])
            continue
        given = [value] if equals else []
        taken = _values(verb, [*given, *words[at:]])
        at += taken[1] - len(given)
        operations.append(Operation(verb, taken[0]))
    return operations, left


def operations_help() -> str:
    """All operations, by group, the names that conditions know, and examples."""
    from shutil import get_terminal_size

    width = min(114, get_terminal_size().columns)
    column = 46 if width > 100 else 30
    lines = ["operations, done in the order they are typed:"]
    for group in dict.fromkeys(verb.group for verb in OPERATIONS):
        lines += ["", f"  {group}"]
        for verb in OPERATIONS:
            if verb.group == group:
                lines += _row(verb.form, verb.help, column, width)
    from sfumato.edit.condition import FUNCTIONS
    from sfumato.edit.condition.properties import PROPERTIES

    lines += ["", "conditions (EXPR): numbers, the names below, + - * / **, brackets,"]
    lines += [f"  < <= > >= == !=, and, or, not, {' '.join(FUNCTIONS)}", ""]
    lines += [f"  {name:12} {what}" for name, (what, _) in PROPERTIES.items()]
    return "\n".join([*lines, "", _EXAMPLES])


def _row(form: str, text: str, column: int, width: int) -> list[str]:
    from textwrap import wrap

    head = f"    {form}"
    first = [] if len(head) < column - 1 else [head]
    lines = wrap(text, max(30, width - column))
    rest = [f"{'' if first or index else head:{column}}{line}" for index, line in enumerate(lines)]
    return first + rest


def _values(verb: Verb, words: Sequence[str]) -> tuple[tuple[float | str, ...], int]:
    """What the operation takes of the words after it, and how many of these."""
    if not verb.takes:
        return (), 0
    if verb.takes == ("EXPR",):
        if not words or words[0].startswith("--"):
            raise InputError(f'{verb.flag} takes a condition in quotes, as {verb.flag} "opacity < 0.05"')
        return (words[0],), 1
    if words and (words[0] in verb.words or (verb.flag == "--decimate" and words[0].endswith("%"))):
        return (words[0],), 1
    least = len(verb.takes) if verb.least < 0 else verb.least
    found: list[float | str] = []
    used = 0
    while used < len(words) and len(found) < len(verb.takes) and _NUMBER.match(words[used]):
        parts = words[used].replace(",", " ").split()  # "1 0 0" is as good as 1 0 0
        if len(found) >= least and not all(_is_number(part) for part in parts):
            break  # the name of a file, as 3rd.ply
        found += [_number(verb, part) for part in parts]
        used += 1
    if not least <= len(found) <= len(verb.takes):
        got = f"got {len(found)} numbers" + (f" before {words[used]!r}" if used < len(words) else "")
        raise InputError(f"{verb.flag} takes {verb.form.partition(' ')[2]}; {got}")
    return tuple(found), used


def _number(verb: Verb, word: str) -> float:
    if not _is_number(word):
        raise InputError(f"{verb.flag} takes {verb.form.partition(' ')[2]}; {word!r} is no number")
    return float(word)


def _is_number(word: str) -> bool:
    with suppress(ValueError):
        return not math.isnan(float(word))
    return False


def _check_known(flag: str, others: Sequence[str]) -> None:
    if flag in others or flag in ("-h", "-o"):
        return
    near = difflib.get_close_matches(flag, [*_BY_FLAG, *others], 1)
    hint = f"did you mean {near[0]}?" if near else "see sfumato edit --help"
    raise InputError(f"no operation or flag {flag}; {hint}")
