"""Runs that are stopped and gone on with, from the command line: the same bits, and nothing lost or overwritten."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sfumato import formats
from sfumato.cli.interrupt import gentle
from sfumato.cli.main import main
from sfumato.cli.output import check_output, locked
from sfumato.cli.resume import Earlier
from sfumato.cli.train import Train, _as_before
from sfumato.core.errors import InputError
from sfumato.train import TrainConfig

FLAGS = ("--backend", "reference", "--max-gaussians", "40", "--steps", "12", "--checkpoint-steps", "4")


def train(dataset: Path, out: Path, *flags: str) -> int:
    return main(["train", str(dataset), "-o", str(out), *flags])


def steps_of(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def report(out: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return content


def interrupted(dataset: Path, out: Path, at_step: int, number: int, *flags: str) -> int:
    """The exit code of a process that is sent a signal soon after a step."""
    command = [sys.executable, "-m", "sfumato", "train", str(dataset), "-o", str(out), *flags]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
    patience = time.monotonic() + 60
    while time.monotonic() < patience and process.poll() is None:
        log = out / "log.jsonl"
        if log.is_file() and len(log.read_bytes().splitlines()) >= at_step:
            process.send_signal(number)
            break
        time.sleep(0.005)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_survives_what_stops_it(dataset: Path, tmp_path: Path, number: int) -> None:
    flags = (*FLAGS, "--steps", "150")
    assert train(dataset, tmp_path / "whole", *flags) == 0
    code = interrupted(dataset, tmp_path / "stopped", 30, number, *flags)
    assert code == (-number if number == signal.SIGKILL else 130)
    assert (tmp_path / "stopped" / "splat.ply").exists() == (number != signal.SIGKILL)
    assert 30 <= len(steps_of(tmp_path / "stopped")) < 150
    assert train(dataset, tmp_path / "stopped", "--resume") == 0
    assert steps_of(tmp_path / "stopped") == list(range(1, 151))
    same = [(tmp_path / name / "splat.ply").read_bytes() for name in ("whole", "stopped")]
    assert same[0] == same[1]
    assert report(tmp_path / "stopped")["test"] == report(tmp_path / "whole")["test"]
    assert not list((tmp_path / "stopped").rglob(".*"))


def test_a_run_without_a_checkpoint_starts_from_its_first_step(dataset: Path, tmp_path: Path) -> None:
    assert train(dataset, tmp_path / "whole", *FLAGS) == 0
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    assert train(dataset, tmp_path / "early", "--resume") == 0
    assert (tmp_path / "early" / "splat.ply").read_bytes() == (tmp_path / "whole" / "splat.ply").read_bytes()


def test_a_complete_run_is_scored_again_or_extended(dataset: Path, tmp_path: Path) -> None:
    assert train(dataset, tmp_path, *FLAGS) == 0
    before = (tmp_path / "splat.ply").read_bytes()
    (tmp_path / "report.json").unlink()
    assert train(dataset, tmp_path, "--resume") == 0
    assert (tmp_path / "splat.ply").read_bytes() == before
    assert report(tmp_path)["train"]["steps"] == 12
    assert train(dataset, tmp_path, "--extend", "8") == 0
    assert (tmp_path / "splat.ply").read_bytes() != before
    assert steps_of(tmp_path) == list(range(1, 21))


def test_what_contradicts_the_run_is_refused(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for flags, told in {
        ("--resume",): "holds no run to go on with",
        ("--resume", "--force"): "not both",
        ("--extend", "0"): "--extend must be at least 1",
        ("--checkpoint-seconds", "-1"): "--checkpoint-seconds must be 0",
    }.items():
        assert train(dataset, out, *flags) == 2
        assert told in capsys.readouterr().err
    assert train(dataset, out, *FLAGS) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    other = tmp_path / "other"
    other.mkdir()
    for path in dataset.rglob("*"):
        target = other / path.relative_to(dataset)
        target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    text = (other / "transforms_train.json").read_text(encoding="utf-8")
    content = json.loads(text)
    content["frames"][0]["transform_matrix"][0][3] += 0.01
    (other / "transforms_train.json").write_text(json.dumps(content), encoding="utf-8")
    for source, words, told in (
        (dataset, ("--resume", "--downscale", "2"), "was begun with --downscale 1.0, and now --downscale is 2.0"),
        (dataset, ("--resume", "--seed", "3"), "was begun with --seed 0, and now --seed is 3"),
        (other, ("--resume",), "was trained on other photos, cameras or points"),
        (dataset, (), "already holds a run"),
    ):
        assert train(source, out, *words) == 2
        assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / "config.json").write_text("{", encoding="utf-8")
    assert train(dataset, out, "--resume") == 2
    assert "config.json cannot be read" in capsys.readouterr().err
    (out / "config.json").write_text('{"command": 3}', encoding="utf-8")
    assert train(dataset, out, "--resume") == 2
    assert "must hold the objects command and train" in capsys.readouterr().err


def test_a_splat_is_refined(dataset: Path, tmp_path: Path) -> None:
    assert train(dataset, tmp_path / "first", *FLAGS) == 0
    start = tmp_path / "first" / "splat.ply"
    assert train(dataset, tmp_path / "second", "--init", str(start), *FLAGS, "--steps", "40") == 0
    first, second = report(tmp_path / "first")["test"]["psnr"], report(tmp_path / "second")["test"]["psnr"]
    assert isinstance(first, float)
    assert isinstance(second, float)
    assert second > first
    assert len(formats.read(tmp_path / "second" / "splat.ply")) <= len(formats.read(start))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_splat_too_large_to_start_from_does_not_cost_the_earlier_run(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train(dataset, out, *FLAGS) == 0
    before = contents(out)
    start = tmp_path / "start.ply"
    start.write_bytes(before["splat.ply"])
    flags = ("--max-gaussians", "3", "--backend", "reference", "--steps", "2", "--force")
    assert train(dataset, out, "--init", str(start), *flags) == 2
    assert "more than the cap of 3" in capsys.readouterr().err
    assert train(dataset, out, "--init", str(out / "splat.ply"), "--force") == 2
    assert "would be replaced by this run" in capsys.readouterr().err
    assert contents(out) == before


def test_a_checkpoint_is_enough_to_go_on_with_a_refined_splat(dataset: Path, tmp_path: Path) -> None:
    assert train(dataset, tmp_path / "first", *FLAGS) == 0
    start = (tmp_path / "first" / "splat.ply").rename(tmp_path / "start.ply")
    assert train(dataset, tmp_path / "second", "--init", str(start), *FLAGS) == 0
    start.unlink()
    assert train(dataset, tmp_path / "second", "--resume") == 0


def test_an_extension_killed_before_its_first_checkpoint_is_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for out in (killed, whole):
        assert train(dataset, out, *FLAGS) == 0
    before = contents(killed)
    for out in (killed, whole):
        assert train(dataset, out, "--extend", "8") == 0
    for name in contents(killed).keys() - {"config.json"}:  # as a kill in its first steps leaves it
        (killed / name).unlink()
    for name in before.keys() - {"config.json"}:
        (killed / name).write_bytes(before[name])
    assert train(dataset, killed, "--extend", "3") == 2
    assert train(dataset, killed, "--resume") == 0
    assert steps_of(killed) == list(range(1, 21))
    assert (killed / "splat.ply").read_bytes() == (whole / "splat.ply").read_bytes()
    assert report(killed)["train"]["steps"] == 20


def test_a_run_without_checkpoints_is_not_begun_again_in_silence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(dataset, tmp_path, *FLAGS, "--checkpoint-seconds", "0") == 2
    assert "not both" in capsys.readouterr().err
    flags = ("--backend", "reference", "--max-gaussians", "40", "--steps", "3", "--checkpoint-seconds", "0")
    out = tmp_path / "out"
    assert train(dataset, out, *flags) == 0
    before = contents(out)
    assert train(dataset, out, "--resume") == 2
    assert "holds a splat, but no checkpoint to go on from" in capsys.readouterr().err
    assert contents(out) == before


def test_the_same_command_goes_on_where_memory_made_photos_smaller(tmp_path: Path) -> None:
    earlier = Earlier(tmp_path, {"downscale": 2.0, "downscale_used": 4.0}, TrainConfig(), None)
    for asked in (1.0, 2.0):
        assert _as_before(Train(tmp_path, tmp_path, downscale=asked), earlier).downscale == 4.0
    with pytest.raises(InputError, match=r"was begun with --downscale 2.0, and now --downscale is 3.0"):
        _as_before(Train(tmp_path, tmp_path, downscale=3.0), earlier)


def test_no_scores_lie_beside_another_splat(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    assert train(dataset, tmp_path, *FLAGS) == 0
    with monkeypatch.context() as patched:
        patched.setattr("sfumato.cli.run.evaluate", stopped)
        assert train(dataset, tmp_path, "--extend", "4") == 130
    assert (tmp_path / "splat.ply").exists()
    assert not (tmp_path / "report.json").exists()
    assert not (tmp_path / "compare").exists()


def test_one_run_at_a_time(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with locked(out):
        holder = [sys.executable, "-m", "sfumato", "train", str(dataset), "-o", str(out), *FLAGS]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        second = subprocess.run(holder, capture_output=True, text=True, env=environment, timeout=60)
        assert second.returncode == 2
        assert "is in use by another run; wait for it" in second.stderr
        assert sorted(path.name for path in out.iterdir()) == [".lock"]
    assert not out.exists()
    check_output(out, False, dataset)
    with locked(out), locked(out):  # it does not stand in its own way
        assert out.is_dir()
    assert not out.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has locks of its own")
def test_a_disk_without_locks_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def unknown(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with locked(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
def test_asking_to_stop_works_where_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stderr", Gone())
    with gentle() as request:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            time.sleep(0.001)
    assert request.made


def test_a_disk_that_fills_up_does_not_end_training(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfumato.train import Checkpoints

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "save", full)
    assert train(dataset, tmp_path, *FLAGS) == 0
    told = capsys.readouterr().err
    assert told.count("no checkpoint could be written (No space left on device); training goes on") == 1
    assert (tmp_path / "splat.ply").exists()


def test_a_splat_that_cannot_be_written_is_not_lost(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "splat.ply")

    with monkeypatch.context() as patched:
        patched.setattr(formats, "write", full)
        assert train(dataset, tmp_path, *FLAGS) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "splat.ply").exists()
    assert train(dataset, tmp_path, "--resume") == 0  # from the last checkpoint: nothing is trained again
    assert (tmp_path / "splat.ply").exists()


def test_the_same_bits_with_any_number_of_threads_and_in_another_process(dataset: Path, tmp_path: Path) -> None:
    splats = []
    for threads in ("1", "3"):
        out = tmp_path / threads
        command = [
            sys.executable,
            "-m",
            "sfumato",
            "train",
            str(dataset),
            "-o",
            str(out),
            "--steps",
            "40",
            "--max-gaussians",
            "1500",
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SFUMATO_THREADS": threads}
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
        splats.append((out / "splat.ply").read_bytes())
    assert splats[0] == splats[1]
