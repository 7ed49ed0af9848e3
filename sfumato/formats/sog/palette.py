"""Rows of numbers to the few thousand rows that stand for them best: vector quantisation by k-means, in two levels.

Flat k-means (Lloyd 1982) compares every row with every entry: a million rows with 65536 entries take 10^13 operations
a round. Here both lie in coarse cells, and a row meets the entries of the nearest cells only (Jégou et al. 2011).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.limits import usable_cores
from sfumato.core.threads import one_torch_thread

__all__ = ["palette"]

MOST_CELLS = 256
COARSE_SAMPLE = 1 << 16  # rows that place the cells
COARSE_ROUNDS = 8
ROUNDS = 3  # six, and twice the cells, make the error 4 % smaller in twice the time
PROBES = 2  # nearest cells whose entries a row meets in a round
LAST_PROBES = 6  # and when its entry is chosen for good
AT_ONCE = 1 << 19  # distances held at a time by a thread, as its cache does

_Work = Callable[[Callable[[int], None], Iterable[int]], None]  # a function and its arguments, on all cores


@dataclass(frozen=True, eq=False)
class _Cells:
    """Coarse cells, and which rows lie in each."""

    centers: Tensor  # (C, D)
    near: Tensor  # (C, C) the cells by their distance from each, itself first
    rows: tuple[Tensor, ...]  # of each cell, the indices of its rows
    costs: Tensor  # (N,) squared distance of each row from its cell's center


def palette(rows: Tensor, size: int, seed: int = 0, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(P, D) entries, P = min(size, N), and (N,) int64 which of them stands for each of the (N, D) rows.

    The squared distance, weighted by (N,), is about as small as by flat k-means. The same bits for the same seed, on
    any number of threads. Entries that are alike are neighbours, which images of them are smaller for.
    """
    generator = torch.Generator().manual_seed(seed)
    with _all_cores() as work:
        cells = _filled(rows, _coarse(rows, size, generator, work), work)
        entries = _first_entries(rows, size, cells, weights, generator)
        for _ in range(ROUNDS if len(rows) > size else 0):
            entries = _moved(rows, entries, *_assign(rows, entries, cells, PROBES, work), weights)
        entries = _sorted(entries, cells.centers)
        return entries, _assign(rows, entries, cells, LAST_PROBES, work)[0]


@contextmanager
def _all_cores() -> Iterator[_Work]:
    """Work that is split the same way on any number of cores, each part by one thread: so its bits are the same."""
    with one_torch_thread(), ThreadPoolExecutor(usable_cores(), thread_name_prefix="palette") as pool:

        def work(function: Callable[[int], None], arguments: Iterable[int]) -> None:
            for _ in pool.map(function, arguments):
                pass

        yield work


def _coarse(rows: Tensor, size: int, generator: torch.Generator, work: _Work) -> Tensor:
    """(C, D) the centers of cells, by flat k-means of a sample."""
    count = max(1, min(MOST_CELLS, math.isqrt(min(size, len(rows)))))
    sample = rows[torch.randperm(len(rows), generator=generator)[:COARSE_SAMPLE]]
    centers = sample[:count]
    for _ in range(COARSE_ROUNDS):
        centers = _moved(sample, centers, *_nearest(sample, centers, work), None)
    return centers


def _filled(rows: Tensor, centers: Tensor, work: _Work) -> _Cells:
    """The cells with every row in the nearest."""
    labels, costs = _nearest(rows, centers, work)
    order = torch.argsort(labels, stable=True)
    sizes = torch.bincount(labels, minlength=len(centers)).tolist()
    near = torch.cdist(centers.double(), centers.double()).argsort(dim=1, stable=True)
    return _Cells(centers, near, torch.split(order, sizes), costs)


def _first_entries(
    rows: Tensor, size: int, cells: _Cells, weights: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Rows drawn without replacement, half by weight alone, half by weight times cost (Bachem et al. 2016).

    The drawing is that of Efraimidis and Spirakis 2006.
    """
    if len(rows) <= size:
        return rows.clone()
    weight = torch.ones(len(rows), dtype=torch.float64) if weights is None else weights.double()
    cost = weight * cells.costs
    chances = weight / weight.sum() + cost / cost.sum().clamp(min=1e-300)
    keys = torch.empty(len(rows), dtype=torch.float64).exponential_(generator=generator) / chances
    return rows[torch.argsort(keys)[:size]]


def _nearest(rows: Tensor, entries: Tensor, work: _Work) -> tuple[Tensor, Tensor]:
    """(N,) the nearest of all the entries, and its squared distance."""
    labels, costs = torch.empty(len(rows), dtype=torch.int64), torch.empty(len(rows))
    step = max(1, AT_ONCE // len(entries))

    def search(start: int) -> None:
        part = slice(start, start + step)
        labels[part], costs[part] = _nearest_of(rows[part], entries)

    work(search, range(0, len(rows), step))
    return labels, costs


def _assign(rows: Tensor, entries: Tensor, cells: _Cells, probes: int, work: _Work) -> tuple[Tensor, Tensor]:
    """(N,) the nearest of the entries in the `probes` cells nearest to the row's, and its squared distance."""
    homes, _ = _nearest(entries, cells.centers, work)
    order = torch.argsort(homes, stable=True)
    members = torch.split(order, torch.bincount(homes, minlength=len(cells.centers)).tolist())
    labels, costs = torch.zeros(len(rows), dtype=torch.int64), torch.zeros(len(rows))

    def search(cell: int) -> None:
        inside = cells.rows[cell]
        around = [members[other] for other in cells.near[cell].tolist() if len(members[other])][:probes]
        candidates = torch.cat(around)
        chosen = entries[candidates]
        for part in torch.split(inside, max(1, AT_ONCE // len(candidates))):
            which, costs[part] = _nearest_of(rows[part], chosen)
            labels[part] = candidates[which]

    work(search, (cell for cell, inside in enumerate(cells.rows) if len(inside)))
    return labels, costs


def _nearest_of(rows: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """|x - e|^2 = |x|^2 + 2 (|e|^2 / 2 - x e)."""
    half = torch.addmm(entries.square().sum(dim=1) / 2, rows, entries.T, alpha=-1)
    which = torch.from_numpy(half.numpy().argmin(axis=1))  # a tenth of the time of torch's
    return which, (rows.square().sum(dim=1) + 2 * half.gather(1, which[:, None])[:, 0]).clamp(min=0)


def _moved(rows: Tensor, entries: Tensor, labels: Tensor, costs: Tensor, weights: Tensor | None) -> Tensor:
    """Each entry at the weighted mean of its rows; those of no row at the rows that cost the most."""
    weight = torch.ones(len(rows)) if weights is None else weights
    totals = torch.zeros(len(entries)).index_add_(0, labels, weight)
    weighted = rows if weights is None else rows * weight[:, None]
    sums = torch.zeros_like(entries).index_add_(0, labels, weighted)
    moved = torch.where(totals[:, None] > 0, sums / totals.clamp(min=1e-30)[:, None], entries)
    idle = (totals <= 0).nonzero()[:, 0]
    if len(idle):
        worst = torch.argsort(weight * costs, descending=True, stable=True)[: len(idle)]
        moved[idle[: len(worst)]] = rows[worst]
    return moved


def _sorted(entries: Tensor, centers: Tensor) -> Tensor:
    """By cell, cells and what is in them along the direction in which the entries differ most."""
    middle = entries.mean(dim=0)
    spread = (entries - middle).T.double() @ (entries - middle).double()
    along = torch.linalg.eigh(spread)[1][:, -1].to(entries)
    homes = torch.cdist(entries, centers).argmin(dim=1)
    ranks = torch.empty(len(centers), dtype=torch.int64)
    ranks[torch.argsort(centers @ along, stable=True)] = torch.arange(len(centers))
    inside = torch.argsort(entries @ along, stable=True)
    return entries[inside[torch.argsort(ranks[homes[inside]], stable=True)]]
