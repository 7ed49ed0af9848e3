"""`sfumato convert`: a splat in one format to the same splat in another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sfumato.cli.flags import Count, parse
from sfumato.cli.writing import Writing, WritingFlags, bytes_of, describe, write_splat
from sfumato.core.errors import InputError

__all__ = ["Convert", "main"]


@dataclass(frozen=True)
class Convert:
    """A splat in one format to the same splat in another, named by OUT's suffix."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The file, or folder, to read; its format is found by its content."""
    output: Annotated[Positional[Path], arg(metavar="OUT")]
    """The file to write, as b.spz."""
    sh_degree: Annotated[Count, arg(metavar="N", help_behavior_hint="(default: all that the format holds)")] = None
    """Keep spherical harmonics up to degree N, 0 to 4."""
    writing: WritingFlags = field(default_factory=Writing)
    force: bool = False
    """Replace OUT."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Convert, words)
    if flags.sh_degree is not None and not 0 <= flags.sh_degree <= 4:
        raise InputError(f"--sh-degree must be 0 to 4; got {flags.sh_degree}")
    from sfumato.cli.console import patient
    from sfumato.cli.splat import check_target, read_splat
    from sfumato.edit import limit_degree

    check_target(flags.output, flags.force, [flags.splat])
    with patient() as progress:
        asset = read_splat(flags.splat, flags.writing.raw)
        read = describe(flags.splat, asset)
        progress("writing", 0, 0)
        kept = asset if flags.sh_degree is None else limit_degree(asset, flags.sh_degree)
        written = write_splat(flags.output, kept, flags.writing)
    ratio = bytes_of(flags.splat) / max(1, bytes_of(flags.output))
    compared = f"{ratio:.1f} times smaller" if ratio >= 1 else f"{1 / ratio:.1f} times larger"
    print(f"{flags.splat} ({read}) -> {flags.output} ({written}): {compared}")
    return 0
