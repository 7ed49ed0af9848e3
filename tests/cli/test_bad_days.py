"""Bad days, as a person meets them at the command line: exit code 2, one sentence, and everything as it was before."""

import importlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from offerings import NAMES, colmap, mesh, splat, textured, transforms
from PIL import Image
from ring import points, truncations

from sfumato import formats
from sfumato.capture.sfm.watch import watched
from sfumato.cli.console import Stages
from sfumato.cli.interrupt import terminable
from sfumato.cli.main import main
from sfumato.core.errors import SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.train import planning

FAST = ("--backend", "reference", "--steps", "3", "--max-gaussians", "60")
Prepare = Callable[[Path], Any]
Tell = pytest.CaptureFixture[str]

pytestmark = pytest.mark.filterwarnings("always::sfumato.core.errors.SfumatoWarning")  # they are sentences, too


@pytest.fixture(autouse=True)
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with the cache elsewhere."""
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def sentences(text: str) -> list[str]:
    """The lines that are no progress."""
    return [line for line in text.splitlines() if line.startswith("sfumato: ")]


def refuses(tell: Tell, words: list[str], *told: str, warned: int = 0) -> str:
    """Run; check that the last of the sentences, after so many warnings, is the refusal; return it."""
    before = snapshot(Path())
    tell.readouterr()
    code = main(words)
    out, err = tell.readouterr()
    said = sentences(err)
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert len(said) == warned + 1, err
    assert err.endswith(f"{said[-1]}\n")  # nothing after it, and all in one line
    for part in told:
        assert part in said[-1]
    assert snapshot(Path()) == before
    return said[-1]


def works(tell: Tell, words: list[str], *told: str) -> str:
    """Run; check that it ends well, and says so much on the way."""
    tell.readouterr()
    code = main(words)
    _, err = tell.readouterr()
    assert code == 0, err
    assert "Traceback" not in err
    for part in told:
        assert part in err
    return err


def write(path: str, content: str | bytes = "hello") -> None:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(pattern: str, size: tuple[int, int]) -> None:
    for number in range(6):
        Path(pattern).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, 255).save(pattern.format(number))


def cut(path: str | Path, length: int) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:length])


def linked(path: str, target: str) -> None:
    Path(path).unlink(missing_ok=True)
    try:
        Path(path).symlink_to(target)
    except OSError:
        pytest.skip("LINKS NOT TESTED: this user may not make them")


def film(path: str, pictures: int = 0, sound: bool = False, codec: str = "mpeg4") -> None:
    with av.open(path, "w") as file:
        streams: list[Any] = []
        if pictures or not sound:
            stream: Any = file.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            streams.append(stream)
        if sound:
            streams.append(file.add_stream("aac", rate=16000, layout="mono"))
        file.start_encoding()
        for number in range(pictures):
            noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            file.mux(streams[0].encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        if sound:
            silence = np.zeros((1, 16000), dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.rate = 16000
            file.mux(streams[-1].encode(frame))
        for stream in streams:
            file.mux(stream.encode())


def cloud(*bad: int) -> np.ndarray:
    """Points of which some are not numbers."""
    xyz = points()
    xyz[list(bad)] = math.nan
    return xyz


def packed(path: str, names: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in names.items():
            file.writestr(name, data)


def damaged_zip(place: Path) -> None:
    packed("in", {f"{number}.jpg": os.urandom(500) for number in range(3)})
    data = bytearray(Path("in").read_bytes())
    data[100:140] = bytes(40)
    write("in.zip", bytes(data))
    Path("in").unlink()


# what lies there, the INPUT that is given, and what the sentence must say of it
INPUTS: dict[str, tuple[Prepare, str, tuple[str, ...]]] = {
    "no such path": (lambda p: None, "in", ("in is not there; give a folder",)),
    "empty folder": (lambda p: Path("in").mkdir(), "in", ("in holds no photos, no video and no dataset",)),
    "one photo": (lambda p: textured(p / "in", 1), "in", ("in holds 1 photo", "needs 3 or more; take more photos")),
    "two photos": (lambda p: textured(p / "in", 2), "in", ("in holds 2 photos", "needs 3 or more; take more photos")),
    "a photo": (lambda p: textured(p / "in", 1), "in/00.jpg", ("00.jpg is no video, archive or list of cameras",)),
    "text": (lambda p: textured(p, 3) and write("a.txt"), "a.txt", ("a.txt is no list of cameras that is known",)),
    "a document": (lambda p: write("a.pdf"), "a.pdf", ("a.pdf is no video, archive or list of cameras",)),
    "a splat": (lambda p: splat(p / "a.ply"), "a.ply", ("a.ply is no video, archive or list of cameras",)),
    "photos that are text": (
        lambda p: [write(f"in/{i}.jpg") for i in range(4)],
        "in",
        ("4 of the 4 photos in in cannot be read", "replace them"),
    ),
    # COLMAP
    "unknown lens": (lambda p: colmap(p / "in", model=99), "in", ("cameras.bin", "number 99, which is not known")),
    "focal 0": (lambda p: colmap(p / "in", params=(0, 40, 24, 18)), "in", ("cameras.bin", "focal length above 0; got")),
    "focal -40": (lambda p: colmap(p / "in", params=(40, -40, 24, 18)), "in", ("focal length above 0; got -40",)),
    "focal NaN": (lambda p: colmap(p / "in", params=(math.nan, 40, 24, 18)), "in", ("must have finite parameters",)),
    "center NaN": (lambda p: colmap(p / "in", params=(40, 40, math.nan, 18)), "in", ("must have finite parameters",)),
    "singular pose": (lambda p: colmap(p / "in", quat=(0,) * 4), "in", ("images.bin", "pose of 2.jpg has no rotation")),
    "pose NaN": (lambda p: colmap(p / "in", quat=(math.nan,) * 4), "in", ("images.bin", "pose of 2.jpg is not finite")),
    "photos missing": (
        lambda p: colmap(p / "in", with_photos=False),
        "in",
        ("lists 6 photos, of which 6 are not in", "put the photos beside the model"),
    ),
    "most photos broken": (
        lambda p: colmap(p / "in") and [cut(f"in/images/{name}", 200) for name in NAMES[:4]],
        "in",
        ("4 of 6 photos cannot be read; copy them again", "images/0.jpg"),
    ),
    "photo cropped": (
        lambda p: colmap(p / "in") and Image.new("RGB", (40, 40)).save("in/images/1.jpg"),
        "in",
        ("1.jpg is 40 x 40, but its camera 48 x 36",),
    ),
    "mask of another shape": (
        lambda p: colmap(p / "in") and picture("in/masks/{}.png", (30, 30)),
        "in",
        ("masks/0.png is 30 x 30, but its photo 48 x 36; make the mask again",),
    ),
    # transforms.json
    "JSON cut": (
        lambda p: transforms(p / "in") and cut("in/transforms.json", 99),
        "in",
        ("transforms.json is not readable JSON", "copy it again"),
    ),
    "JSON a list": (lambda p: write("in/transforms.json", "[1]"), "in", ("must hold an object; got list",)),
    "JSON a number": (lambda p: write("in/transforms.json", "3"), "in", ("must hold an object; got int",)),
    "JSON deep": (lambda p: write("in/transforms.json", "[" * 99999), "in", ("transforms.json is not readable JSON",)),
    "JSON no frames": (lambda p: transforms(p / "in", frames=[]), "in", ("must hold a list of frames",)),
    "JSON frames a word": (lambda p: transforms(p / "in", frames="x"), "in", ("must hold a list of frames",)),
    "JSON lens a list": (lambda p: transforms(p / "in", fl_x=[]), "in", ("0.jpg: fl_x must be a finite number",)),
    "JSON lens a word": (lambda p: transforms(p / "in", fl_x="x"), "in", ("fl_x must be a finite number; got x",)),
    "JSON lens 0": (lambda p: transforms(p / "in", fl_x=0), "in", ("must have a focal length above 0; got 0",)),
    "JSON lens -1": (lambda p: transforms(p / "in", fl_x=-1), "in", ("must have a focal length above 0; got -1",)),
    "JSON lens NaN": (lambda p: transforms(p / "in", fl_x=math.nan), "in", ("fl_x must be a finite number; got nan",)),
    "JSON lens unknown": (
        lambda p: transforms(p / "in", camera_model="BANANA"),
        "in",
        ("camera_model BANANA, which is not known",),
    ),
    "JSON pose singular": (
        lambda p: transforms(p / "in", {"transform_matrix": [[0] * 4] * 4}),
        "in",
        ("images/2.jpg: transform_matrix: the pose must be a rotation",),
    ),
    "JSON pose NaN": (
        lambda p: transforms(p / "in", {"transform_matrix": [[math.nan] * 4] * 4}),
        "in",
        ("images/2.jpg: transform_matrix: the pose must be", "finite numbers"),
    ),
    "JSON pose a word": (
        lambda p: transforms(p / "in", {"transform_matrix": "x"}),
        "in",
        ("images/2.jpg: transform_matrix: the pose must be",),
    ),
    # videos
    "sound only": (lambda p: film("in.mp4", sound=True), "in.mp4", ("in.mp4 holds sound only; give a video",)),
    "sound only, in a folder": (
        lambda p: Path("in").mkdir() or film("in/a.mp4", sound=True),
        "in",
        ("a.mp4 holds sound only; give a video",),
    ),
    "no frames": (lambda p: film("in.avi"), "in.avi", ("no picture of in.avi can be decoded", "copy it again")),
    "no frames, either": (lambda p: film("in.mp4"), "in.mp4", ("in.mp4 holds no pictures; give a video",)),
    "two frames": (lambda p: film("in.mp4", 2), "in.mp4", ("in.mp4 has 2 frames", "3 are needed", "for longer")),
    "half a video": (
        lambda p: (film("in.mp4", 9), cut("in.mp4", 3000)),
        "in.mp4",
        ("in.mp4 cannot be opened as a video", "copy it again"),
    ),
    "a text video": (lambda p: write("in.mp4"), "in.mp4", ("in.mp4 cannot be opened as a video",)),
    "an empty video": (lambda p: write("in.mov", ""), "in.mov", ("in.mov cannot be opened as a video",)),
    "two videos": (
        lambda p: [write("in/a.mp4"), write("in/b.mp4")],
        "in",
        ("in holds 2 videos; give one of them, such as in/a.mp4",),
    ),
    # archives
    "a text zip": (lambda p: write("in.zip"), "in.zip", ("in.zip is damaged or incomplete", "download it again")),
    "a damaged zip": (damaged_zip, "in.zip", ("in.zip is damaged or incomplete", "download it again")),
    "an empty zip": (lambda p: packed("in.zip", {}), "in.zip", ("in.zip holds no files; pack it again",)),
    "a zip of text": (lambda p: packed("in.zip", {"a.md": b"x"}), "in.zip", ("holds no photos, no video",)),
    "a zip that leaves": (
        lambda p: packed("in.zip", {"../../a.jpg": b"x"}),
        "in.zip",
        ("'../../a.jpg', which would be written outside", "do not trust it"),
    ),
}


@pytest.mark.parametrize(("prepare", "source", "told"), INPUTS.values(), ids=INPUTS)
def test_an_input_that_cannot_be_used(
    place: Path, capsys: Tell, prepare: Prepare, source: str, told: tuple[str, ...]
) -> None:
    prepare(place)
    said = refuses(capsys, ["train", source, "-o", "out", *FAST], *told)
    assert refuses(capsys, ["train", source, "-o", "out", *FAST]) == said  # nothing in the cache makes it another one
    assert not [path for path in Path(os.environ["SFUMATO_CACHE"]).rglob("*") if path.name.endswith(".part")]


# the same for inputs that can be used all the same: what is said about it
USABLE: dict[str, tuple[Prepare, str]] = {
    "broken JPEG": (
        lambda p: colmap(p / "in") and cut("in/images/3.jpg", 700),
        "1 of 6 photos cannot be read and are left out: in/images/3.jpg",
    ),
    "broken header": (
        lambda p: colmap(p / "in") and cut("in/images/3.jpg", 50),
        "1 of 6 photos cannot be read and are left out: in/images/3.jpg",
    ),
    "text called JPEG": (
        lambda p: colmap(p / "in") and write("in/images/3.jpg"),
        "1 of 6 photos cannot be read and are left out: in/images/3.jpg is not an image",
    ),
    "broken JPEG of transforms.json": (
        lambda p: transforms(p / "in") and cut("in/images/3.jpg", 700),
        "1 of 6 photos cannot be read and are left out: in/images/3.jpg",
    ),
    "text called JPEG in transforms.json": (
        lambda p: transforms(p / "in") and write("in/images/3.jpg"),
        "1 of 6 photos cannot be read and are left out: in/images/3.jpg is not an image",
    ),
    "a photo is missing": (
        lambda p: colmap(p / "in") and Path("in/images/3.jpg").unlink(),
        "lists 6 photos, of which 1 are not in",
    ),
    "no points": (
        lambda p: colmap(p / "in", xyz=np.zeros((0, 3))),
        "in has no points, so training starts from 20,000 random ones",
    ),
    "no points3D": (
        lambda p: colmap(p / "in") and Path("in/sparse/0/points3D.bin").unlink(),
        "in has no points, so training starts from 20,000 random ones",
    ),
    "all points NaN": (
        lambda p: colmap(p / "in", xyz=cloud(*range(20))),
        "in has no points, so training starts from 20,000 random ones",
    ),
    "no points of transforms.json": (lambda p: transforms(p / "in"), "starts from 20,000 random ones"),
    "a photo that is a link to nothing": (
        lambda p: colmap(p / "in") and linked("in/images/3.jpg", "nothing"),
        "1 of 6 photos cannot be read and are left out: in/images/3.jpg is not there",
    ),
    "some points NaN": (lambda p: colmap(p / "in", xyz=cloud(1, 5, 6)), "17 points"),
}


@pytest.mark.parametrize(("prepare", "told"), USABLE.values(), ids=USABLE)
def test_an_input_that_can_be_used_all_the_same(place: Path, capsys: Tell, prepare: Prepare, told: str) -> None:
    prepare(place)
    before = snapshot(Path("in"))
    err = works(capsys, ["train", "in", "-o", "out", *FAST, "--holdout", "0"], told)
    assert len(sentences(err)) <= 1
    assert snapshot(Path("in")) == before
    assert formats.read(Path("out/splat.ply")).finite.all()


# words after a good dataset `in`, a splat `a.ply` and a mesh `mesh.ply`, and what the sentence must say
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "info, no such splat": ("info b.ply", ("b.ply is not there",)),
    "info, a folder": ("info in", ("in is a folder; give the splat's file, such as in/splat.ply",)),
    "info, another format": ("info a.obj", ("a.obj is no splat, by what it begins with (known: ",)),
    "eval, no such splat": ("eval b.ply in", ("b.ply is not there",)),
    "eval, a folder": ("eval in in", ("in is a folder; give the splat's file",)),
    "eval, another format": ("eval a.obj in", ("a.obj is no splat",)),
    "eval, no such dataset": ("eval a.ply nothing", ("nothing is not there",)),
    "eval, a splat for a dataset": ("eval a.ply a.ply", ("a.ply is no video, archive or list of cameras",)),
    "eval, OUT a file": ("eval a.ply in -o a.ply", ("a.ply must be a folder for results; it is a file",)),
    "eval, OUT below a file": ("eval a.ply in -o a.ply/x", ("a.ply/x cannot be written: Not a directory",)),
    "eval, OUT the input": ("eval a.ply in -o in", ("in is where the photos are",)),
    "eval, no such weights": ("eval a.ply in --lpips b.pth", ("b.pth is not there",)),
    "render, no such splat": ("render b.ply -o x.mp4", ("b.ply is not there",)),
    "render, a folder": ("render in -o x.mp4", ("in is a folder; give the splat's file",)),
    "render, no such dataset": ("render a.ply -o x --scene nothing", ("nothing is not there",)),
    "render, OUT of no kind": ("render a.ply -o x.gif", ("cannot write x.gif: wanted a folder, or",)),
    "render, OUT there": ("render mesh.ply -o in", ("in is there already; choose another name or add --force",)),
    "render, OUT below a file": ("render a.ply -o a.ply/x.mp4", ("a.ply/x.mp4 cannot be written: Not a directory",)),
    "render, color": ("render a.ply -o x.png --background 9 0 0", ("--background must be three numbers from 0 to 1",)),
    "render, way up": ("render a.ply -o x.png --up 0 0 nan", ("--up must be a direction; got 0 0 nan",)),
    "render, a huge picture": ("render a.ply -o x.png --size 9999999 9999999", ("--size", "of memory, and", "free")),
    "sfm, no such folder": ("sfm nothing -o x", ("nothing is not there",)),
    "sfm, a file": ("sfm a.ply -o x", ("a.ply is a file; give the folder it is in",)),
    "sfm, no photos": ("sfm in/sparse -o x", ("in/sparse holds 0 photos",)),
    "sfm, OUT a file": ("sfm in/images -o a.ply", ("a.ply must be a folder for results; it is a file",)),
    "sfm, OUT below a file": ("sfm in/images -o a.ply/x", ("a.ply/x cannot be written: Not a directory",)),
    "sfm, OUT the input": ("sfm in/images -o in/images", ("in/images is where the photos are; choose another folder",)),
    "sfm, OUT another's model": ("sfm in/images -o in", ("in holds a model that was not made here",)),
    "train, OUT a file": ("train in -o a.ply", ("a.ply must be a folder for results; it is a file",)),
    "train, OUT below a file": ("train in -o a.ply/x", ("a.ply/x cannot be written: Not a directory",)),
    "train, OUT the input": ("train in -o in", ("in is where the photos are; choose another folder",)),
    "train, no such start": ("train in -o x --init b.ply", ("b.ply is not there",)),
    "train, a folder to start": ("train in -o x --init in", ("in is a folder; give the splat's file",)),
    "train, nothing to resume": ("train in -o x --resume", ("x holds no run to go on with",)),
    "train, nothing to extend": ("train in -o x --extend 5", ("x holds no run to go on with",)),
    "train, no memory": ("train in -o x --memory 100MB", ("must have at least", "got 100 MB", "raise --memory")),
    "train, memory of no size": ("train in -o x --memory lots", ("must be a number with a unit", "got 'lots'")),
    "train, no time": ("train in -o x --seconds 0", ("--seconds must be above 0; got 0",)),
    "train, time NaN": ("train in -o x --seconds nan", ("--seconds must be above 0; got nan",)),
    "train, a huge seed": (f"train in -o x --seed {10**30}", ("--seed must be",)),
    "train, photos of no size": ("train in -o x --downscale 1e9", ("downscale must be at most 36",)),
    "train, frames of photos": ("train in -o x --frames 9", ("in is no video, so there are no frames to choose",)),
    "train, everything held out": ("train in/images/../../one -o x", ("one holds 1 photo",)),
    "train, no such board": ("train in -o x --tensorboard a.ply/x", ("a.ply/x cannot be written: Not a directory",)),
}


@pytest.mark.parametrize(("line", "told"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_cannot_be_done(place: Path, capsys: Tell, line: str, told: tuple[str, ...]) -> None:
    colmap(place / "in")
    splat(place / "a.ply")
    mesh(place / "mesh.ply")
    Path("a.obj").write_text("v 0 0 0\n", encoding="utf-8")
    textured(place / "one", 1)
    refuses(capsys, line.split(), *told)


def test_photos_that_do_not_overlap(place: Path, capsys: Tell) -> None:
    textured(place / "in", 4, different=True, size=(96, 72))
    told = ("no cameras could be found for in", "do not overlap enough", "take more photos", "contact.jpg", ".csv")
    refuses(capsys, ["train", "in", "-o", "out", *FAST], *told)


def test_forty_copies_of_one_photo(place: Path, capsys: Tell) -> None:
    textured(place / "in", 40, shift=0, size=(96, 72))
    told = ("no cameras could be found for in", "copies of one, or the camera did not move", "walk around")
    refuses(capsys, ["train", "in", "-o", "out", *FAST], *told)


def test_broken_photos_among_those_without_cameras(place: Path, capsys: Tell) -> None:
    textured(place / "in", 4, shift=0, size=(96, 72))
    write("in/b.jpg")
    cut("in/01.jpg", 300)
    before = snapshot(Path("in"))
    assert main(["sfm", "in", "-o", "out"]) == 2
    first, second = sentences(capsys.readouterr().err)
    assert "2 of 5 photos in in cannot be read and are skipped: 01.jpg, b.jpg" in first
    assert "no cameras could be found for in" in second
    assert snapshot(Path("in")) == before
    assert sorted(path.name for path in Path("out").iterdir()) == ["capture.csv", "contact.jpg"]  # what went wrong


def test_links_that_lead_in_circles_and_nowhere(place: Path, capsys: Tell) -> None:
    textured(place / "in", 4, shift=0, size=(96, 72))
    linked("in/round", str(place / "in"))
    linked("in/z.jpg", "nothing")
    assert main(["sfm", "in", "-o", "out"]) == 2
    assert "1 of 5 photos in in cannot be read and are skipped: z.jpg" in sentences(capsys.readouterr().err)[0]


def test_results_among_photos_are_no_photos(place: Path, capsys: Tell) -> None:
    textured(place / "in", 3, size=(160, 120))
    line = ["train", "in", "-o", "in/out", *FAST]
    works(capsys, line)
    works(capsys, [*line, "--resume"])
    works(capsys, ["eval", "in/out/splat.ply", "in", "-o", "in/scores", "--backend", "reference"])
    works(capsys, ["sfm", "in", "-o", "in/model"])
    works(capsys, ["train", "in", "-o", "other", *FAST])
    assert json.loads(Path("other/report.json").read_text(encoding="utf-8"))["protocol"]["photos_given"] == 3


def test_names_of_any_kind(place: Path, capsys: Tell) -> None:
    source = "Ausflug äöü 日本 [1] % $x (2)"
    colmap(place / source)
    works(capsys, ["train", source, "-o", "Ergebnis ß", *FAST])
    works(capsys, ["eval", "Ergebnis ß/splat.ply", source, "--backend", "reference"])
    refuses(capsys, ["train", "a\nb", "-o", "out"], r"a\nb is not there")
    refuses(capsys, ["train", "", "-o", "out"], "was given an empty word")
    refuses(capsys, ["train", source, "-o", "x" * 999], "File name too long")


def test_a_zip_bomb(place: Path, capsys: Tell) -> None:
    with (
        zipfile.ZipFile("in.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.jpg", "w", force_zip64=True) as jpeg,
    ):
        for _ in range(1100):
            jpeg.write(bytes(1 << 20))
    told = "in.zip unpacks to 1100 MB or more, more than 100 times its size"
    refuses(capsys, ["train", "in.zip", "-o", "out"], told)
    assert not any(path.is_file() for path in Path(os.environ["SFUMATO_CACHE"]).rglob("*"))


@pytest.mark.parametrize("name", ["sparse/0/images.bin", "sparse/0/cameras.bin", "sparse/0/points3D.bin"])
def test_every_truncation_of_a_model(place: Path, capsys: Tell, name: str) -> None:
    path = colmap(place / "in") / name
    for _ in truncations(path):
        refuses(capsys, ["train", "in", "-o", "out", *FAST], f"{path.name} is damaged or truncated", "export the model")


def test_every_truncation_of_transforms_json(place: Path, capsys: Tell) -> None:
    for part in truncations(transforms(place / "in") / "transforms.json"):
        told = "is not readable JSON" if part else "is empty"
        refuses(capsys, ["train", "in", "-o", "out", *FAST], f"transforms.json {told}", "export or copy it again")


def test_every_truncation_of_a_splat(place: Path, capsys: Tell) -> None:
    colmap(place / "in")
    for _ in truncations(splat(place / "a.ply")):
        said = refuses(capsys, ["info", "a.ply"], "a.ply")
        assert refuses(capsys, ["eval", "a.ply", "in"]) == said
        assert refuses(capsys, ["train", "in", "-o", "out", *FAST, "--init", "a.ply"]) == said
        assert refuses(capsys, ["render", "a.ply", "-o", "x.png"]) == said


def test_splats_that_show_nothing(place: Path, capsys: Tell) -> None:
    colmap(place / "in")
    good = formats.read(splat(place / "a.ply"))
    for means, told in ((good.means[:0], "it holds no Gaussians"), (good.means * math.nan, "none of its 20 Gaussians")):
        bad = Gaussians(means, *(getattr(good, name)[: len(means)] for name in Gaussians.names()[1:]))
        formats.write(Path("b.ply"), bad)
        for line in ("eval b.ply in", "render b.ply -o x.png", "train in -o out --init b.ply"):
            refuses(capsys, line.split(), "b.ply shows nothing", told)
    assert main(["info", "b.ply"]) == 0


def test_positions_that_are_not_finite_are_left_out(place: Path, capsys: Tell) -> None:
    colmap(place / "in")
    bad = formats.read(splat(place / "a.ply"))
    bad.means[3, 1], bad.means[5, 0] = math.nan, math.inf
    formats.write(Path("b.ply"), bad)
    told = "2 of 20 Gaussians of b.ply have numbers that are not finite, and are left out"
    works(capsys, ["train", "in", "-o", "out", *FAST, "--init", "b.ply"], told)
    assert formats.read(Path("out/splat.ply")).finite.all()
    works(capsys, ["eval", "b.ply", "in", "--backend", "reference"], told)
    works(capsys, ["render", "b.ply", "-o", "x.png", "--size", "9", "9", "--backend", "reference"], told)


@pytest.fixture
def run(place: Path, capsys: Tell) -> Path:
    """The folder `out` of a finished run on `in`, with two checkpoints."""
    colmap(place / "in")
    works(capsys, ["train", "in", "-o", "out", *FAST, "--checkpoint-steps", "1"])
    return place / "out"


RESUME = ["train", "in", "-o", "out", "--resume"]


def test_every_truncation_of_a_checkpoint(run: Path, capsys: Tell) -> None:
    """The newest: the one before is gone on from. Both: one sentence."""
    older, newer = sorted(run.glob("checkpoints/*.safetensors"))
    whole = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for path in (newer, newer.with_suffix(".json")):
        for part in truncations(path):
            if part % 5 == 0:
                told = f"{newer.name} ", "going on from the one before, at step 2"
                works(capsys, RESUME, *told)
                for each, data in whole.items():
                    each.write_bytes(data)
    cut(older, 99)
    for _ in truncations(newer):
        refuses(capsys, RESUME, newer.name, older.name, "is damaged", "start again with --force")
    for _ in truncations(newer.with_suffix(".json")):
        refuses(capsys, RESUME, newer.name, older.name, "start again with --force")


def test_every_truncation_of_what_a_run_says_of_itself(run: Path, capsys: Tell) -> None:
    for _ in truncations(run / "config.json"):
        refuses(capsys, RESUME, "out/config.json cannot be read", "start again with --force")


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["train"].update(steps="x"),
        lambda found: found["train"].update(sh_degree=2.5),
        lambda found: found["command"].update(frames="x"),
        lambda found: found["command"].update(init=5),
        lambda found: found.update(check=None),
        lambda found: found.update(train={}),
        lambda found: found.update(command=[]),
    ],
)
def test_a_run_that_says_something_else(run: Path, capsys: Tell, change: Callable[[dict[str, Any]], None]) -> None:
    found = json.loads((run / "config.json").read_text(encoding="utf-8"))
    change(found)
    write("out/config.json", json.dumps(found))
    refuses(capsys, RESUME, "out/config.json ", "start again with --force")


def test_a_refused_replacement_costs_nothing(run: Path, capsys: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, told in (
        (["train", "nothing", "-o", "out", *FAST, "--force"], "nothing is not there"),
        (["train", "in", "-o", "out", *FAST, "--force", "--memory", "110MB"], "of memory"),
        (["train", "in", "-o", "out", *FAST, "--force", "--memory", "3"], "--memory must be at least 100 MB"),
        (["train", "in", "-o", "out", *FAST, "--force", "--init", "in"], "in is a folder"),
        (["train", "in", "-o", "out", *FAST], "out already holds a run"),
    ):
        refuses(capsys, words, told)


def test_a_full_disk_is_noticed_before_training(place: Path, capsys: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    colmap(place / "in")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    refuses(capsys, ["train", "in", "-o", "out", *FAST], "out has 1 MB free on its disk", "make room")
    splat(place / "a.ply")
    refuses(capsys, ["eval", "a.ply", "in", "-o", "out"], "out has 1 MB free on its disk", "make room")
    refuses(capsys, ["sfm", "in/images", "-o", "out"], "out has 1 MB free on its disk", "make room")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 250 * 10**6))
    big = ["train", "in", "-o", "out", "--backend", "reference", "--max-gaussians", "100000"]
    refuses(capsys, big, "out has 250 MB free on its disk, and", "are needed")


def test_a_second_run_in_the_same_folder(run: Path, capsys: Tell) -> None:
    fcntl = pytest.importorskip("fcntl", reason="LOCK NOT TESTED: this system has another kind")
    with (run / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process does: this one would not stand in its own way
        for more in ([], ["--resume"], ["--force"], ["--extend", "3"]):
            refuses(capsys, ["train", "in", "-o", "out", *more], "out is in use by another run; wait for it")
        refuses(capsys, ["eval", "out/splat.ply", "in", "-o", "out", "--force"], "out is in use by another run")


@pytest.fixture
def mounted(place: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a small disk as `disk`; the test is skipped where that is not allowed."""
    made: list[Path] = []

    def mount(options: str) -> Path:
        disk = place / f"disk{len(made)}"
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("SMALL DISK NOT TESTED: tmpfs cannot be mounted here")
        made.append(disk)
        return disk

    yield mount
    for disk in made:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_disk(place: Path, capsys: Tell, mounted: Callable[..., Path]) -> None:
    colmap(place / "in")
    splat(place / "a.ply")
    disk = mounted("ro,size=1m").name
    for line in (f"train in -o {disk}/out", f"eval a.ply in -o {disk}/out", f"sfm in/images -o {disk}/out"):
        refuses(capsys, line.split(), f"{disk}/out cannot be written: Read-only file system; choose another place")
    refuses(capsys, f"render a.ply -o {disk}/x.png".split(), f"{disk}/x.png cannot be written: Read-only file system")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only to this user")
def test_a_read_only_folder(place: Path, capsys: Tell) -> None:
    colmap(place / "in")
    (place / "shut").mkdir(mode=0o555)
    refuses(capsys, ["train", "in", "-o", "shut/out"], "shut/out cannot be written: Permission denied; choose another")


def test_a_disk_that_is_full_sooner_than_foreseen(
    place: Path, capsys: Tell, mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfumato.cli.output.SPARE", -(10**9))
    colmap(place / "in")
    codes = set()
    for kilobytes in (4, 8, 16, 24, 32, 48, 64, 96):
        disk = mounted(f"size={kilobytes}k")
        code = main(["train", "in", "-o", str(disk / "out"), *FAST])
        codes.add(code)
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert len(sentences(err)) == (code == 2)
        assert code == 0 or "No space left on device" in sentences(err)[0]
        assert not list(disk.rglob(".*"))
        for picture in disk.rglob("*.png"):
            Image.open(picture).load()
        for written in disk.rglob("*.ply"):
            assert len(formats.read(written)) > 0
    assert codes == {0, 2}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit files")
@pytest.mark.parametrize("largest", [0, 5000])
def test_files_that_may_not_grow(place: Path, largest: int) -> None:
    colmap(place / "in")
    limited = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}));"
        "from sfumato.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", limited, "train", "in", "-o", "out", *FAST]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "File too large" in sentences(done.stderr)[-1]
    assert not list(place.rglob("out/splat.ply"))
    assert not list(place.rglob("out/.*"))


# the stage in which Ctrl-C comes, the words, and what is left of it in OUT
STAGES: dict[str, tuple[str, set[str]]] = {
    "looking at photos": ("train in -o out", set()),
    "reading photos": ("train in -o out", set()),
    "planning": ("train in -o out --seconds 9", set()),
    "evaluating": (
        "train in -o out --steps 3",
        {"splat.ply", "config.json", "log.jsonl", "checkpoints", "compare", "cameras.json", "views"},
    ),
    "checking photos": ("train photos -o out", set()),
    "finding features": ("train photos -o out", set()),
    "matching photos": ("train photos -o out", set()),
    "solving cameras": ("train photos -o out", set()),
    "rendering": ("render a.ply -o out/a.mp4 --size 9 9", set()),
}


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
@pytest.mark.parametrize(("stage", "line", "left"), [(stage, *row) for stage, row in STAGES.items()], ids=STAGES)
def test_an_interruption(
    place: Path, capsys: Tell, monkeypatch: pytest.MonkeyPatch, stage: str, line: str, left: set[str]
) -> None:
    colmap(place / "in")
    textured(place / "photos", 3, size=(160, 120))
    splat(place / "a.ply")
    asked: list[str] = []

    def interrupt(now: str) -> None:
        if now == stage and not asked:
            asked.append(now)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Stages, "__call__", lambda self, now, done, total: interrupt(now))
    monkeypatch.setattr(planning, "train", lambda *words: interrupt("planning"))
    before = snapshot(place)
    began = time.monotonic()
    code = main([*line.split(), "--backend", "reference"])
    assert asked
    assert time.monotonic() - began < 10
    assert code == 130
    assert sentences(capsys.readouterr().err) == ["sfumato: interrupted"]
    after = snapshot(place)
    assert {path: after.get(path) for path in before} == before
    assert {path.name for path in Path("out").glob("*")} == left
    kept = Path(os.environ["SFUMATO_CACHE"]).rglob("*")
    halves = [path for path in kept if path.name.startswith("work") or path.name == "sparse"]
    assert not halves


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
def test_an_interruption_waits_for_a_thread_that_cannot_be_left_behind() -> None:
    ended: list[bool] = []

    def work(token: Any) -> None:
        time.sleep(0.6)
        ended.append(True)

    main_thread = threading.main_thread().ident or 0
    for delay in (0.1, 0.3):  # again, by who is impatient
        threading.Timer(delay, lambda: signal.pthread_kill(main_thread, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        watched(work, lambda: 0, lambda done: None)
    assert ended
    assert not [thread for thread in threading.enumerate() if thread.name == "structure from motion"]


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
def test_an_interruption_waits_for_imports(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy does inside torch, this module swallows what comes while it is imported."""
    lines = ["import os, signal, time", "swallowed = False", "try:", "    os.kill(os.getpid(), signal.SIGINT)"]
    lines += ["    time.sleep(0.2)", "except BaseException:", "    swallowed = True"]
    write("greedy_module.py", "\n".join(lines))
    monkeypatch.syspath_prepend(place)
    with terminable():
        greedy = importlib.import_module("greedy_module")
        assert not greedy.swallowed
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)


def test_a_cache_that_cannot_be_written(place: Path, capsys: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    write("cache", "a file in the way")
    monkeypatch.setenv("SFUMATO_CACHE", "cache/here")
    textured(place / "photos", 3, size=(96, 72))
    film("a.mp4", 9)
    packed("a.zip", {"a.jpg": b"x"})
    colmap(place / "in", model=4, params=(40, 40, 24, 18, 0.1, 0, 0, 0))  # it must be undistorted
    for source in ("photos", "a.mp4", "a.zip"):
        refuses(capsys, ["train", source, "-o", "out", *FAST], "cache/here", "Not a directory", "set SFUMATO_CACHE")
    works(capsys, ["train", "in", "-o", "out", *FAST], "cannot write to the cache cache/here")


def test_kernels_that_cannot_be_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = importlib.import_module("sfumato.kernels.cpu.prepare")
    write("cache", "a file in the way")
    monkeypatch.setattr(prepare, "cache_folder", lambda: place / "cache" / "kernels")
    with pytest.warns(SfumatoWarning, match="cannot be kept in .*cache.*; set SFUMATO_CACHE"):
        prepare.prepare()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be answered")
def test_sigterm_stays_ours_when_pycolmap_is_loaded() -> None:
    code = (
        "import os, signal, time\n"
        "from sfumato.capture.undistort import load_pycolmap\n"
        "from sfumato.cli.interrupt import terminable\n"
        "with terminable():\n"
        "    load_pycolmap()\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(5)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
