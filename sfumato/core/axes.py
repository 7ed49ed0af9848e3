"""World axes by letters, as "RDF" for +x right, +y down, +z forward, and Gaussians from one such frame to another."""

import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import multiply_quaternions, quaternion_from_matrix

__all__ = ["CANONICAL", "matrix_between", "reframe"]

CANONICAL = "RDF"  # that of COLMAP's cameras, and by custom of every PLY
# letter -> its axis, and which way along it, in a frame of right, up and back
_WAYS = {"R": (0, 1), "L": (0, -1), "U": (1, 1), "D": (1, -1), "B": (2, 1), "F": (2, -1)}


def matrix_between(source: str, target: str) -> Tensor:
    """(3, 3) float64 target <- source of two frames in three letters each: a rotation, or a reflection.

    The letters say where +x, +y and +z point: R or L, U or D, F or B. Raises InputError when they name no frame.
    """
    return _matrix_of(target).T @ _matrix_of(source)


def reframe(gaussians: Gaussians, source: str, target: str) -> Gaussians:
    """The same scene with its numbers in another frame; between equal ones, the very same Gaussians.

    A change of handedness mirrors nothing one can see: places, axes and lights keep their directions in the room.
    Raises InputError when the letters name no frame.
    """
    turn = matrix_between(source, target)
    if torch.equal(turn, torch.eye(3, dtype=torch.float64)):
        return gaussians
    if torch.equal(turn, turn.diagonal().diag()):
        return _flipped(gaussians, turn.diagonal())
    sh = harmonics.rotate(gaussians.sh, turn)
    matrix = turn.to(gaussians.means)
    quats = gaussians.quats
    if turn.det() < 0:  # M R S R^T M^T is (-M) R S R^T (-M)^T, and -M is a rotation
        quats = multiply_quaternions(quaternion_from_matrix(-matrix), quats)
    else:
        quats = multiply_quaternions(quaternion_from_matrix(matrix), quats)
    return Gaussians(
        means=gaussians.means @ matrix.T,
        quats=quats,
        log_scales=gaussians.log_scales,
        logit_opacities=gaussians.logit_opacities,
        sh0=sh[:, :1],
        shN=sh[:, 1:],
    )


def _flipped(gaussians: Gaussians, signs: Tensor) -> Gaussians:
    """Only signs change, so that there and back again are the same bits."""
    x, y, z = signs.tolist()
    turn = torch.tensor([1.0, y * z, x * z, x * y])  # S R S, whose covariance is that of S R
    return Gaussians(
        means=gaussians.means * signs.to(gaussians.means),
        quats=gaussians.quats * turn.to(gaussians.quats),
        log_scales=gaussians.log_scales,
        logit_opacities=gaussians.logit_opacities,
        sh0=gaussians.sh0,
        shN=gaussians.shN * _signs_of_bases(gaussians.shN.shape[1] + 1, signs)[1:, None].to(gaussians.shN),
    )


def _signs_of_bases(bases: int, signs: Tensor) -> Tensor:
    """(K,) 1 or -1: how each basis function answers to the signs, since each is even or odd in x, in y and in z."""
    here = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)  # no basis function is zero here
    degree = harmonics.degree_of_bases(bases)
    return (harmonics.basis(degree, here) * harmonics.basis(degree, here * signs)).sign()[0]


def _matrix_of(letters: str) -> Tensor:
    """(3, 3) a frame of right, up and back <- the frame of the letters."""
    ways = [_WAYS.get(letter) for letter in letters]
    if len(letters) != 3 or None in ways or len({way[0] for way in ways if way}) < 3:
        raise InputError(f"axes must be three letters, one each of R L, U D and F B, such as RDF; got {letters!r}")
    matrix = torch.zeros(3, 3, dtype=torch.float64)
    for column, way in enumerate(ways):
        if way:
            matrix[way[0], column] = way[1]
    return matrix
