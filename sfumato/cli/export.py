"""`sfumato export`: a splat, or a run's, and the viewer, to one HTML file that opens anywhere."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sfumato.cli.flags import Count, parse
from sfumato.core.errors import InputError, SfumatoWarning

__all__ = ["Export", "main"]

SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Export:
    """A splat and its viewer in one HTML file to share, which needs no network."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT|RUN")]
    """The splat's file, or the folder that a training wrote, whose cameras then come along."""
    output: Annotated[Positional[Path], arg(metavar="OUT.html")]
    """The file to write."""
    sh_degree: Annotated[int, arg(metavar="D")] = 3
    """Most degrees of spherical harmonics to keep, 0 to 3: 20, 26, 36, 44 bytes a Gaussian."""
    max_gaussians: Count = None
    """Keep only the N most important Gaussians, by opacity times area."""
    title: Annotated[str | None, arg(metavar="T", help_behavior_hint="(default: name of the file or run)")] = None
    """The page's title."""
    start_camera: Annotated[
        str | None, arg(metavar="NAME|INDEX", help_behavior_hint="(default: its first held-out one)")
    ] = None
    """Camera of the run to begin at."""
    force: bool = False
    """Replace OUT.html."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Export, words)
    _check(flags)
    from sfumato.cli.console import patient
    from sfumato.cli.output import check_writable
    from sfumato.cli.splat import read_splat
    from sfumato.view.export import export, find_camera
    from sfumato.view.opened import page_of_run, splat_of
    from sfumato.view.page import Page

    splat = splat_of(flags.splat)
    page = page_of_run(flags.splat) if flags.splat.is_dir() else Page(flags.splat.stem)
    if flags.start_camera is not None:
        page = replace(page, start=find_camera(list(page.cameras), flags.start_camera))
    if flags.title is not None:
        page = replace(page, title=flags.title)
    check_writable(flags.output)
    gaussians = read_splat(splat).gaussians
    if gaussians.degree > 3:
        told = f"{splat} has spherical harmonics of degree {gaussians.degree}; a page shows them up to 3"
        warnings.warn(told, SfumatoWarning, stacklevel=1)
    with patient() as progress:
        done = export(flags.output, gaussians, page, flags.sh_degree, flags.max_gaussians, progress)
    each = done.scene_bytes / done.count
    print(
        f"{flags.output}: {done.bytes / 1e6:.1f} MB, of which {done.scene_bytes / 1e6:.1f} MB are the scene: "
        f"{done.count:,} Gaussian{'s' if done.count > 1 else ''} of degree {done.degree}, {each:.1f} bytes each"
    )
    print("open it in a browser (a double click will do); it needs no server and no network")
    return 0


def _check(flags: Export) -> None:
    if not 0 <= flags.sh_degree <= 3:
        raise InputError(f"--sh-degree must be 0 to 3; got {flags.sh_degree}")
    if flags.max_gaussians is not None and flags.max_gaussians < 1:
        raise InputError(f"--max-gaussians must be at least 1; got {flags.max_gaussians}")
    output = flags.output
    if output.is_dir():
        raise InputError(f"{output} must be a file; it is a folder")
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {output}: wanted a file that ends in {' or '.join(SUFFIXES)}")
    if output.exists() and not flags.force:
        raise InputError(f"{output} is there already; choose another name or add --force to replace it")
