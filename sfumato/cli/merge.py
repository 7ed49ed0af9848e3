"""`sfumato merge`: several splats to one, laid upon each other when asked, with a word about where they meet."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from sfumato.cli.flags import Output, parse
from sfumato.cli.writing import Writing, WritingFlags, describe, write_splat
from sfumato.core.errors import InputError, SfumatoWarning

if TYPE_CHECKING:
    from sfumato.edit.merge import Joined
    from sfumato.edit.merge.icp import Alignment
    from sfumato.edit.merge.seam import Seam

__all__ = ["Merge", "main"]

LITTLE = 0.1  # share of a splat that lies upon another: less is no ground to lay it by
FEW = 50  # pairs
NOTHING = 1e-6  # of the scene's radius: a move that nobody sees
BLIND = 0.5  # difference of colors of pairs, in that of pairs drawn at random: 0.2 where they fit, 0.7 where not


@dataclass(frozen=True)
class Merge:
    """Several splats in one file: the first stays where it is, the others come to it."""

    splats: Annotated[Positional[tuple[Path, ...]], arg(metavar="SPLAT SPLAT ...", help_behavior_hint="(two or more)")]
    """The files to merge, of any formats."""
    output: Output
    """The file to write; its suffix names the format."""
    align: bool = False
    """Lay each splat upon those before it, by what both show; else they are where their numbers say."""
    no_scale: bool = False
    """Aligning keeps sizes, as of scans in meters."""
    start: Literal["anywhere", "here"] = "anywhere"
    """Where aligning begins: anywhere finds splats that lie and are turned as they like; here is for those that
    nearly fit, and quicker."""
    dedupe: bool = False
    """Leave out Gaussians that lie where the splats before have as much, so that surfaces are not there twice."""
    writing: WritingFlags = field(default_factory=Writing)
    force: bool = False
    """Replace OUT."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Merge, words)
    _check(flags)
    from sfumato.cli.console import patient
    from sfumato.cli.splat import check_target, read_splat
    from sfumato.edit.merge import MergeOptions, merge
    from sfumato.edit.merge.icp import AlignOptions

    check_target(flags.output, flags.force, flags.splats)
    aligning = AlignOptions(scale=not flags.no_scale, anywhere=flags.start == "anywhere")
    with patient() as progress:
        assets = [read_splat(path, flags.writing.raw) for path in flags.splats]
        merged, added = merge(assets, MergeOptions(flags.align, aligning, flags.dedupe), progress)
        progress("writing", 0, 0)
        written = write_splat(flags.output, merged, flags.writing)
    print(f"{flags.splats[0]}: {describe(flags.splats[0], assets[0])}")
    for path, asset, joined in zip(flags.splats[1:], assets[1:], added, strict=True):
        print(f"{path}: {describe(path, asset)}")
        for line in _told(joined):
            print(f"  {line}")
        for note in [*joined.notes, *_doubts(joined.alignment)]:
            warnings.warn(f"{path}: {note}", SfumatoWarning, stacklevel=1)
    print(f"{flags.output}: {len(merged):,} Gaussians, degree {merged.gaussians.degree}, {written}")
    return 0


def _check(flags: Merge) -> None:
    if len(flags.splats) < 2:
        raise InputError(f"merge takes two splats or more; got {len(flags.splats)}")
    if not flags.align and (flags.no_scale or flags.start != "anywhere"):
        raise InputError(f"{'--no-scale' if flags.no_scale else '--start'} is about aligning; add --align, or leave it")


def _told(joined: "Joined") -> list[str]:
    lines = _fit(joined.alignment) if joined.alignment else []
    dropped = f"left out {joined.dropped:,} that were there already" if joined.dropped else ""
    return [
        *_move(joined),
        *lines,
        *_seam(joined.seam),
        *([dropped] if dropped else []),
    ]


def _move(joined: "Joined") -> list[str]:
    move, found = joined.move, joined.alignment
    if found is None and move.scale == 1 and not bool(move.translation.any()):
        return ["stays where it is"]
    least = NOTHING * found.extent if found else 0.0
    shift = " ".join(f"{value if abs(value) > least else 0:.6g}" for value in move.translation.tolist())
    if found is None:
        return [f"moved as its origin and unit say: scaled by {move.scale:.6g}, moved by {shift}"]
    turned = f"turned by {math.degrees(move.angle):.3f} degrees, scaled by {move.scale:.6g}"
    return [f"aligned: {turned}", f"         moved by {shift}"]


def _fit(alignment: "Alignment") -> list[str]:
    if not alignment.pairs:
        return ["fit: none: no centers of the two lie near each other"]
    apart = alignment.residual / alignment.spacing if alignment.spacing else 0.0
    return [
        f"fit: {alignment.pairs:,} pairs of centers are {alignment.residual:.3g} units apart, "
        f"{100 * alignment.residual / alignment.extent:.2g} % of the scene's radius",
        f"     and {apart:.2g} times the distance of neighbors",
        f"overlap: {100 * alignment.overlap:.0f} % of it lies upon what was there",
    ]


def _seam(seam: "Seam") -> list[str]:
    if not seam.shared:
        return ["seam: it touches nothing: no place holds Gaussians of both"]
    named = zip(("red", "green", "blue"), seam.color, strict=True)
    share = 100 * seam.doubles / max(1, seam.count)
    colors = ", ".join(f"{name} {round(100 * value, 1) + 0:+.1f}" for name, value in named)  # + 0: no -0.0
    return [
        f"seam: {seam.doubles:,} of its {seam.count:,} Gaussians ({share:.0f} %) lie where there is as much already",
        f"      its colors differ there by {100 * seam.color_apart:.1f} % ({colors})",
        f"      and it has {seam.density:.2f} Gaussians for each one that is there",
    ]


def _doubts(alignment: "Alignment | None") -> list[str]:
    if alignment is None:
        return []
    found = []
    if alignment.overlap < LITTLE:
        found.append(f"only {100 * alignment.overlap:.0f} % of it lies upon the rest")
    if alignment.pairs < FEW:
        found.append("hardly anything in it is like what was there")
    elif alignment.colors_apart > BLIND:
        found.append("what lies upon each other has colors that are hardly more alike than by chance")
    if not found:
        return []
    return [f"the alignment may be wrong: {' and '.join(found)}; look at the result, or place it by hand"]
