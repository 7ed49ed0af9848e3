"""Files that nobody vouches for, of every format: cut anywhere or changed anywhere, they are read or refused in a
sentence, soon, and without taking memory that they do not need."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.formats import WriteOptions

from scenes import crowd
from untrusted import refused

pytestmark = pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")
EXAMPLES = int(os.environ.get("SFUMATO_FUZZ", "60"))  # more of them find more
USD = (".usda", ".usdc")
WRITTEN = {
    "a.ply": WriteOptions(),
    "a.compressed.ply": WriteOptions(),
    "a.points.ply": WriteOptions(),
    "a.las": WriteOptions(),
    "a.laz": WriteOptions(),
    "a.splat": WriteOptions(),
    "a0.ksplat": WriteOptions(ksplat_level=0),
    "a1.ksplat": WriteOptions(ksplat_level=1),
    "a2.ksplat": WriteOptions(ksplat_level=2),
    "a2.spz": WriteOptions(spz_version=2),
    "a3.spz": WriteOptions(spz_version=3),
    "a4.spz": WriteOptions(spz_version=4),
    "a.sog": WriteOptions(),
    "a.glb": WriteOptions(),
    "a.gltf": WriteOptions(),
    "a.npz": WriteOptions(),
    "a.usda": WriteOptions(),
    "a.usdc": WriteOptions(),
}
FOUND = (  # written by other programs, in the folder of shared data
    "guitar.compressed.ply",
    "inria_9080.ply",
    "kacy_model.splat",
    "khr_gaussian_splatting.glb",
    "minimal-raw.spz",
    "minimal-v2.spz",
    "minimal-v3.spz",
    "minimal-v4.spz",
    "minimal.ksplat",
    "minimal.splat",
    "playcanvas_test.ply",
    "train3pts.ply",
    "train3pts.splat",
    "train3pts.spz",
    "converted/inria_9080.c0.sh0.ksplat",
    "converted/inria_9080.c1.sh2.ksplat",
    "converted/inria_9080.c2.sh2.ksplat",
    "converted/inria_9080.compressed.ply",
    "converted/inria_9080.glb",
    "converted/inria_9080.sog",
    "converted/inria_9080.spz",
    "converted/inria_9080.v3.spz",
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small splat in every format that this machine can write."""
    folder = tmp_path_factory.mktemp("written")
    gaussians = crowd(60, degree=2)
    for name, options in WRITTEN.items():
        if name.endswith(USD) and sys.version_info < (3, 11):
            continue
        formats.write(folder / name, Asset(gaussians, antialiased=True, generator="somebody"), options)
    return folder


def cut_everywhere(whole: Path, folder: Path) -> list[int]:
    """The lengths, of every 1/50th, at which a file that was cut there is read all the same."""
    data = whole.read_bytes()
    path = folder / whole.name
    read = []
    for step in range(50):
        path.write_bytes(data[: len(data) * step // 50])
        if refused(path) is None:
            read.append(len(data) * step // 50)
    return read


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_of_ours_that_is_cut(written: Path, tmp_path: Path, name: str) -> None:
    if not (written / name).exists():
        pytest.skip(f"{name} NOT TESTED: what writes it needs Python 3.11")
    assert refused(written / name) is None
    read = cut_everywhere(written / name, tmp_path)
    # without a header, a shorter .splat is simply one of fewer Gaussians
    assert read == [] or (name == "a.splat" and all(length % 32 == 0 for length in read))


@pytest.mark.parametrize("name", FOUND)
def test_a_file_of_others_that_is_cut(shared_data: Path, tmp_path: Path, name: str) -> None:
    whole = tmp_path / "whole" / Path(name).name
    whole.parent.mkdir()
    shutil.copyfile(shared_data / "splats" / name, whole)
    assert refused(whole) is None
    read = cut_everywhere(whole, tmp_path)
    assert read == [] or (name.endswith(".splat") and all(length % 32 == 0 for length in read))


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Other bytes in a few places, mostly where headers are, bytes more or fewer, or the end cut off."""
    places = draw(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 255)), min_size=1, max_size=4))
    some = draw(
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(4), b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f"]),
        )
    )
    kind = draw(st.sampled_from(["change", "change", "change", "insert", "remove", "cut"]))

    def change(data: bytes) -> bytes:
        for where, early, offset in places:
            at = min(offset, len(data)) if early else int(where * len(data))
            if kind == "cut":
                return data[:at]
            behind = at if kind == "insert" else at + len(some)
            data = data[:at] + (b"" if kind == "remove" else some) + data[behind:]
        return data

    return change


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_of_ours_with_other_bytes(written: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    if not (written / name).exists():
        pytest.skip(f"{name} NOT TESTED: what writes it needs Python 3.11")
    data = (written / name).read_bytes()
    path = tmp_path_factory.mktemp("changed") / name

    examples = max(1, EXAMPLES // 6) if name.endswith(USD) else EXAMPLES  # a process of its own for each

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(change=changes())
    def try_it(change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(data))
        refused(path)

    try_it()
