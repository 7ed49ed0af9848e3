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
    """Let labelled pictures vote on what each Gaussian is part of.

    A Gaussian's vote in a pixel is its blend weight there, for which argmax is the best labelling of all when labels
    are blended like colors (Shen et al. 2024, FlashSplat).

    Parameters
    ----------
    gaussians : Gaussians
        N of them.
    ballots : iterable of (Camera, Tensor)
        Cameras, and (H, W, L) in [0, 1] of their pictures: how much of the pixel has the label; pixels without any
        label do not vote.
    settings : RenderSettings, optional
        Those the Gaussians are rendered with.
    backend : {"auto", "gpu", "cpu", "reference"}
        What computes.

    Returns
    -------
    Tensor, (N, L)
        How much of the pictures each Gaussian makes where they have label l, pixels, summed over `ballots`.

    Raises
    ------
    InputError
        When there is no ballot.
    ShapeError
        When L differs between ballots, or their size from the camera's.
    BackendError
        When the backend cannot run here.
    TileListError
        As `Backend.bin` does.

    Examples
    --------
    >>> left = torch.zeros(48, 64, 2)  # two labels
    >>> left[:, :32, 0], left[:, 32:, 1] = 1, 1
    >>> votes = edit.vote(gaussians, [(cameras[0], left)])
    >>> part = edit.keep(gaussians, edit.label(votes) == 0)
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
    """Give each Gaussian the label with most votes.

    Parameters
    ----------
    votes : Tensor, (N, L)
        As of `vote`.
    share : float
        Of all its votes that the winner must have, 0 to 1; else it stays UNLABELLED.
    least : float
        Pixels of votes below which nothing is known of a Gaussian, which stays UNLABELLED, too.

    Returns
    -------
    Tensor, (N,), int64
        0 to L - 1, or UNLABELLED, which is -1.

    Raises
    ------
    InputError
        When the share is not from 0 to 1.
    """
    check_shape("votes", votes, ("N", "L"))
    if not 0 <= share <= 1:
        raise InputError(f"share must be from 0 to 1; got {share}")
    most, winner = votes.max(dim=1)
    cast = votes.sum(dim=1)
    return torch.where((cast >= least) & (most >= share * cast), winner, UNLABELLED)


def join_nearest(gaussians: Gaussians, labels: Tensor) -> Tensor:
    """Give UNLABELLED Gaussians the label of the nearest labelled one, by their means.

    Parameters
    ----------
    gaussians : Gaussians
        N of them; those with means that are not finite stay as they are.
    labels : Tensor, (N,), int64
        As of `label`; when none has a label, all stay as they are.

    Returns
    -------
    Tensor, (N,), int64
        Labels.

    Raises
    ------
    ShapeError
        When there are not as many labels as Gaussians.
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
