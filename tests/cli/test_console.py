"""What the person sees: a live line at a terminal, a handful of plain lines elsewhere."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sfumato.cli.console import Stages, TrainingLine, duration
from sfumato.cli.journal import Journal
from sfumato.core.gaussians import Gaussians
from sfumato.train import Progressed


def progressed(step: int, steps: int = 1000) -> Progressed:
    picture = torch.zeros(2, 2, 3)
    return Progressed(step, steps, 0.1234, picture, picture.byte(), Gaussians.empty(0), step / 100)


@dataclass
class Screen:
    """A console that writes to memory."""

    terminal: bool

    def __post_init__(self) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=self.terminal, width=100, highlight=False)

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (7.6, "8 s"), (59.9, "1:00"), (185, "3:05"), (3729, "1:02:09"), (-3, "0 s")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_training_elsewhere_than_at_a_terminal_is_a_dozen_lines() -> None:
    screen = Screen(terminal=False)
    with TrainingLine(screen.console) as line:
        for step in range(1, 1001):
            line.measured(20.0 if step < 990 else 30.0)
            line(progressed(step))
    lines = screen.text.splitlines()
    assert 8 <= len(lines) <= 13
    assert lines[0].startswith("step    1 of 1000  loss 0.1234  20.00 dB  0 Gaussians  100.0 steps/s  10 s left")
    assert lines[-1].startswith("step 1000 of 1000")
    assert "25.50 dB" in lines[-1]  # of the last 20, 11 have 30 dB and 9 have 20 dB
    assert "\x1b" not in screen.text


def test_photos_that_are_ignored_are_not_in_the_mean() -> None:
    screen = Screen(terminal=False)
    with TrainingLine(screen.console) as line:
        line.measured(math.nan)
        line(progressed(1))
        line.measured(20.0)
        line.measured(math.nan)
        line(progressed(1000))
    first, last = screen.text.splitlines()
    assert "  -  " in first
    assert "20.00 dB" in last
    assert "nan" not in screen.text


def test_photos_that_are_ignored_have_no_number_in_the_log(tmp_path: Path) -> None:
    with Journal(tmp_path / "log.jsonl") as journal:
        for step, psnr in enumerate((math.nan, 20.0), start=1):
            journal.write(progressed(step), psnr)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["psnr"] for line in lines] == [None, 20.0]


def test_training_at_a_terminal_is_one_live_line() -> None:
    screen = Screen(terminal=True)
    with TrainingLine(screen.console) as line:
        for step in range(1, 1001):
            line(progressed(step))
    assert "step 1000 of 1000" in screen.text
    assert screen.text.count("\n") < 5


def test_the_present_speed_not_the_mean_tells_the_time_left() -> None:
    screen = Screen(terminal=False)
    with TrainingLine(screen.console) as line:
        for step in range(1, 1001):
            seconds = step / 100 if step < 500 else 5 + (step - 500) / 10
            line(
                Progressed(
                    step, 1000, 0.1, torch.zeros(1, 1, 3), torch.zeros(1, 1, 3).byte(), Gaussians.empty(0), seconds
                )
            )
    late = [text for text in screen.text.splitlines() if "Gaussians" in text][-2]
    speed = float(late.split(" steps/s")[0].split()[-1])
    assert 9 < speed < 25


@pytest.mark.parametrize("terminal", [True, False])
def test_stages(terminal: bool) -> None:
    screen = Screen(terminal)
    with Stages(screen.console) as progress:
        for done in range(11):
            progress("features", done, 10)
        progress("mapping", 1, 0)
    assert "features" in screen.text
    assert "mapping" in screen.text
    if not terminal:
        assert screen.text.startswith("features: 10, 0.0 s\nmapping: 0.0 s\n")


def test_stages_say_nothing_about_one_that_failed() -> None:
    screen = Screen(terminal=False)

    def fail() -> None:
        with Stages(screen.console) as progress:
            progress("features", 1, 10)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert screen.text == ""
