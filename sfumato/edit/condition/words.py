"""A condition's text to its words, each with its place, and errors that point at one."""

import re
from typing import Literal, NamedTuple

from sfumato.core.errors import InputError

__all__ = ["Word", "fault", "words_of"]

MOST_LETTERS = 2000
AROUND = 30  # letters of a long condition that an error shows on either side
_PATTERN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<symbol>\*\*|<=|>=|==|!=|[-+*/<>(),])",
    re.ASCII,
)
_INSTEAD = {
    "=": "==",
    "&": "and",
    "|": "or",
    "!": "not",
    "^": "**",
    "~": "not",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "×": "*",
}


class Word(NamedTuple):
    """A number, a name, a symbol, or the end, which has no letters."""

    text: str
    kind: Literal["number", "name", "symbol", "end"]
    column: int  # of its first letter, from 0 on


def words_of(text: str) -> list[Word]:
    """All words, and the end. Raises InputError where there is none, or the text is too long."""
    if len(text) > MOST_LETTERS:
        raise InputError(f"a condition may have {MOST_LETTERS} letters; this one has {len(text)}")
    words, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _PATTERN.match(text, at)
        if match is None:
            instead = _INSTEAD.get(text[at])
            raise fault(text, at, f"{text[at]!r} means nothing here" + (f"; write {instead}" if instead else ""))
        words.append(_word(text, match))
        at = match.end()
    if not words:
        raise InputError("a condition is empty; write one, as opacity < 0.05")
    return [*words, Word("", "end", len(text))]


def fault(text: str, column: int, message: str) -> InputError:
    """The error: the message, and the condition with [here] before the letter in the column."""
    before, after = text[:column], text[column:]
    before = "..." + before[-AROUND:] if len(before) > AROUND else before
    after = after[:AROUND] + "..." if len(after) > AROUND else after
    place = " ".join(f"{before}[here]{after}".split())  # one line, however many the condition has
    return InputError(f"cannot read the condition {place!r} in column {column + 1}: {message}")


def _word(text: str, match: "re.Match[str]") -> Word:
    kind = match.lastgroup
    if kind == "number":
        follows = text[match.end() : match.end() + 1]
        if follows.isalnum() or follows in ("_", "."):
            raise fault(text, match.start(), "this is no number, nor a name, which begins with a letter")
        if float(match.group()) == float("inf"):
            raise fault(text, match.start(), "this number is too large")
        return Word(match.group(), "number", match.start())
    return Word(match.group(), "name" if kind == "name" else "symbol", match.start())
