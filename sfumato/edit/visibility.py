"""Gaussians and cameras to how much of the pictures each Gaussian makes, by the weights that it is blended with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.check import check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.core.threads import one_torch_thread
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings, Splats

__all__ = ["SEEN", "Visibility", "Weighing", "visibility", "weigh"]

SEEN = 0.01  # pixels of blend weight from which on a camera sees a Gaussian: less no 8-bit picture shows
CHANNELS = 3  # that every backend blends


@dataclass(frozen=True, eq=False)
class Weighing:
    """What one camera's picture is made of."""

    splats: Splats  # leaves; row i is Gaussian i
    weights: Tensor  # (N, L) sum over pixels of alpha_i T_i times each of the L maps, pixels


@dataclass(frozen=True, eq=False)
class Visibility:
    """What some cameras see of N Gaussians.

    Attributes
    ----------
    total : Tensor, (N,)
        Sum of the blend weights over the pixels of all cameras, pixels; a blend weight is alpha_i T_i, Eq. 3 of Kerbl
        et al. 2023.
    largest : Tensor, (N,)
        The same in the camera where it is largest, pixels.
    cameras : Tensor, (N,), int64
        How many give it a weight of at least SEEN pixels.
    nearness : Tensor, (N,)
        Least depth where seen, in median depths of what that camera sees; infinite: never seen.
    count : int
        Of the cameras.
    """

    total: Tensor
    largest: Tensor
    cameras: Tensor
    nearness: Tensor
    count: int

    def __len__(self) -> int:
        return len(self.total)

    def to(self, device: torch.device | str) -> "Visibility":
        """Bring it to another device.

        Parameters
        ----------
        device : torch.device or str
            Where to.

        Returns
        -------
        Visibility
            The same numbers there.
        """
        tensors = (self.total, self.largest, self.cameras, self.nearness)
        total, largest, cameras, nearness = (tensor.to(device) for tensor in tensors)
        return Visibility(total, largest, cameras, nearness, self.count)

    @cached_property
    def seen(self) -> Tensor:
        """(N,) True where any camera sees the Gaussian."""
        return self.cameras > 0


def visibility(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    settings: RenderSettings | None = None,
    backend: str = "auto",
    progress: Progress = silent,
) -> Visibility:
    """Find how much of the cameras' pictures each Gaussian makes, whatever its color.

    A picture drawn and one backpropagated per camera, where the Gaussians are.

    Parameters
    ----------
    gaussians : Gaussians
        N of them.
    cameras : sequence of Camera
        Those of the training photos, to find floaters.
    settings : RenderSettings, optional
        Those the Gaussians are rendered with.
    backend : {"auto", "gpu", "cpu", "reference"}
        What computes.
    progress : callable
        Told what is being done, as `progress(what, done, of)`.

    Returns
    -------
    Visibility
        Where the Gaussians are.

    Raises
    ------
    InputError
        When there are no cameras.
    BackendError
        When the backend cannot run here.
    TileListError
        As `Backend.bin` does.
    """
    if not cameras:
        raise InputError("cameras must hold at least one camera to see the Gaussians; got none")
    means = gaussians.means
    total, largest = (means.new_zeros(len(means), dtype=torch.float64) for _ in range(2))
    count = torch.zeros(len(means), dtype=torch.int64, device=means.device)
    nearness = torch.full_like(total, torch.inf)
    for number, camera in enumerate(cameras, start=1):
        found = weigh(gaussians, camera, means.new_ones(camera.height, camera.width, 1), settings, backend)
        weights = found.weights[:, 0].double()
        seen, depths = weights >= SEEN, found.splats.depths.detach().double()
        total += weights
        largest = torch.maximum(largest, weights)
        count += seen
        nearer = torch.minimum(nearness, depths / _median(depths, weights))
        nearness = torch.where(seen, nearer, nearness)
        progress("looking from every camera", number, len(cameras))
    return Visibility(total.float(), largest.float(), count, nearness.float(), len(cameras))


def weigh(
    gaussians: Gaussians,
    camera: Camera,
    maps: Tensor,
    settings: RenderSettings | None = None,
    backend: str = "auto",
) -> Weighing:
    """What each Gaussian contributes to the pixels of a camera, summed with the (H, W, L) weights of `maps`.

    A picture is sum_i alpha_i T_i c_i, so the gradient of its sum weighted by a map, with respect to the color c_i of
    one channel, is exactly the sum of Gaussian i's blend weights under that map: three maps for one backward pass,
    on any backend. Raises ShapeError when the maps are not of the camera's size; else as `visibility`.
    """
    check_shape("maps", maps, ("H", "W", "L"), H=camera.height, W=camera.width)
    settings = replace(settings or RenderSettings(), depth=False, sh_degree=0)  # no color is looked at
    device = gaussians.means.device
    stages = load(backend, device)
    with torch.no_grad():
        splats = stages.project(gaussians, camera, settings)
        tiles = stages.bin(splats, camera.width, camera.height, settings)
    black = gaussians.means.new_zeros(CHANNELS)
    columns = []
    with one_torch_thread():
        for start in range(0, maps.shape[2], CHANNELS):
            some = maps[..., start : start + CHANNELS].to(gaussians.means)
            padded = torch.nn.functional.pad(some, (0, CHANNELS - some.shape[2]))
            leaves = splats.leaves()
            image, _, _ = stages.blend(leaves, tiles, black, settings)
            image.backward(padded)  # type: ignore[no-untyped-call]
            gradient = leaves.colors.grad
            columns.append(torch.zeros_like(leaves.colors) if gradient is None else gradient)
    weights = torch.cat(columns, dim=1) if columns else black.new_zeros(len(gaussians), 0)
    return Weighing(splats, weights[:, : maps.shape[2]])


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """() the value with half of the weight on either side; infinity where nothing has any."""
    order = values.argsort()
    summed = weights[order].cumsum(dim=0)
    if not len(values) or not summed[-1] > 0:
        return values.new_tensor(torch.inf)
    return values[order[torch.searchsorted(summed, summed[-1:] / 2)]][0]
