"""`sfumato sfm`: a folder of photos, or a video, to a COLMAP model of its cameras and points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from sfumato.cli.flags import Count, Input, Output, parse
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from sfumato.capture.sfm import PhotoRecord

__all__ = ["Sfm", "main"]

SHOWN = 12  # photos without a camera that are named; capture.csv names them all


@dataclass(frozen=True)
class Sfm:
    """Find where photos were taken, and write cameras and points as a COLMAP model."""

    input: Input
    """Folder of photos, or a video."""
    output: Annotated[Output, arg(metavar="SCENE")]
    """Folder for the model, and for the frames of a video in images/; `sfumato train` reads it."""
    frames: Count = None
    """Take N frames of a video, instead of as many as its motion asks for."""
    sequential: bool = False
    """The photos were taken in the order of their names, as frames of a video are."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Sfm, words)
    from sfumato.capture.sfm import solve
    from sfumato.capture.video import extract_frames, is_video
    from sfumato.cli.console import Stages
    from sfumato.cli.output import check_output

    check_output(flags.output, force=True, source=flags.input, files=())
    photos, sequential = flags.input, flags.sequential
    with Stages() as progress:
        if is_video(flags.input):
            photos, sequential = flags.output / "images", True
            extract_frames(flags.input, photos, flags.frames, progress, progress.note)
        elif flags.frames is not None:
            raise InputError(f"{flags.input} is no video, so there are no frames to choose; leave --frames out")
        found = solve(photos, flags.output, progress, note=progress.note, sequential=sequential)
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
