"""`sfumato info`: the numbers, as a table and as JSON."""

import json
import math
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.cli.info import summary
from sfumato.cli.main import main
from sfumato.core.gaussians import Gaussians


def column(count: int = 100) -> Gaussians:
    """Gaussians 1 to count along x, with scales 1 to count."""
    steps = torch.arange(1, count + 1).float()
    return Gaussians(
        means=torch.stack([steps, -steps, torch.zeros(count)], dim=1),
        quats=torch.ones(count, 4),
        log_scales=steps.log()[:, None].repeat(1, 3),
        logit_opacities=torch.logit(steps / (count + 1)),
        sh0=torch.zeros(count, 1, 3),
        shN=torch.zeros(count, 8, 3),
    )


def test_numbers() -> None:
    found = summary(column())
    assert (found["gaussians"], found["sh_degree"], found["nonfinite_rows"]) == (100, 2, 0)
    assert found["extent"]["x"] == {"min": 1, "median": 50, "max": 100}
    assert found["extent"]["y"] == {"min": -100, "median": -51, "max": -1}
    assert found["largest_scale"] == pytest.approx({"p1": 1, "p10": 10, "p50": 50, "p90": 90, "p99": 99}, rel=1e-5)
    assert found["opacity"]["p90"] == pytest.approx(90 / 101, rel=1e-5)


def test_rows_that_are_not_finite_are_counted_and_left_out() -> None:
    gaussians = column()
    gaussians.means[0, 0], gaussians.shN[1, 2, 2], gaussians.quats[2] = math.nan, math.inf, 0
    found = summary(gaussians)
    assert (found["nonfinite_rows"], found["unusable_rotations"]) == (2, 1)
    assert found["extent"]["x"]["min"] == 3


@pytest.mark.parametrize("gaussians", [column(), column(1), Gaussians.empty(3), column()[:0]])
def test_both_forms_of_any_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], gaussians: Gaussians) -> None:
    path = tmp_path / "a.ply"
    formats.write(path, gaussians)
    assert main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["gaussians"] == len(gaussians)
    assert found["bytes"] == path.stat().st_size
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"{len(gaussians):,} Gaussians" in shown
    assert "opacity" in shown
