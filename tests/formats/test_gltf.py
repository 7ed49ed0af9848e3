"""glTF: bytes made by hand, other programs' files, node matrices, what a round trip costs, sentences for the rest."""

import base64
import copy
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.axes import reframe
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import C0
from sfumato.formats import gltf, ply, spz
from sfumato.formats.gltf import encode
from sfumato.formats.options import WriteOptions

from linear import check_known, check_round_trip
from scenes import crowd

KHR = "KHR_gaussian_splatting"
SPZ = "KHR_gaussian_splatting_compression_spz_2"
TYPES = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
Document = dict[str, Any]


def document(columns: dict[str, tuple[str, np.ndarray]], stride: int = 0) -> tuple[Document, bytes]:
    """A scene of one primitive, and its buffer: name -> (type, (N, width) array); "n" as last letter: normalized."""
    buffer, views, accessors = b"", [], []
    for kind, array in columns.values():
        row = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
        if stride:
            row = np.pad(row, [(0, 0), (0, stride - row.shape[1])], constant_values=77)
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": row.size})
        views[-1] |= {"byteStride": stride} if stride else {}
        codes = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "f4": 5126}
        accessors.append(
            {
                "bufferView": len(views) - 1,
                "componentType": codes[array.dtype.str[1:]],
                "count": len(array),
                "type": kind.removesuffix("n"),
                "normalized": kind.endswith("n"),
            }
        )
        buffer += row.tobytes() + bytes(-row.size % 4)
    primitive = {
        "attributes": {name: index for index, name in enumerate(columns)},
        "mode": 0,
        "extensions": {KHR: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }
    return {
        "asset": {"version": "2.0"},
        "extensionsUsed": [KHR],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(buffer)}],
    }, buffer


def floats(*rows: list[float]) -> np.ndarray:
    return np.array(rows, "<f4")


def columns(**changed: tuple[str, np.ndarray]) -> dict[str, tuple[str, np.ndarray]]:
    """The attributes of one Gaussian."""
    found = {
        "POSITION": ("VEC3", floats([1, 2, 3])),
        "ROTATION": ("VEC4", floats([0, 0, 0, 2])),
        "SCALE": ("VEC3", floats([1, 2, 0])),
        "OPACITY": ("SCALAR", floats([0.25])),
        "SH_DEGREE_0_COEF_0": ("VEC3", floats([0.1, 0.2, 0.3])),
    }
    return {
        name if name in ("POSITION", "COLOR_0") else f"{KHR}:{name}": it for name, it in {**found, **changed}.items()
    }


def save(path: Path, content: Document, buffer: bytes) -> Path:
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    whole = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(buffer))
    path.write_bytes(
        whole + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(buffer), b"BIN\0") + buffer
    )
    return path


def covariances_apart(a: Gaussians, b: Gaussians) -> float:
    """The largest difference of covariances, of their own size."""
    wanted = a.to(torch.float64).covariances
    off = (b.to(torch.float64).covariances - wanted).abs().amax(dim=(1, 2))
    return float((off / wanted.abs().amax(dim=(1, 2))).max())


def test_one_gaussian_by_hand(tmp_path: Path) -> None:
    asset = gltf.read(save(tmp_path / "a.glb", *document(columns())), raw=True)
    gaussians = asset.gaussians
    assert asset.axes == "LUF"
    assert gaussians.means.tolist() == [[1, 2, 3]]
    assert gaussians.quats.tolist() == [[1, 0, 0, 0]]
    assert gaussians.log_scales[0].tolist() == pytest.approx([0, math.log(2), -20])  # of 0, the floor
    assert gaussians.opacities.tolist() == pytest.approx([0.25])
    assert gaussians.sh0.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert asset.color_space == "srgb"
    assert not asset.notes
    # up and left change sides: half a turn about z
    assert gltf.read(tmp_path / "a.glb").gaussians.means.tolist() == [[-1, -2, 3]]


def test_integers_and_strides(tmp_path: Path) -> None:
    changed = columns(
        ROTATION=("VEC4n", np.array([[0, -127, -128, 0]], "i1")),
        SCALE=("VEC3n", np.array([[65535, 13107, 0]], "<u2")),
        OPACITY=("SCALARn", np.array([[51]], "u1")),
    )
    for stride in (0, 32):
        gaussians = gltf.read(save(tmp_path / "a.glb", *document(changed, stride)), raw=True).gaussians
        assert gaussians.quats[0].tolist() == pytest.approx([0, 0, -math.sqrt(0.5), -math.sqrt(0.5)])  # -128 is -1
        assert gaussians.log_scales[0].tolist() == pytest.approx([0, math.log(0.2), -20])
        assert gaussians.opacities.tolist() == pytest.approx([0.2])
    plain = columns(
        SCALE=("VEC3", np.array([[1, 5, 100]], "u1")), ROTATION=("VEC4n", np.array([[0, 0, 0, 32767]], "<i2"))
    )
    gaussians = gltf.read(save(tmp_path / "a.glb", *document(plain, 16)), raw=True).gaussians
    assert gaussians.log_scales[0].tolist() == pytest.approx([0, math.log(5), math.log(100)])


def test_a_file_of_splat_transform(shared_data: Path) -> None:
    wanted = ply.read(shared_data / "splats" / "inria_9080.ply").gaussians
    asset = formats.read_asset(shared_data / "splats" / "converted" / "inria_9080.glb")
    assert asset.format == "glTF"
    assert asset.generator == "splat-transform 3.7.0"
    assert torch.equal(asset.gaussians.means, wanted.means)
    assert torch.equal(asset.gaussians.sh, wanted.sh)
    assert (asset.gaussians.log_scales - wanted.log_scales).abs().max() < 2e-7
    assert (asset.gaussians.logit_opacities - wanted.logit_opacities).abs().max() < 1e-6
    assert covariances_apart(wanted, asset.gaussians) < 2e-6
    assert torch.allclose(asset.gaussians.quats.norm(dim=1), torch.ones(9080))


def test_a_draft_with_log_scales(shared_data: Path) -> None:
    asset = gltf.read(shared_data / "splats" / "khr_gaussian_splatting.glb")
    gaussians = asset.gaussians
    assert len(gaussians) == gltf.count(shared_data / "splats" / "khr_gaussian_splatting.glb") == 15
    assert gaussians.degree == 3
    # scales of bytes, plain and normalized, and of shorts, plain and normalized
    wanted = [[0, 0.5, -0.5], [0.2, -0.1, 0.7], [1, -2, 3], [1, 0, -1], [2, -3, 4], [1, 0, -1]]
    assert torch.allclose(gaussians.log_scales[2:8], torch.tensor(wanted), atol=1e-6)
    assert gaussians.opacities[[8, 9, 10]].tolist() == pytest.approx([0.75, 64 / 255, 0.25], abs=1e-4)
    assert "negative" in asset.notes[0]
    assert "14 of its 15 Gaussians are linear" in asset.notes[1]
    assert asset.color_space == "linear"


@pytest.mark.parametrize("suffix", gltf.SUFFIXES)
@pytest.mark.parametrize("degree", range(4))
def test_round_trip(tmp_path: Path, suffix: str, degree: int, seed: int) -> None:
    for count in (0, 1, 255, 256, 257):
        path, wanted = tmp_path / f"a{count}{suffix}", crowd(count, degree)
        formats.write(path, wanted)
        assert formats.count(path) == count
        check_round_trip(formats.read(path), wanted)


@pytest.mark.parametrize("suffix", gltf.SUFFIXES)
def test_rows_longer_than_a_chunk(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(encode, "CHUNK", 6)
    monkeypatch.setattr(gltf, "CHUNK", 7)
    wanted = crowd(20, 1)
    formats.write(tmp_path / f"a{suffix}", wanted)
    check_round_trip(formats.read(tmp_path / f"a{suffix}"), wanted)


def test_what_is_written(tmp_path: Path, seed: int) -> None:
    wanted = crowd(10, 3)
    formats.write(tmp_path / "a.glb", wanted)
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, total, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, total, kind, length % 4) == (b"glTF", 2, len(data), b"JSON", 0)
    content = json.loads(data[20 : 20 + length])
    assert content["extensionsUsed"] == [KHR]
    assert "extensionsRequired" not in content
    assert content["asset"]["generator"].startswith("sfumato ")
    primitive = content["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert primitive["extensions"][KHR]["kernel"] == "ellipse"
    assert primitive["extensions"][KHR]["colorSpace"] == "srgb_rec709_display"
    assert len(primitive["attributes"]) == 20
    assert all(view["byteOffset"] % 4 == 0 for view in content["bufferViews"])
    assert sum(view["byteLength"] for view in content["bufferViews"]) == content["buffers"][0]["byteLength"] == 10 * 236
    position = content["accessors"][primitive["attributes"]["POSITION"]]
    means = reframe(wanted, "RDF", "LUF").means
    assert position["min"] == means.amin(dim=0).tolist()
    assert position["max"] == means.amax(dim=0).tolist()
    start = 28 + length + content["bufferViews"][primitive["attributes"][f"{KHR}:ROTATION"]]["byteOffset"]
    stored = np.frombuffer(data, "<f4", 40, start).reshape(10, 4)
    assert np.linalg.norm(stored, axis=1) == pytest.approx(np.ones(10))


def test_what_the_asset_knows(tmp_path: Path) -> None:
    for suffix in gltf.SUFFIXES:
        check_known(tmp_path / f"a{suffix}", antialiased=True)
        assert gltf.read(tmp_path / f"a{suffix}", raw=True).up == (0.0, 1.0, 0.25)


def test_raw_keeps_the_numbers(tmp_path: Path, seed: int) -> None:
    wanted = crowd(5, 2)
    formats.write(tmp_path / "a.glb", Asset(wanted, axes="RUB"), WriteOptions(raw=True))
    assert torch.equal(gltf.read(tmp_path / "a.glb", raw=True).gaussians.means, wanted.means)


def test_degree_four_and_giants_are_cut(tmp_path: Path, seed: int) -> None:
    wanted = crowd(3, 4)
    wanted.log_scales[1, 0] = 200.0
    with pytest.warns(SfumatoWarning) as told:
        formats.write(tmp_path / "a.glb", wanted)
    assert ["degree 4 to 3" in str(told[0].message), "1 of 3" in str(told[1].message)] == [True, True]
    found = formats.read(tmp_path / "a.glb")
    assert torch.equal(found.shN, wanted.shN[:, :15])
    assert found.finite.all()


def test_nodes_place_their_splats(tmp_path: Path) -> None:
    content, buffer = document(columns())
    quarter = [0, 0, math.sqrt(0.5), math.sqrt(0.5)]  # about z: x becomes y
    content["nodes"] = [
        {"children": [1, 2], "translation": [10, 0, 0]},
        {"mesh": 0, "rotation": quarter, "scale": [2, 2, 2]},
        {
            "mesh": 0,
            "matrix": [1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1],
        },  # y three times as long, then 5 along z
        {"mesh": 0},  # not of the scene
    ]
    asset = gltf.read(save(tmp_path / "a.glb", content, buffer), raw=True)
    assert torch.allclose(asset.gaussians.means, torch.tensor([[6.0, 2, 6], [11, 6, 8]]))
    assert asset.gaussians.scales[0].tolist() == pytest.approx([2, 4, 0], abs=1e-6)
    assert asset.gaussians.scales[1].sort().values.tolist() == pytest.approx([0, 1, 6], abs=1e-6)
    assert asset.notes == (
        "1 Gaussians are stretched by their nodes: their shapes follow exactly, their lights only turn",
    )
    assert gltf.count(tmp_path / "a.glb") == 2


def test_splats_far_from_zero_get_an_origin(tmp_path: Path) -> None:
    content, buffer = document(columns())
    content["nodes"][0]["translation"] = [4_000_000.25, -5_000_000, 3_000_000]
    asset = gltf.read(save(tmp_path / "a.glb", content, buffer))
    assert asset.origin == (-4_000_000.0, 5_000_000.0, 3_000_000.0)
    assert asset.gaussians.means.tolist() == [[-1.25, -2, 3]]


def test_scenes(tmp_path: Path) -> None:
    content, buffer = document(columns())
    for changed in (
        {"scene": 1, "scenes": [{"nodes": []}, {"nodes": [0]}]},
        {"scenes": []},
        {"scenes": [], "nodes": []},
    ):
        assert gltf.count(save(tmp_path / "a.glb", content | changed, buffer)) == 1
    with pytest.raises(InputError, match="shows no splat"):
        gltf.count(save(tmp_path / "a.glb", content | {"scenes": [{}]}, buffer))


def test_colors_instead_of_harmonics(tmp_path: Path) -> None:
    changed = columns(COLOR_0=("VEC4n", np.array([[0, 55, 255, 51]], "u1")))
    del changed[f"{KHR}:SH_DEGREE_0_COEF_0"], changed[f"{KHR}:OPACITY"]
    asset = gltf.read(save(tmp_path / "a.glb", *document(changed)))
    # linear 55 / 255 = 0.2157 is 0.5018 as sRGB has it
    assert (0.5 + C0 * asset.gaussians.sh0.flatten()).tolist() == pytest.approx([0, 0.5018, 1], abs=1e-4)
    assert asset.gaussians.opacities.tolist() == pytest.approx([0.2])
    assert asset.notes == ("it has colors instead of harmonics, so it looks the same from everywhere",)


def test_names_of_the_drafts(tmp_path: Path) -> None:
    changed = {name.replace(f"{KHR}:", "_"): it for name, it in columns().items()}
    content, buffer = document(changed)
    content["meshes"][0]["primitives"][0]["extensions"][KHR] = {"colorSpace": "BT.709-linear"}
    asset = gltf.read(save(tmp_path / "a.glb", content, buffer))
    assert asset.color_space == "linear"
    assert not asset.notes


def test_spz_within(tmp_path: Path, seed: int) -> None:
    wanted = crowd(30, 1, size=0.5)
    spz.write(tmp_path / "b.spz", Asset(wanted, axes="LUF"), WriteOptions(raw=True, spz_version=2))
    blob = (tmp_path / "b.spz").read_bytes()
    content, _ = document({})
    content |= {"extensionsRequired": [KHR, SPZ], "bufferViews": [{"buffer": 0, "byteLength": len(blob)}]}
    content["buffers"] = [{"byteLength": len(blob)}]
    content["meshes"][0]["primitives"][0]["extensions"][KHR]["extensions"] = {SPZ: {"bufferView": 0}}
    path = save(tmp_path / "a.glb", content, blob)
    assert gltf.count(path) == 30
    found, same = gltf.read(path, raw=True).gaussians, spz.read(tmp_path / "b.spz", raw=True).gaussians
    assert torch.equal(found.means, same.means)
    assert torch.equal(found.sh, same.sh)
    assert (found.means - wanted.means).abs().max() < 2e-4
    with pytest.raises(InputError, match=r"a\.glb, in its SPZ,"):
        gltf.read(save(path, content, blob[: len(blob) // 2].ljust(len(blob), b"\0")))


def test_a_buffer_beside_the_file(tmp_path: Path) -> None:
    content, buffer = document(columns())
    content["buffers"][0]["uri"] = "the%20numbers.bin"
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=r"the numbers\.bin, which is not there"):
        gltf.read(path)
    (tmp_path / "the numbers.bin").write_bytes(buffer)
    assert formats.read(path).means.tolist() == [[-1, -2, 3]]
    (tmp_path / "the numbers.bin").write_bytes(buffer[:-8])
    with pytest.raises(InputError, match="truncated: its buffer 0 has"):
        gltf.read(path)


@pytest.mark.parametrize(
    "name",
    [
        "../b.bin",
        "sub/b.bin",
        "/etc/passwd",
        "..%2Fb.bin",
        "%2e%2e%2fb.bin",
        "file:///b.bin",
        "http://a/b.bin",
        "x" * 300,
        "..",
        "",
        "C:b",
        "a\\b",
    ],
)
def test_no_other_folder_is_looked_into(tmp_path: Path, name: str) -> None:
    content, buffer = document(columns())
    content["buffers"][0]["uri"] = name
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        (place / "b.bin").write_bytes(buffer)
    (folder / "a.gltf").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="only files in its own folder are read"):
        gltf.read(folder / "a.gltf")


def change(path: list[Any], value: object) -> Callable[[Document], None]:
    def apply(content: Document) -> None:
        here: Any = content
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = value

    return apply


PRIMITIVE: list[Any] = ["meshes", 0, "primitives", 0]
DAMAGES: dict[str, tuple[Callable[[Document], None], str]] = {
    "count": (change(["accessors", 0, "count"], 2), "needs 24 bytes of a view of 12"),
    "huge count": (change(["accessors", 0, "count"], 1 << 52), "needs"),
    "negative": (change(["accessors", 0, "byteOffset"], -4), "whole number of at least 0"),
    "text": (change(["accessors", 0, "count"], "1"), "whole number"),
    "true": (change(["accessors", 0, "count"], True), "whole number"),
    "type": (change(["accessors", 0, "type"], "MAT4"), "must have 3 numbers in a row"),
    "component": (change(["accessors", 0, "componentType"], [1]), "componentType"),
    "view": (change(["bufferViews", 0, "byteLength"], 1 << 40), "ends at byte"),
    "stride": (change(["bufferViews", 0, "byteStride"], 4), "rows of 12 bytes every 4"),
    "index": (change(["accessors", 0, "bufferView"], 99), r"bufferViews\[99\]"),
    "rows differ": (change(["accessors", 3, "count"], 0), "equally many rows"),
    "sparse": (change(["accessors", 0, "sparse"], {}), "sparse"),
    "buffer": (change(["buffers", 0, "byteLength"], 1 << 50), "truncated: its buffer 0"),
    "cycle": (change(["nodes", 0, "children"], [0]), "no tree"),
    "shared": (change(["scenes", 0, "nodes"], [0, 0]), "no tree"),
    "nowhere": (change(["scenes", 0, "nodes"], [7]), r"nodes\[7\]"),
    "nan": (change(["nodes", 0, "translation"], [math.nan, 0, 0]), "3 finite numbers"),
    "huge": (change(["nodes", 0, "scale"], [10**400, 1, 1]), "3 finite numbers"),
    "overflow": (change(["nodes", 0, "matrix"], [1e308] * 16), "not finite, or have perspective"),
    "perspective": (change(["nodes", 0, "matrix"], [1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), "perspective"),
    "rotation": (change(["nodes", 0, "rotation"], [0, 0, 0, 0]), "length 0"),
    "attributes": (change([*PRIMITIVE, "attributes"], []), "must be an object"),
    "missing": (change([*PRIMITIVE, "attributes"], {"POSITION": 0}), "no SH_DEGREE_0_COEF_0"),
    "required": (change(["extensionsRequired"], ["EXT_meshopt_compression"]), "needs 'EXT_meshopt_compression'"),
    "meshopt": (change(["bufferViews", 0, "extensions"], {"EXT_meshopt_compression": {}}), "packed with"),
    "draco": (change([*PRIMITIVE, "extensions", "KHR_draco_mesh_compression"], {}), "packed with"),
    "mesh": (change([*PRIMITIVE, "extensions"], {}), "is a mesh, not a splat"),
    "version": (change(["asset", "version"], "1.0"), "must be glTF 2"),
    "lists": (change(["nodes"], {"0": 1}), "must be a list"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_has_a_sentence(tmp_path: Path, name: str) -> None:
    apply, words = DAMAGES[name]
    content, buffer = document(columns())
    apply(content)
    path = save(tmp_path / "a.glb", content, buffer)
    with pytest.raises(InputError, match=words) as refused:
        gltf.read(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_containers_that_are_none(tmp_path: Path) -> None:
    path = save(tmp_path / "a.glb", *document(columns()))
    whole = path.read_bytes()
    for data, words in (
        (whole[:10], "truncated"),
        (whole[:-1], "truncated: it promises"),
        (whole[:4] + b"\1" + whole[5:], "version is 1"),
        (whole[:20] + b"[" * 200 + whole[220:], "JSON cannot be read"),
        (whole[:20] + b"\xff" + whole[21:], "JSON cannot be read"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=words):
            formats.read(path)
    (tmp_path / "a.gltf").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(InputError):
        gltf.read(tmp_path / "a.gltf")


def test_instances_are_limited(tmp_path: Path) -> None:
    """By the memory that they take: 256 MB, and a hundred times what the file's numbers do."""
    content, buffer = document({name: (kind, np.repeat(rows, 1000, 0)) for name, (kind, rows) in columns().items()})
    content["nodes"] = [{"mesh": 0} for _ in range(6000)]
    content["scenes"] = [{"nodes": list(range(6000))}]
    with pytest.raises(
        InputError, match=r"its 56,000 bytes promise 4,894,000 Gaussians, .* export it with fewer instances"
    ):
        gltf.count(save(tmp_path / "a.glb", content, buffer))
    content["scenes"] = [{"nodes": list(range(4893))}]
    assert gltf.count(save(tmp_path / "a.glb", content, buffer)) == 4_893_000


def test_too_large_for_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MOST_GLB", 1000)
    monkeypatch.setattr(encode, "MOST_TEXT", 1000)
    for name, words in (("a.glb", "write a .ply"), ("a.gltf", "write a .glb")):
        with pytest.raises(InputError, match=words):
            formats.write(tmp_path / name, crowd(100, 3))
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'\xef\xbb\xbf {"asset":{"version":"2.0"},"scenes":[]}', True),
        (b'{"asset":{"generator":"x"},"means":{},"meshes":[]}', False),
        (b'{"asset":{},"lodLevels":3,"nodes":[]}', False),
        (b'{"frames":[]}', False),
        (b"ply\n", False),
    ],
)
def test_what_is_recognized(text: bytes, wanted: bool) -> None:
    assert gltf.recognizes(Path("a.json"), text) is wanted


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from(
        [1 << 31, 1 << 53, 10**400, math.nan, math.inf, -0.0, 1e308, "", "2.0", [], {}, [0], [[0]], {"a": 1}]
    ),
    st.lists(st.integers(-1, 3), max_size=16),
)


def places(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in items for path in places(item, (*here, key)))]


def test_other_values_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    content, buffer = document(columns(COLOR_0=("VEC4n", np.array([[0, 55, 255, 51]], "u1"))))
    content["nodes"] += [{"matrix": np.eye(4).ravel().tolist(), "children": [0]}]
    content["nodes"][0] |= {"translation": [0, 0, 0], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}
    content["asset"] |= {
        "generator": "x",
        "extras": {"sfumato": {"origin": [1, 2, 3], "up": [0, 1, 0], "antialiased": True}},
    }
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(buffer).decode()
    paths = places(content)[1:]

    @settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(paths), VALUES, st.booleans()), min_size=1, max_size=3))
    def try_it(changes: list[tuple[tuple[Any, ...], object, bool]]) -> None:
        other = copy.deepcopy(content)
        for path, value, remove in changes:
            here: Any = other
            try:
                for step in path[:-1]:
                    here = here[step]
                if remove:
                    del here[path[-1]]
                else:
                    here[path[-1]] = value
            except (KeyError, IndexError, TypeError):  # changed away before
                continue
        (tmp_path / "a.gltf").write_text(json.dumps(other), encoding="utf-8")
        try:
            count = gltf.count(tmp_path / "a.gltf")
            asset = gltf.read(tmp_path / "a.gltf")
        except InputError as error:
            sentence = str(error)
            assert "\n" not in sentence
            assert len(sentence) < 400 + len(str(tmp_path))
        else:
            assert len(asset) == count

    try_it()
