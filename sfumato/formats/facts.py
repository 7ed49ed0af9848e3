"""What an Asset knows beyond its numbers to an object of plain values, for formats with private keys; and back."""

import math
from typing import Any

import torch

from sfumato.core.asset import Asset
from sfumato.core.axes import matrix_between

__all__ = ["KEY", "facts_of", "known_from", "turned"]

KEY = "sfumato"  # under which the facts lie where a format lets programs keep their own
_Three = tuple[float, float, float]


def facts_of(asset: Asset, axes: str) -> dict[str, Any]:
    """What differs from an Asset of which nothing is known; directions and places in the frame `axes`."""
    facts: dict[str, Any] = {}
    if asset.antialiased is not None:
        facts["antialiased"] = asset.antialiased
    if asset.kernel != "ellipsoid":
        facts["kernel"] = asset.kernel
    if asset.meters_per_unit is not None:
        facts["metersPerUnit"] = float(asset.meters_per_unit)
    if asset.up is not None:
        facts["up"] = list(turned(asset.up, asset.axes, axes))
    if any(asset.origin):
        facts["origin"] = list(turned(asset.origin, asset.axes, axes))
    return facts


def known_from(facts: object, source: str, target: str) -> dict[str, Any]:
    """Arguments of Asset in the frame `target` from facts in `source`; what is not as `facts_of` writes is ignored."""
    found = facts if isinstance(facts, dict) else {}
    known: dict[str, Any] = {}
    if isinstance(found.get("antialiased"), bool):
        known["antialiased"] = found["antialiased"]
    if found.get("kernel") == "disc":
        known["kernel"] = "disc"
    meters = _numbers([found.get("metersPerUnit")])
    if meters and meters[0] > 0:
        known["meters_per_unit"] = meters[0]
    for name in ("up", "origin"):
        three = _numbers(found.get(name))
        if three and len(three) == 3 and any(three):
            known[name] = turned((three[0], three[1], three[2]), source, target)
    return known


def turned(vector: _Three, source: str, target: str) -> _Three:
    """A vector's numbers in another frame, exactly."""
    x, y, z = (matrix_between(source, target) @ torch.tensor(vector, dtype=torch.float64)).tolist()
    return (x + 0.0, y + 0.0, z + 0.0)  # no -0.0


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list | tuple):
        return None
    good = all(isinstance(value, int | float) and abs(value) < math.inf for value in values)
    try:
        return [float(value) for value in values] if good else None
    except OverflowError:  # an int of 400 digits
        return None
