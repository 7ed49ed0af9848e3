"""Places to the nearest of other places, exactly, by a balanced k-d tree whose every step is done for all at once."""

import math

import torch
from torch import Tensor

__all__ = ["Nearest"]

LEAF = 8  # places in a leaf at least: fewer make more steps, more make more distances
AT_ONCE = 1 << 19  # pairs of a place and a leaf whose distances are in memory together: some 100 MB


class Nearest:
    """A k-d tree (Friedman, Bentley and Finkel 1977) over places (N, D), at least one and all of them finite."""

    def __init__(self, places: Tensor) -> None:
        self._places, count = places, len(places)
        self.depth = max(0, int(math.log2(count / LEAF))) if count > LEAF else 0
        leaves = 1 << self.depth
        size = -(-count // leaves)
        rows = torch.arange(leaves * size).clamp(max=count - 1)  # the last place fills what is left
        self._boxes: list[tuple[Tensor, Tensor]] = []
        for level in range(self.depth + 1):
            rows = rows.reshape(1 << level, -1)
            inside = places[rows]
            low, high = inside.amin(dim=1), inside.amax(dim=1)
            self._boxes.append((low, high))
            if level < self.depth:
                axis = (high - low).argmax(dim=1)
                keys = inside.gather(2, axis[:, None, None].expand(-1, rows.shape[1], 1))[..., 0]
                rows = rows.gather(1, keys.argsort(dim=1))
        self._rows = rows
        self._leaves = places[rows]

    def query(self, places: Tensor, near: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(M,) distances and (M,) int64 rows of what is nearest to places (M, D).

        near: rows (M,) of something that may be close, such as an earlier answer; it only saves time.
        """
        if near is None:
            leaf = self._descend(places)
            squares, slot = (self._leaves[leaf] - places[:, None]).square_().sum(dim=2).min(dim=1)
            best = self._rows[leaf, slot]
        else:
            squares, best = (places - self._places[near]).square_().sum(dim=1), near.clone()
        for part in torch.split(torch.arange(len(places)), AT_ONCE // 8):
            self._search(places, part, squares, best)
        return squares.sqrt(), best

    def _descend(self, places: Tensor) -> Tensor:
        """(M,) the leaf that is reached by always taking the nearer box."""
        node = torch.zeros(len(places), dtype=torch.int64)
        for level in range(1, self.depth + 1):
            left, right = 2 * node, 2 * node + 1
            node = torch.where(self._away(places, level, right) < self._away(places, level, left), right, left)
        return node

    def _away(self, places: Tensor, level: int, nodes: Tensor) -> Tensor:
        """(M,) squared distances to the boxes of nodes."""
        low, high = (bound[nodes] for bound in self._boxes[level])
        return torch.maximum(low - places, places - high).clamp_(min=0).square_().sum(dim=1)

    def _search(self, places: Tensor, part: Tensor, squares: Tensor, best: Tensor) -> None:
        """Improve squares and best of the places in part: down the tree with every box that may hold something."""
        who, node = part, torch.zeros_like(part)
        for level in range(1, self.depth + 1):
            who, node = who.repeat(2), torch.cat([2 * node, 2 * node + 1])
            may = self._away(places[who], level, node) < squares[who]
            who, node = who[may], node[may]
        for some, leaf in zip(torch.split(who, AT_ONCE // 8), torch.split(node, AT_ONCE // 8), strict=True):
            away = (self._leaves[leaf] - places[some][:, None]).square_().sum(dim=2)
            least, slot = away.min(dim=1)
            squares.scatter_reduce_(0, some, least, "amin")
            won = (least == squares[some]).nonzero()[:, 0]
            best[some[won]] = self._rows[leaf[won], slot[won]]
