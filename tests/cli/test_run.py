"""Training behind the command line: what lands in OUT, what is never overwritten, and what an interruption leaves."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.capture.photos import list_photos
from sfumato.cli import run
from sfumato.cli.interrupt import Stopped
from sfumato.cli.main import main
from sfumato.cli.output import REPORT, RUN, check_output, clear
from sfumato.cli.run import score, train_and_report, write_page
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import write_image
from sfumato.core.scene import IGNORED, Picture, Scene
from sfumato.train import TrainConfig
from sfumato.view.views import write_views

from scenes import crowd

Toy = Callable[..., Scene]
SAVED = {"checkpoints/step-00000006.json", "checkpoints/step-00000006.safetensors"}
RENDERS = {"views/0.render.jpg", "views/8.render.jpg"}
VIEWS = {"views", *RENDERS, *(f"views/{index}.jpg" for index in range(9))}


@pytest.fixture
def config() -> TrainConfig:
    return replace(TrainConfig.make(steps=6), sh_degree=0)


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_run_leaves_what_scripts_rely_on(tmp_path: Path, toy: Toy, config: TrainConfig) -> None:
    out = tmp_path / "deep" / "out"
    done = train_and_report(toy(), out, config, "reference", asked={"input": Path("photos")})
    assert everything(out) == {*RUN, "compare/0.png", "compare/8.png", *SAVED, *VIEWS}
    assert not done.interrupted
    assert done.evaluation is not None
    assert len(formats.read(out / "splat.ply")) == len(done.gaussians) > 0

    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["test"]["psnr"] == done.evaluation.psnr
    assert report["test"]["ssim"] == done.evaluation.ssim
    assert report["train"]["steps"] == 6
    assert report["train"]["gaussians"] == len(done.gaussians)
    assert report["train"]["seconds"] == done.seconds > 0
    assert report["train"]["interrupted"] is False
    assert report["protocol"]["source"] == "toy"
    assert report["protocol"]["backend"] == "reference"

    log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert log[0].keys() == {"step", "loss", "psnr", "gaussians", "seconds"}
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert settings["command"]["input"] == "photos"
    assert settings["train"]["steps"] == 6
    assert "![Worst: " in (out / "report.md").read_text(encoding="utf-8")


def test_nothing_held_out(tmp_path: Path, toy: Toy, config: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    done = train_and_report(toy(test=False), tmp_path, config, "reference")
    assert done.evaluation is None
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["test"]["psnr"] is None
    assert "nothing was held out" in capsys.readouterr().err


def test_scores_go_to_the_output_and_progress_does_not(
    tmp_path: Path, toy: Toy, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    train_and_report(toy(), tmp_path, config, "reference")
    captured = capsys.readouterr()
    assert captured.out.startswith("held out 2: PSNR ")
    assert captured.out.count("\n") == 1
    assert "step 1 of 6" in captured.err
    assert "step 6 of 6" in captured.err


def interrupting(monkeypatch: pytest.MonkeyPatch, number: int, at_step: int) -> None:
    """Send this process a signal while it trains."""
    original = run.Journal.wants

    def wants(self: run.Journal, progressed: object) -> bool:
        if getattr(progressed, "step", 0) == at_step:
            os.kill(os.getpid(), number)
        return original(self, progressed)  # type: ignore[arg-type]

    monkeypatch.setattr(run.Journal, "wants", wants)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send itself a signal that Python sees")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_at_once(
    tmp_path: Path, toy: Toy, config: TrainConfig, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.getsignal(number)
    interrupting(monkeypatch, number, 3)
    done = train_and_report(toy(), tmp_path, config, "reference")
    assert done.interrupted
    assert len(formats.read(tmp_path / "splat.ply")) == len(done.gaussians) > 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["train"]["interrupted"] is True
    assert report["train"]["steps"] == 3
    assert report["test"]["psnr"] is None  # scores take time
    assert (tmp_path / "checkpoints" / "step-00000003.safetensors").is_file()
    assert "**Interrupted:**" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert signal.getsignal(number) == before


def test_an_output_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    check_output(out, False, source)
    assert not out.exists()  # checking changes nothing
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    check_output(out, False, source)  # other files do not hold a run
    for name in RUN:
        (out / name).mkdir() if name == "compare" else (out / name).write_text("x", encoding="utf-8")
        with pytest.raises(InputError, match=rf"already holds a run .*{name}.*--force"):
            check_output(out, False, source)
        check_output(out, True, source)
        clear(out)
        if (out / name).exists():
            (out / name).rmdir()
    assert everything(out) == {"notes.txt"}


def test_places_that_cannot_hold_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="it is a file"):
        check_output(tmp_path / "file", True, tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        check_output(tmp_path / "file" / "out", True, tmp_path)
    with pytest.raises(InputError, match="where the photos are"):
        check_output(tmp_path, True, tmp_path)


def test_a_full_disk_is_seen_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import _ntuple_diskusage as usage  # type: ignore[attr-defined]

    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 2**20))
    with pytest.raises(InputError, match="has 1 MB free on its disk, and 200 MB are needed; make room"):
        check_output(tmp_path / "out", False, tmp_path)


def test_force_removes_the_old_run_only(tmp_path: Path, toy: Toy, config: TrainConfig) -> None:
    (tmp_path / "compare").mkdir()
    for name in ("compare/old.png", "compare/mine.txt", "report.md", "other.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    train_and_report(toy(), tmp_path, config, "reference")
    assert everything(tmp_path) == {
        *RUN,
        "compare/0.png",
        "compare/8.png",
        "compare/mine.txt",
        "other.txt",
        *SAVED,
        *VIEWS,
    }


def test_pictures_of_others_in_views_are_kept(tmp_path: Path, toy: Toy, config: TrainConfig) -> None:
    (tmp_path / "views").mkdir()
    for name in ("3.jpg", "mine.render.jpg"):
        (tmp_path / "views" / name).write_text("mine", encoding="utf-8")
    for _ in range(2):
        train_and_report(toy(), tmp_path, config, "reference")
        assert (tmp_path / "views" / "3.jpg").read_text(encoding="utf-8") == "mine"
        assert len(list((tmp_path / "views").iterdir())) == len(VIEWS)
    clear(tmp_path)
    assert everything(tmp_path) == {"views", "views/3.jpg", "views/mine.render.jpg"}


def test_an_evaluation_that_replaces_another_has_its_pictures(tmp_path: Path, toy: Toy) -> None:
    splat = crowd(20, 0)
    for _ in range(2):
        clear(tmp_path, REPORT)
        score(splat, toy(), tmp_path, "reference")
        write_page(tmp_path, splat)
        assert {f"views/{name}" for name in ("0.jpg", "0.render.jpg", "8.jpg", "8.render.jpg")} <= everything(tmp_path)
        assert "cameras.json" in everything(tmp_path)


def test_an_evaluation_replaces_no_cameras_of_others(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    formats.write(tmp_path / "a.ply", crowd(20, 0))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "cameras.json").write_text("theirs", encoding="utf-8")
    line = ["eval", str(tmp_path / "a.ply"), str(dataset), "-o", str(tmp_path / "theirs"), "--backend", "reference"]
    assert main(line) == 2
    assert "already holds a run or its report (cameras.json)" in capsys.readouterr().err
    assert (tmp_path / "theirs" / "cameras.json").read_text(encoding="utf-8") == "theirs"


def test_pictures_of_a_run_that_was_killed_early_are_no_photos(tmp_path: Path, toy: Toy) -> None:
    write_image(tmp_path / "a.png", toy().views[0].image)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}", encoding="utf-8")
    write_views(tmp_path / "out", toy())
    assert len(list((tmp_path / "out" / "views").iterdir())) == 9
    assert list_photos(tmp_path) == ["a.png"]


def test_a_disk_that_is_full_when_views_are_written_ends_no_training(
    tmp_path: Path, toy: Toy, config: TrainConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sfumato.view.views.replacing", full)
    done = train_and_report(toy(), tmp_path, config, "reference")
    assert not done.interrupted
    assert capsys.readouterr().err.count("not all pictures for the viewer could be written (No space left") == 1
    assert not (tmp_path / "views").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("anything")])
def test_a_page_that_cannot_be_written_fails_no_run(
    tmp_path: Path,
    toy: Toy,
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fails(path: Path, text: str) -> None:
        raise error

    monkeypatch.setattr("sfumato.view.report.write_text", fails)
    done = train_and_report(toy(), tmp_path, config, "reference")
    assert done.evaluation is not None
    why = "No space left on device" if isinstance(error, OSError) else "'anything'"
    assert f"report.html could not be written ({why}); everything else is complete" in capsys.readouterr().err
    assert everything(tmp_path) == {*RUN, "compare/0.png", "compare/8.png", *SAVED, *VIEWS} - {"report.html"}


def test_the_page_tells_what_was_asked(tmp_path: Path, toy: Toy, config: TrainConfig) -> None:
    train_and_report(toy(), tmp_path, config, "reference", asked={"line": "sfumato train <photos>"})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "sfumato train &lt;photos&gt;" in page
    assert '<th scope="row">sh_degree</th><td>0</td><td>3</td>' in page  # here, usually
    assert '<th scope="row">ssim_weight</th><td>0.2</td></tr>' in page  # among all settings only
    assert page.count('<img class="render" src="data:image/jpeg;base64,') == 2


def test_scoring_alone(tmp_path: Path, toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    scene = toy()
    found = score(Gaussians.empty(0), scene, None, "reference")
    assert found is not None
    assert not list(tmp_path.iterdir())
    score(Gaussians.empty(0), scene, tmp_path, "reference")
    write_page(tmp_path, Gaussians.empty(0))
    assert everything(tmp_path) == {
        *(*REPORT, "compare/0.png", "compare/8.png"),
        *("cameras.json", "views", "views/0.jpg", "views/8.jpg", *RENDERS),
    }
    assert capsys.readouterr().out.count("held out 2") == 2


def test_nonfinite_gaussians_are_not_saved(
    tmp_path: Path, toy: Toy, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(
        scene: Scene, config: TrainConfig, backend: str, on_step: Callable[[object], None], *more: object
    ) -> None:
        from sfumato.train import Progressed

        rows = Gaussians(
            *(torch.ones_like(field) for field in Gaussians.empty(0).map(lambda t: t.new_ones(3, *t.shape[1:])))
        )
        rows.means[1] = float("nan")
        on_step(
            Progressed(1, 6, float("nan"), torch.zeros(2, 2, 3), torch.zeros(2, 2, 3, dtype=torch.uint8), rows, 0.1)
        )
        raise Stopped

    monkeypatch.setattr("sfumato.train.train", broken)
    monkeypatch.setattr(sys.modules["sfumato.train"], "train", broken)
    done = train_and_report(toy(), tmp_path, config, "reference")
    assert len(done.gaussians) == 2
    entry = json.loads((tmp_path / "log.jsonl").read_text(encoding="utf-8"))
    assert entry["loss"] is None


def test_seconds_are_turned_into_steps_that_repeat_the_run(
    tmp_path: Path, toy: Toy, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = toy()
    config = replace(config, max_gaussians=40)
    train_and_report(scene, tmp_path / "timed", config, "reference", seconds=2)
    report = json.loads((tmp_path / "timed" / "report.json").read_text(encoding="utf-8"))
    steps = report["train"]["steps"]
    assert f"--steps {steps} repeats this run" in capsys.readouterr().err
    assert report["train"]["planning_seconds"] > 0
    train_and_report(scene, tmp_path / "again", replace(config, steps=steps), "reference")
    assert (tmp_path / "again" / "splat.ply").read_bytes() == (tmp_path / "timed" / "splat.ply").read_bytes()


def test_views_whose_names_differ_little_get_a_picture_each(tmp_path: Path, toy: Toy) -> None:
    scene = toy()
    views = [replace(view, name=name) for view, name in zip(scene.test, ["a/1.png", "a-1.jpg"], strict=True)]
    score(Gaussians.empty(0), replace(scene, views=scene.train + views), tmp_path, "reference")
    assert sorted(path.name for path in (tmp_path / "compare").iterdir()) == ["a-1-1.png", "a-1.png"]
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "[a/1.png](compare/a-1.png)" in page
    assert "[a-1.jpg](compare/a-1-1.png)" in page


def test_a_splat_outlives_scores_that_cannot_be_had(
    tmp_path: Path, toy: Toy, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = toy()
    nothing = Picture(scene.test[0].image, torch.full(scene.test[0].image.shape[:2], IGNORED, dtype=torch.uint8))
    views = [*scene.train, *(replace(view, photo=nothing) for view in scene.test)]
    done = train_and_report(replace(scene, views=views), tmp_path, config, "reference")
    assert done.evaluation is None
    assert "is written, but could not be scored: " in capsys.readouterr().err
    assert (tmp_path / "splat.ply").exists()
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["test"]["psnr"] is None
