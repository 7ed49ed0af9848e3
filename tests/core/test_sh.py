"""Spherical harmonics: orthonormal, the field's order and signs, rotated lights seen from rotated directions."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.core import sh
from sfumato.core.errors import InputError
from sfumato.core.rotation import matrix_from_quaternion


def sphere() -> tuple[Tensor, Tensor]:
    """Directions and weights that integrate every polynomial to degree 8 on the unit sphere exactly."""
    heights, weights = np.polynomial.legendre.leggauss(5)  # exact to degree 9 in z
    angles = np.arange(10) * 2 * np.pi / 10  # exact to degree 9 around z
    z, angle = np.meshgrid(heights, angles, indexing="ij")
    ring = np.sqrt(1 - z**2)
    directions = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1).reshape(-1, 3)
    return torch.from_numpy(directions), torch.from_numpy(np.repeat(weights * 2 * np.pi / 10, 10))


def test_basis_is_orthonormal_to_degree_4() -> None:
    directions, weights = sphere()
    values = sh.basis(4, directions)
    products = torch.einsum("d,dj,dk->jk", weights, values, values)
    torch.testing.assert_close(products, torch.eye(25).double(), rtol=0, atol=1e-12)


def test_order_and_signs_along_the_axes() -> None:
    x, y, z = sh.basis(2, torch.eye(3).double())
    c0, c1 = math.sqrt(1 / (4 * math.pi)), math.sqrt(3 / (4 * math.pi))
    c2, c20 = math.sqrt(15 / (4 * math.pi)) / 2, math.sqrt(5 / (16 * math.pi))
    # order: 1; -y, z, -x; xy, -yz, 2zz - xx - yy, -xz, xx - yy
    wanted = [
        [c0, 0, 0, -c1, 0, 0, -c20, 0, c2],
        [c0, -c1, 0, 0, 0, 0, -c20, 0, -c2],
        [c0, 0, c1, 0, 0, 0, 2 * c20, 0, 0],
    ]
    torch.testing.assert_close(torch.stack([x, y, z]), torch.tensor(wanted).double())


def test_higher_bands_at_the_pole() -> None:
    # only m = 0 is left at z: sqrt((2 l + 1) / 4 pi)
    values = sh.basis(4, torch.tensor([0.0, 0, 1]).double())
    wanted = torch.zeros(25).double()
    for band in range(5):
        wanted[band * (band + 1)] = math.sqrt((2 * band + 1) / (4 * math.pi))
    torch.testing.assert_close(values, wanted)


@pytest.mark.parametrize("degree", range(5))
def test_rotated_lights_are_seen_from_rotated_directions(degree: int, seed: int) -> None:
    lights = torch.randn(7, sh.bases_of_degree(degree), 3, dtype=torch.float64)
    turn = matrix_from_quaternion(torch.randn(4, dtype=torch.float64))
    directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    before = torch.einsum("dk,nkc->ndc", sh.basis(degree, directions), lights)
    after = torch.einsum("dk,nkc->ndc", sh.basis(degree, directions @ turn.T), sh.rotate(lights, turn))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)


def test_quarter_turn_about_z_by_hand() -> None:
    # the light "red towards x" (-1 on the third of band 1) becomes "red towards y" (-1 on the first)
    lights = torch.zeros(1, 4, 3)
    lights[0, 3, 0] = -1
    turned = sh.rotate(lights, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    wanted = torch.zeros(1, 4, 3)
    wanted[0, 1, 0] = -1
    torch.testing.assert_close(turned, wanted, rtol=0, atol=1e-6)


def test_rotating_nothing_gives_nothing() -> None:
    assert sh.rotate(torch.zeros(0, 16, 3), torch.eye(3)).shape == (0, 16, 3)


def test_color_and_coefficient() -> None:
    # 0.5 + 0.28209 * 1 = 0.78209
    torch.testing.assert_close(sh.rgb_from_sh0(torch.ones(1)), torch.tensor([0.78209479]))
    colors = torch.linspace(0, 1, 11)
    torch.testing.assert_close(sh.rgb_from_sh0(sh.sh0_from_rgb(colors)), colors)


@pytest.mark.parametrize(("degree", "bases"), list(enumerate([1, 4, 9, 16, 25])))
def test_degree_and_bases(degree: int, bases: int) -> None:
    assert sh.bases_of_degree(degree) == bases
    assert sh.degree_of_bases(bases) == degree


@pytest.mark.parametrize("bases", [0, 2, 3, 15, 17, 36])
def test_no_such_degree(bases: int) -> None:
    with pytest.raises(InputError, match=f"must have 1, 4, 9, 16 or 25 bases; got {bases}"):
        sh.degree_of_bases(bases)
