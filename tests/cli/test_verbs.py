"""Whole command lines on a tiny dataset: train, eval and render, and that nothing is lost or overwritten."""

import json
from pathlib import Path

import av
import pytest

import sfumato
from sfumato.cli.main import main

TRAIN = ["--steps", "5", "--max-gaussians", "60", "--backend", "reference"]


@pytest.fixture
def run(dataset: Path, tmp_path: Path) -> Path:
    """The folder of a finished run."""
    assert main(["train", str(dataset), "-o", str(tmp_path / "out"), *TRAIN]) == 0
    return tmp_path / "out"


def test_train(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["test"]["psnr"] > 5
    assert report["protocol"]["test_views"] == 2
    assert report["protocol"]["train_views"] == 7
    assert report["train"]["steps"] == 5
    assert report["train"]["gaussians"] <= 60
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["command"]["steps"] == 5
    assert len(list((run / "compare").iterdir())) == 2
    assert len(sfumato.read(run / "splat.ply")) == report["train"]["gaussians"]


def test_a_run_is_only_replaced_with_force(run: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "splat.ply").read_bytes()
    capsys.readouterr()
    assert main(["train", str(dataset), "-o", str(run), *TRAIN, "--seed", "7"]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (run / "splat.ply").read_bytes() == before
    assert main(["train", str(dataset / "nothing"), "-o", str(run), *TRAIN, "--force"]) == 2
    assert (run / "splat.ply").read_bytes() == before  # bad input does not cost the old run
    assert main(["train", str(dataset), "--output", str(run), *TRAIN, "--seed", "7", "--force"]) == 0
    assert (run / "splat.ply").read_bytes() != before


def test_the_same_command_gives_the_same_bytes(run: Path, dataset: Path, tmp_path: Path) -> None:
    assert main(["train", str(dataset), "-o", str(tmp_path / "again"), *TRAIN]) == 0
    assert (tmp_path / "again" / "splat.ply").read_bytes() == (run / "splat.ply").read_bytes()


def test_seconds_become_steps(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "timed"
    assert main(["train", str(dataset), "-o", str(out), "--seconds", "4", *TRAIN[2:]]) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert f"--steps {report['train']['steps']} repeats this run" in capsys.readouterr().err
    assert report["train"]["seconds"] < 8  # another program may be busy


def test_eval_repeats_the_scores(run: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = json.loads((run / "report.json").read_text(encoding="utf-8"))["test"]
    capsys.readouterr()
    out = tmp_path / "scores"
    words = ["eval", str(run / "splat.ply"), str(dataset), "--backend", "reference"]
    assert main(words) == 0
    assert f"PSNR {trained['psnr']:.2f} dB" in capsys.readouterr().out
    assert main([*words, "-o", str(out)]) == 0
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["test"] == trained
    assert main([*words, "-o", str(run)]) == 2  # the report of the training stays
    assert "already holds" in capsys.readouterr().err


def test_render_along_the_datasets_cameras(run: Path, dataset: Path, tmp_path: Path) -> None:
    words = ["render", str(run / "splat.ply"), "--scene", str(dataset), "--backend", "reference"]
    assert main([*words, "-o", str(tmp_path / "views")]) == 0
    assert len(list((tmp_path / "views").glob("*.png"))) == 9
    for index, more in enumerate(([], ["--orbit"], ["--depth"])):
        film = tmp_path / f"{index}.mp4"
        assert main([*words, "-o", str(film), "--frames", "4", *more]) == 0
        with av.open(str(film)) as opened:
            assert len(list(opened.decode(video=0))) == 4
