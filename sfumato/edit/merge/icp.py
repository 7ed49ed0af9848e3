"""Two splats of which parts are alike to the similarity that lays one upon the other, by iterative closest points."""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.core.sh import rgb_from_sh0
from sfumato.core.threads import one_torch_thread
from sfumato.edit.merge.alike import guesses
from sfumato.edit.merge.similarity import Similarity, fit
from sfumato.edit.nearest import Nearest

__all__ = ["FAINT", "AlignOptions", "Alignment", "Cloud", "align", "sample", "spacing"]

FAINT = 0.1  # opacity: centers of fainter Gaussians lie anywhere
FEWEST = 10  # centers of each splat; a similarity has seven numbers
OUTSIDE = 3.0  # times the median distance of pairs: those that are farther apart are no pairs
SETTLED = 1e-6  # of the extent: the least move that goes on being followed
RECOGNIZED = 6000  # centers of each whose surroundings are looked at
GUESSES = 6  # moves that those suggest
CAP = 0.02  # of the extent: being farther apart makes a start no worse
COLORS_APART = 0.3  # difference of colors that counts like CAP


@dataclass(frozen=True)
class AlignOptions:
    """How two splats are laid upon each other.

    Parameters
    ----------
    scale : bool
        Find the scale too; else it stays that of `start`.
    anywhere : bool
        Look for a start wherever the two lie; else the only one is `start`.
    start : Similarity, optional
        A first guess, target <- source; None: they lie where they belong.
    most : int
        Centers of each splat to use at most.
    rounds : int
        At most so many rounds.
    """

    scale: bool = True
    anywhere: bool = True
    start: Similarity | None = None
    most: int = 50_000
    rounds: int = 100


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a splat goes, and how well it fits there.

    Attributes
    ----------
    similarity : Similarity
        target <- source.
    residual : float
        Root mean square distance of the pairs, units of the target.
    spacing : float
        Median distance from a center of the target to the next one, units of the target.
    colors_apart : float
        Of pairs, in that of pairs drawn at random: 1 is no better than chance.
    overlap : float
        Share of the source's centers that have one of the target within OUTSIDE spacings.
    extent : float
        Of the target: radius about its middle that holds nine in ten centers.
    pairs : int
        Centers that are each other's nearest, and near enough.
    rounds : int
        That were needed.
    """

    similarity: Similarity
    residual: float
    spacing: float
    colors_apart: float
    overlap: float
    extent: float
    pairs: int
    rounds: int


@dataclass(frozen=True, eq=False)
class Cloud:
    """Some centers of a splat, in the order that they were drawn in: a part from the first on is a smaller draw."""

    places: Tensor  # (M, 3) float64
    colors: Tensor  # (M, 3) of degree 0
    weights: Tensor  # (M,) opacities

    def first(self, count: int) -> "Cloud":
        """The first `count` of them."""
        return Cloud(self.places[:count], self.colors[:count], self.weights[:count])


def align(
    target: Gaussians, source: Gaussians, options: AlignOptions | None = None, progress: Progress = silent
) -> Alignment:
    """Find the similarity that moves `source` onto `target`, by what both show.

    Pairs are centers that are each other's nearest (Pajdla and Van Gool 1995), weighed by Tukey's biweight (1977) of
    their distance and by opacity; from them follows the similarity (Umeyama 1991), and from it new pairs (Besl and
    McKay 1992).

    Parameters
    ----------
    target : Gaussians
        Stays where it is.
    source : Gaussians
        Is to be moved; it is not changed.
    options : AlignOptions, optional
        How.
    progress : callable
        Told what is being done, as `progress(what, done, of)`.

    Returns
    -------
    Alignment
        The move, and how well it fits: an overlap near 0 or colors_apart near 1 say that it may be wrong.

    Raises
    ------
    InputError
        When one of the two has fewer than FEWEST centers of opacity FAINT or more to go by.

    Examples
    --------
    >>> found = edit.align(gaussians, edit.scale(gaussians, 2.0))
    >>> round(found.similarity.scale, 3), found.overlap
    (0.5, 1.0)
    """
    options = options or AlignOptions()
    with one_torch_thread():
        clouds = sample(target, options.most), sample(source, options.most)
        for name, cloud in zip(("the first splat", "the splat to move"), clouds, strict=True):
            if len(cloud.places) < FEWEST:
                told = f"{len(cloud.places)} Gaussians with finite numbers and opacities of at least {FAINT}"
                raise InputError(f"{name} has {told}; aligning takes {FEWEST} or more, so place it by hand")
        return _align(*clouds, options, progress)


def sample(gaussians: Gaussians, most: int) -> Cloud:
    """At most so many centers that are not faint, drawn by the bits of their colors.

    So the same Gaussian is drawn from both of two splats that hold it, wherever each has it: no move changes them.
    """
    gaussians = gaussians.detach().to("cpu")
    rows = (gaussians.finite & (gaussians.opacities >= FAINT)).nonzero()[:, 0]
    bits = gaussians.sh0[rows, 0].float().contiguous().view(torch.int32).long()
    draw = ((bits * torch.tensor([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D])).sum(dim=1) * 0x27D4EB2F165667C5) >> 20
    rows = rows[draw.argsort(stable=True)[:most]]
    return Cloud(
        gaussians.means[rows].double(), rgb_from_sh0(gaussians.sh0[rows, 0]), gaussians.opacities[rows].double()
    )


def spacing(places: Tensor) -> float:
    """Median distance from a place (M, 3) to the next one that is elsewhere, of the first 500; 0 when there is none."""
    if len(places) < 2:
        return 0.0
    away = torch.cat([torch.cdist(some, places) for some in torch.split(places[:500], 50)])
    away = away.where(away > 0, math.inf).amin(dim=1)
    found = away[away.isfinite()]
    return float(found.median()) if len(found) else 0.0


def _align(target: Cloud, source: Cloud, options: AlignOptions, progress: Progress) -> Alignment:
    middle = target.places.median(dim=0).values
    extent = float((target.places - middle).norm(dim=1).quantile(0.9)) or 1.0
    best = options.start or Similarity.identity()
    scale = None if options.scale else best.scale
    if options.anywhere:
        starts = [best, *_starts(target, source, scale, extent, progress)]
        for count, rounds, kept in ((600, 8, 4), (6000, 20, 1)):
            few = target.first(count), source.first(count)
            found = []
            for index, start in enumerate(starts):
                progress(f"trying starts with {count:,} centers", index + 1, len(starts))
                found.append(_refined(*few, start, scale, rounds, extent).similarity)
            scores = torch.tensor([_score(*few, similarity, CAP * extent) for similarity in found])
            starts = [found[index] for index in scores.argsort()[:kept].tolist()]
        best = starts[0]
    last = _refined(target, source, best, scale, options.rounds, extent, progress)
    apart = spacing(target.places)
    away, _ = Nearest(target.places).query(last.similarity(source.places))
    return Alignment(
        similarity=last.similarity,
        residual=last.residual,
        spacing=apart,
        colors_apart=_colors_apart(target.colors[last.near], source.colors[last.rows]),
        overlap=float((away <= OUTSIDE * apart).double().mean()),
        extent=extent,
        pairs=len(last.rows),
        rounds=last.rounds,
    )


class _Refined(NamedTuple):
    similarity: Similarity
    rows: Tensor  # (P,) of the source, and
    near: Tensor  # (P,) of the target: the pairs
    residual: float
    rounds: int


def _refined(
    target: Cloud,
    source: Cloud,
    start: Similarity,
    scale: float | None,
    most: int,
    extent: float,
    progress: Progress = silent,
) -> _Refined:
    trees = Nearest(target.places), Nearest(source.places)
    to_target = to_source = None
    found = _Refined(start, torch.empty(0).long(), torch.empty(0).long(), math.inf, 0)
    similarity = start
    for turn in range(1, most + 1):
        progress("aligning", turn, most)
        moved = similarity(source.places)
        away, to_target = trees[0].query(moved, to_target)
        _, to_source = trees[1].query(similarity.inverse()(target.places), to_source)
        mutual = (to_source[to_target] == torch.arange(len(moved))).nonzero()[:, 0]
        if len(mutual) < FEWEST:
            break
        limit = OUTSIDE * max(float(away[mutual].median()), SETTLED * extent)
        kept = mutual[away[mutual] < limit]
        near = to_target[kept]
        weights = (1 - (away[kept] / limit).square()).square()
        weights = weights * (source.weights[kept] * target.weights[near]).sqrt()
        residual = float((weights @ away[kept].square() / weights.sum()).sqrt())
        before, similarity = similarity, fit(source.places[kept], target.places[near], weights, scale)
        found = _Refined(similarity, kept, near, residual, turn)
        if float((similarity(source.places[kept]) - before(source.places[kept])).norm(dim=1).amax()) < SETTLED * extent:
            break
    return found


def _colors_apart(colors: Tensor, own: Tensor) -> float:
    """Median difference of the colors (P, 3) of pairs, in that of every color and one half the list further on."""
    if not len(colors):
        return 1.0
    paired = float((colors - own).norm(dim=1).median())
    return paired / max(float((colors - own.roll(len(own) // 2, 0)).norm(dim=1).median()), 1e-9)


def _starts(target: Cloud, source: Cloud, scale: float | None, extent: float, progress: Progress) -> list[Similarity]:
    """What surroundings that are alike suggest; and main axes upon each other, in all 24 ways that are rotations."""
    progress("recognizing surroundings", 0, 0)
    few, own = target.first(RECOGNIZED), source.first(RECOGNIZED)
    found = guesses((few.places, few.colors), (own.places, own.colors), extent, scale, GUESSES)
    (center, axes, size), (own_center, own_axes, own_size) = _axes(target), _axes(source)
    ratio = scale or (size / own_size if own_size > 0 and size > 0 else 1.0)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            mix = torch.zeros(3, 3, dtype=torch.float64)
            mix[range(3), order] = torch.tensor(signs, dtype=torch.float64)
            if (rotation := axes @ mix @ own_axes.T).det() > 0:
                found.append(Similarity(rotation, center - ratio * rotation @ own_center, ratio))
    return found


def _axes(cloud: Cloud) -> tuple[Tensor, Tensor, float]:
    """Middle, main axes as the columns of a rotation, and size, of the nine in ten that are not far out."""
    middle = cloud.places.median(dim=0).values
    away = (cloud.places - middle).norm(dim=1)
    inner = cloud.places[away <= away.quantile(0.9)]
    center = inner.mean(dim=0)
    _, axes = torch.linalg.eigh((inner - center).T @ (inner - center))
    axes[:, 0] *= axes.det().sign()
    return center, axes, float(away.median())


def _score(target: Cloud, source: Cloud, similarity: Similarity, cap: float) -> float:
    """Mean of how far each center of both is from the nearest of the other, in place and color, at most cap."""
    moved = similarity(source.places)
    total = 0.0
    for one, other, places, others in (
        (source, target, moved, target.places),
        (target, source, target.places, moved),
    ):
        away, near = Nearest(others).query(places)
        apart = (one.colors - other.colors[near]).norm(dim=1) * cap / COLORS_APART
        total += float(torch.hypot(away, apart.double()).clamp(max=cap).mean()) / cap
    return total / 2
