"""Two clouds of colored places, wherever they lie and however large, to moves that may lay one upon the other.

Places are recognized by the colors around them and by how flat or long their surroundings are, which no move changes;
of three pairs at a time follows a move, and those that many other pairs agree with are worth a try.
"""

import torch
from torch import Tensor

from sfumato.edit.merge.similarity import Similarity, fit_many

__all__ = ["described", "guesses", "paired"]

AROUND = (16, 64, 256)  # neighbors that surroundings are made of
NAMELESS = 1e-6  # of a variance: below it, surroundings have no shape
TRIPLES = 200_000  # of pairs that are drawn
TRIED = 3000  # of them, whose moves are counted out
ALIKE = 1.25  # times that the three sides of a triple may differ in how much longer they are
NEAR = 0.03  # of the extent: a pair agrees with a move that brings it so near


def guesses(
    target: tuple[Tensor, Tensor], source: tuple[Tensor, Tensor], extent: float, scale: float | None, count: int
) -> list[Similarity]:
    """At most `count` moves target <- source, the most agreed upon first, each unlike those before it.

    target, source: places (M, 3) float64 and colors (M, 3); scale: that of the moves, when it is known. By sampled
    consensus (Fischler and Bolles 1981); the same clouds give the same moves.
    """
    rows, partners = paired(described(*target), described(*source))
    places, wanted = source[0][rows], target[0][partners]
    triples = _triples(places, wanted, scale)
    if not len(triples):
        return []
    moves = fit_many(places[triples], wanted[triples], scale)
    agreed = []
    for part in zip(*(torch.split(tensor, 250) for tensor in moves), strict=True):
        rotation, translation, factor = part
        at = factor[:, None, None] * places @ rotation.transpose(1, 2) + translation[:, None]
        agreed.append((at - wanted).norm(dim=2) < NEAR * extent)
    agrees = torch.cat(agreed)
    found: list[Similarity] = []
    for _ in range(count):
        best = int(agrees.sum(dim=1).argmax())
        voters = agrees[best].clone()
        if int(voters.sum()) < 4:  # three always agree with the move that was made of them
            break
        found.append(Similarity(moves[0][best], moves[1][best], float(moves[2][best])))
        agrees &= ~voters  # who has been heard votes no more: the next one is another move
    return found


def described(places: Tensor, colors: Tensor) -> Tensor:
    """(M, 8 per size of AROUND) what surrounds each place: mean and spread of colors, and the shape, each over all."""
    found = []
    for part in torch.split(torch.arange(len(places)), 500):
        near = torch.cdist(places[part], places).topk(min(AROUND[-1], len(places)), largest=False).indices
        columns = []
        for size in AROUND:
            around = colors[near[:, :size]].double()
            offsets = places[near[:, :size]]
            offsets = offsets - offsets.mean(dim=1, keepdim=True)
            variances = torch.linalg.eigvalsh(offsets.transpose(1, 2) @ offsets).clamp(min=0)
            shape = (variances[:, :2] / variances[:, 2:].clamp(min=NAMELESS * float(variances.amax()) + 1e-300)).sqrt()
            columns += [around.mean(dim=1), around.std(dim=1, correction=0), 0.3 * shape]
        found.append(torch.cat(columns, dim=1))
    return torch.cat(found)


def paired(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of source and rows of target that are described most alike, each by the other."""
    apart = torch.cdist(source.float(), target.float())
    to_target, to_source = apart.argmin(dim=1), apart.argmin(dim=0)
    rows = (to_source[to_target] == torch.arange(len(source))).nonzero()[:, 0]
    return rows, to_target[rows]


def _triples(places: Tensor, wanted: Tensor, scale: float | None) -> Tensor:
    """(T, 3) rows of pairs whose triangle has one shape on both sides."""
    generator = torch.Generator().manual_seed(0)
    if len(places) < 3:
        return torch.zeros(0, 3, dtype=torch.int64)
    rows = torch.randint(len(places), (TRIPLES, 3), generator=generator)
    sides = [(places[rows] - places[rows.roll(1, 1)]).norm(dim=2), (wanted[rows] - wanted[rows.roll(1, 1)]).norm(dim=2)]
    longer = sides[1] / sides[0].clamp(min=1e-300)
    least, most = longer.amin(dim=1), longer.amax(dim=1)
    alike = (sides[0].amin(dim=1) > 0) & (least > 0) & (most < ALIKE * least)
    if scale is not None:
        alike &= (most < ALIKE * scale) & (least > scale / ALIKE)
    return rows[alike.nonzero()[:TRIED, 0]]
