"""The lod-meta.json of a streamed SOG to the runs of Gaussians that are its finest level, and what surrounds them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sfumato.core.errors import InputError
from sfumato.formats.sog.meta import Json

__all__ = ["Run", "Streamed", "is_lod", "understand_lod"]

MOST_LEVELS = 64
MOST_RUN = 1 << 40  # what counts are refused above before they meet those of the files


@dataclass(frozen=True)
class Run:
    """Gaussians that follow each other in a file."""

    file: str  # name of its meta.json
    start: int
    count: int


@dataclass(frozen=True)
class Streamed:
    """What to read of it."""

    runs: tuple[Run, ...]  # of the finest level, file by file
    environment: str | None  # name of a meta.json whose Gaussians belong to every level
    levels: int


def is_lod(meta: Json) -> bool:
    """Whether a JSON file is that of a streamed SOG."""
    return all(key in meta for key in ("lodLevels", "filenames", "tree"))


def understand_lod(meta: Json) -> Streamed:
    """What a lod-meta.json says, of version 1 or older. Raises InputError for what is missing or of the wrong kind."""
    if "version" in meta and meta["version"].integer(1 << 31) > 1:
        raise InputError(f"{meta.path} is a streamed SOG of version {meta['version'].value}; wanted 1: update sfumato")
    levels = meta["lodLevels"].integer(MOST_LEVELS)
    files = [PurePosixPath(name.text()).as_posix() for name in meta["filenames"].items()]
    if len({name.casefold() for name in files}) < len(files):
        raise InputError(f"{meta.path} is damaged: its filenames name a file twice; export it again")
    found = [run for node in _leaves(meta["tree"]) if (run := _finest(node, levels, files))]
    order = {name: place for place, name in enumerate(dict.fromkeys(run.file for run in found))}
    runs = sorted(found, key=lambda run: (order[run.file], run.start))
    if any(a.file == b.file and a.start + a.count > b.start for a, b in itertools.pairwise(runs)):
        raise InputError(f"{meta.path} is damaged: its tree names Gaussians of a file twice; export it again")
    return Streamed(tuple(runs), meta["environment"].text() if "environment" in meta else None, levels)


def _leaves(tree: Json) -> Iterator[Json]:
    """The nodes with levels, first to last, without recursion: the tree may be as deep as its writer liked."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if "lods" in node:
            yield node["lods"]
        if "children" in node:
            waiting.extend(reversed(list(node["children"].items())))


def _finest(lods: Json, levels: int, files: list[str]) -> Run | None:
    """The run of the lowest level that the node has: levels are alternatives."""
    level = next((str(level) for level in range(levels) if str(level) in lods), None)
    if level is None:
        return None
    run = lods[level]
    file = run["file"].integer(len(files) - 1)  # of no files, nothing is one
    count = run["count"].integer(MOST_RUN)
    return Run(files[file], run["offset"].integer(MOST_RUN), count) if count else None
