"""Training on a (pretended) GPU: nothing waits, nothing mixes with the CPU, and the numbers are the CPU's."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from sfumato.core.errors import BackendError, TileListError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import EMPTY, IGNORED, SHOWN, Picture, Scene
from sfumato.kernels.stages import Rates, Splats
from sfumato.train import Checkpoints, Progressed, TrainConfig, TrainingState, train
from sfumato.train.bounds import runaways
from sfumato.train.config import Coarse
from sfumato.train.density import MCMC, Adaptive, Density, Span
from sfumato.train.density.mcmc import _drawn
from sfumato.train.edit import Edit
from sfumato.train.trainer import Training

import pretend_backend
from pretend import PretendGPU

CONFIG = TrainConfig(steps=40, max_gaussians=40, coarse=Coarse(0.1, 0.2))
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {
        "shN_stride": 3,
        "sparse_adam": True,
        "half_shN": True,
        "reorder_every": 0.13,
        "deterministic": True,
        "sh_every": 0.1,
    },
}


def masked(scene: Scene) -> Scene:
    """Every second photo with a mask of all three values."""
    views = list(scene.views)
    for index, view in enumerate(views[::2]):
        mask = torch.full((32, 32), SHOWN, dtype=torch.uint8)
        mask[:, 20:], mask[:4] = IGNORED, EMPTY
        views[2 * index] = replace(view, photo=Picture(view.image, mask))
    return replace(scene, views=views)


def trained(scene: Scene, config: TrainConfig, backend: str, **more: Any) -> tuple[Gaussians, list[float]]:
    """The result, on the CPU, and what was measured after every step."""
    history: list[float] = []
    result = train(scene, config, backend, lambda p: history.extend((p.loss, p.psnr)), **more)
    return result.to("cpu"), history


def same(a: Gaussians, b: Gaussians) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("density", [Adaptive(resets=(0.6,)), MCMC(every=0.1)], ids=["adaptive", "mcmc"])
def test_ordinary_steps_wait_for_nothing(
    gpu: PretendGPU, toy: Scene, density: Density, options: dict[str, Any]
) -> None:
    """Those that change rows may: 20 of them, or 40, are in any training, however long it is."""
    config, ordinary = replace(CONFIG, density=density, **options), 0
    with Training(masked(toy), config, "gpu") as training:
        while training.step < training.steps:
            edits = training.span.is_due(training.step + 1, density.every)  # type: ignore[attr-defined]
            with nullcontext() if edits else gpu.no_waiting():
                progressed = training.advance()
            ordinary += not edits
            assert progressed.photo.is_cuda
            assert all(tensor.is_cuda for tensor in progressed.gaussians)
        assert training.result().finite.all()
    assert 20 <= ordinary < 40


@pytest.mark.parametrize("scene", [lambda toy: toy, masked], ids=["plain", "masked"])
def test_the_bits_are_those_of_the_cpu(gpu: PretendGPU, toy: Scene, scene: Any) -> None:
    """With the same kernels and random numbers: so nothing between them differs."""
    config = replace(CONFIG, density=Adaptive(resets=(0.6,)))
    there, here = (trained(scene(toy), config, backend) for backend in ("gpu", "cpu"))
    assert same(there[0], here[0])
    assert there[1] == pytest.approx(here[1], rel=1e-5)


def test_the_markov_chain_learns_as_well_there(gpu: PretendGPU, toy: Scene) -> None:
    """Its random numbers are others."""
    fast = Rates(*(4 * rate for rate in TrainConfig().rates))
    config = replace(CONFIG, steps=150, density=MCMC(scale=0.5), rates=fast)
    ends = [sum(trained(toy, config, backend)[1][-39::2]) / 20 for backend in ("gpu", "cpu")]
    print(ends)
    assert ends[0] == pytest.approx(ends[1], abs=1.5)


def test_a_step_that_finds_too_little_room_is_done_again(
    gpu: PretendGPU, toy: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has moved by then: the bits are the same."""
    config = replace(CONFIG, density=Adaptive())
    whole = trained(toy, config, "gpu")
    rooms = [told for name, told in pretend_backend.calls if name == "bin"]
    assert len(rooms) > 20
    assert all(count <= room for count, room in rooms)
    monkeypatch.setattr("sfumato.kernels.rooms.Rooms.of", lambda rooms, key: 7)
    pretend_backend.calls.clear()
    again = trained(toy, config, "gpu")
    rooms = [told for name, told in pretend_backend.calls if name == "bin"]
    assert len(rooms) == 40
    assert {room for _, room in rooms} == {7}
    assert sum(name == "project" for name, _ in pretend_backend.calls) == 80
    assert same(whole[0], again[0])
    assert whole[1] == again[1]


def test_too_many_pairs_still_cost_the_largest_gaussians(
    gpu: PretendGPU, toy: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfumato.kernels.rooms.Rooms.of", lambda rooms, key: 30)
    huge = TrainConfig(steps=3, density=Adaptive(scale=30.0, start_at=2.0), most_pairs=40, coarse=Coarse(0, 0))
    assert len(train(toy, huge, "gpu")) == len(train(toy, huge, "cpu")) == 10
    with pytest.raises(TileListError):
        train(toy, replace(huge, most_pairs=1), "gpu")


def test_runaways_are_found_there(gpu: PretendGPU) -> None:
    radii = torch.tensor([[3.0, 3], [40, 40], [0, 0]])
    fields = [torch.zeros(3, n).squeeze(1) for n in (2, 3, 1)] + [radii, torch.zeros(3, 3), torch.zeros(3)]
    splats = Splats(*fields, torch.zeros(3, 2), torch.tensor(0))
    there = Splats(*(getattr(splats, name).to(gpu.device) for name in splats.__dataclass_fields__))
    assert runaways(splats, 32, 32, 2).tolist() == runaways(there, 32, 32, 2).tolist() == [False, True, False]


class StopError(Exception):
    """Training is stopped by the test."""


@pytest.mark.parametrize("density", [Adaptive(), MCMC()], ids=["adaptive", "mcmc"])
@pytest.mark.parametrize("way", [("gpu", "cpu"), ("cpu", "gpu"), ("gpu", "gpu")], ids="-".join)
def test_what_was_saved_goes_on_elsewhere(
    gpu: PretendGPU, toy: Scene, density: Density, way: tuple[str, str], tmp_path: Path
) -> None:
    config, checkpoints = replace(CONFIG, density=density), Checkpoints(tmp_path)

    def on_step(progressed: Progressed) -> None:
        if progressed.step == 21:
            assert progressed.state
            checkpoints.save(progressed.state(), config, "scene")
            raise StopError

    with pytest.raises(StopError):
        train(toy, config, way[0], on_step)
    kept = checkpoints.newest()
    assert kept is not None
    result, history = trained(toy, config, way[1], start=kept.state)
    assert len(history) == 2 * 19
    assert result.finite.all()
    if way[0] == way[1] or density.name == "adaptive":  # with the same random numbers
        assert same(result, trained(toy, config, way[1])[0])


def test_a_state_may_be_gone_on_with_in_its_own_tensors(toy: Scene) -> None:
    states: list[TrainingState] = []
    train(toy, replace(CONFIG, steps=2), "cpu", lambda p: states.append(p.state()) if p.state else None)
    moved = states[-1].to(torch.device("cpu"))
    assert moved.gaussians.means is states[-1].gaussians.means
    assert moved.moments.mean.shN is states[-1].moments.mean.shN


def test_higher_harmonics_move_in_some_steps_only(gpu: PretendGPU, toy: Scene) -> None:
    still = Adaptive(start_at=2.0)
    config = replace(CONFIG, shN_stride=4, sh_every=0.0, sparse_adam=True, steps=12, density=still)
    seen: list[torch.Tensor] = []
    train(toy, config, "gpu", lambda p: seen.append(p.gaussians.shN.to("cpu").clone()))
    steps = [told for name, told in pretend_backend.calls if name == "adam"]
    assert [step.sh_degree for step in steps] == [0, 0, 0, 3] * 3
    assert [step.sh_count for step in steps[3::4]] == [1, 2, 3]
    assert all(step.sparse for step in steps)
    moved = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert moved == [False, False, True, False] * 2 + [False, False, True]


def test_half_precision_is_what_is_drawn_and_not_what_is_learned(gpu: PretendGPU, toy: Scene) -> None:
    config = replace(CONFIG, half_shN=True, sh_every=0.0, density=Adaptive())
    half, whole = (trained(toy, replace(config, half_shN=half), "gpu") for half in (True, False))
    kinds = [told for name, told in pretend_backend.calls if name == "project"]
    assert kinds == [torch.float16] * 40 + [torch.float32] * 40
    assert half[0].shN.dtype == torch.float32
    assert half[1][-2] == pytest.approx(whole[1][-2], rel=0.02)
    for backend in ("cpu", "reference"):
        with pytest.raises(BackendError, match=rf"half_shN must be False on the {backend} backend"):
            train(toy, config, backend)


@pytest.mark.parametrize("density", [Adaptive(), MCMC()], ids=["adaptive", "mcmc"])
def test_half_precision_is_always_that_of_now(gpu: PretendGPU, toy: Scene, density: Density) -> None:
    config = replace(CONFIG, half_shN=True, shN_stride=3, reorder_every=0.11, sh_every=0.0, density=density)
    with Training(toy, config, "gpu") as training:
        for _ in range(40):
            training.advance()
            assert torch.equal(training._drawn().shN, training.gaussians.shN.half())


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_the_order_of_rows_does_not_matter(gpu: PretendGPU, toy: Scene, backend: str) -> None:
    """Moments and what the strategy counts go where their rows go: but for the last bits, nothing else changes."""
    cloning = Adaptive(every=0.3, clone_below=100.0)  # halves would lie at random places, other ones for other rows
    config = replace(CONFIG, steps=30, density=cloning)
    plain, ordered = (trained(toy, replace(config, reorder_every=every), backend) for every in (0.0, 0.07))
    assert not torch.equal(plain[0].means, ordered[0].means)
    assert len(plain[0]) == len(ordered[0])
    assert ordered[1][-2] == pytest.approx(plain[1][-2], rel=1e-3)
    rows = [g.means[g.means[:, 0].argsort()] for g in (plain[0], ordered[0])]
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-3, atol=1e-3)


def test_strategies_carry_what_they_keep_per_row() -> None:
    control = Adaptive().start(Span(steps=10, extent=1.0, max_gaussians=10, seed=0))
    control.gradient, control.seen = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    gaussians = Gaussians.empty(0)
    control.follow(Edit(gaussians))
    assert control.seen.tolist() == [4, 5, 6]
    rows = torch.tensor([2, 0])
    two = Gaussians(*(torch.zeros(2, *tensor.shape[1:]) for tensor in gaussians))
    control.follow(Edit(two, rows))
    assert (control.gradient.tolist(), control.seen.tolist()) == ([3, 1], [6, 4])


def test_rows_are_drawn_by_their_weights_there(gpu: PretendGPU, seed: int) -> None:
    weights = torch.tensor([0.0, 0.5, 0.0, 0.25, 1.0, 0.0], dtype=torch.float64)
    drawn = _drawn(weights.to(gpu.device), 20_000, torch.Generator().manual_seed(seed))
    shares = torch.bincount(drawn.to("cpu"), minlength=6) / 20_000
    torch.testing.assert_close(shares, (weights / weights.sum()).float(), rtol=0, atol=0.015)
    assert shares[weights == 0].sum() == 0


def test_a_picture_that_nobody_looks_at_is_not_waited_for(gpu: PretendGPU, toy: Scene) -> None:
    with Training(toy, CONFIG, "gpu") as training:
        progressed = training.advance()
        before = len(gpu.waits)
        assert isinstance(progressed.measured, torch.Tensor)
        assert progressed.loss > 0
        assert progressed.psnr > 0
        assert len(gpu.waits) > before
