"""Small files made to unpack to far more than memory holds: refused in a sentence, at once, by what they promise."""

import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from PIL import Image

from sfumato import formats
from sfumato.formats.limits import MOST_GAIN

from scenes import crowd
from untrusted import refused

BLANK = bytes(1 << 24)
SOON = 10.0  # seconds, on a machine that is busy with other things; most take a tenth of one
WIDTHS = (9, 1, 3, 3, 4)  # bytes per Gaussian of SPZ's blocks


@contextmanager
def soon() -> Iterator[None]:
    """Inside, nothing takes long."""
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < SOON


def zeros_in_gzip(head: bytes, length: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    pieces = [packer.compress(head), *(packer.compress(BLANK) for _ in range(length // len(BLANK)))]
    return b"".join([*pieces, packer.flush()])


def zeros_in_zstd(length: int) -> bytes:
    packed = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(packed, closefd=False) as writer:
        for _ in range(length // len(BLANK)):
            writer.write(BLANK)
    return packed.getvalue()


def spz_header(version: int, count: int, streams: int = 0) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, 0, 12, 0, streams)


def spz_4(count: int, frame: bytes, lengths: list[int]) -> bytes:
    """The same frame for every block, and what the table says that each holds."""
    table = b"".join(struct.pack("<QQ", len(frame), length) for length in lengths)
    return spz_header(4, count, len(lengths)) + struct.pack("<I12x", 32) + table + frame * len(lengths)


def test_gzip_that_is_a_thousandth(tmp_path: Path) -> None:
    path = tmp_path / "a.spz"
    path.write_bytes(zeros_in_gzip(spz_header(3, (1 << 30) // 20), 1 << 30))
    assert path.stat().st_size < 10 << 20
    with soon():
        assert "promise 53,687,091 Gaussians, which take 3.01 GB, more than 100 times" in (refused(path) or "")


def test_gzip_that_goes_on_and_on(tmp_path: Path) -> None:
    path = tmp_path / "a.spz"
    path.write_bytes(zeros_in_gzip(spz_header(3, 1) + bytes(20), 1 << 30))
    with soon():
        assert "more than 17 MB follow its Gaussians" in (refused(path) or "")


def test_gzip_of_a_hundred_thousand_members(tmp_path: Path) -> None:
    path = tmp_path / "a.spz"
    empty, body = zeros_in_gzip(b"", 0), zeros_in_gzip(bytes(20), 0)
    path.write_bytes(zeros_in_gzip(spz_header(3, 1), 0) + empty * 100_000 + body)
    with soon():
        assert refused(path) is None


def test_zstd_that_holds_more_than_its_table_says(tmp_path: Path) -> None:
    frame, path = zeros_in_zstd(1 << 30), tmp_path / "a.spz"
    assert len(frame) < 100_000
    for count, words in (
        (1000, "unpack to the length in its table"),
        ((1 << 30) // 9, "promise 119,304,647 Gaussians"),
    ):
        path.write_bytes(spz_4(count, frame, [count * width for width in WIDTHS]))
        with soon():
            assert words in (refused(path) or "")
    path.write_bytes(spz_4(1000, frame, [1 << 63] * 5))
    with soon():
        assert "lengths must be those of 1000 Gaussians" in (refused(path) or "")


def sog_meta(count: int) -> dict[str, Any]:
    book = list(range(256))
    return {
        "version": 2,
        "count": count,
        "means": {"mins": [0, 0, 0], "maxs": [1, 1, 1], "files": ["a.webp", "a.webp"]},
        "scales": {"codebook": book, "files": ["a.webp"]},
        "quats": {"files": ["a.webp"]},
        "sh0": {"codebook": book, "files": ["a.webp"]},
    }


def one_color(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 4), np.uint8), "RGBA").save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


@pytest.mark.parametrize("padding", [0, 1 << 20])
def test_webp_of_one_color(tmp_path: Path, padding: int) -> None:
    """Also when bytes that mean nothing make the file look like less of a bomb."""
    image, path = one_color(4096) + bytes(padding), tmp_path / "a.sog"
    assert len(image) - padding < 10_000
    for count, words in (
        (2, "has 4096 x 4096 pixels; wanted 65544 at most"),
        (4096**2, "promise 16,777,216 Gaussians"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.webp", image)
            archive.writestr("meta.json", json.dumps(sog_meta(count)))
        with soon():
            assert words in (refused(path) or "")


@pytest.mark.parametrize("name", ["meta.json", "a.webp"])
def test_zip_with_a_member_of_a_gigabyte(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.sog"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in {"a.webp": one_color(16), "meta.json": json.dumps(sog_meta(2)).encode()}.items():
            with archive.open(member, "w") as file:
                file.write(b"RIFF" if member == name == "a.webp" else data)
                for _ in range(64 * (member == name)):
                    file.write(BLANK)
    assert path.stat().st_size < 2 << 20
    with soon():
        assert f"a member '{name}' of more than" in (refused(path) or "")


def test_levels_of_detail_that_promise_more_than_their_images_hold(tmp_path: Path) -> None:
    (tmp_path / "a" / "0").mkdir(parents=True)
    (tmp_path / "a" / "0" / "a.webp").write_bytes(one_color(16))
    (tmp_path / "a" / "0" / "meta.json").write_text(json.dumps(sog_meta(200_000_000)), encoding="utf-8")
    tree = {"lods": {"0": {"file": 0, "offset": 0, "count": 200_000_000}}}
    lod = {"version": 1, "lodLevels": 1, "filenames": ["0/meta.json"], "tree": tree}
    (tmp_path / "a" / "lod-meta.json").write_text(json.dumps(lod), encoding="utf-8")
    with soon():
        assert "promise 200,000,000 Gaussians, which take 11.20 GB" in (refused(tmp_path / "a") or "")


def glb(text: bytes) -> bytes:
    return struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text


START = b'{"asset":{"version":"2.0"},"meshes":['
JSON_BOMBS = {  # what is repeated how often, and what closes it as often
    "deep": (b"[", 50_000_000, b""),
    "deep and closed": (b"[", 25_000_000, b"]"),
    "objects": (b"{},", 16_000_000, b""),
    "numbers": (b"0,", 25_000_000, b""),
    "deeper than Python goes": (b"[", 100_000, b"]"),
}


def json_bomb(kind: str) -> bytes:
    opened, times, closed = JSON_BOMBS[kind]
    return opened * times + closed * times + b"0]}"


@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_json_of_gltf(tmp_path: Path, kind: str) -> None:
    text = START + json_bomb(kind)
    words = "JSON cannot be read" if "Python" in kind else "more than 1,048,576 values in its JSON"
    for name, data in (("a.gltf", text), ("a.glb", glb(text))):
        (tmp_path / name).write_bytes(data)
        with soon():
            assert words in (refused(tmp_path / name) or "")


def test_more_json_than_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(glb(START + b" " * 100_000_000))
    with soon():
        assert "more than 67 MB of JSON" in (refused(tmp_path / "a.glb") or "")


@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_json_of_sog(tmp_path: Path, kind: str) -> None:
    """Larger than any meta.json, or too deep: it is not taken for one."""
    (tmp_path / "a.json").write_bytes(b'{"means":1,"scales":1,"quats":1,"sh0":[' + json_bomb(kind))
    with soon():
        assert "a.json is no splat" in (refused(tmp_path / "a.json") or "")
    with zipfile.ZipFile(tmp_path / "a.sog", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", b'{"means":1,"scales":1,"quats":1,"sh0":[' + json_bomb(kind))
    with soon():
        assert refused(tmp_path / "a.sog") is not None


def test_gltf_whose_attributes_are_all_the_same_bytes(tmp_path: Path) -> None:
    """20 attributes and many nodes of one column: each row of 12 bytes would take 236, once for each node."""
    rows, nodes = 100_000, 1000
    name = "KHR_gaussian_splatting"
    bands = [f"{name}:SH_DEGREE_{degree}_COEF_{n}" for degree in range(4) for n in range(2 * degree + 1)]
    attributes = dict.fromkeys(["POSITION", f"{name}:SCALE", *bands], 0) | {f"{name}:ROTATION": 1, f"{name}:OPACITY": 2}
    accessors = [
        {"bufferView": 0, "componentType": 5126, "count": rows, "type": kind} for kind in ("VEC3", "VEC4", "SCALAR")
    ]
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": list(range(nodes))}],
        "nodes": [{"mesh": 0}] * nodes,
        "meshes": [{"primitives": [{"mode": 0, "attributes": attributes, "extensions": {name: {}}}]}],
        "accessors": accessors,
        "bufferViews": [{"buffer": 0, "byteLength": 16 * rows}],
        "buffers": [{"byteLength": 16 * rows, "uri": "b.bin"}],
    }
    (tmp_path / "b.bin").write_bytes(bytes(16 * rows))
    (tmp_path / "a.gltf").write_text(json.dumps(document), encoding="utf-8")
    with soon():
        assert "with fewer instances" in (refused(tmp_path / "a.gltf") or "")
    document["scenes"] = [{"nodes": [0, 1]}]
    (tmp_path / "a.gltf").write_text(json.dumps(document), encoding="utf-8")
    assert refused(tmp_path / "a.gltf") is None
    (tmp_path / "b.bin").write_bytes(b"")
    document |= {"scenes": [{"nodes": list(range(20_000))}], "nodes": [{"mesh": 0}] * 20_000}
    for accessor in accessors:
        accessor["count"] = 0
    document["buffers"] = [{"byteLength": 0, "uri": "b.bin"}]
    document["bufferViews"] = [{"buffer": 0, "byteLength": 0}]
    (tmp_path / "a.gltf").write_text(json.dumps(document), encoding="utf-8")
    with soon():
        assert "shows more than 16,384 splats at once" in (refused(tmp_path / "a.gltf") or "")


@pytest.mark.parametrize("name", ["a.spz", "a.sog"])
def test_splats_that_pack_very_well_are_read(tmp_path: Path, name: str, seed: int) -> None:
    """What the limit is far from: all harmonics zero, all opaque and of one size, nothing but places."""
    gaussians = crowd(20_000, 3)
    for field in (gaussians.shN, gaussians.sh0, gaussians.log_scales):
        field.zero_()
    gaussians.quats[:] = gaussians.quats[0]
    formats.write(tmp_path / name, gaussians)
    assert MOST_GAIN / 2 * (tmp_path / name).stat().st_size > 20_000 * 236  # with half to spare
    assert refused(tmp_path / name) is None
