"""Structure from motion on small photos of a real scene: cameras, cache, interruption, and what it refuses."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.capture import load_scene
from sfumato.capture.colmap_model import read_model
from sfumato.capture.sfm import Reconstruction, photos_of, solve
from sfumato.core.errors import InputError, SfumatoWarning

COUNT = 7


@pytest.fixture
def photos(tmp_path: Path, shared_data: Path) -> Path:
    """A few neighbouring photos of the fox at a quarter of their size, some in a sub-folder, marked as turned."""
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: the viewer shall turn it by 90 degrees; cameras are found for what is stored
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, path in enumerate(sorted((shared_data / "fox" / "images").iterdir())[:COUNT]):
        target = folder / ("more" if number > 4 else "") / path.name
        Image.open(path).resize((270, 480), Image.Resampling.BOX).save(target, quality=95, exif=turned)
    (folder / "notes.txt").write_text("not a photo", encoding="utf-8")
    return folder


def relative_turns(viewmats: dict[str, np.ndarray]) -> np.ndarray:
    """(V, 3, 3) turns from the first camera to each: the same in every world."""
    ordered = np.stack([viewmats[name][:3, :3] for name in sorted(viewmats)])
    turns: np.ndarray = ordered @ ordered[0].T
    return turns


def test_cameras_of_real_photos(
    photos: Path, shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    scene = load_scene(photos, cache=tmp_path / "cache", holdout=4, progress=lambda *news: told.append(news))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""  # the library's own log stays silent

    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    wanted = ["reading headers", "checking photos", "finding features", "matching photos", "solving cameras"]
    assert stages[:5] == wanted
    for stage, total in zip(wanted, (COUNT, COUNT, COUNT, COUNT * (COUNT - 1) // 2, COUNT), strict=True):
        done = [(count, whole) for name, count, whole in told if name == stage]
        assert done == sorted(done)
        assert done[-1] == (total, total)

    assert len(scene.views) == COUNT
    assert len(scene.test) == 2
    assert {view.name for view in scene.views if view.name.startswith("more/")} == {"more/0007.jpg", "more/0008.jpg"}
    assert len(scene.points) > 300
    assert scene.protocol["reader"] == "structure from motion"
    assert (scene.protocol["registered"], scene.protocol["photos_given"]) == (COUNT, COUNT)
    assert 0 < float(str(scene.protocol["reprojection_error"])) < 1
    assert all(view.camera.height > view.camera.width for view in scene.views)  # upright, as stored

    truth = {pose.name: pose.viewmat for pose in read_model(shared_data / "fox" / "sparse" / "0").poses}
    ours = {Path(view.name).name: view.camera.viewmat.double().numpy() for view in scene.views}
    rest = relative_turns(ours) @ relative_turns({name: truth[name] for name in ours}).transpose(0, 2, 1)
    angles = np.degrees(np.arccos(np.clip((np.trace(rest, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angles.max() < 1.0
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*")} == before

    told.clear()
    again = load_scene(photos, cache=tmp_path / "cache", holdout=4, progress=lambda *news: told.append(news))
    assert "matching photos" not in {stage for stage, _, _ in told}
    for one, other in zip(scene.views, again.views, strict=True):
        assert torch.equal(one.camera.viewmat, other.camera.viewmat)
        assert torch.equal(one.image, other.image)


def test_the_result_is_a_dataset(photos: Path, tmp_path: Path) -> None:
    found = solve(photos, tmp_path / "scene")
    assert (found.registered, found.photos, found.left_out) == (COUNT, COUNT, [])
    assert found.folder == tmp_path / "scene"
    assert {path.name for path in found.folder.iterdir()} == {"sparse", "capture.json", "capture.csv", "contact.jpg"}
    assert photos_of(found.folder) == photos.resolve()
    scene = load_scene(found.folder, holdout=0, downscale=4)
    assert len(scene.views) == COUNT
    assert len(scene.points) == found.points

    assert solve(photos, tmp_path / "scene") == found  # at once: nothing has changed
    record = json.loads((found.folder / "capture.json").read_text(encoding="utf-8"))
    assert record["fingerprint"]
    (found.folder / "capture.json").unlink()
    (found.folder / "capture.csv").write_text("name,registered\na.jpg,no\n", encoding="utf-8")  # of an earlier try
    with pytest.raises(InputError, match="holds a model that was not made here"):
        solve(photos, tmp_path / "scene")


@pytest.mark.parametrize("stage", ["checking photos", "finding features", "matching photos", "solving cameras"])
def test_interrupted(photos: Path, tmp_path: Path, stage: str) -> None:
    """Ctrl-C in any stage: no half result, no thread left."""

    def interrupt(name: str, done: int, total: int) -> None:
        if name == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(photos, tmp_path / "scene", interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name == "structure from motion"]
    assert not (tmp_path / "scene" / "capture.json").exists()
    assert not list((tmp_path / "scene").glob("work*"))


def test_two_runs_at_once_do_not_disturb_each_other(photos: Path, tmp_path: Path) -> None:
    others: list[Reconstruction] = []

    def meanwhile(name: str, done: int, total: int) -> None:
        if name == "matching photos" and not others:
            others.append(solve(photos, tmp_path / "scene"))

    ours = solve(photos, tmp_path / "scene", meanwhile)
    assert ours.registered == others[0].registered == COUNT
    assert not list((tmp_path / "scene").glob("work*"))
    assert len(read_model(ours.folder / "sparse" / "0").poses) == COUNT


def test_a_run_that_ended_before_its_last_file_is_done_again(photos: Path, tmp_path: Path) -> None:
    before = solve(photos, tmp_path / "scene")
    (tmp_path / "scene" / "capture.json").unlink()
    assert solve(photos, tmp_path / "scene").registered == before.registered
    assert (tmp_path / "scene" / "capture.json").exists()


def test_renamed_photos_are_other_photos(photos: Path, tmp_path: Path) -> None:
    """Links with other names lead to the same files: what is kept for one folder is not the other's."""
    links = tmp_path / "links"
    links.mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        try:
            (links / f"{number}.jpg").symlink_to(path)
        except OSError:
            pytest.skip("links need a privilege here")
    solve(photos, tmp_path / "scene")
    solve(links, tmp_path / "scene")
    names = {pose.name for pose in read_model(tmp_path / "scene" / "sparse" / "0").poses}
    assert names == {f"{number}.jpg" for number in range(COUNT)}


def test_photos_that_show_something_else_are_left_out(
    photos: Path, tmp_path: Path, photo: Callable[..., np.ndarray]
) -> None:
    photo(photos / "noise.png", (200, 150), 1)
    with pytest.warns(SfumatoWarning, match=r"no camera was found for 1 of 8 photos, .*noise\.png"):
        scene = load_scene(photos, cache=tmp_path / "cache")
    assert len(scene.views) == COUNT
    assert scene.protocol["left_out"] == ["noise.png"]


@pytest.mark.parametrize(("count", "said"), [(1, "1 photo"), (2, "2 photos")])
def test_too_few_photos(tmp_path: Path, photo: Callable[..., np.ndarray], count: int, said: str) -> None:
    for number in range(count):
        photo(tmp_path / "photos" / f"{number}.png", (32, 32), number)
    with pytest.raises(InputError, match=f"holds {said}, and finding cameras needs 3 or more; take more"):
        load_scene(tmp_path / "photos", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("texture", "reason"),
    [("none", "show too little texture"), ("noise", r"do not overlap enough: 0 of 4 share anything")],
)
def test_nothing_in_common(tmp_path: Path, photo: Callable[..., np.ndarray], texture: str, reason: str) -> None:
    for number in range(4):
        path = tmp_path / "photos" / f"{number}.png"
        photo(path, (160, 120), number)
        if texture == "none":
            Image.new("RGB", (160, 120), (90, 120, 200)).save(path)
    with pytest.raises(InputError, match=reason) as caught:
        solve(tmp_path / "photos", tmp_path / "scene")
    assert str(tmp_path / "scene" / "contact.jpg") in str(caught.value)
    assert {path.name for path in (tmp_path / "scene").iterdir()} == {"capture.csv", "contact.jpg"}


def test_damaged_photos_are_skipped_and_named(photos: Path, tmp_path: Path) -> None:
    path = photos / "0001.jpg"
    path.write_bytes(path.read_bytes()[:5000])
    (photos / "list.jpg").write_text("not a photo", encoding="utf-8")
    told = rf"2 of {COUNT + 1} photos in .* cannot be read and are skipped: 0001\.jpg, list\.jpg"
    with pytest.warns(SfumatoWarning, match=told):
        found = solve(photos, tmp_path / "scene")
    assert (found.registered, found.photos, found.left_out) == (COUNT - 1, COUNT - 1, [])
    assert [row.name for row in found.table if row.why == "cannot be read"] == ["0001.jpg", "list.jpg"]
    with pytest.warns(SfumatoWarning, match=told):  # and again, when the result is there already
        assert solve(photos, tmp_path / "scene") == found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_names_that_are_no_text_are_skipped_and_named(photos: Path, tmp_path: Path) -> None:
    shutil.copy(next(photos.glob("*.jpg")), photos / os.fsdecode(b"caf\xe9.jpg"))
    with pytest.warns(SfumatoWarning, match="1 of 8 photos in .* cannot be read and are skipped: caf"):
        found = solve(photos, tmp_path / "scene")
    assert found.registered == COUNT
    assert "caf\\udce9.jpg,0,0,0,no," in (tmp_path / "scene" / "capture.csv").read_text(encoding="utf-8")


def test_hardly_any_photo_can_be_read(photos: Path, tmp_path: Path) -> None:
    for path in list(photos.rglob("*.jpg"))[2:]:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"5 of the 7 photos in .* cannot be read .* needs 3 or more; replace them"):
        solve(photos, tmp_path / "scene")


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        solve(tmp_path / "nowhere", tmp_path / "scene")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="is a file"):
        solve(tmp_path / "file", tmp_path / "scene")
