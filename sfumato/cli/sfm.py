"""`sfumato sfm`: a folder of photos to a COLMAP model of its cameras and points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from sfumato.cli.flags import Input, Output, parse

if TYPE_CHECKING:
    from sfumato.capture.sfm import PhotoRecord

__all__ = ["Sfm", "main"]

SHOWN = 12  # photos without a camera that are named; capture.csv names them all


@dataclass(frozen=True)
class Sfm:
    """Find out where photos were taken, and write the cameras and points as a COLMAP model."""

    input: Input
    """Folder of photos."""
    output: Annotated[Output, arg(metavar="SCENE")]
    """Folder for the model; `sfumato train` reads it."""
    sequential: bool = False
    """The photos were taken in the order of their names, as frames of a video are."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Sfm, words)
    from sfumato.capture.sfm import solve
    from sfumato.cli.console import Stages
    from sfumato.cli.output import check_output

    check_output(flags.output, force=True, source=flags.input, files=())
    with Stages() as progress:
        found = solve(flags.input, flags.output, progress, note=progress.note, sequential=flags.sequential)
    print(f"{found.registered} of {found.photos} photos registered")
    for line in _left_out([row for row in found.table if not row.registered]):
        print(line)
    print(f"{found.points:,} points, reprojection error {found.reprojection_error:.2f} pixels")
    print(f"every photo: {found.folder / 'contact.jpg'} and {found.folder / 'capture.csv'}")
    print(f"written to {found.folder}; next: sfumato train {found.folder} -o out")
    return 0


def _left_out(rows: "Sequence[PhotoRecord]") -> list[str]:
    """A line for each photo that has no camera, with what it has in common with others, and why."""
    width = max((len(row.name) for row in rows[:SHOWN]), default=0)
    lines = [
        f"  left out: {row.name:{width}}  {row.features:6,} features, shared with {row.matched:3} photos: {row.why}"
        for row in rows[:SHOWN]
    ]
    return lines + ([f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else [])
