"""Fixtures every test may use: where the real data is, which backends can run here, a seed that is shown."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sfumato.core.errors import BackendError
from sfumato.kernels import backends

from interpreter import patch_language_once

REPOSITORY = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # the tensors here are small: more threads wait for each other, badly so on a busy machine

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what they run in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests press Ctrl-C

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # the GPU's kernels run in an interpreter; before triton is imported
if backends.interpreted():
    patch_language_once()

SHARED_DATA = REPOSITORY.parent / "shared" / "data"  # photos and splats that are too large for the repository


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture
def shared_data() -> Path:
    """The folder of real scenes and splats; the test is skipped, loudly, where it does not exist."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"NO REAL DATA: {SHARED_DATA} is missing, so nothing was checked against real photos")
    return SHARED_DATA


def _in_use(name: str) -> Iterator[str]:
    """The name, while tensors are made on the device where the backend computes; skips where it cannot run."""
    try:
        name, device = backends.choose(name)
    except BackendError as error:
        pytest.skip(f"BACKEND {name} NOT TESTED: {error}")
    with torch.device(device):
        yield name


@pytest.fixture(params=backends.NAMES)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each backend in turn; a test that asks for it runs once per backend."""
    yield from _in_use(request.param)


@pytest.fixture(params=[name for name in backends.NAMES if name != "reference"])
def fast_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each backend but the reference, to compare with the reference."""
    yield from _in_use(request.param)


@pytest.fixture
def device() -> torch.device:
    """Where tensors of the gpu backend live: on a GPU, or on the CPU where kernels are interpreted."""
    try:
        return backends.choose("gpu")[1]
    except BackendError as error:
        pytest.skip(f"GPU BACKEND NOT TESTED: {error}")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed that belongs to the test's name, already set in torch; pytest shows it when the test fails."""
    number = sum(ord(letter) * (place + 1) for place, letter in enumerate(request.node.name)) % 100_000
    torch.manual_seed(number)
    random.seed(number)
    print(f"seed {number}")
    return number
