"""What a SOG says beyond its Gaussians to an Asset and back: the model, and the key "sfumato" of its meta.json."""

import math
from typing import Any, Literal

from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians
from sfumato.formats.sog_meta import Json, Meta

__all__ = ["own_of", "said_of"]

FARTHEST = 1e18  # units of an origin


def own_of(asset: Asset) -> dict[str, Any]:
    """What the format has no key for, as JSON: readers of other programs pass over it."""
    own = {
        "origin": asset.origin if any(asset.origin) else None,
        "up": asset.up,
        "meters_per_unit": asset.meters_per_unit,
        "color_space": asset.color_space if asset.color_space != "srgb" else None,
        "antialiased": asset.antialiased,
    }
    return {key: value for key, value in own.items() if value is not None}


def said_of(meta: Meta, gaussians: Gaussians) -> Asset:
    """The Gaussians with what the meta.json says of them. Raises InputError where that is of the wrong kind."""
    own = meta.own
    return Asset(
        gaussians,
        antialiased=_antialiased(meta),
        kernel="disc" if meta.model == "2dgs" else "ellipsoid",
        color_space=_color_space(own),
        meters_per_unit=_meters(own),
        up=_three(own, "up"),
        origin=_three(own, "origin") or (0.0, 0.0, 0.0),
        generator=meta.generator,
    )


def _antialiased(meta: Meta) -> bool | None:
    if "antialiased" in meta.own:
        told = meta.own["antialiased"]
        if not isinstance(told.value, bool):
            raise told.unlike("true or false")
        return told.value
    return True if meta.model == "antialiased" else None


def _color_space(own: Json) -> Literal["srgb", "linear"]:
    if "color_space" not in own:
        return "srgb"
    if own["color_space"].text() != "linear":
        raise own["color_space"].unlike("linear")
    return "linear"


def _meters(own: Json) -> float | None:
    if "meters_per_unit" not in own:
        return None
    told = own["meters_per_unit"]
    if isinstance(told.value, bool) or not isinstance(told.value, float | int) or not 0 < told.value < math.inf:
        raise told.unlike("a number above 0")
    return float(told.value)


def _three(own: Json, key: str) -> tuple[float, float, float] | None:
    if key not in own:
        return None
    x, y, z = own[key].numbers(3, FARTHEST).tolist()
    return (x, y, z)
