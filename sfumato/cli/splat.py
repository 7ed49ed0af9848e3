"""A splat's file to what can be drawn, with a word about the rest; and whether one may be written."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.core.errors import InputError, SfumatoWarning

if TYPE_CHECKING:
    from sfumato.core.asset import Asset

__all__ = ["check_target", "read_splat"]


def read_splat(path: Path, raw: bool = False) -> "Asset":
    """The splat in a file of any format, its Gaussians with finite numbers; warns (SfumatoWarning) of the rest.

    What the reader had to guess or leave out is warned of too. Raises InputError when the file cannot be read, or
    nothing in it can be drawn.
    """
    from sfumato import formats

    asset = formats.read_asset(path, raw)
    for note in asset.notes:
        warnings.warn(f"{path}: {note}", SfumatoWarning, stacklevel=2)
    finite = asset.gaussians.finite
    good, count = int(finite.sum()), len(asset)
    if not good:
        why = f"none of its {count:,} Gaussians has finite numbers" if count else "it holds no Gaussians"
        raise InputError(f"{path} shows nothing: {why}; give another splat")
    if good < count:
        told = f"{count - good:,} of {count:,} Gaussians of {path} have numbers that are not finite, and are left out"
        warnings.warn(told, SfumatoWarning, stacklevel=2)
        asset = replace(asset, gaussians=asset.gaussians[finite.nonzero()[:, 0]])
    return asset


def check_target(path: Path, force: bool, sources: Sequence[Path] = ()) -> None:
    """Refuse a splat's file that has no format, is there already, is one of the sources, or cannot be written.

    Changes nothing. Raises InputError in one sentence.
    """
    from sfumato import formats
    from sfumato.cli.output import check_writable

    formats.check_suffix(path)
    if path.is_dir():
        raise InputError(f"{path} must be a file; it is a folder")
    if any(path.resolve() == source.resolve() for source in sources):
        raise InputError(f"{path} is what is read; choose another name for what is written")
    if path.exists() and not force:
        raise InputError(f"{path} is there already; choose another name or add --force to replace it")
    check_writable(path)
