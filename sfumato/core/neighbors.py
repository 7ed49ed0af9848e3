"""Points to the distances of their nearest neighbours: exact, for millions of them, leaves of a k-d tree at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfumato.core.limits import usable_cores
from sfumato.core.threads import one_torch_thread

__all__ = ["neighbor_distances"]

NEIGHBORS = 3  # code of Kerbl et al. 2023
LEAF = 16  # points in a leaf, at most
BATCH = 1 << 13  # leaves whose points look for neighbours together
ALONE = 1 << 8  # points that look for them on their own: each may reach all leaves
TURNS = 64  # leaves that a leaf is compared with, at most: few have more in their reach, and waiting for them is slow
REACH = 2.0  # times the middle point's distance that a leaf looks around; who needs more looks alone


def neighbor_distances(xyz: Tensor) -> Tensor:
    """(M,) root mean square distance of each point (M, 3) to its three nearest others, in its unit; exact.

    With fewer than four points it is over those there are, and 1 for a point alone. Leaves of a k-d tree (Bentley
    1975) are compared whole, and only with those near enough to hold a neighbour.
    """
    M = len(xyz)
    if M == 1:
        return torch.ones(1)
    tree = _Tree.grow(xyz.detach().float())
    batches = torch.split(torch.arange(len(tree.rows)), BATCH)
    with one_torch_thread(), ThreadPoolExecutor(usable_cores(), thread_name_prefix="neighbors") as pool:
        parts = list(pool.map(lambda leaves: _nearest_of_leaves(tree, leaves), batches))
    best = torch.cat([squares for squares, _ in parts], dim=1)
    reach = torch.cat([limit for _, limit in parts])
    lone = ((tree.rows >= 0) & (best[-1] > reach[:, None])).nonzero()
    for start in range(0, len(lone), ALONE):
        chosen = lone[start : start + ALONE]
        best[:, chosen[:, 0], chosen[:, 1]] = _nearest_of_points(tree, chosen, best)
    found = best[:, tree.rows >= 0].T  # (M, 3) squares, the smallest first
    means = xyz.new_empty(M, dtype=torch.float32)
    means[tree.rows[tree.rows >= 0]] = found[:, : M - 1].mean(dim=1).sqrt()
    return means


@dataclass(frozen=True, eq=False)
class _Tree:
    """A balanced k-d tree: all leaves have the same number of places, some of which are empty."""

    rows: Tensor  # (L, S) of the points, -1 for none
    points: Tensor  # (3, L, S), infinite for none
    low: list[Tensor]  # of every level from the root on, (nodes, 3): the boxes of the points below
    high: list[Tensor]

    @classmethod
    def grow(cls, xyz: Tensor) -> "_Tree":
        """Halved again and again across the longer side of each node's box."""
        M, levels = len(xyz), max(0, (-(-len(xyz) // LEAF) - 1).bit_length())
        places = -(-M // 2**levels) * 2**levels
        rows = torch.cat([torch.arange(M), torch.full((places - M,), -1)])[None]
        padded = torch.cat([xyz, xyz.new_full((1, 3), torch.inf)])  # row -1
        for _ in range(levels):
            points = padded[rows]
            side = (_high(points) - _low(points)).argmax(dim=1)
            along = points.gather(2, side[:, None, None].expand(-1, rows.shape[1], 1))[:, :, 0]
            halves = np.argpartition(along.numpy(), rows.shape[1] // 2, axis=1)  # sorting takes many times longer
            rows = rows.gather(1, torch.from_numpy(halves)).reshape(2 * len(rows), -1)
        points = padded[rows]
        low, high = [_low(points)], [_high(points)]
        for _ in range(levels):
            low.append(low[-1].reshape(-1, 2, 3).amin(dim=1))
            high.append(high[-1].reshape(-1, 2, 3).amax(dim=1))
        return cls(rows, points.permute(2, 0, 1).contiguous(), low[::-1], high[::-1])

    def near(self, low: Tensor, high: Tensor, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs of a box (Q, 3) and a leaf that is at most sqrt(reach) away: (Q,) squares.

        Returns which box, which leaf and the square of their distance, (P,) each, the nearest first for each box.
        """
        box, node = torch.arange(len(low)), torch.zeros(len(low), dtype=torch.int64)
        for level in range(len(self.low)):
            if level:
                box, node = box.repeat_interleave(2), (2 * node[:, None] + torch.arange(2)).flatten()
            apart = torch.maximum(self.low[level][node] - high[box], low[box] - self.high[level][node])
            gaps = apart.clamp(min=0).square().sum(dim=1)
            kept = (gaps <= reach[box]).nonzero()[:, 0]
            box, node, gaps = box[kept], node[kept], gaps[kept]
        order = gaps.argsort(stable=True)
        order = order[box[order].argsort(stable=True)]
        return box[order], node[order], gaps[order]


def _low(points: Tensor) -> Tensor:
    return points.amin(dim=1)


def _high(points: Tensor) -> Tensor:
    return points.where(points.isfinite(), -torch.inf).amax(dim=1)


def _nearest_of_leaves(tree: _Tree, leaves: Tensor) -> tuple[Tensor, Tensor]:
    """(3, leaves, S) squares of the smallest distances, and up to what, (leaves,), those of a leaf are right."""
    own = tree.points[:, leaves]
    S = own.shape[2]
    best = own.new_full((NEIGHBORS, *own.shape[1:]), torch.inf)
    for place in range(S):
        squares = _squares(own, own[:, :, place : place + 1])
        squares[:, place] = torch.inf  # the point itself
        _insert(best, squares)
    reach = _reach(tree, leaves, best[-1])
    box, leaf, gaps = tree.near(tree.low[-1][leaves], tree.high[-1][leaves], reach)
    others = leaf != leaves[box]
    box, leaf, gaps = box[others], leaf[others], gaps[others]
    points, found = own.reshape(3, -1), best.view(NEIGHBORS, -1)
    for number, turn in enumerate(_in_turn(box)):
        turn = turn[gaps[turn] <= reach[box[turn]]]
        if not len(turn):
            break  # what follows is farther
        mine, theirs = box[turn], leaf[turn]
        if number == TURNS:
            reach[mine] = gaps[turn]
            break
        low, high = tree.low[-1][theirs].T[:, :, None], tree.high[-1][theirs].T[:, :, None]
        pair, spot = (_gaps(own[:, mine], low, high) < best[-1, mine]).nonzero().unbind(dim=1)
        row = mine[pair] * S + spot
        nearest = found[:, row]
        for squares in _squares(points[:, row, None], tree.points[:, theirs[pair]]).T.contiguous():
            _insert(nearest, squares)
        found[:, row] = nearest
        reach[mine] = torch.minimum(reach[mine], _reach(tree, leaves[mine], best[-1, mine]))
    return best, reach


def _nearest_of_points(tree: _Tree, places: Tensor, best: Tensor) -> Tensor:
    """(3, Q) the same of points, given by leaf and place (Q, 2), of which `best` (3, L, S) is at most too large."""
    row, points = tree.rows[places[:, 0], places[:, 1]], tree.points[:, places[:, 0], places[:, 1]]
    reach = best[-1, places[:, 0], places[:, 1]]
    found = points.new_full((len(places), NEIGHBORS), torch.inf)
    box, leaf, gaps = tree.near(points.T, points.T, reach)
    for turn in _in_turn(box):
        turn = turn[gaps[turn] <= reach[box[turn]]]
        if not len(turn):
            break
        squares = _squares(points[:, box[turn], None], tree.points[:, leaf[turn]])
        squares[tree.rows[leaf[turn]] == row[box[turn], None]] = torch.inf  # the point itself
        both = torch.cat([found[box[turn]], squares], dim=1)
        found[box[turn]] = both.topk(NEIGHBORS, largest=False).values
        reach[box[turn]] = torch.minimum(reach[box[turn]], found[box[turn], -1])
    return found.T


def _reach(tree: _Tree, leaves: Tensor, last: Tensor) -> Tensor:
    """(leaves,) squares: what all of a leaf's points need, (leaves, S), but for those far from the others."""
    last = last.where(tree.rows[leaves] >= 0, torch.nan)
    middle = last.nanmedian(dim=1).values.nan_to_num(nan=0, posinf=torch.inf)
    most = last.nan_to_num(nan=0, posinf=torch.inf).amax(dim=1)
    return torch.where(middle > 0, torch.minimum(most, REACH**2 * middle), most)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squares of the distances of (3, ...) points."""
    return (a - b).square().sum(dim=0)


def _gaps(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Squares of the distances of (3, ...) points to boxes."""
    return torch.maximum(low - points, points - high).clamp(min=0).square().sum(dim=0)


def _insert(best: Tensor, squares: Tensor) -> None:
    """The squares (...) among the three smallest (3, ...), in place."""
    for rank in range(NEIGHBORS):
        kept = torch.minimum(best[rank], squares)
        squares = torch.maximum(best[rank], squares)
        best[rank] = kept


def _in_turn(box: Tensor) -> Iterator[Tensor]:
    """The pairs of sorted boxes, so that each of the index tensors (P',) has a box at most once, in order."""
    counts = torch.bincount(box)
    counts = counts[counts > 0]
    starts = counts.cumsum(0) - counts
    for turn in range(int(counts.max()) if len(counts) else 0):
        still = counts > turn
        starts, counts = starts[still], counts[still]
        yield starts + turn
