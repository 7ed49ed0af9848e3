"""`sfumato segment`: a splat and labelled photos to a splat for each label, or to one with some of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from sfumato.cli.flags import Backend, Count, Output, parse
from sfumato.cli.reading import Reading
from sfumato.cli.writing import Writing, WritingFlags, write_splat
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.capture.labels import Labels
    from sfumato.core.asset import Asset
    from sfumato.core.camera import Camera
    from sfumato.core.progress import Progress
    from sfumato.core.scene import Scene

__all__ = ["Segment", "main"]

UNLABELLED = "unlabelled"  # the part of what no labelled photo shows


@dataclass(frozen=True)
class Segment:
    """Cut a splat into the things that masks of its photos show."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The splat's file."""
    output: Annotated[Output, arg(metavar="PARTS")]
    """Folder for a splat per label; with --keep or --remove, the file to write."""
    scene: Annotated[Path | None, arg(metavar="INPUT", help_behavior_hint="(required)")] = None
    """The dataset whose photos have masks, with the world axes of the splat."""
    masks: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(required)")] = None
    """Pictures named like the photos, whose gray levels, palette indices or colors are labels and black is background;
    or a folder per label with black and white ones. A few labelled photos may be enough."""
    keep: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="LABEL")] = ()
    """Write one splat of what has this label; may be repeated. background and unlabelled are labels, too."""
    remove: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="LABEL")] = ()
    """Write one splat without what has this label; may be repeated."""
    share: Annotated[float, arg(metavar="S")] = 0.0
    """What has its label by less than this share of the votes, 0 to 1, stays unlabelled."""
    unseen: Literal["apart", "nearest"] = "apart"
    """What no labelled photo shows, or --share leaves, becomes a part of its own, or joins the nearest that has one."""
    format: Annotated[str, arg(metavar="SUFFIX")] = ".ply"
    """Format of the files in PARTS."""
    downscale: Annotated[float, arg(metavar="D")] = 1.0
    """Divide the sides of the photos and masks by D."""
    frames: Count = None
    """How many frames of a video training took, if it was told."""
    backend: Backend = "auto"
    """What computes; auto: the GPU where one can, else the CPU. reference is slow, for checking."""
    writing: WritingFlags = field(default_factory=Writing)
    force: bool = False
    """Replace what PARTS holds."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Segment, words)
    source, masks = _check(flags)
    from sfumato.capture.labels import load_labels
    from sfumato.cli.console import Stages, patient
    from sfumato.cli.run import load, prepare
    from sfumato.cli.splat import read_splat
    from sfumato.edit.segment import join_nearest, label

    asset = read_splat(flags.splat, flags.writing.raw)
    scene = load(source, Reading(flags.downscale, 0, frames=flags.frames))
    with patient() as progress:
        labels = load_labels(source, masks, scene.views, flags.frames, progress)
    names = [*labels.names, UNLABELLED]
    for name in (*flags.keep, *flags.remove):
        if name not in names:
            raise InputError(f"{masks} has no label {name!r} (known: {', '.join(names)})")
    prepare(flags.backend)
    with Stages() as progress:
        votes = _votes(asset, scene, labels, flags.backend, progress)
    found = label(votes, flags.share)
    if flags.unseen == "nearest":
        found = join_nearest(asset.gaussians, found)
    found[found < 0] = len(names) - 1
    counts = found.bincount(minlength=len(names)).tolist()
    _show(asset, labels, scene, votes, found, names)
    if flags.keep or flags.remove:
        chosen = [name for name in names if (not flags.keep or name in flags.keep) and name not in flags.remove]
        rows = found.new_tensor([name in chosen for name in names]).bool()[found]
        if not rows.any():
            raise InputError(f"nothing of {flags.splat} has the label {' or '.join(chosen) or 'that is left'}")
        _write(flags.output, asset, rows, flags.writing)
    else:
        for place, (name, count) in enumerate(zip(names, counts, strict=True)):
            if count:
                _write(flags.output / _file_of(name, flags.format), asset, found == place, flags.writing)
    return 0


def _check(flags: Segment) -> tuple[Path, Path]:
    """The scene and the masks. Raises InputError before anything is read."""
    from sfumato import formats
    from sfumato.cli.output import check_writable
    from sfumato.cli.splat import check_target

    if flags.scene is None or flags.masks is None:
        missing = "--scene INPUT, the photos" if flags.scene is None else "--masks DIR, the labelled pictures of photos"
        raise InputError(f"segment must be given {missing}")
    if not 0 <= flags.share <= 1:
        raise InputError(f"--share must be from 0 to 1; got {flags.share:g}")
    if not flags.masks.is_dir():
        raise InputError(f"{flags.masks} must be a folder of masks; it is {_what(flags.masks)}")
    output = flags.output
    if flags.keep or flags.remove:
        check_target(output, flags.force, [flags.splat])
        return flags.scene, flags.masks
    formats.check_suffix(Path("part" + flags.format))
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} must be a folder for the parts; it is a file (add --keep LABEL to write one file)")
    if output.suffix and not output.is_dir():
        raise InputError(f"{output} would be a folder for the parts; leave {output.suffix} out, or add --keep LABEL")
    if output.is_dir() and any(output.iterdir()) and not flags.force:
        raise InputError(f"{output} is there already; choose another name or add --force to write into it")
    if output.resolve() in (flags.splat.resolve().parent, flags.masks.resolve(), flags.scene.resolve()):
        raise InputError(f"{output} is where the input is; choose another folder for the parts")
    check_writable(output)
    return flags.scene, flags.masks


def _what(path: Path) -> str:
    return "a file" if path.exists() else "not there"


def _votes(asset: "Asset", scene: "Scene", labels: "Labels", name: str, progress: "Progress") -> "Tensor":
    """(N, L) on the CPU."""
    from sfumato.cli.run import in_frame_of
    from sfumato.edit.segment import vote
    from sfumato.kernels.backends import choose
    from sfumato.kernels.stages import RenderSettings

    backend, device = choose(name)
    views = [view for view in scene.views if view in labels]

    def ballots() -> "Iterator[tuple[Camera, Tensor]]":
        for number, view in enumerate(views, start=1):
            yield view.camera, labels.of(view)
            progress("counting votes", number, len(views))

    settings = RenderSettings(near=scene.near, antialiased=asset.antialiased is True)
    gaussians = in_frame_of(scene, asset).to(device)
    return vote(gaussians, ballots(), settings, backend).cpu()


def _show(
    asset: "Asset", labels: "Labels", scene: "Scene", votes: "Tensor", found: "Tensor", names: Sequence[str]
) -> None:
    """A table: what has which label, and how sure that is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("label", style="bold")
    for heading in ("Gaussians", "of all", "of pictures", "agreed"):
        table.add_column(heading, justify="right")
    everything = votes.double().sum().clamp(min=1e-30)
    for place, name in enumerate(names):
        rows = found == place
        cast = votes[rows].double()
        agreed = cast[:, place].sum() / cast.sum() if place < votes.shape[1] and cast.sum() > 0 else None
        shares = [rows.double().mean(), cast.sum() / everything, *([] if agreed is None else [agreed])]
        said = [f"{100 * share:.1f} %" for share in map(float, shares)]
        table.add_row(name, f"{int(rows.sum()):,}", *said, *(["-"] if agreed is None else []))
    console = Console(highlight=False)
    console.print(table)
    count = sum(view in labels for view in scene.views)
    told = f"{len(asset):,} Gaussians by {count} labelled photo{'s' if count > 1 else ''} of {len(scene.views)}"
    console.print(f"\n{told}; agreed: the share of votes for the label", soft_wrap=True)


def _write(path: Path, asset: "Asset", rows: "Tensor", writing: Writing) -> None:
    part = replace(asset, gaussians=asset.gaussians[rows.nonzero()[:, 0]])
    path.parent.mkdir(parents=True, exist_ok=True)
    count = f"{len(part):,} Gaussian{'s' if len(part) > 1 else ''}"
    print(f"{path}: {count} ({write_splat(path, part, writing)})")


def _file_of(name: str, suffix: str) -> str:
    """A label comes from a folder's name, or is a number or a color, so it is a name of a file, too."""
    return re.sub(r"[^\w. -]", "_", name).strip(". ") + suffix
