"""A splat's file to Gaussians that can be drawn, with a word about those that cannot."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.core.errors import InputError, SfumatoWarning

if TYPE_CHECKING:
    from sfumato.core.gaussians import Gaussians

__all__ = ["read_splat"]


def read_splat(path: Path) -> "Gaussians":
    """The Gaussians of a file whose numbers are all finite; warns (SfumatoWarning) of others, which are left out.

    Raises InputError when the file cannot be read, or nothing in it can be drawn.
    """
    from sfumato import formats

    gaussians = formats.read(path)
    finite = gaussians.finite
    good, count = int(finite.sum()), len(gaussians)
    if not good:
        why = f"none of its {count:,} Gaussians has finite numbers" if count else "it holds no Gaussians"
        raise InputError(f"{path} shows nothing: {why}; give another splat")
    if good < count:
        told = f"{count - good:,} of {count:,} Gaussians of {path} have numbers that are not finite, and are left out"
        warnings.warn(told, SfumatoWarning, stacklevel=2)
        gaussians = gaussians[finite.nonzero()[:, 0]]
    return gaussians
