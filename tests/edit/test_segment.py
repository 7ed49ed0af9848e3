"""Labels of pixels to labels of Gaussians: two things that are known exactly are told apart, from every side."""

import math

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, ShapeError
from sfumato.core.gaussians import Gaussians
from sfumato.edit.segment import UNLABELLED, join_nearest, label, vote
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

from scenes import crowd, dot, few, straight

SETTINGS = RenderSettings(near=0.1, depth=False)
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def two_things(N: int = 60) -> tuple[Gaussians, torch.Tensor]:
    """Red balls on the left, green ones on the right, some behind others; and which is which."""
    places = torch.randn(N, 3) * 0.4 + torch.tensor([-1.0, 0, 0])
    red = [dot(x, y, z, 0.12, 0.9, RED) for x, y, z in places.tolist()]
    green = [dot(x, y, z, 0.12, 0.9, GREEN) for x, y, z in (places + torch.tensor([2.0, 0, 0.3])).tolist()]
    return Gaussians.cat([*red, *green]), torch.arange(2 * N) // N + 1


def around(count: int, size: int) -> list[Camera]:
    angles = [2 * math.pi * index / count for index in range(count)]
    places = [torch.tensor([5 * math.cos(angle), -1.0, 5 * math.sin(angle)]) for angle in angles]
    return [Camera.look_at(p, torch.zeros(3), torch.tensor([0.0, -1, 0]), 1.1 * size, size, size) for p in places]


def truth(gaussians: Gaussians, camera: Camera) -> torch.Tensor:
    """(H, W, 3) exact masks: background, red, green."""
    out = render(gaussians, camera, SETTINGS, backend="reference")
    red, green = out.image[..., 0], out.image[..., 1]
    winner = torch.where(out.alpha < 0.5, 0, torch.where(red > green, 1, 2))
    return torch.nn.functional.one_hot(winner, 3).float()


def test_two_things_are_told_apart(backend: str, seed: int) -> None:
    gaussians, which = two_things(few(backend, 60, 6))
    size = few(backend, 48, 12)
    cameras = around(few(backend, 6, 2), size)
    votes = vote(gaussians, [(camera, truth(gaussians, camera)) for camera in cameras], SETTINGS, backend)
    found = label(votes).cpu()
    known = found != UNLABELLED
    assert known.float().mean() > 0.9
    solid = known & (found > 0)
    assert (found[solid] == which[solid].cpu()).float().mean() > 0.98
    assert solid.float().mean() > 0.8


def test_a_part_looks_like_its_mask_in_a_new_view(seed: int) -> None:
    """Intersection over union of a part's picture with the exact mask, in a camera that did not vote."""
    gaussians, _ = two_things()
    *voting, new = around(7, 64)
    found = label(vote(gaussians, [(camera, truth(gaussians, camera)) for camera in voting], SETTINGS))
    ious = []
    for place in (1, 2):
        alone = render(gaussians[(found == place).nonzero()[:, 0]], new, SETTINGS).alpha > 0.5
        other = render(gaussians[(found != place).nonzero()[:, 0]], new, SETTINGS).image[..., 2 - place] > 0.5
        mask = truth(gaussians, new)[..., place] > 0.5
        visible = alone & (mask | ~other)  # what the other thing hides is in no mask
        ious.append(((visible & mask).sum() / (visible | mask).sum()).item())
    assert min(ious) > 0.9


def test_votes_by_hand() -> None:
    """One ball whose left half is labelled 1 and right half 2: half of its weight each, and sums over ballots."""
    ball, camera = dot(0, 0, 2, 0.2, 0.5), straight(16, 16, (20.0, 20.0))
    maps = torch.zeros(16, 16, 4)
    maps[:, :8, 1] = maps[:, 8:, 2] = 1
    once = vote(ball, [(camera, maps)], SETTINGS)[0]
    assert once[1].item() == pytest.approx(once[2].item(), rel=1e-4)
    assert once[[0, 3]].tolist() == [0, 0]
    assert once.sum().item() == pytest.approx(render(ball, camera, SETTINGS).alpha.sum().item(), rel=1e-4)
    torch.testing.assert_close(vote(ball, [(camera, maps)] * 3, SETTINGS)[0], 3 * once)


def test_share_and_least() -> None:
    votes = torch.tensor([[5.0, 4, 3], [0, 0, 9], [0.001, 0, 0], [0, 0, 0]])
    assert label(votes).tolist() == [0, 2, UNLABELLED, UNLABELLED]
    assert label(votes, 0.5).tolist() == [UNLABELLED, 2, UNLABELLED, UNLABELLED]
    assert label(votes, least=0.0005).tolist() == [0, 2, 0, UNLABELLED]
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="share must be from 0 to 1"):
            label(votes, share)


def test_unlabelled_ones_join_the_nearest(seed: int) -> None:
    gaussians = crowd(400, 0)
    known = torch.rand(400) < 0.6
    labels = torch.where(known, torch.randint(5, (400,)), UNLABELLED)
    gaussians.means[7] = math.nan
    labels[7] = UNLABELLED
    joined = join_nearest(gaussians, labels)
    assert joined[7] == UNLABELLED
    assert torch.equal(joined[known], labels[known])
    rows = known.nonzero()[:, 0]
    for row in (~known).nonzero()[:, 0].tolist():
        if row != 7:
            nearest = rows[(gaussians.means[rows] - gaussians.means[row]).norm(dim=1).argmin()]
            assert joined[row] == labels[nearest]
    nothing = torch.full((400,), UNLABELLED)
    assert torch.equal(join_nearest(gaussians, nothing), nothing)


def test_bad_arguments() -> None:
    ball, camera = dot(0, 0, 2), straight(16, 16)
    with pytest.raises(InputError, match="at least one labelled picture"):
        vote(ball, [])
    with pytest.raises(ShapeError, match="L=2"):
        vote(ball, [(camera, torch.zeros(16, 16, 2)), (camera, torch.zeros(16, 16, 3))], SETTINGS)
    with pytest.raises(ShapeError, match=r"labels must be \(N,\) with N=1; got \(2,\)"):
        join_nearest(ball, torch.zeros(2, dtype=torch.int64))
