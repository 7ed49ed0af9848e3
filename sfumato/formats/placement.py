"""Gaussians of a node in a scene graph, and its matrix, to Gaussians in the world, since they have no parents."""

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import multiply_quaternions, quaternion_from_matrix
from sfumato.formats.parts import log_of_scales

__all__ = ["count_clamped", "is_stretched", "linear_scales", "place", "unit_quats"]

_LARGEST, _SMALLEST = 88.0, -87.0  # logs of scales that float32 holds, and in full digits
_TOLERANCE = 1e-5  # of the matrix's scale: what float32 leaves of a product of rotations


def linear_scales(log_scales: Tensor) -> Tensor:
    """Scales of logs, float64: within what float32 holds."""
    return log_scales.double().clamp(_SMALLEST, _LARGEST).exp()


def count_clamped(log_scales: Tensor) -> int:
    """How many of (N, 3) rows have a log that `linear_scales` moves."""
    return int(((log_scales > _LARGEST) | (log_scales < _SMALLEST)).any(dim=1).sum())


def unit_quats(quats: Tensor) -> Tensor:
    """(N, 4) wxyz of length 1, from those of any; from length 0: no rotation."""
    still = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=quats.dtype)
    return torch.nn.functional.normalize(torch.where((quats == 0).all(dim=1, keepdim=True), still, quats), dim=1)


def is_stretched(matrix: Tensor) -> bool:
    """Whether a (4, 4) matrix is more than a rotation or reflection, one scale and a shift."""
    gram = matrix[:3, :3].T @ matrix[:3, :3]
    square = gram.trace() / 3
    apart = (gram - square * torch.eye(3, dtype=gram.dtype)).abs().max()
    return not bool(apart <= _TOLERANCE * square) or bool(square == 0)


def place(gaussians: Gaussians, matrix: Tensor) -> Gaussians:
    """The Gaussians after x -> matrix (4, 4, float64) x; by the unit matrix, the very same.

    Rotations, reflections and one scale are exact. Of others the covariances are, M C M^T, decomposed again; lights
    turn by the nearest rotation U V^T of the polar decomposition, since harmonics cannot be sheared.
    """
    if torch.equal(matrix, torch.eye(4, dtype=torch.float64)):
        return gaussians
    linear, shift = matrix[:3, :3], matrix[:3, 3]
    U, sizes, Vh = torch.linalg.svd(linear)
    turn = U @ Vh
    quats, log_scales = gaussians.quats, gaussians.log_scales
    if is_stretched(matrix):
        quats, log_scales = _stretched(gaussians, linear)
    elif not torch.equal(linear, torch.eye(3, dtype=torch.float64)):
        proper = turn if turn.det() > 0 else -turn  # M C M^T = (-M) C (-M)^T, and -M is a rotation
        quats = multiply_quaternions(quaternion_from_matrix(proper).to(quats), quats)
        log_scales = log_scales + float(sizes.mean().log())
    sh = harmonics.rotate(gaussians.sh, turn)
    return Gaussians(
        means=(gaussians.means.double() @ linear.T + shift).to(gaussians.means),
        quats=quats,
        log_scales=log_scales,
        logit_opacities=gaussians.logit_opacities,
        sh0=gaussians.sh0,
        shN=sh[:, 1:],
    )


def _stretched(gaussians: Gaussians, linear: Tensor) -> tuple[Tensor, Tensor]:
    """Quaternions and log scales of linear R S: its left singular vectors, and its singular values."""
    good = gaussians.finite[:, None, None]
    axes = linear @ (gaussians.to(torch.float64).rotations * gaussians.log_scales.double().exp()[:, None])
    U, sizes, _ = torch.linalg.svd(torch.where(good & axes.isfinite().all(dim=(1, 2))[:, None, None], axes, 0.0))
    U = torch.cat([U[:, :, :2], U[:, :, 2:] * U.det()[:, None, None]], dim=2)
    quats, log_scales = quaternion_from_matrix(U).to(gaussians.quats), log_of_scales(sizes).to(gaussians.log_scales)
    return torch.where(good[:, 0], quats, gaussians.quats), torch.where(good[:, 0], log_scales, gaussians.log_scales)
