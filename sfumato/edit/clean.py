"""Gaussians, and what cameras see of them, to those that a scene is better without, each with a reason."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sfumato.core.check import check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.neighbors import neighbor_distances
from sfumato.edit.visibility import Visibility

__all__ = ["REASONS", "Criteria", "Findings", "clean", "inspect"]

# why a Gaussian is removed, in the order in which reasons are looked for: the first that holds is told
REASONS = {
    "not finite": "a number is not finite, so it is never drawn",
    "no rotation": "a rotation of length 0, so it is never drawn",
    "faint": "nearly transparent",
    "giant": "larger than the scene",
    "needle": "a spike through the scene",
    "isolated": "far from everything else for its size",
    "spoils": "the photos say that it is not there",
    "unseen": "no camera sees it, or hardly",
    "near": "in front of few cameras, nearer than what they look at",
    "lonely": "far from everything else for its size, and few cameras see it",
    "spike": "much longer than wide, and few cameras see it",
}
SIZE = 0.9  # of the opacity lies within one radius of the scene: what is farther may be sky
FEWEST = 10  # Gaussians are no scene: nothing is large, or far from the others, among fewer
LEAST_CAMERAS = 2  # are few, where they are no more than a third of all


@dataclass(frozen=True)
class Criteria:
    """What is too much for `inspect`; None looks for no such thing.

    The defaults cost trained scenes nothing, as benchmarks/clean.py measures, so they are bold only where cameras show
    that few pictures depend on it.

    Parameters
    ----------
    faint : float or None
        Opacity below which: 2 of 255; optimizers leave such rows behind.
    giant : float or None
        Largest standard deviation, in radii of the scene, above which.
    needle : float or None
        Longest to middle standard deviation above which, where ...
    length : float
        ... the longest is above so many radii of the scene: shorter ones draw edges.
    isolated : float or None
        Gap to the three nearest, in its largest standard deviation, or in typical gaps, above which.
    unseen : float or None
        Share of all blend weight that the least seen may make, taken together.
    spoils : float or None
        What it adds to the photos' squared error, as of `spoilage`, above which.
    few : float
        Share of the cameras up to which they are few; of six or more, two always are.
    near : float or None
        Depth, in median depths of what the camera sees, below which, where few cameras see it.
    lonely : float or None
        As isolated, where few cameras see it.
    spike : float or None
        As needle, of any length, where few cameras see it.

    Raises
    ------
    InputError
        When a number is below 0 or not finite.
    """

    faint: float | None = 0.008
    giant: float | None = 1.0
    needle: float | None = 30.0
    length: float = 0.5
    isolated: float | None = 10.0
    unseen: float | None = 5e-4
    spoils: float | None = 0.1
    few: float = 0.1
    near: float | None = 0.5
    lonely: float | None = 3.0
    spike: float | None = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value < float("inf"):
                raise InputError(f"{field.name} must be a number from 0 on, or None; got {value}")


@dataclass(frozen=True, eq=False)
class Findings:
    """Which Gaussians are to go, and why.

    Attributes
    ----------
    reasons : Tensor, (N,), int64
        The place in REASONS, from 1 on; 0 stays.
    """

    reasons: Tensor

    @property
    def removed(self) -> Tensor:
        """(N,) True for what is to go."""
        return self.reasons > 0

    @property
    def kept(self) -> Tensor:
        """(N,) True for what stays."""
        return self.reasons == 0

    def of(self, reason: str) -> Tensor:
        """Ask which Gaussians go for a reason.

        Parameters
        ----------
        reason : str
            One of REASONS.

        Returns
        -------
        Tensor, (N,), bool
            True where this is the first reason that was found.

        Raises
        ------
        InputError
            When there is no such reason.
        """
        if reason not in REASONS:
            raise InputError(f"no reason {reason!r} (known: {', '.join(REASONS)})")
        return self.reasons == list(REASONS).index(reason) + 1

    @property
    def counts(self) -> dict[str, int]:
        """How many go for each reason, in the order of REASONS; a Gaussian counts for its first."""
        counted = torch.bincount(self.reasons.cpu(), minlength=len(REASONS) + 1).tolist()
        return dict(zip(REASONS, counted[1:], strict=True))


def inspect(
    gaussians: Gaussians,
    criteria: Criteria | None = None,
    seen: Visibility | None = None,
    spoiled: Tensor | None = None,
) -> Findings:
    """Look for what a scene is better without, changing nothing.

    Floaters are what training invents where few photos contradict it (Warburg et al. 2023): in front of single cameras,
    or out where no camera looks.

    Parameters
    ----------
    gaussians : Gaussians
        N of them.
    criteria : Criteria, optional
        What is too much.
    seen : Visibility, optional
        What the training cameras see of these Gaussians; without it, only reasons that need no camera are looked for.
    spoiled : Tensor, (N,), optional
        What they spoil of the training photos, as `spoilage` finds; without it, photos are not asked.

    Returns
    -------
    Findings
        What is to go, and why.

    Raises
    ------
    InputError
        When `seen` or `spoiled` is of another number of Gaussians.

    Examples
    --------
    >>> found = edit.inspect(gaussians, edit.Criteria(faint=0.6), edit.visibility(gaussians, cameras))
    >>> kept = edit.keep(gaussians, found.kept)
    >>> found.counts["faint"] == int((gaussians.opacities < 0.6).sum())
    True
    """
    criteria = criteria or Criteria()
    if spoiled is not None:
        check_shape("spoiled", spoiled, ("N",), N=len(gaussians))
    if seen is not None and len(seen) != len(gaussians):
        raise InputError(f"seen must be of the same {len(gaussians):,} Gaussians; got {len(seen):,}")
    reasons = torch.zeros(len(gaussians), dtype=torch.int64, device=gaussians.means.device)
    drawn = gaussians.finite & (gaussians.quats != 0).any(dim=1)
    names = list(REASONS)
    reasons[~gaussians.finite] = names.index("not finite") + 1
    reasons[gaussians.finite & ~drawn] = names.index("no rotation") + 1
    rows = drawn.nonzero()[:, 0]
    if len(rows) < FEWEST:
        return Findings(reasons)
    found = torch.zeros_like(rows)
    for name, bad in _judged(gaussians[rows].detach(), rows, criteria, seen, spoiled):
        found[bad & (found == 0)] = names.index(name) + 1
    reasons[rows] = found
    return Findings(reasons)


def clean(
    gaussians: Gaussians,
    criteria: Criteria | None = None,
    seen: Visibility | None = None,
    spoiled: Tensor | None = None,
) -> Gaussians:
    """Leave out what `inspect` finds.

    Parameters
    ----------
    gaussians : Gaussians
        N of them.
    criteria : Criteria, optional
        What is too much.
    seen : Visibility, optional
        What the training cameras see of these Gaussians.
    spoiled : Tensor, (N,), optional
        What they spoil of the training photos.

    Returns
    -------
    Gaussians
        The others, in their order.

    Raises
    ------
    InputError
        As `inspect`.
    """
    return gaussians[inspect(gaussians, criteria, seen, spoiled).kept.nonzero()[:, 0]]


def _judged(
    gaussians: Gaussians, rows: Tensor, criteria: Criteria, seen: Visibility | None, spoiled: Tensor | None
) -> Iterator[tuple[str, Tensor]]:
    """Reason and (M,) True where it holds, in the order of REASONS, of Gaussians that can be drawn."""
    _, middle, longest = gaussians.scales.sort(dim=1).values.unbind(1)
    thinness = longest / middle.clamp(min=torch.finfo(middle.dtype).tiny)
    radius = _radius(gaussians)
    gap = _gap(gaussians, criteria, seen)
    if criteria.faint is not None:
        yield "faint", gaussians.opacities < criteria.faint
    if criteria.giant is not None:
        yield "giant", longest > criteria.giant * radius
    if criteria.needle is not None:
        yield "needle", (thinness > criteria.needle) & (longest > criteria.length * radius)
    if criteria.isolated is not None:
        yield "isolated", gap > criteria.isolated
    if spoiled is not None and criteria.spoils is not None:
        yield "spoils", spoiled[rows] > criteria.spoils
    if seen is None:
        return
    if criteria.unseen is not None:
        yield "unseen", _least(seen, criteria.unseen)[rows]
    few = (seen.cameras <= max(min(LEAST_CAMERAS, seen.count / 3), criteria.few * seen.count))[rows]
    if criteria.near is not None:
        yield "near", few & (seen.nearness[rows] < criteria.near)
    if criteria.lonely is not None:
        yield "lonely", few & (gap > criteria.lonely)
    if criteria.spike is not None:
        yield "spike", few & (thinness > criteria.spike)


def _gap(gaussians: Gaussians, criteria: Criteria, seen: Visibility | None) -> Tensor:
    """(M,) distance to the three nearest others in largest standard deviations, or typical such distances if larger.

    Zeros where nobody asks, for it takes a while.
    """
    means = gaussians.means
    if criteria.isolated is None and (criteria.lonely is None or seen is None):
        return torch.zeros_like(means[:, 0])
    gap = neighbor_distances(means.cpu()).to(means)
    return gap / gaussians.scales.amax(dim=1).clamp(min=gap.median().item())


def _radius(gaussians: Gaussians) -> float:
    """Distance from the middle of what is solid within which SIZE of the opacity lies; at least a bit more than 0."""
    weights = gaussians.opacities.double()
    middle = torch.stack([_quantile(axis, weights, 0.5) for axis in gaussians.means.double().T])
    away = (gaussians.means.double() - middle).norm(dim=1)
    return max(_quantile(away, weights, SIZE).item(), 1e-12)


def _quantile(values: Tensor, weights: Tensor, share: float) -> Tensor:
    """() the value below which that share of the weight lies."""
    order = values.argsort()
    summed = weights[order].cumsum(dim=0)
    place = torch.searchsorted(summed, summed[-1:] * share).clamp(max=len(values) - 1)
    return values[order[place]][0]


def _least(seen: Visibility, share: float) -> Tensor:
    """(N,) True for those seen least, by the camera that sees most of them, whose weights sum to that share of all."""
    order = seen.largest.argsort()
    summed = seen.total[order].double().cumsum(dim=0)
    least = torch.zeros_like(seen.seen)
    least[order] = summed <= share * seen.total.double().sum()
    return least
