""".npz: every bit kept, what numpy itself writes and reads, and archives that lie."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree
from sfumato.formats import npz
from sfumato.formats.options import WriteOptions


def some(count: int, degree: int) -> Gaussians:
    rest = bases_of_degree(degree) - 1
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, 1, 3), (count, rest, 3)]
    return Gaussians(*(torch.randn(shape) for shape in shapes))


def arrays(gaussians: Gaussians, **others: Any) -> dict[str, Any]:
    return {**{name: getattr(gaussians, name).numpy() for name in Gaussians.names()}, **others}


def same_bits(a: Gaussians, b: Gaussians) -> bool:
    return all(torch.equal(x.view(torch.int32), y.view(torch.int32)) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("count", [0, 1, 300])
def test_round_trip_keeps_every_bit(tmp_path: Path, count: int, degree: int, seed: int) -> None:
    gaussians, path = some(count, degree), tmp_path / "a.npz"
    if count:
        gaussians.means[0, 0], gaussians.sh0[0, 0, 1] = float("nan"), float("-inf")
        gaussians.logit_opacities[0] = torch.tensor(0x7FC12345, dtype=torch.int32).view(torch.float32)
    formats.write(path, gaussians)
    assert same_bits(formats.read(path), gaussians)
    assert formats.count(path) == count


def test_more_than_a_part(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.formats.npz.npy._STEP", 1000)
    gaussians = some(3000, 1)
    formats.write(tmp_path / "a.npz", gaussians)
    assert same_bits(formats.read(tmp_path / "a.npz"), gaussians)


def test_numpy_reads_it_without_pickle(tmp_path: Path, seed: int) -> None:
    gaussians = some(4, 2)
    formats.write(tmp_path / "a.npz", Asset(gaussians, antialiased=True))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert set(found) == {*Gaussians.names(), "asset"}
        assert all(np.array_equal(found[name], getattr(gaussians, name).numpy()) for name in Gaussians.names())
        about = json.loads(str(found["asset"]))
    assert about.pop("generator").startswith("sfumato ")
    assert about == {"axes": "RDF", "antialiased": True}


def test_the_same_splat_is_the_same_bytes(tmp_path: Path, seed: int) -> None:
    gaussians = some(4, 2)
    for name in ("a.npz", "b.npz"):
        formats.write(tmp_path / name, gaussians)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8"])
def test_what_numpy_writes(tmp_path: Path, seed: int, save: Any, kind: str) -> None:
    stored = {name: array.astype(kind) for name, array in arrays(some(20, 3)).items()}
    stored["shN"] = np.asfortranarray(stored["shN"])
    save(tmp_path / "a.npz", **stored, ids=np.arange(3), words=np.array(["a"]))
    back = formats.read(tmp_path / "a.npz")
    for name in Gaussians.names():
        assert torch.equal(getattr(back, name), torch.from_numpy(stored[name].astype(np.float32)))


def test_without_harmonics_and_with_fewer_axes(tmp_path: Path, seed: int) -> None:
    gaussians = some(5, 0)
    stored = arrays(gaussians, sh0=gaussians.sh0[:, 0].numpy(), logit_opacities=gaussians.logit_opacities[:, None])
    del stored["shN"]
    np.savez(tmp_path / "a.npz", **stored)
    assert same_bits(formats.read(tmp_path / "a.npz"), gaussians)


def test_numbers_beyond_float32_are_infinite(tmp_path: Path, seed: int) -> None:
    np.savez(tmp_path / "a.npz", **arrays(some(2, 0), means=np.full((2, 3), 1e300)))
    assert formats.read(tmp_path / "a.npz").means.isinf().all()


def test_what_else_is_known_comes_back(tmp_path: Path, seed: int) -> None:
    asset = Asset(
        some(3, 1),
        antialiased=False,
        kernel="disc",
        color_space="linear",
        meters_per_unit=0.5,
        up=(0, -1, 0.25),
        origin=(500_000.125, -0.1, 3e7),
    )
    formats.write(tmp_path / "a.npz", asset)
    back = formats.read_asset(tmp_path / "a.npz")
    for name in ("axes", "antialiased", "kernel", "color_space", "meters_per_unit", "up", "origin"):
        assert getattr(back, name) == getattr(asset, name), name
    assert back.format == "numpy"
    assert (back.generator or "").startswith("sfumato ")


@pytest.mark.parametrize("axes", ["RUB", "FLU"])
def test_frames(tmp_path: Path, axes: str, seed: int) -> None:
    asset = Asset(some(3, 2), axes=axes, up=(0, 1, 0))
    npz.write(tmp_path / "raw.npz", asset, WriteOptions(raw=True))
    npz.write(tmp_path / "turned.npz", asset, WriteOptions())
    raw = npz.read(tmp_path / "raw.npz", raw=True)
    assert raw.axes == axes
    assert raw.up == (0, 1, 0)
    assert same_bits(raw.gaussians, asset.gaussians)
    read, turned = (npz.read(tmp_path / name) for name in ("raw.npz", "turned.npz"))
    assert read.axes == turned.axes == "RDF"
    assert read.up == turned.up == ((0, -1, 0) if axes == "RUB" else (-1, 0, 0))
    assert same_bits(read.gaussians, turned.gaussians)


def test_recognized_by_its_means(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.npz", some(2, 0))
    (tmp_path / "a.npz").rename(tmp_path / "download")
    assert formats.format_of(tmp_path / "download") is npz
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("something.txt", "x")
    assert not npz.recognizes(tmp_path / "b.zip", (tmp_path / "b.zip").read_bytes())
    (tmp_path / "b.zip").write_bytes(b"PK\3\4")
    assert not npz.recognizes(tmp_path / "b.zip", b"PK\3\4")


def test_truncated_anywhere(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.npz", some(50, 1))
    data = (tmp_path / "a.npz").read_bytes()
    for share in range(50):
        (tmp_path / "a.npz").write_bytes(data[: len(data) * share // 50])
        told = r"a\.npz is truncated or no \.npz: .*copy or download it again"
        with pytest.raises(InputError, match=told if share else "a.npz is empty; export or download it again"):
            formats.read(tmp_path / "a.npz")


def test_a_byte_that_changed_is_seen(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.npz", some(50, 1))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[300] ^= 1  # in the means
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"means\.npy cannot be unpacked \(Bad CRC-32"):
        formats.read(tmp_path / "a.npz")


def npy(shape: str, descr: str = "'<f4'", data: bytes = b"", version: int = 1, header: str | None = None) -> bytes:
    text = header if header is not None else f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + data


@pytest.mark.parametrize(
    ("means", "told"),
    [
        (npy("(1000000000000, 3)"), r"takes 12000000000000 bytes, and has 0"),
        (npy("(2, 3)", data=bytes(23)), "takes 24 bytes, and has 23"),
        (npy("(2, 3)", data=bytes(25)), "takes 24 bytes, and has 25"),
        (npy("(2, 3)", "'|O'", bytes(48)), r"must be an array of float16, float32 or float64; got one of type '\|O'"),
        (npy("(2, 3)", "'<i4'", bytes(24)), "got one of type '<i4'"),
        (npy("(2, 3)", "[('a', '<f4')]", bytes(24)), "with a header that numpy does not write"),
        (npy("", header="(" * 60_000), "with a header that numpy does not write"),
        (npy("", header=""), "is no array of numpy"),
        (npy("(2, 4)", data=bytes(32), version=2), r"means must be \(2, 3\); got \(2, 4\)"),
        (npy(f"({'9' * 5000}, 3)"), "with a header that numpy does not write"),
        (npy("()", data=bytes(4)), r"means must be \(0, 3\); got \(\)"),
        (b"\x93NUMPY\1\0", "is no array of numpy"),
        (b"hello, this is text", "is no array of numpy"),
    ],
)
def test_headers_that_lie(tmp_path: Path, means: bytes, told: str, seed: int) -> None:
    buffer = io.BytesIO()
    stored = arrays(some(2, 0))
    del stored["means"]
    np.savez(buffer, **stored)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("means.npy", means)
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=told):
        formats.read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quats": None}, r"it has no array quats \(it has: means, log_scales"),
        ({"quats": np.zeros((3, 4), np.float32)}, r"quats must be \(2, 4\); got \(3, 4\)"),
        ({"shN": np.zeros((2, 4, 3), np.float32)}, r"shN must be \(2, 0, 3\) or .*; got \(2, 4, 3\)"),
        ({"means": np.array(["a", "b"])}, r"means must be \(2, 3\); got \(2,\)"),
        ({"asset": np.array("{not json")}, "asset must be a string of JSON, which this is not"),
        ({"asset": np.array("[" * 50_000)}, "asset must be a string of JSON, which this is not"),
        ({"asset": np.array('{"axes": "up"}')}, "axes must be three letters"),
        ({"asset": np.zeros(3)}, r"asset must be one string of JSON; got an array \(3,\) of float64"),
        ({"asset": np.array("x" * 70_000)}, "asset must be one string of JSON"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, change: dict[str, Any], told: str, seed: int) -> None:
    stored = {name: array for name, array in arrays(some(2, 0), **change).items() if array is not None}
    np.savez(tmp_path / "a.npz", **stored)
    with pytest.raises(InputError, match=told):
        formats.read(tmp_path / "a.npz")


@pytest.mark.parametrize("about", ['{"up": [1, 2], "origin": "far", "metersPerUnit": -3, "colorSpace": 7}', "[]", "3"])
def test_facts_that_make_no_sense_are_no_facts(tmp_path: Path, about: str, seed: int) -> None:
    np.savez(tmp_path / "a.npz", **arrays(some(2, 0), asset=np.array(about)))
    asset = formats.read_asset(tmp_path / "a.npz")
    assert (asset.up, any(asset.origin), asset.meters_per_unit, asset.color_space) == (None, False, None, "srgb")


def test_a_size_that_deflate_cannot_reach(tmp_path: Path, seed: int) -> None:
    np.savez(tmp_path / "a.npz", **arrays(some(2, 0)))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.index(b"PK\1\2") + 24  # the first entry's size in the table at the end
    data[at : at + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"means\.npy promises 2147483648 bytes of 152"):
        formats.read(tmp_path / "a.npz")


def test_a_bomb_of_zeros_takes_no_memory(tmp_path: Path) -> None:
    rows = 6_000_000  # 336 MB, packed into 0.3: 10 GB in 10 MB is the same
    widths = {"means": "3", "quats": "4", "log_scales": "3", "logit_opacities": "1", "sh0": "1, 3"}
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, width in widths.items():
            with archive.open(f"{name}.npy", "w") as member:
                member.write(npy(f"({rows}, {width})"))
                for _ in range({"1": 1, "4": 4}.get(width, 3)):
                    member.write(bytes(4 * rows))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.rindex(b"PK\1\2") + 24  # the size of the last member, in the table at the end
    data[at : at + 4] = (len(npy("(2, 3)")) + 24).to_bytes(4, "little")
    (tmp_path / "b.npz").write_bytes(data)
    tracemalloc.start()
    try:
        for name, told in (
            ("a", r"fill the memory.* 6,000,000 Gaussians.*uncompressed$"),
            ("b", r"sh0\.npy of shape|sh0\.npy cannot"),
        ):
            for function in (formats.read, formats.count):
                with pytest.raises(InputError, match=told):
                    function(tmp_path / f"{name}.npz")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_other_methods_of_compression_are_refused(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.npz", some(2, 0))
    with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_LZMA) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match=r"means\.npy must be stored or deflated"):
        formats.read(tmp_path / "b.npz")
