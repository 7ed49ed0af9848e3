"""What is done to Gaussians, to an Asset as well: the kind that comes in goes out."""

from dataclasses import replace
from typing import TypeVar, cast

from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians

__all__ = ["Splat", "changed", "gaussians_of"]

Splat = TypeVar("Splat", Gaussians, Asset)


def gaussians_of(splat: Gaussians | Asset) -> Gaussians:
    """Its Gaussians."""
    return splat.gaussians if isinstance(splat, Asset) else splat


def changed(splat: Splat, gaussians: Gaussians) -> Splat:
    """The same splat with other Gaussians."""
    asset: Gaussians | Asset = splat
    return cast(Splat, replace(asset, gaussians=gaussians) if isinstance(asset, Asset) else gaussians)
