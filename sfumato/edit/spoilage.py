"""Gaussians and photos to how much each Gaussian spoils the photos, by what its opacity does to their error."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import SHOWN, View
from sfumato.core.threads import one_torch_thread
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings

__all__ = ["spoilage"]

LEAST = 1.0  # pixels of blend weight below which a mean over them says nothing


def spoilage(
    gaussians: Gaussians,
    views: Iterable[View],
    settings: RenderSettings | None = None,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    backend: str = "auto",
    progress: Progress = silent,
) -> Tensor:
    """Find what each Gaussian adds to the error that the photos show.

    A picture is linear in each opacity o: without the Gaussian it changes by -D, D = o dI/do, and half its squared
    error by -r D + D D / 2, r = I - photo. Summed here is r D, which is 0 on average for what was trained on these
    photos, and D D for what was not and hides them: 0.1 where it is 0.3 off in each color. Pixels that masks ignore say
    nothing.

    Parameters
    ----------
    gaussians : Gaussians
        N of them.
    views : iterable of View
        The training photos.
    settings : RenderSettings, optional
        Those the Gaussians are rendered with.
    background : tuple of float, (3,)
        Color behind everything, 0 to 1; a Scene has it.
    backend : {"auto", "gpu", "cpu", "reference"}
        What computes.
    progress : callable
        Told what is being done, as `progress(what, done, of)`.

    Returns
    -------
    Tensor, (N,)
        Mean over its blend weight, squared color; 0 where hardly seen.

    Raises
    ------
    InputError
        When there are no views.
    BackendError
        When the backend cannot run here.
    TileListError
        As `Backend.bin` does.
    """
    settings = replace(settings or RenderSettings(), depth=False)
    means = gaussians.means
    behind, black = means.new_tensor(background), means.new_zeros(3)
    spoiled, weights = torch.zeros_like(means[:, 0]), torch.zeros_like(means[:, 0])
    stages = load(backend, means.device)
    count = 0
    for count, view in enumerate(views, start=1):
        camera, picture = view.camera, view.picture()
        shown = None if picture.mask is None else (picture.mask == SHOWN).to(means)[..., None]
        with torch.no_grad():
            splats = stages.project(gaussians, camera, settings)
            tiles = stages.bin(splats, camera.width, camera.height, settings)
        with one_torch_thread():
            leaves = splats.leaves()
            image, _, _ = stages.blend(leaves, tiles, behind, settings)
            wrong = image.detach() - picture.pixels.to(means) / 255
            image.backward(wrong if shown is None else wrong * shown)  # type: ignore[no-untyped-call]
            if leaves.opacities.grad is not None:
                spoiled += leaves.opacities.grad * leaves.opacities.detach()
            leaves = splats.leaves()
            image, _, _ = stages.blend(leaves, tiles, black, settings)
            image.backward(torch.ones_like(image) if shown is None else shown.expand_as(image))  # type: ignore[no-untyped-call]
            if leaves.colors.grad is not None:
                weights += leaves.colors.grad[:, 0]
        progress("comparing with every photo", count, 0)
    if not count:
        raise InputError("views must hold at least one photo to compare with; got none")
    return torch.where(weights >= LEAST, spoiled / weights.clamp(min=LEAST), 0)
