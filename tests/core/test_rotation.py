"""Quaternions and matrices: hand-made turns, round trips, products."""

import math

import pytest
import torch

from sfumato.core.rotation import matrix_from_quaternion, multiply_quaternions, quaternion_from_matrix

HALF = math.sqrt(0.5)


def test_quarter_turn_about_z() -> None:
    # x -> y, y -> -x: cos 45, sin 45 about z
    matrix = matrix_from_quaternion(torch.tensor([HALF, 0, 0, HALF]))
    torch.testing.assert_close(matrix, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("quat", "image_of_x"),
    [([0.0, 1, 0, 0], [1.0, 0, 0]), ([0.0, 0, 1, 0], [-1.0, 0, 0]), ([0.5, 0.5, 0.5, 0.5], [0.0, 1, 0])],
)
def test_hand_made_turns(quat: list[float], image_of_x: list[float]) -> None:
    # half a turn about x, half a turn about y, a third of a turn about (1, 1, 1)
    turned = matrix_from_quaternion(torch.tensor(quat)) @ torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(turned, torch.tensor(image_of_x))


def test_matrices_are_proper_rotations_at_any_length(seed: int) -> None:
    quats = torch.randn(100, 4, dtype=torch.float64) * 10 ** torch.linspace(-6, 6, 100, dtype=torch.float64)[:, None]
    matrices = matrix_from_quaternion(quats)
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3).double().expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(100).double())


def test_round_trip_from_every_quadrant(seed: int) -> None:
    quats = torch.nn.functional.normalize(torch.randn(1000, 4, dtype=torch.float64), dim=1)
    quats = torch.where(quats[:, :1] < 0, -quats, quats)
    torch.testing.assert_close(quaternion_from_matrix(matrix_from_quaternion(quats)), quats, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_turns_keep_their_accuracy(axis: int) -> None:
    # w = 0 here: the trace formula alone would divide by zero
    diagonal = -torch.ones(3)
    diagonal[axis] = 1
    quat = quaternion_from_matrix(torch.diag(diagonal))
    wanted = torch.zeros(4)
    wanted[1 + axis] = 1
    torch.testing.assert_close(quat.abs(), wanted)


def test_product_is_one_turn_after_the_other(seed: int) -> None:
    a, b = torch.randn(2, 50, 4, dtype=torch.float64)
    together = matrix_from_quaternion(multiply_quaternions(a, b))
    torch.testing.assert_close(together, matrix_from_quaternion(a) @ matrix_from_quaternion(b))


def test_products_of_units() -> None:
    one, i, j, k = torch.eye(4)
    torch.testing.assert_close(multiply_quaternions(i, j), k)
    torch.testing.assert_close(multiply_quaternions(j, i), -k)
    torch.testing.assert_close(multiply_quaternions(k, k), -one)


def test_gradients(seed: int) -> None:
    quats = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(matrix_from_quaternion, quats)
