"""What a format has no place for, said once per kind of loss as it is written."""

import warnings
from collections.abc import Collection
from pathlib import Path

from sfumato.core.asset import Asset
from sfumato.core.errors import SfumatoWarning

__all__ = ["warn_clamped", "warn_lost"]

# fields of an Asset -> how a sentence calls them
_WORDS = {
    "origin": "origin",
    "antialiased": "note whether it is to be drawn antialiased",
    "kernel": "note that its Gaussians are flat discs",
    "color_space": "note that its colors are linear",
    "meters_per_unit": "meters per unit",
    "up": "up direction",
}
_PLAIN = {"origin": (0.0, 0.0, 0.0), "kernel": "ellipsoid", "color_space": "srgb"}


def warn_lost(path: Path, asset: Asset, name: str, sh_degree: int, keeps: Collection[str] = ()) -> None:
    """Warn (SfumatoWarning) of harmonics above `sh_degree`, and of what else the asset says beyond what `keeps` names.

    `name` is the format's. What the asset does not say, or says as every splat does, is no loss.
    """
    degree, count = asset.gaussians.degree, len(asset)
    if degree > sh_degree and count:
        told = f"the harmonics of {count:,} Gaussians are cut from degree {degree} to {sh_degree}"
        warnings.warn(f"{path}: {told}, which is all that {name} holds", SfumatoWarning, stacklevel=2)
    lost = [
        words
        for field, words in _WORDS.items()
        if field not in keeps and getattr(asset, field) is not None and getattr(asset, field) != _PLAIN.get(field)
    ]
    if lost:
        told = f"{name} has no place for the splat's {', nor for its '.join(lost)}"
        left = "it is left out" if len(lost) == 1 else "they are left out"
        warnings.warn(f"{path}: {told}; {left}", SfumatoWarning, stacklevel=2)


def warn_clamped(path: Path, what: str, clamped: int, count: int) -> None:
    """Warn (SfumatoWarning) that of `count` Gaussians some had numbers, `what`, that were moved to what fits."""
    if clamped:
        told = f"{clamped:,} of {count:,} Gaussians have {what}, and are given the nearest that fits"
        warnings.warn(f"{path}: {told}", SfumatoWarning, stacklevel=2)
