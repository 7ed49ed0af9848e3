"""`sfumato info`: what is in a splat file, as a table or as JSON."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from sfumato.cli.flags import parse
from sfumato.cli.writing import bytes_of, said_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.core.asset import Asset
    from sfumato.core.gaussians import Gaussians

__all__ = ["Info", "main", "summary"]

PERCENTILES = (1, 10, 50, 90, 99)


@dataclass(frozen=True)
class Info:
    """Say what is in a splat file."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The splat's file."""
    json: bool = False
    """As JSON, for programs."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Info, words)
    from sfumato import formats

    asset = formats.read_asset(flags.file)
    found = {"file": str(flags.file), "bytes": bytes_of(flags.file), **_said(asset), **summary(asset.gaussians)}
    if flags.json:
        print(json.dumps(found, indent=2))
    else:
        _show(flags.file, found)
    return 0


def summary(gaussians: "Gaussians") -> dict[str, Any]:
    """Counts, degree, extents and percentiles; rows with numbers that are not finite are in the counts only."""
    finite = gaussians.finite
    good = gaussians[finite.nonzero()[:, 0]]
    return {
        "gaussians": len(gaussians),
        "sh_degree": gaussians.degree,
        "nonfinite_rows": int((~finite).sum()),
        "unusable_rotations": int((gaussians.quats == 0).all(dim=1).sum()),
        "extent": {
            axis: {"min": low, "median": middle, "max": high}
            for axis, (low, middle, high) in zip(
                "xyz", (_percentiles(c, (0, 50, 100)) for c in good.means.T), strict=True
            )
        },
        "opacity": _named(_percentiles(good.opacities)),
        "scale": _named(_percentiles(good.scales.flatten())),
        "largest_scale": _named(_percentiles(good.scales.amax(dim=1))) if len(good) else _named([None] * 5),
    }


def _said(asset: "Asset") -> dict[str, Any]:
    """What the file says beyond its numbers."""
    names = ("format", "generator", "kernel", "antialiased", "color_space", "meters_per_unit", "up", "origin", "notes")
    return {name: getattr(asset, name) for name in names}


def _percentiles(values: "Tensor", shares: Sequence[float] = PERCENTILES) -> list[float | None]:
    """Nearest ranks, of any number of values: torch.quantile refuses more than 16 million."""
    ordered = values.sort().values
    ranks = [max(0, math.ceil(share / 100 * len(ordered)) - 1) for share in shares]
    return [ordered[rank].item() if len(ordered) else None for rank in ranks]


def _named(values: Sequence[float | None]) -> dict[str, float | None]:
    return {f"p{share}": value for share, value in zip(PERCENTILES, values, strict=True)}


def _peculiar(found: dict[str, Any]) -> Iterator[str]:
    """A line for each thing that most splats do not say."""
    if found["kernel"] == "disc":
        yield "discs: trained as 2D Gaussians, flat along their third axis"
    if found["antialiased"] is not None:
        yield "antialiased: " + ("yes, trained with opacity compensation" if found["antialiased"] else "no")
    if found["color_space"] == "linear":
        yield "colors are linear light"
    if found["meters_per_unit"] is not None:
        yield f"a world unit is {found['meters_per_unit']:g} m"
    if found["up"]:
        yield f"up is {_spaced(found['up'])}"
    if any(found["origin"]):
        yield f"zero lies at {_spaced(found['origin'])} of the source"


def _spaced(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:.12g}" for number in numbers)


def _show(path: Path, found: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    size = said_bytes(found["bytes"])
    by = f", written by {escape(found['generator'])}" if found["generator"] else ""
    console.print(f"[bold]{escape(path.name)}[/]  {found['format']}, {size}{by}")
    console.print(f"{found['gaussians']:,} Gaussians, spherical harmonics of degree {found['sh_degree']}")
    for line in _peculiar(found):
        console.print(line)
    for note in found["notes"]:
        console.print(f"[yellow]{escape(note)}[/]")
    for key, words in (
        ("nonfinite_rows", "numbers that are not finite"),
        ("unusable_rotations", "a rotation of length 0"),
    ):
        if found[key]:
            console.print(f"[yellow]{found[key]:,} with {words}: these are never drawn[/]")
    for title, names in (("extent", ("x", "y", "z")), ("percentile", ("opacity", "scale", "largest_scale"))):
        rows = {name: found["extent"][name] if title == "extent" else found[name] for name in names}
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, title_justify="left", pad_edge=False)
        table.add_column("world units" if title == "extent" else "percentile", style="bold")
        for heading in next(iter(rows.values())):
            table.add_column(heading.removeprefix("p"), justify="right")
        for name, values in rows.items():
            table.add_row(
                name.replace("_", " "), *["-" if value is None else f"{value:.4g}" for value in values.values()]
            )
        console.print()
        console.print(table)
