"""Frames by letters: there and back, every Gaussian keeps its place, shape and lights in the room."""

import itertools

import pytest
import torch

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import basis

from scenes import crowd

FRAMES = ["".join(ways) for order in itertools.permutations(["RL", "UD", "BF"]) for ways in itertools.product(*order)]


def light(gaussians: Gaussians, directions: torch.Tensor) -> torch.Tensor:
    return torch.einsum("dk,nkc->ndc", basis(gaussians.degree, directions), gaussians.sh)


@pytest.mark.parametrize("target", FRAMES)
def test_places_shapes_and_lights_are_where_they_were(target: str, seed: int) -> None:
    here = crowd(6, degree=4).to(torch.float64)
    there, turn = reframe(here, CANONICAL, target), matrix_between(CANONICAL, target)
    directions = torch.nn.functional.normalize(torch.randn(9, 3, dtype=torch.float64), dim=1)
    near = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(there.means, here.means @ turn.T, **near)
    torch.testing.assert_close(there.covariances, turn @ here.covariances @ turn.T, **near)
    torch.testing.assert_close(light(there, directions @ turn.T), light(here, directions), **near)
    assert there.log_scales is here.log_scales


def test_letters_say_where_the_axes_point() -> None:
    # 1 to the right, 2 down, 3 forward is 1 right, -2 up, -3 back
    assert (matrix_between("RDF", "RUB") @ torch.tensor([1.0, 2, 3]).double()).tolist() == [1, -2, -3]
    assert (matrix_between("RDF", "LUF") @ torch.tensor([1.0, 2, 3]).double()).tolist() == [-1, -2, 3]
    assert (matrix_between("RDF", "RFU") @ torch.tensor([1.0, 2, 3]).double()).tolist() == [1, 3, -2]
    assert matrix_between("RDF", "RUF").det() == -1


@pytest.mark.parametrize("other", ["RUB", "LUF", "RUF", "LDB"])
def test_flips_there_and_back_keep_every_bit(other: str, seed: int) -> None:
    here = crowd(6)
    back = reframe(reframe(here, CANONICAL, other), other, CANONICAL)
    assert all(torch.equal(a, b) for a, b in zip(here, back, strict=True))


def test_chunks_are_all_rows_in_order(seed: int) -> None:
    here = crowd(10)
    parts = list(Asset(here, axes="RUB").chunks("RUB", size=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(Gaussians.cat(parts).means, here.means)


@pytest.mark.parametrize("letters", ["RDX", "RD", "RDFF", "RLF", "", "rdf"])
def test_what_is_no_frame_is_refused(letters: str) -> None:
    with pytest.raises(InputError, match="three letters"):
        Asset(Gaussians.empty(), axes=letters)
