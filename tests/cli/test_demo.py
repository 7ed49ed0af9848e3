"""`sfumato demo`: what it refuses before it starts, its film, and its table of times."""

from pathlib import Path

import av
import pytest
import torch

from sfumato.capture.studio import phone_walk
from sfumato.cli import demo
from sfumato.cli.main import main
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Points, Scene, View


def test_an_earlier_demo_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert (
        "already holds a run or its report (photos); choose another, or add --force to replace it"
        in capsys.readouterr().err
    )
    assert list(tmp_path.rglob("*")) == [tmp_path / "photos"]


def test_seconds_must_be_positive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path / "out"), "--seconds", "0"]) == 2
    assert "--seconds must be above 0; got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_film_has_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FRAMES", 5)
    monkeypatch.setattr(demo, "SIZE", (64, 48))
    views = [
        View(f"photo_{k:03d}.jpg", camera, torch.zeros(24, 32, 3, dtype=torch.uint8))
        for k, camera in enumerate(phone_walk(12, 32, 24))
    ]
    scene = Scene(views, Points(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.uint8)))
    one = Gaussians(
        torch.tensor([[0.0, 0.0, 0.9]]),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.full((1, 3), -2.0),
        torch.full((1,), 4.0),
        torch.full((1, 1, 3), 1.5),
        torch.zeros(1, 0, 3),
    )
    demo._film(tmp_path / "film.mp4", one, scene, "reference")
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    assert all(frame[24, 32].min() > 150 > 20 > frame[2, 2].max() for frame in frames)  # bright in the middle, black


def test_the_clock_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 12.5, 20.0))
    monkeypatch.setattr(demo, "perf_counter", lambda: next(times))
    clock = demo._Clock()
    clock.stop("photographs", Path("photos"))
    clock.stop("film", None)
    assert [line.split() for line in clock.table().splitlines()] == [
        ["photographs", "2.5", "s", "photos"],
        ["film", "7.5", "s"],
        ["in", "all", "10.0", "s"],
    ]
