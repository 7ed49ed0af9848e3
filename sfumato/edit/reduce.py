"""A splat to a smaller one: fewer spherical harmonics, fewer Gaussians, or an order that compresses well."""

import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.core.morton import morton_order
from sfumato.core.progress import Progress, silent
from sfumato.core.sh import MAX_DEGREE
from sfumato.core.threads import one_torch_thread
from sfumato.edit.either import Splat, changed, gaussians_of
from sfumato.edit.mixture import Mixture, Shapes

__all__ = ["decimate", "in_morton_order", "limit_degree"]

NEIGHBORS = 8  # along each of two curves through space, that each Gaussian may be merged with
AT_ONCE = 0.3  # of all Gaussians that are merged before costs are found again
CONSIDERED = 4  # cheapest mergers per Gaussian; the rest is not sorted
CHUNK = 1 << 13  # mergers whose cost is found at once: what the cache of a core holds


def limit_degree(splat: Splat, sh_degree: int) -> Splat:
    """Cut off spherical harmonics above a degree.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    sh_degree : int
        0 to 4; what has fewer keeps them.

    Returns
    -------
    Gaussians or Asset
        The kind that came in.

    Raises
    ------
    InputError
        When there is no such degree.
    """
    if not 0 <= sh_degree <= MAX_DEGREE:
        raise InputError(f"sh_degree must be 0 to {MAX_DEGREE}; got {sh_degree}")
    gaussians = gaussians_of(splat)
    return splat if gaussians.degree <= sh_degree else changed(splat, gaussians.with_degree(sh_degree))


def in_morton_order(splat: Splat) -> Splat:
    """Order the rows along a curve through space, on which neighbours follow each other: files then compress better.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.

    Returns
    -------
    Gaussians or Asset
        The kind that came in, with the same rows.
    """
    gaussians = gaussians_of(splat)
    return changed(splat, gaussians[morton_order(gaussians.means)])


def decimate(splat: Splat, count: int, progress: Progress = silent) -> Splat:
    """Merge Gaussians that are near and alike until `count` are left, which look as much as possible like all of them.

    The mergers that cost least come first: see `Shapes.costs` of edit/mixture.py. Each Gaussian is compared with those
    near it on two curves through space (Morton 1966). Rows that are not merged keep their bits.

    Parameters
    ----------
    splat : Gaussians or Asset
        The splat.
    count : int
        How many may be left, 1 or more.
    progress : callable
        Told what is being done, as `progress(what, done, of)`.

    Returns
    -------
    Gaussians or Asset
        The kind that came in, with at most `count` Gaussians.

    Raises
    ------
    InputError
        When `count` is less than 1, or a number is not finite.

    Examples
    --------
    >>> len(edit.decimate(gaussians, len(gaussians) // 2))
    10
    """
    gaussians = gaussians_of(splat)
    if count < 1:
        raise InputError(f"count must be at least 1 Gaussian; got {count}")
    if len(gaussians) <= count:
        return splat
    if not bool(gaussians.finite.all()):
        raise InputError("Gaussians must have finite numbers to be merged; remove the others first")
    mixture = Mixture.of(gaussians)
    many = len(mixture) - count
    with one_torch_thread():  # ten times faster than several, which wait for each other a hundred times a chunk
        while (left := len(mixture) - count) > 0:
            progress("merging", many - left, many)
            most = min(left, max(1, int(AT_ONCE * len(mixture))))
            mixture = mixture.merged(*_cheapest(Shapes.of(mixture), most))
    progress("merging", many, many)
    return changed(splat, mixture.gaussians(gaussians))


def _cheapest(shapes: Shapes, most: int) -> tuple[Tensor, Tensor]:
    """Rows of the mergers, `most` at most and at least one, that cost least; no row is in two of them."""
    first, second, costs = (torch.cat(column) for column in zip(*_candidates(shapes), strict=True))
    considered = min(len(costs), CONSIDERED * len(shapes))
    cheapest = costs.topk(considered, largest=False).indices
    return _disjoint(first[cheapest], second[cheapest], len(shapes), most)


def _candidates(shapes: Shapes) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(first, second, cost) of neighbours on two curves, each along other axes."""
    found = []
    generator = torch.Generator().manual_seed(0)
    skew = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q.to(shapes.means)
    for places in (shapes.means.T, shapes.means.T @ skew):
        order = morton_order(places)
        along = shapes[order]
        for step in range(1, min(NEIGHBORS, len(shapes) - 1) + 1):
            costs = [
                along[start : min(start + CHUNK, len(along) - step)].costs(along[start + step : start + step + CHUNK])
                for start in range(0, len(along) - step, CHUNK)
            ]
            found.append((order[:-step], order[step:], torch.cat(costs).float()))
    return found


def _disjoint(first: Tensor, second: Tensor, count: int, most: int) -> tuple[Tensor, Tensor]:
    """Of pairs of `count` rows, the best first, those of which neither row is in a better one that was taken."""
    ranks = torch.arange(len(first), device=first.device)
    pairs = []
    while len(ranks):
        best = torch.full((count,), len(first), device=first.device)
        best.scatter_reduce_(0, first[ranks], ranks, "amin")
        best.scatter_reduce_(0, second[ranks], ranks, "amin")
        won = ranks[(best[first[ranks]] == ranks) & (best[second[ranks]] == ranks)]
        pairs.append(won)
        free = torch.ones(count, dtype=torch.bool, device=first.device)
        free[first[won]] = False
        free[second[won]] = False
        ranks = ranks[free[first[ranks]] & free[second[ranks]]]
    chosen = torch.cat(pairs).sort().values[:most]
    return first[chosen], second[chosen]
