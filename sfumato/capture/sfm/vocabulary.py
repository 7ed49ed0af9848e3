"""Which photos look alike: features of all photos to the nearest photos of each, without comparing every two photos."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["alike"]

WORDS = 64
SAMPLE = 40_000  # descriptors that the words are learned from
ROUNDS = 10  # of k-means
SEED = 0
BLOCK = 1024  # photos compared with all others at a time


def alike(descriptors: Sequence[Tensor], count: int) -> list[list[int]]:
    """For each photo the `count` photos that look most like it, the best first; never itself.

    descriptors: (F, D) of each photo, of length 1; F may differ and may be 0.

    Vectors of locally aggregated descriptors (Jegou et al. 2010), normalised word by word (Arandjelovic and Zisserman
    2013), with words made of the photos' own features. Time is a product of two vectors for every two photos, some
    thousands of times less than matching them.
    """
    if not descriptors or count < 1:
        return [[] for _ in descriptors]
    words = _words(torch.cat(list(descriptors)))
    vectors = torch.stack([_aggregate(one, words) for one in descriptors])
    count = min(count, len(vectors) - 1)
    found: list[list[int]] = []
    for first in range(0, len(vectors), BLOCK):
        closeness = vectors[first : first + BLOCK] @ vectors.T
        rows = torch.arange(len(closeness))
        closeness[rows, first + rows] = -2.0  # less than the cosine of any two
        found += closeness.topk(count, dim=1).indices.tolist()
    return found


def _words(descriptors: Tensor) -> Tensor:
    """(W, D) centers of the descriptors, by k-means."""
    random = torch.Generator().manual_seed(SEED)
    sample = descriptors[torch.randperm(len(descriptors), generator=random)[:SAMPLE]]
    words = sample[:WORDS].clone()
    for _ in range(ROUNDS if len(words) else 0):
        word = (sample @ words.T).argmax(dim=1)
        sums = torch.zeros_like(words).index_add_(0, word, sample)
        used = sums.norm(dim=1) > 0  # a word that nothing is near to stays where it is
        words[used] = torch.nn.functional.normalize(sums[used], dim=1)
    return words


def _aggregate(descriptors: Tensor, words: Tensor) -> Tensor:
    """(W * D,) of length 1: for each word the direction in which its descriptors lie from it."""
    if not len(descriptors):
        return words.new_zeros(words.numel())
    word = (descriptors @ words.T).argmax(dim=1)
    rest = torch.zeros_like(words).index_add_(0, word, descriptors - words[word])
    vector = torch.nn.functional.normalize(rest, dim=1).flatten()
    return torch.nn.functional.normalize(vector, dim=0)
