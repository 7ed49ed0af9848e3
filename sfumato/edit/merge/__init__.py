"""Several splats to one: in one frame, around one origin, of one degree, and, when asked, laid upon each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from sfumato.core.asset import Asset
from sfumato.core.axes import matrix_between, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.edit.crop import keep
from sfumato.edit.merge.icp import Alignment, AlignOptions, align
from sfumato.edit.merge.seam import Seam, seam
from sfumato.edit.merge.similarity import Similarity, moved

__all__ = ["Joined", "MergeOptions", "merge"]


@dataclass(frozen=True)
class MergeOptions:
    """How splats become one.

    Parameters
    ----------
    align : bool
        Lay each splat upon those before it; else they are where their numbers and origins say.
    aligning : AlignOptions
        How; its `start` comes after what origins and units say.
    dedupe : bool
        Leave out what is there already: see `Seam.doubles`.
    """

    align: bool = False
    aligning: AlignOptions = field(default_factory=AlignOptions)
    dedupe: bool = False


@dataclass(frozen=True, eq=False)
class Joined:
    """What became of a splat that was added.

    Attributes
    ----------
    move : Similarity
        From its numbers, in the frame of the first, to those in the merged splat.
    seam : Seam
        How it meets what was there.
    alignment : Alignment or None
        How well it fits; None: it was not aligned.
    dropped : int
        Gaussians that were there already, and were left out.
    notes : tuple of str
        Sentences: what the splats disagree about, and who won.
    """

    move: Similarity
    seam: Seam
    alignment: Alignment | None = None
    dropped: int = 0
    notes: tuple[str, ...] = ()


def merge(
    assets: Sequence[Asset], options: MergeOptions | None = None, progress: Progress = silent
) -> tuple[Asset, list[Joined]]:
    """Make one splat of several, in the frame and around the origin of the first.

    Harmonics are filled up to the highest degree.

    Parameters
    ----------
    assets : sequence of Asset
        At least one; the first stays where it is.
    options : MergeOptions, optional
        How.
    progress : callable
        Told what is being done, as `progress(what, done, of)`.

    Returns
    -------
    merged : Asset
        With the Gaussians of all.
    joined : list of Joined
        What became of each but the first.

    Raises
    ------
    InputError
        When there is no splat, when some have colors of linear light and others of sRGB, or when one that is to be
        aligned has too little to go by.

    Examples
    --------
    >>> both, (joined,) = edit.merge([Asset(gaussians), Asset(edit.translate(gaussians, (9, 0, 0)))])
    >>> len(both), joined.seam.shared
    (40, 0)
    """
    options = options or MergeOptions()
    if not assets:
        raise InputError("merge takes at least one splat; got none")
    first, *others = assets
    degree = max(asset.gaussians.degree for asset in assets)
    whole = first.gaussians.with_degree(degree)
    antialiased, kernel = first.antialiased, first.kernel
    found = []
    for number, asset in enumerate(others, start=2):
        try:
            notes = _disagreements(first, asset)
            added, joined = _joined(whole, first, asset, options, progress)
        except InputError as error:
            raise InputError(f"splat {number} of {len(assets)}: {error}") from None
        antialiased = asset.antialiased if antialiased is None else antialiased
        kernel = kernel if asset.kernel == kernel else "ellipsoid"
        found.append(replace(joined, notes=notes))
        whole = Gaussians.cat([whole, added.with_degree(degree).to(whole.means)])
    merged = replace(
        first, gaussians=whole, antialiased=antialiased, kernel=kernel, format="", generator=None, notes=()
    )
    return merged, found


def _joined(
    whole: Gaussians, first: Asset, asset: Asset, options: MergeOptions, progress: Progress
) -> tuple[Gaussians, Joined]:
    """The Gaussians that are added to the whole, and how they came there."""
    gaussians = reframe(asset.gaussians, asset.axes, first.axes)
    move, alignment = _as_said(first, asset), None
    if options.align:
        given = options.aligning.start
        start = given.after(move) if given else move
        alignment = align(whole, gaussians, replace(options.aligning, start=start), progress)
        move = alignment.similarity
    gaussians = moved(gaussians, move)
    progress("looking at the seam", 0, 0)
    met = seam(whole, gaussians)
    if not options.dedupe:
        return gaussians, Joined(move, met, alignment)
    return keep(gaussians, ~met.is_double), Joined(move, met, alignment, met.doubles)


def _as_said(first: Asset, asset: Asset) -> Similarity:
    """The move from an asset's numbers to those of the first, as their origins and units have it, exactly."""
    scale = _ratio(first, asset)
    origin = matrix_between(asset.axes, first.axes) @ torch.tensor(asset.origin, dtype=torch.float64)
    shift = scale * origin - torch.tensor(first.origin, dtype=torch.float64)
    return Similarity(torch.eye(3, dtype=torch.float64), shift, scale)


def _ratio(first: Asset, asset: Asset) -> float:
    """Of the asset's unit to that of the first; 1 when one of them is unknown."""
    if first.meters_per_unit is None or asset.meters_per_unit is None:
        return 1.0
    return asset.meters_per_unit / first.meters_per_unit


def _disagreements(first: Asset, asset: Asset) -> tuple[str, ...]:
    if asset.color_space != first.color_space:
        raise InputError(
            f"splats to merge must have colors of one kind; the first has {first.color_space} and another "
            f"{asset.color_space}, which a splat cannot mix: train one of them again"
        )
    notes = []
    if asset.antialiased is not None and first.antialiased not in (None, asset.antialiased):
        kinds = [f"{'' if one.antialiased else 'not '}trained to be drawn antialiased" for one in (asset, first)]
        notes.append(f"it was {kinds[0]} and the first {kinds[1]}; the result is marked as the first")
    if asset.kernel != first.kernel:
        notes.append(f"it consists of {asset.kernel}s and the first of {first.kernel}s; all are kept as ellipsoids")
    if not math.isclose(ratio := _ratio(first, asset), 1):
        notes.append(f"its unit is {ratio:.6g} times that of the first, and it was scaled so")
    return tuple(notes)
