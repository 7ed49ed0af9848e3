"""`train --view` at the command line's side: what it says, what it opens, and that the splat is safe first."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sfumato.cli.live import Onlooker, Viewing
from sfumato.cli.run import train_and_report
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.train import TrainConfig

CONFIG = TrainConfig.make(steps=3, max_gaussians=60)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that the browser was asked for."""
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", asked.append)
    return asked


def begun(scene: Scene, folder: Path, viewing: Viewing) -> list[str]:
    """What is said when the page of a training is served."""
    said: list[str] = []
    with Onlooker(viewing, said.append) as onlooker:
        onlooker.begin(folder, scene, CONFIG, "reference")
    return said


def test_nothing_is_opened_where_nobody_would_see_it(
    toy: Callable[..., Scene], tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser of the terminal (w3m, lynx) would take it from the training."""
    monkeypatch.setattr("sfumato.cli.browse.has_display", lambda: False)
    said = begun(toy(), tmp_path, Viewing("127.0.0.1", 0, True))
    assert said[0].startswith("watch it at http://127.0.0.1:")
    assert opened == []


def test_a_port_that_is_taken_is_said(toy: Callable[..., Scene], tmp_path: Path) -> None:
    with Onlooker(Viewing("127.0.0.1", 0, False), lambda sentence: None) as first:
        first.begin(tmp_path, toy(), CONFIG, "reference")
        port = int(first.url.strip("/").rsplit(":", 1)[1])
        taken, address = begun(toy(), tmp_path, Viewing("127.0.0.1", port, False))
    assert taken == f"port {port} is taken, so this is port {address.strip('/').rsplit(':', 1)[1]}"


def test_the_splat_is_written_before_pages_are_shown_the_end(toy: Callable[..., Scene], tmp_path: Path) -> None:
    there: list[bool] = []

    class Looking(Onlooker):
        def trained(self, gaussians: Gaussians, interrupted: bool) -> None:
            there.append((tmp_path / "splat.ply").is_file())

    onlooker = Looking(None, lambda sentence: None)
    train_and_report(toy(), tmp_path, CONFIG, "reference", onlooker=onlooker)
    assert there == [True]


def test_the_worker_takes_no_threads_from_training() -> None:
    """Where torch has done nothing yet, the first thread that says how many it wants says so for all."""
    count = "print(torch.get_num_threads())"
    script = (
        "import torch, threading; from sfumato.view.snapshots import Worker; done = threading.Event();"
        f"worker = Worker(print); worker.do('nothing', done.set); done.wait(20); {count}"
    )
    told = [
        subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
        for words in (f"import torch; {count}", script)
    ]
    assert told[0] == told[1]
