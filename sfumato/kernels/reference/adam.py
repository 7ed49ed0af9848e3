"""Gradients to a step of Adam (Kingma and Ba 2015), in place."""

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.reference.project import project
from sfumato.kernels.stages import AdamStep, Moments, RenderSettings, Splats

__all__ = ["adam", "adam_from_splats"]


def adam(gaussians: Gaussians, moments: Moments, step: AdamStep) -> None:
    """See `stages.Backend.adam`."""
    gradients = {name: getattr(gaussians, name).grad for name in gaussians.names()}
    touched = torch.zeros(len(gaussians), dtype=torch.bool)
    for gradient in gradients.values():
        if gradient is not None:
            touched |= (gradient != 0).reshape(len(gaussians), gradient[:1].numel()).any(dim=1)
    for name, gradient in gradients.items():
        if gradient is not None:
            _update(name, gaussians, gradient, moments, step, touched)


def adam_from_splats(
    gaussians: Gaussians,
    splats: Splats,
    camera: Camera,
    settings: RenderSettings,
    moments: Moments,
    step: AdamStep,
) -> None:
    """See `stages.Backend.adam_from_splats`: autograd through project, then adam."""
    leaves = gaussians.map(lambda tensor: tensor.detach().requires_grad_())
    again = project(leaves, camera, settings)
    carried = [
        (getattr(again, name), getattr(splats, name).grad)
        for name in ("means2d", "conics", "depths", "colors", "opacities")
        if getattr(splats, name).grad is not None
    ]
    torch.autograd.backward([tensor for tensor, _ in carried], [gradient for _, gradient in carried])
    for name in gaussians.names():
        leaf, own = getattr(leaves, name), getattr(gaussians, name).grad
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        _update(name, gaussians, gradient if own is None else gradient + own, moments, step, splats.seen)


@torch.no_grad()
def _update(
    name: str, gaussians: Gaussians, gradient: Tensor, moments: Moments, step: AdamStep, touched: Tensor
) -> None:
    """Algorithm 1 of Kingma and Ba 2015 on one field."""
    value, mean, square = (getattr(part, name) for part in (gaussians, moments.mean, moments.square))
    rows = touched if step.sparse else torch.ones_like(touched)
    count = step.count_of(name)
    if name == "shN" and step.sh_degree is not None:
        bases = slice(0, harmonics.bases_of_degree(step.sh_degree) - 1)
        value, mean, square, gradient = value[:, bases], mean[:, bases], square[:, bases], gradient[:, bases]
    mean[rows] = step.beta1 * mean[rows] + (1 - step.beta1) * gradient[rows]
    square[rows] = step.beta2 * square[rows] + (1 - step.beta2) * gradient[rows] ** 2
    unbiased_mean = mean[rows] / (1 - step.beta1**count)
    unbiased_square = square[rows] / (1 - step.beta2**count)
    value[rows] -= getattr(step.rates, name) * unbiased_mean / (unbiased_square.sqrt() + step.epsilon)
