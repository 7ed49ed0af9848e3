"""`sfumato demo`: what it refuses before it starts, its film, and its table of times."""

import sys
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
import torch

from sfumato.capture.studio import phone_walk
from sfumato.cli import demo
from sfumato.cli.browse import open_browser
from sfumato.cli.flags import command_line
from sfumato.cli.main import main
from sfumato.cli.train import Train
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


@pytest.mark.parametrize(
    ("display", "terminal", "no_open"),
    [(True, True, False), (True, True, True), (True, False, False), (False, True, False)],
)
def test_the_report_is_opened_where_somebody_sees_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    display: bool,
    terminal: bool,
    no_open: bool,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("sfumato.cli.browse.has_display", lambda: display)
    monkeypatch.setattr("webbrowser.get", lambda: SimpleNamespace(basename="firefox"))
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    report = tmp_path / "a b" / "report.html"
    demo._show(report, no_open)
    assert capsys.readouterr().out == ""  # it could not be written, which was said
    report.parent.mkdir()
    report.touch()
    demo._show(report, no_open)
    shown = display and terminal and not no_open
    assert opened == ([report.as_uri()] if shown else [])
    said = capsys.readouterr().out
    assert str(report) in said
    assert ("(opened in the browser)" in said) == shown


def test_a_browser_in_the_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> bool:
        raise AssertionError(url)

    monkeypatch.setattr("sfumato.cli.browse.has_display", lambda: True)
    monkeypatch.setattr("webbrowser.get", lambda: SimpleNamespace(basename="lynx"))
    monkeypatch.setattr("webbrowser.open", refuse)
    assert not open_browser("file:///report.html", 1.0)


def test_the_line_to_type_again() -> None:
    assert command_line(demo.Demo()) == "sfumato demo"
    flags = Train(Path("my photos"), Path("out"), steps=300, quality=True, max_gaussians=7, force=True, seed=0)
    said = command_line(flags, without=("force",))
    assert said == "sfumato train 'my photos' -o out --steps 300 --quality --max-gaussians 7"
