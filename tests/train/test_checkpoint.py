"""A training that is stopped anywhere, saved and gone on with ends with the same bits as one that never stopped."""

import errno
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.train import Checkpoints, Progressed, TrainConfig, TrainingState, checkpoint, scene_digest, train
from sfumato.train.density import MCMC, Adaptive, Density

STEPS = 40


class StopError(Exception):
    """Training is stopped by the test."""


def config_of(density: Density) -> TrainConfig:
    return TrainConfig(steps=STEPS, max_gaussians=60, density=density, deterministic=True)


def same(a: Gaussians, b: Gaussians) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def stopped_at(
    step: int, scene: Scene, config: TrainConfig, backend: str, start: TrainingState | None = None
) -> TrainingState:
    """The state after a step, as it would be read from a file."""
    states: list[TrainingState] = []

    def on_step(progressed: Progressed) -> None:
        if progressed.step == step:
            assert progressed.state
            states.append(progressed.state())
            raise StopError

    with pytest.raises(StopError):
        train(scene, config, backend, on_step, start)
    return states[0]


@pytest.mark.parametrize("density", [Adaptive(resets=(0.6,)), MCMC()], ids=["adaptive", "mcmc"])
def test_stopped_anywhere_and_gone_on_with_is_never_stopped(
    toy: Scene, density: Density, fast_backend: str, tmp_path: Path
) -> None:
    config = config_of(density)
    whole = train(toy, config, fast_backend)
    checkpoints, state = Checkpoints(tmp_path), None
    for step in (1, 2, 5, 19, 20, 21, 30, STEPS - 1, STEPS):  # each goes on from the one before, through a file
        state = stopped_at(step, toy, config, fast_backend, state)
        checkpoints.save(state, config, scene_digest(toy))
        kept = checkpoints.newest()
        assert kept is not None
        assert kept.config == config
        assert kept.scene == scene_digest(toy)
        state = kept.state
    assert same(train(toy, config, fast_backend, start=state), whole)


def test_a_few_checkpoints_are_kept_and_no_part_of_a_file(toy: Scene, tmp_path: Path) -> None:
    config = config_of(Adaptive())
    checkpoints = Checkpoints(tmp_path / "new" / "folder")
    assert checkpoints.newest() is None
    for step in (3, 6, 9):
        checkpoints.save(stopped_at(step, toy, config, "reference"), config, "scene")
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == [f"step-{step:08d}.{kind}" for step in (6, 9) for kind in ("json", "safetensors")]


def test_every_truncation_of_the_newest_falls_back_to_the_one_before(toy: Scene, tmp_path: Path) -> None:
    config, checkpoints = config_of(MCMC()), Checkpoints(tmp_path)
    for step in (3, 6):
        checkpoints.save(stopped_at(step, toy, config, "reference"), config, "scene")
    for kind in ("json", "safetensors"):
        path = tmp_path / f"step-00000006.{kind}"
        data = path.read_bytes()
        for share in range(20):
            path.write_bytes(data[: len(data) * share // 20])
            with pytest.warns(SfumatoWarning, match=r"step-00000006.* going on from the one before, at step 3$"):
                kept = checkpoints.newest()
            assert kept is not None
            assert kept.state.step == 3
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        path.write_bytes(flipped)
        with pytest.warns(SfumatoWarning, match="damaged|cannot be read"):
            checkpoints.newest()
        path.write_bytes(data)
    (tmp_path / "step-00000003.safetensors").unlink()
    (tmp_path / "step-00000006.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"no whole checkpoint is left, so start again with --force$"):
        checkpoints.newest()


def test_a_damaged_newest_one_is_not_kept_in_place_of_good_ones(toy: Scene, tmp_path: Path) -> None:
    config, checkpoints = config_of(Adaptive()), Checkpoints(tmp_path)
    states = {step: stopped_at(step, toy, config, "reference") for step in (3, 4, 5, 9)}
    for step in (3, 9):
        checkpoints.save(states[step], config, "scene")
    (tmp_path / "step-00000009.safetensors").write_bytes(b"damaged")
    (tmp_path / "step-00000007.safetensors").write_bytes(b"a kill left it without its description")
    for step in (4, 5):  # training went on from step 3
        checkpoints.save(states[step], config, "scene")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"step-{step:08d}.{kind}" for step in (4, 5) for kind in ("json", "safetensors")]


def test_what_was_read_does_not_need_its_file(toy: Scene, tmp_path: Path) -> None:
    config, checkpoints = config_of(Adaptive()), Checkpoints(tmp_path)
    state = stopped_at(3, toy, config, "reference")
    checkpoints.save(state, config, "scene")
    kept = checkpoints.newest()
    path = tmp_path / "step-00000003.safetensors"
    with path.open("rb+") as file:
        file.write(bytes(path.stat().st_size))
    assert kept is not None
    assert same(kept.state.gaussians, state.gaussians)


def test_another_format_is_not_taken_for_damage(toy: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, checkpoints = config_of(Adaptive()), Checkpoints(tmp_path)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    checkpoints.save(stopped_at(2, toy, config, "reference"), config, "scene")
    monkeypatch.undo()
    with pytest.raises(InputError, match="written by another version of sfumato"):
        checkpoints.newest()


def test_on_a_full_disk_the_oldest_goes_first(toy: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, checkpoints = config_of(Adaptive()), Checkpoints(tmp_path)
    states = [stopped_at(step, toy, config, "reference") for step in (3, 6, 9)]
    for state in states[:2]:
        checkpoints.save(state, config, "scene")
    write = checkpoint.save_file

    def small_disk(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if len(list(tmp_path.glob("step-*.safetensors"))) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", small_disk)
    checkpoints.save(states[2], config, "scene")
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["step-00000006.json", "step-00000009.json"]

    def no_disk(tensors: dict[str, torch.Tensor], path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", no_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(replace(states[2], step=12), config, "scene")
    kept = checkpoints.newest()  # the last good one is never given up
    assert kept is not None
    assert kept.state.step == 9


def test_the_digest_of_a_scene_sees_what_training_sees(toy: Scene) -> None:
    turned = replace(toy.views[0], camera=toy.views[1].camera)
    moved = replace(toy.points, xyz=toy.points.xyz + 1e-6)
    others = [
        replace(toy, views=[turned, *toy.views[1:]]),
        replace(toy, views=[replace(toy.views[0], split="test"), *toy.views[1:]]),
        replace(toy, points=moved),
        replace(toy, background=(1.0, 1.0, 1.0)),
        replace(toy, origin=(1.0, 0.0, 0.0)),
    ]
    assert len({scene_digest(scene) for scene in [toy, *others]}) == 6
    assert scene_digest(replace(toy, protocol={"other": 1})) == scene_digest(toy)


def test_training_further_goes_on_from_the_end_with_fresh_rates(toy: Scene) -> None:
    config = config_of(Adaptive())
    losses: list[float] = []
    end = stopped_at(STEPS, toy, config, "reference")
    before = end.gaussians.map(torch.clone)
    further = config.extended(60)
    assert (further.time_at(0, 60), further.time_at(60, 60)) == (config.others_from, 1)
    trained = train(toy, further, "reference", lambda p: losses.append(p.loss), end.begun_again())
    assert len(losses) == 60
    assert sum(losses[-6:]) < sum(losses[:6])
    assert not same(trained, before)


def test_a_splat_is_refined_without_growing(toy: Scene) -> None:
    config = config_of(Adaptive())
    first = train(toy, config, "reference")
    seen: list[Progressed] = []
    refined = train(toy, config.refining(), "reference", seen.append, first.with_degree(1))
    assert refined.degree == config.sh_degree
    assert max(len(progressed.gaussians) for progressed in seen) <= len(first)
    assert {tuple(progressed.image.shape) for progressed in seen} == {(32, 32, 3)}  # never coarse
    wide = first.map(torch.clone)
    wide.log_scales[0] = math.log(20 * toy.extent)  # a sky
    wide.logit_opacities[0] = 2.0
    kept = train(toy, replace(config.refining(), steps=5), "reference", start=wide)
    assert float(kept.log_scales.max()) > math.log(10 * toy.extent)
    with pytest.raises(InputError, match="more than the cap of 5"):
        train(toy, replace(config, max_gaussians=5), "reference", start=first)


def test_configurations_survive_json() -> None:
    for config in (
        TrainConfig(),
        TrainConfig.make("mcmc", quality=True).refining(),
        config_of(Adaptive(resets=(0.5,))),
        TrainConfig(shN_stride=16, sparse_adam=True, half_shN=True, reorder_every=0.2, deterministic=True),
    ):
        assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(InputError, match="not written by this version"):
        TrainConfig.from_dict({**TrainConfig().to_dict(), "unheard_of": 1})
    with pytest.raises(InputError, match="not written by this version"):
        TrainConfig.from_dict({"density": "adaptive"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 needs a system with fork")
def test_killed_forty_times_ends_with_the_same_bits(tmp_path: Path, seed: int) -> None:
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(tmp_path / "checkpoints"), "adaptive", str(seed)]
    place = os.pathsep.join(sys.path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": place})
    assert done.returncode == 0, done.stderr
    kills, unsafe = map(int, done.stdout.split())
    assert kills == 40
    assert unsafe > 0  # some came while a file was being written
