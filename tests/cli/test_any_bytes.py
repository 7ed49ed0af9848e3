"""Anything in any file that a person may give: one sentence, or it works; never a traceback, never a broken result."""

import contextlib
import io
import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offerings import colmap, splat, transforms
from ring import NONSENSE

from sfumato import formats
from sfumato.capture.load import load_scene
from sfumato.cli.main import main
from sfumato.core.errors import SfumatoError
from sfumato.core.point_cloud import read_point_cloud

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MANY = settings(FEW, max_examples=300)
pytestmark = pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Other bytes somewhere, bytes more or less, the end cut off, or something else entirely."""
    kind = draw(st.sampled_from(["change", "change", "change", "insert", "remove", "cut", "replace"]))
    where = draw(st.floats(0, 1))
    some = draw(
        st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from([b"\xff" * 8, bytes(8), b"\0\0\xc0\x7f"]))
    )

    def change(data: bytes) -> bytes:
        at = int(where * len(data))
        return {
            "change": data[:at] + some + data[at + len(some) :],
            "insert": data[:at] + some + data[at:],
            "remove": data[:at] + data[at + len(some) :],
            "cut": data[:at],
            "replace": some,
        }[kind]

    return change


def survives(work: Callable[[], Any]) -> bool:
    """True when it works, False when it is refused in one sentence; else the test fails."""
    try:
        work()
    except SfumatoError as error:
        text = str(error)
        assert text.strip()
        assert "\n" not in text
        return False
    return True


def command(*words: str) -> int:
    """The exit code of a command, which must be 0, or 2 with one sentence at the end."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("always")
        code = main(list(words))
    assert code in (0, 2), err.getvalue()
    assert "Traceback" not in err.getvalue()
    if code == 2:
        assert err.getvalue().splitlines()[-1].startswith("sfumato: "), err.getvalue()
    return code


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return colmap(tmp_path / "in")


def read(folder: Path) -> None:
    scene = load_scene(folder, holdout=0, cache=folder.parent / "cache")
    assert all(view.camera.viewmat.isfinite().all() for view in scene.views)
    assert scene.points.xyz.isfinite().all()


@MANY
@given(name=st.sampled_from(["cameras", "images", "points3D"]), change=changes())
def test_colmap(model: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = model / "sparse" / "0" / f"{name}.bin"
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    try:
        survives(lambda: read(model))
    finally:
        path.write_bytes(whole)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return transforms(tmp_path / "in")


@MANY
@given(change=changes())
def test_transforms_json(listed: Path, change: Callable[[bytes], bytes]) -> None:
    path = listed / "transforms.json"
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    try:
        survives(lambda: read(listed))
    finally:
        path.write_bytes(whole)


@FEW
@given(data=st.data())
def test_a_command_on_any_transforms_json(listed: Path, data: st.DataObject) -> None:
    path = listed / "transforms.json"
    whole = path.read_text(encoding="utf-8")
    values = json.loads(whole)
    inner: Any = data.draw(st.sampled_from([values, values["frames"][1], values["frames"][1]["transform_matrix"]]))
    keys = st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner)))
    inner[data.draw(keys)] = data.draw(st.sampled_from([*NONSENSE, 1e-9, 1e9, 1e29, [[0] * 4] * 4]))
    path.write_text(json.dumps(values), encoding="utf-8")
    out = listed.parent / "out"
    try:
        words = ["train", str(listed), "-o", str(out), "--steps", "2", "--backend", "reference"]
        if command(*words, "--max-gaussians", "20", "--holdout", "0") == 0:
            assert formats.read(out / "splat.ply").finite.all()
        else:
            assert not out.exists()
    finally:
        path.write_text(whole, encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)


@MANY
@given(change=changes(), other=changes())
def test_ply(tmp_path: Path, change: Callable[[bytes], bytes], other: Callable[[bytes], bytes]) -> None:
    whole = splat(tmp_path / "whole.ply", count=4).read_bytes()
    path = tmp_path / "a.ply"
    head, end, body = whole.partition(b"end_header\n")
    for data in (change(whole), change(head) + end + body, head + end + change(other(body))):
        path.write_bytes(data)
        survives(lambda: formats.read(path))
        survives(lambda: read_point_cloud(path))


@FEW
@given(numbers=st.lists(st.sampled_from([0.0, 1.0, -1e30, 1e30, 3e38, math.nan, math.inf, 1e-40]), min_size=17 * 4))
def test_a_command_on_any_numbers_in_a_splat(model: Path, numbers: list[float]) -> None:
    path = splat(model.parent / "a.ply", count=4)
    head, end, body = path.read_bytes().partition(b"end_header\n")
    values = np.frombuffer(body, "<f4").copy()
    for place, number in enumerate(numbers):
        if number != 1.0:  # one: as it is
            values[place % len(values)] = number
    path.write_bytes(head + end + values.tobytes())
    out = model.parent / "out"
    try:
        command("info", str(path))
        command("eval", str(path), str(model), "--backend", "reference")
        for view in ("x.png", "y.jpg"):
            command("render", str(path), "-o", str(out / view), "--size", "9", "9", "--backend", "reference")
        words = ["train", str(model), "-o", str(out), "--steps", "2", "--backend", "reference", "--force"]
        command(*words, "--init", str(path))
    finally:
        shutil.rmtree(out, ignore_errors=True)


@pytest.fixture
def run(model: Path) -> Path:
    words = ["train", str(model), "-o", str(model.parent / "run"), "--steps", "3", "--backend", "reference"]
    assert command(*words, "--max-gaussians", "20", "--checkpoint-steps", "1") == 0
    return model.parent / "run"


@FEW
@given(
    name=st.sampled_from(["config.json", "*2.json", "*3.json", "*2.safetensors", "*3.safetensors"]), change=changes()
)
def test_what_a_run_left(model: Path, run: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    path = next(copy.rglob(name))
    path.write_bytes(change(path.read_bytes()))
    try:
        if command("train", str(model), "-o", str(copy), "--resume") == 0:
            assert (copy / "splat.ply").read_bytes() == (run / "splat.ply").read_bytes()
        else:
            assert name == "config.json"  # one whole checkpoint is enough
    finally:
        shutil.rmtree(copy)
