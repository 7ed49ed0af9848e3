"""A condition in words, as "opacity < 0.05 and max_scale > 1", to which Gaussians meet it; no Python is run.

    or -> and -> not -> comparisons, which chain (0 < x < 1) -> + - -> * / -> unary - -> ** -> numbers, names, calls

by precedence climbing (Pratt 1973). What is read becomes a list of steps for a stack machine, so that nothing recurses
when it is evaluated, and Gaussians are taken in chunks, in float64, so that memory stays small.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.condition.properties import PROPERTIES, Properties
from sfumato.edit.condition.words import Word, fault, words_of
from sfumato.edit.crop import keep
from sfumato.edit.either import Splat, gaussians_of

__all__ = ["FUNCTIONS", "Condition", "matches", "remove", "select"]

_Kind = Literal["number", "truth"]
MOST_DEPTH = 40  # brackets, signs and nots inside each other
CHUNK = 1 << 17  # Gaussians at a time: a megabyte for each number on the stack

# name -> (fewest arguments, most arguments, what it does)
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Tensor]]] = {
    "abs": (1, 1, torch.abs),
    "sqrt": (1, 1, torch.sqrt),
    "log": (1, 1, torch.log),
    "exp": (1, 1, torch.exp),
    "min": (2, 8, lambda *values: _folded(torch.minimum, values)),
    "max": (2, 8, lambda *values: _folded(torch.maximum, values)),
}
# symbol -> (how tightly it binds, what it takes, what it gives, what it does)
_BINARY: dict[str, tuple[int, _Kind, _Kind, Callable[[Tensor, Tensor], Tensor]]] = {
    "or": (1, "truth", "truth", torch.logical_or),
    "and": (2, "truth", "truth", torch.logical_and),
    "<": (4, "number", "truth", torch.lt),
    "<=": (4, "number", "truth", torch.le),
    ">": (4, "number", "truth", torch.gt),
    ">=": (4, "number", "truth", torch.ge),
    "==": (4, "number", "truth", torch.eq),
    "!=": (4, "number", "truth", lambda a, b: (a < b) | (a > b)),  # of what is not a number nothing is true
    "+": (5, "number", "number", torch.add),
    "-": (5, "number", "number", torch.sub),
    "*": (6, "number", "number", torch.mul),
    "/": (6, "number", "number", torch.div),
    "**": (8, "number", "number", torch.pow),
}
_NOT, _SIGN, _COMPARED = 3, 7, 4
_Step = Callable[[list[Tensor], Properties], None]


def matches(gaussians: Gaussians, condition: "str | Condition") -> Tensor:
    """Ask which Gaussians meet a condition, as "opacity < 0.05 and max_scale > 1".

    Parameters
    ----------
    gaussians : Gaussians
        The splat.
    condition : str or Condition
        Names, functions and operators are those that `sfumato edit --help` lists; no Python is run.

    Returns
    -------
    Tensor, (N,), bool
        True where it holds. Comparisons with what is not a number are false.

    Raises
    ------
    InputError
        When the condition cannot be understood; it points at the place.

    Examples
    --------
    >>> edit.matches(gaussians, "opacity > 0.1 and 0 < x < 1").shape
    torch.Size([20])
    >>> edit.matches(gaussians, "opacity >> 1")
    Traceback (most recent call last):
        ...
    sfumato.core.errors.InputError: cannot read ... 'opacity >[here]> 1' in column 10: expected a number, a name or ...
    """
    read = Condition.read(condition) if isinstance(condition, str) else condition
    found = torch.zeros(len(gaussians), dtype=torch.bool, device=gaussians.means.device)
    for start in range(0, len(gaussians), CHUNK):
        found[start : start + CHUNK] = read.evaluate(Properties(gaussians[start : start + CHUNK].detach(), start))
    return found


def select(splat: Splat, condition: "str | Condition") -> Splat:
    """Keep the Gaussians that meet a condition.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    condition : str or Condition
        See `matches`.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the condition cannot be understood.

    Examples
    --------
    >>> solid = edit.select(gaussians, "opacity > 0.02 and max_scale < 1")
    """
    return keep(splat, matches(gaussians_of(splat), condition))


def remove(splat: Splat, condition: "str | Condition") -> Splat:
    """Keep the Gaussians that do not meet a condition.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    condition : str or Condition
        See `matches`.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When the condition cannot be understood.

    Examples
    --------
    >>> without_blue = edit.remove(gaussians, "blue > max(red, green) + 0.1")
    """
    return keep(splat, ~matches(gaussians_of(splat), condition))


@dataclass(frozen=True)
class Condition:
    """A condition that was read, to be asked of many splats: steps of a stack machine.

    Attributes
    ----------
    text : str
        As it was written.
    steps : tuple
        What the machine does.

    Examples
    --------
    >>> faint = edit.Condition.read("opacity < 0.05")
    >>> left = edit.remove(gaussians, faint)
    """

    text: str
    steps: tuple[_Step, ...] = field(repr=False)

    @classmethod
    def read(cls, text: str) -> "Condition":
        """Read a condition.

        Parameters
        ----------
        text : str
            As `matches` takes it.

        Returns
        -------
        Condition
            To be given to `matches`, `select` and `remove`.

        Raises
        ------
        InputError
            When it cannot be understood; it points at the place.
        """
        reader = _Reader(text)
        kind = reader.expression(0, 0)
        if reader.word.text:
            raise reader.fault(f"{reader.word.text!r} is more than a condition; expected and, or, or the end")
        if kind == "number":
            message = "this is a number; compare it with something, as in opacity < 0.5"
            raise fault(text, 0, message)
        return cls(text, tuple(reader.steps))

    def evaluate(self, properties: Properties) -> Tensor:
        """Ask it of Gaussians whose properties are given; `matches` does this for whole splats.

        Parameters
        ----------
        properties : Properties
            Of N Gaussians, by name (`edit.condition.properties`).

        Returns
        -------
        Tensor, (N,), bool
            True where it holds.
        """
        stack: list[Tensor] = []
        for step in self.steps:
            step(stack, properties)
        return stack[0].expand(len(properties))


class _Reader:
    """Words to steps, by precedence."""

    def __init__(self, text: str) -> None:
        self.text, self.steps = text, list[_Step]()
        self._words = words_of(text)
        self._at = 0

    @property
    def word(self) -> Word:
        """The next one."""
        return self._words[self._at]

    def fault(self, message: str) -> InputError:
        """The error at the next word."""
        return fault(self.text, self.word.column, message)

    def expression(self, least: int, depth: int) -> _Kind:
        """Everything from here on that binds more tightly than `least`."""
        if depth > MOST_DEPTH:
            raise self.fault(f"more than {MOST_DEPTH} brackets and signs are inside each other; write it shorter")
        start = self.word
        kind = self._first(depth)
        while (symbol := self.word.text) in _BINARY and _BINARY[symbol][0] > least:
            kind = (
                self._compared(start, kind, depth)
                if _BINARY[symbol][0] == _COMPARED
                else self._binary(start, kind, depth)
            )
        return kind

    def _binary(self, start: Word, kind: _Kind, depth: int) -> _Kind:
        symbol = self._next().text
        binds, takes, gives, function = _BINARY[symbol]
        self._check(start, kind, takes, symbol)
        right = self.word
        found = self.expression(binds - (symbol == "**"), depth + 1)  # 2**3**2 is 2**(3**2)
        self._check(right, found, takes, symbol)
        self.steps.append(_applied(function, 2))
        return gives

    def _compared(self, start: Word, kind: _Kind, depth: int) -> _Kind:
        """a < b < c is a < b and b < c."""
        for count in range(len(self._words)):
            if self.word.text not in _BINARY or _BINARY[self.word.text][0] != _COMPARED:
                break
            symbol = self._next().text
            if count == 0:
                self._check(start, kind, "number", symbol)
            right = self.word
            self._check(right, self.expression(_COMPARED, depth + 1), "number", symbol)
            self.steps.append(_chained(_BINARY[symbol][3], first=count == 0))
        self.steps.append(_dropped)
        return "truth"

    def _first(self, depth: int) -> _Kind:
        """A number, a name, a call, brackets, or a sign and what follows it."""
        word = self._next()
        if word.kind == "number":
            self.steps.append(_constant(float(word.text)))
            return "number"
        if word.text in ("-", "+", "not"):
            return self._signed(word, depth)
        if word.text == "(":
            kind = self.expression(0, depth + 1)
            self._close(word)
            return kind
        if word.kind == "name" and word.text not in _BINARY:
            return self._call(word, depth) if self.word.text == "(" else self._name(word)
        wanted = f"expected a number, a name or a bracket; got {word.text!r}"
        raise fault(self.text, word.column, wanted if word.text else "the condition ends too early")

    def _signed(self, word: Word, depth: int) -> _Kind:
        takes: _Kind = "truth" if word.text == "not" else "number"
        right = self.word
        found = self.expression(_NOT if takes == "truth" else _SIGN, depth + 1)
        self._check(right, found, takes, word.text)
        if word.text != "+":
            self.steps.append(_applied(torch.logical_not if takes == "truth" else torch.neg, 1))
        return takes

    def _name(self, word: Word) -> _Kind:
        if word.text in FUNCTIONS:
            raise fault(self.text, word.column, f"{word.text} is a function; write {word.text}(...)")
        if word.text not in PROPERTIES:
            raise self._unknown(word)
        self.steps.append(_looked_up(word.text))
        return "number"

    def _call(self, word: Word, depth: int) -> _Kind:
        if word.text not in FUNCTIONS:
            raise self._unknown(word)
        fewest, most, function = FUNCTIONS[word.text]
        bracket = self._next()
        count = 0
        while count == 0 or self.word.text == ",":
            if count:
                self._next()
            start = self.word
            self._check(start, self.expression(0, depth + 1), "number", word.text)
            count += 1
        self._close(bracket)
        if not fewest <= count <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise fault(
                self.text, word.column, f"{word.text} takes {wanted} number{'s' if most > 1 else ''}; got {count}"
            )
        self.steps.append(_applied(function, count))
        return "number"

    def _next(self) -> Word:
        word = self.word
        self._at += bool(word.text)  # the end stays
        return word

    def _close(self, bracket: Word) -> None:
        if self.word.text != ")":
            raise self.fault(f"expected ) for the bracket in column {bracket.column + 1}")
        self._next()

    def _check(self, start: Word, found: _Kind, wanted: _Kind, what: str) -> None:
        if found == wanted:
            return
        is_number = "this is a number, and {!r} needs a comparison, as in opacity < 0.5"
        is_truth = "this is true or false, and {!r} needs a number"
        raise fault(self.text, start.column, (is_number if found == "number" else is_truth).format(what))

    def _unknown(self, word: Word) -> InputError:
        import difflib

        known = [*PROPERTIES, *FUNCTIONS]
        near = difflib.get_close_matches(word.text.lower(), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {' '.join(known)}"
        return fault(self.text, word.column, f"no name {word.text!r}; {hint}")


def _constant(value: float) -> _Step:
    def step(stack: list[Tensor], properties: Properties) -> None:
        stack.append(torch.full((1,), value, dtype=torch.float64, device=properties.device))

    return step


def _looked_up(name: str) -> _Step:
    def step(stack: list[Tensor], properties: Properties) -> None:
        stack.append(properties[name])

    return step


def _applied(function: Callable[..., Tensor], count: int) -> _Step:
    def step(stack: list[Tensor], properties: Properties) -> None:
        arguments = stack[-count:]
        del stack[-count:]
        stack.append(function(*arguments))

    return step


def _chained(function: Callable[[Tensor, Tensor], Tensor], first: bool) -> _Step:
    """[..., truth so far unless first, a, b] to [..., truth, b]: b may be compared with what follows."""

    def step(stack: list[Tensor], properties: Properties) -> None:
        b, a = stack.pop(), stack.pop()
        truth = function(a, b)
        stack += [truth if first else stack.pop() & truth, b]

    return step


def _dropped(stack: list[Tensor], properties: Properties) -> None:
    stack.pop()


def _folded(function: Callable[[Tensor, Tensor], Tensor], values: tuple[Tensor, ...]) -> Tensor:
    found = values[0]
    for value in values[1:]:
        found = function(found, value)
    return found
