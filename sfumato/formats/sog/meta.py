"""The meta.json of a SOG, version 1 or 2, to tables that its images' bytes are looked up in, every value checked."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.core.sh import bases_of_degree
from sfumato.formats.facts import KEY
from sfumato.formats.sog.codebook import LEVELS

__all__ = ["ENTRIES_PER_ROW", "MOST_ENTRIES", "Json", "Meta", "Palette", "is_sog", "parse", "understand"]

ENTRIES_PER_ROW = 64  # of the palette, in a row of its image
MOST_COUNT = 16383**2  # pixels of the largest WebP
MOST_LOG = math.log1p(float(np.finfo(np.float32).max))  # of a place, as the format takes its logarithm
MOST_LETTERS = 255  # of names
MOST_ENTRIES = 1 << 16  # labels have 16 bits

_Table = NDArray[np.float32]


@dataclass(frozen=True)
class Palette:
    """What the higher harmonics are looked up in."""

    table: _Table  # (256,)
    files: tuple[str, ...]  # images of the entries, and of each Gaussian's label
    bases: int | None  # of the degrees above 0; None: as the width of the image tells (version 1)


@dataclass(frozen=True)
class Meta:
    """What a meta.json says."""

    count: int
    mins: NDArray[np.float64]  # (3,) sign(x) ln(1 + |x|) of the places
    maxs: NDArray[np.float64]
    means: tuple[str, ...]  # images of the low and high bytes
    scales: _Table  # (256, 3) log scales
    scale_files: tuple[str, ...]
    quat_files: tuple[str, ...]
    sh0: _Table  # (256, 3)
    logits: _Table | None  # (256,) of opacities; None: bytes are opacities themselves
    sh0_files: tuple[str, ...]
    shN: Palette | None
    model: str  # "", "antialiased", "2dgs" or what else there may be
    generator: str | None
    own: Any  # what sfumato keeps there, if anything, as formats.facts knows it


@dataclass(frozen=True)
class Json:
    """A value in a JSON file and where it stands; each way of taking it raises InputError when it is another kind."""

    path: Path
    place: str
    value: Any

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def __getitem__(self, key: str) -> "Json":
        if not isinstance(self.value, dict):
            raise self.unlike("an object")
        return Json(self.path, f"{self.place}.{key}" if self.place else key, self.value.get(key))

    def items(self) -> Iterator["Json"]:
        """The values of a list."""
        if not isinstance(self.value, list):
            raise self.unlike("a list")
        for index, value in enumerate(self.value):
            yield Json(self.path, f"{self.place}[{index}]", value)

    def text(self) -> str:
        """A string that fits into a sentence."""
        if not isinstance(self.value, str) or len(self.value) > MOST_LETTERS:
            raise self.unlike(f"a text of at most {MOST_LETTERS} letters")
        return self.value

    def integer(self, most: int) -> int:
        """An integer from 0 to `most`."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value <= most:
            raise self.unlike(f"an integer from 0 to {most}")
        return self.value

    def numbers(self, count: int, most: float = float(np.finfo(np.float32).max)) -> NDArray[np.float64]:
        """(count,) float64 numbers, none beyond `most` either way."""
        values = self.value if isinstance(self.value, list) else []
        fine = all(isinstance(value, float | int) and not isinstance(value, bool) for value in values)
        if len(values) != count or not fine or not all(abs(value) <= most for value in values):
            raise self.unlike(f"{count} numbers of at most {most:g}")
        return np.array(values, dtype=np.float64)

    def names(self, count: int) -> tuple[str, ...]:
        """`count` strings at least: the first so many."""
        found = tuple(item.text() for item in self.items())
        if len(found) < count:
            raise self.unlike(f"{count} names of files")
        return found[:count]

    def unlike(self, wanted: str) -> InputError:
        """What to raise when the value is not what was wanted."""
        said = "nothing" if self.value is None else json.dumps(self.value)
        said = said if len(said) <= 40 else f"{said[:30]}..."
        where = f"its {self.place}" if self.place else "it"
        return InputError(f"{self.path} is damaged: {where} must be {wanted}; got {said}; export it again")


def parse(path: Path, data: bytes) -> Json:
    """The bytes of a JSON file. Raises InputError when they are none."""
    try:
        return Json(path, "", json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is no JSON ({error}); copy or download it again") from None


def is_sog(meta: Json) -> bool:
    """Whether a JSON file is that of a SOG."""
    return all(key in meta for key in ("means", "scales", "quats", "sh0"))


def understand(meta: Json) -> Meta:
    """What a meta.json of either version says. Raises InputError for whatever is missing or of the wrong kind."""
    version = meta["version"].integer(1 << 31) if "version" in meta else 1
    if version > 2:
        raise InputError(
            f"{meta.path} is a SOG of version {version}; wanted 1 or 2: update sfumato, or export it again"
        )
    means, sh0 = meta["means"], meta["sh0"]
    shape = next(means["shape"].items(), means["shape"]) if version == 1 else meta["count"]
    return Meta(
        count=shape.integer(MOST_COUNT),
        mins=means["mins"].numbers(3, MOST_LOG),
        maxs=means["maxs"].numbers(3, MOST_LOG),
        means=means["files"].names(2),
        scales=_line(meta["scales"], 3) if version == 1 else _book(meta["scales"])[:, None].repeat(3, axis=1),
        scale_files=meta["scales"]["files"].names(1),
        quat_files=meta["quats"]["files"].names(1),
        sh0=_line(sh0, 4)[:, :3] if version == 1 else _book(sh0)[:, None].repeat(3, axis=1),
        logits=_line(sh0, 4)[:, 3] if version == 1 else None,
        sh0_files=sh0["files"].names(1),
        shN=_palette(meta["shN"], version),
        model=meta["model"].text() if "model" in meta else "",
        generator=meta["asset"]["generator"].text() if "asset" in meta and "generator" in meta["asset"] else None,
        own=meta[KEY].value,
    )


def _palette(meta: Json, version: int) -> Palette | None:
    if meta.value is None:
        return None
    if version == 1:
        low, high = (Json(meta.path, f"{meta.place}.{key}", [meta[key].value]).numbers(1) for key in ("mins", "maxs"))
        return Palette(_between(low, high)[:, 0], meta["files"].names(2), None)
    bands = meta["bands"].integer(3)
    return Palette(_book(meta), meta["files"].names(2), bases_of_degree(bands) - 1) if bands else None


def _book(meta: Json) -> _Table:
    """(256,) of a codebook, whose first value is null in old files: their writer's NaN, which readers replace so."""
    book = meta["codebook"]
    values = book.value
    if isinstance(values, list) and len(values) == LEVELS and _is_hole(values[0]):
        rest = Json(book.path, book.place, values[1:]).numbers(LEVELS - 1)
        return np.append(rest[0] + (rest[0] - rest[-1]) / (LEVELS - 1), rest).astype(np.float32)
    return book.numbers(LEVELS).astype(np.float32)


def _is_hole(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _line(meta: Json, channels: int) -> _Table:
    return _between(meta["mins"].numbers(channels), meta["maxs"].numbers(channels))


def _between(low: NDArray[np.float64], high: NDArray[np.float64]) -> _Table:
    """(256, channels) evenly from the low numbers to the high ones."""
    return (low + (high - low) * np.arange(LEVELS)[:, None] / (LEVELS - 1)).astype(np.float32)
