"""`sfumato sfm`: a folder of photos to a COLMAP model of its cameras and points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from sfumato.cli.flags import Input, Output, parse

__all__ = ["Sfm", "main"]


@dataclass(frozen=True)
class Sfm:
    """Find out where photos were taken, and write the cameras and points as a COLMAP model."""

    input: Input
    """Folder of photos."""
    output: Annotated[Output, arg(metavar="SCENE")]
    """Folder for the model; `sfumato train` reads it."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Sfm, words)
    from sfumato.capture.sfm import solve
    from sfumato.cli.console import Stages
    from sfumato.cli.run import left_out

    with Stages() as progress:
        found = solve(flags.input, flags.output, progress)
    print(f"{found.registered} of {found.photos} photos registered{left_out(found.left_out)}")
    print(f"{found.points:,} points, reprojection error {found.reprojection_error:.2f} pixels")
    print(f"written to {found.folder}; next: sfumato train {found.folder} -o out")
    return 0
