"""Labels of pixels in some photos to a label for each Gaussian, by votes weighted as the Gaussians are blended."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.check import check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.nearest import Nearest
from sfumato.edit.visibility import SEEN, weigh
from sfumato.kernels.stages import RenderSettings

__all__ = ["UNLABELLED", "join_nearest", "label", "vote"]

UNLABELLED = -1


def vote(
    gaussians: Gaussians,
    ballots: Iterable[tuple[Camera, Tensor]],
    settings: RenderSettings | None = None,
    backend: str = "auto",
) -> Tensor:
    """(N, L) how much of the pictures each Gaussian makes where they have label l, pixels, summed over `ballots`.

    ballots: cameras, and (H, W, L) in [0, 1] of their pictures: how much of the pixel has the label; pixels without
    any label do not vote. A Gaussian's vote in a pixel is its blend weight there, for which argmax is the best
    labelling of all when labels are blended like colors (Shen et al. 2024, FlashSplat). Raises InputError
    when there is no ballot, or L differs between them; else as `visibility`.
    """
    total: Tensor | None = None
    for camera, maps in ballots:
        if total is not None:
            check_shape("maps", maps, ("H", "W", "L"), L=total.shape[1])
        weights = weigh(gaussians, camera, maps, settings, backend).weights
        total = weights.double() if total is None else total + weights
    if total is None:
        raise InputError("ballots must hold at least one labelled picture to learn from; got none")
    return total.float()


def label(votes: Tensor, share: float = 0.0, least: float = SEEN) -> Tensor:
    """(N,) int64 the label with most votes (N, L); UNLABELLED where that is less than a share of all the votes.

    least: pixels of votes below which nothing is known of a Gaussian, which stays UNLABELLED, too. Raises InputError
    when the share is not in [0, 1].
    """
    check_shape("votes", votes, ("N", "L"))
    if not 0 <= share <= 1:
        raise InputError(f"share must be from 0 to 1; got {share}")
    most, winner = votes.max(dim=1)
    cast = votes.sum(dim=1)
    return torch.where((cast >= least) & (most >= share * cast), winner, UNLABELLED)


def join_nearest(gaussians: Gaussians, labels: Tensor) -> Tensor:
    """(N,) the same labels, where UNLABELLED Gaussians take that of the nearest labelled one, by their means.

    Gaussians with means that are not finite stay as they are, and so do all when none has a label.
    """
    check_shape("labels", labels, ("N",), N=len(gaussians))
    means = gaussians.means.detach().cpu()
    place = torch.isfinite(means).all(dim=1)
    known = (labels.cpu() != UNLABELLED) & place
    asking = (~known & place).nonzero()[:, 0]
    rows = known.nonzero()[:, 0]
    if not len(rows) or not len(asking):
        return labels
    _, nearest = Nearest(means[rows]).query(means[asking])
    joined = labels.clone()
    joined[asking.to(labels.device)] = labels[rows[nearest].to(labels.device)]
    return joined
