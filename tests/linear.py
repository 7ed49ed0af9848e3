"""What glTF and OpenUSD have in common: linear numbers in single precision, and room for all that an asset knows."""

from pathlib import Path

import torch

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians

from scenes import crowd


def check_round_trip(found: Gaussians, wanted: Gaussians) -> None:
    """Means and harmonics are the same bits; the others as near as a logarithm or a root and back leave them."""
    assert len(found) == len(wanted)
    assert found.degree == wanted.degree or not len(wanted)  # glTF has no attributes without rows
    if not len(wanted):
        return
    assert torch.equal(found.means, wanted.means)
    assert torch.equal(found.sh, wanted.sh)
    units = torch.nn.functional.normalize(wanted.quats, dim=1)
    assert (found.quats * (found.quats * units).sum(dim=1, keepdim=True).sign() - units).abs().max() < 3e-7
    assert (found.log_scales - wanted.log_scales).abs().max() < 1e-6
    assert (found.opacities - wanted.opacities).abs().max() < 2e-7


def check_known(path: Path, antialiased: bool) -> None:
    """All that an asset knows is there again after writing and reading it."""
    known = Asset(
        crowd(2, 0),
        antialiased=antialiased,
        kernel="disc",
        color_space="linear",
        meters_per_unit=0.5,
        up=(0.0, -1.0, 0.25),
        origin=(500_000.125, 4e6, 100.0),
    )
    formats.write(path, known)
    found = formats.read_asset(path)
    for name in ("antialiased", "kernel", "color_space", "meters_per_unit", "up", "origin"):
        assert getattr(found, name) == getattr(known, name), name
    assert (found.generator or "").startswith("sfumato ")
