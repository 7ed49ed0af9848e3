"""Training with the kernels for GPUs, which Triton's interpreter runs where there is none: the same scene is learned.

Pictures are low and wide: the interpreter's time goes with their rows.
"""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import resize
from sfumato.core.scene import Scene, View
from sfumato.kernels.backends import choose, load
from sfumato.kernels.stages import Rates
from sfumato.train import Progressed, TrainConfig, train
from sfumato.train.config import Coarse
from sfumato.train.density import MCMC, Adaptive
from sfumato.train.trainer import Training

from pretend import pretended

RATES = Rates(*(4 * rate for rate in TrainConfig().rates))
CONFIG = TrainConfig(
    steps=50,
    max_gaussians=24,
    density=Adaptive(opacity=0.5, every=0.3, start_at=0.1),
    rates=RATES,
    coarse=Coarse(0.0, 0.92),  # 46 steps of 16x5 pixels, 4 of 32x10
    sh_degree=1,
)


@pytest.fixture
def usable() -> None:
    try:
        load("gpu")
        choose("gpu")
    except BackendError as error:
        pytest.skip(f"GPU BACKEND NOT TESTED: {error}")


@pytest.fixture
def wide(toy: Scene) -> Scene:
    """The toy scene with photos of 32x10 pixels, which show all of it."""
    views = []
    for view in toy.views:
        camera: Camera = view.camera.resized(32, 10)
        views.append(View(view.name, camera, resize(view.image, 32, 10)))
    return replace(toy, views=views)


def learned(scene: Scene, config: TrainConfig, backend: str) -> tuple[Gaussians, list[float], list[float]]:
    """The result, and loss and PSNR after every step."""
    losses: list[float] = []
    psnrs: list[float] = []

    def on_step(progressed: Progressed) -> None:
        losses.append(progressed.loss)
        psnrs.append(progressed.psnr)

    return train(scene, config, backend, on_step).to("cpu"), losses, psnrs


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def test_a_toy_scene_is_learned_as_by_the_others(usable: None, wide: Scene) -> None:
    """50 steps with an edit in every third of them: the roundings differ, what is learned does not."""
    runs = {backend: learned(wide, CONFIG, backend) for backend in ("gpu", "cpu", "reference")}
    ends = {backend: mean(psnrs[-8:]) for backend, (_, _, psnrs) in runs.items()}
    gaussians, losses, _ = runs["gpu"]
    assert gaussians.finite.all()
    assert 20 < len(gaussians) <= 24
    assert mean(losses[34:40]) < 0.8 * mean(losses[:6])
    assert losses[:5] == pytest.approx(runs["reference"][1][:5], rel=1e-3)
    for other in ("cpu", "reference"):
        assert len(gaussians) == len(runs[other][0])
        assert ends["gpu"] == pytest.approx(ends[other], abs=0.1)  # 21.116, 21.107 and 21.109 dB when this was written


def test_deterministic_is_the_same_bits_each_time(usable: None, wide: Scene) -> None:
    """The interpreter does one thing after the other: only on a GPU can this find an order that is not fixed."""
    density = MCMC(scale=0.5, every=0.5)
    config = replace(CONFIG, steps=4, density=density, deterministic=True, coarse=Coarse(0.0, 1.0))
    (one, *numbers), (other, *others) = (learned(wide, config, "gpu") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert numbers == others


def test_ordinary_steps_wait_for_nothing_in_the_kernels_modules(
    usable: None, wide: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they mix what is on the GPU with what is not."""
    stages = load("gpu")
    config = replace(CONFIG, steps=4, density=MCMC(every=0.5, scale=0.5), coarse=Coarse(0.0, 1.0), half_shN=True)
    with pretended() as gpu:
        monkeypatch.setattr("sfumato.train.trainer.choose", lambda name: (name, gpu.device))
        monkeypatch.setattr("sfumato.train.trainer.load", lambda name: stages)
        with Training(wide, config, "gpu") as training:
            for edits in (False, True, False, True):
                with nullcontext() if edits else gpu.no_waiting():
                    progressed = training.advance()
        assert progressed.gaussians.finite.all()
    assert {"_forward", "_backward"} < set(gpu.launches)
