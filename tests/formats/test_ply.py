"""PLY: exact round trips, every variant other programs write, and a sentence for everything that is no splat."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import formats
from sfumato.core import asset
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree, rgb_from_sh0

BASE = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
BASE += ["rot_0", "rot_1", "rot_2", "rot_3"]


def random_gaussians(count: int, degree: int) -> Gaussians:
    rest = bases_of_degree(degree) - 1
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, 1, 3), (count, rest, 3)]
    return Gaussians(*(torch.randn(shape) * 10 for shape in shapes))


def same_bits(a: Gaussians, b: Gaussians) -> bool:
    return all(torch.equal(x.view(torch.int32), y.view(torch.int32)) for x, y in zip(a, b, strict=True))


def header(kind: str, elements: dict[str, tuple[int, list[str]]], newline: str = "\n", extra: str = "") -> bytes:
    lines = ["ply", f"format {kind} 1.0"] + ([extra] if extra else [])
    for name, (count, properties) in elements.items():
        lines += [f"element {name} {count}"] + [f"property {item}" for item in properties]
    return (newline.join([*lines, "end_header"]) + newline).encode()


def table(count: int, names: list[str]) -> np.ndarray:
    return (np.arange(count * len(names)).reshape(count, len(names)) / 8 - 3).astype(np.float32)


def save(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("count", [0, 1, 70_000 // 35])
def test_round_trip_keeps_every_bit(tmp_path: Path, degree: int, count: int, seed: int) -> None:
    written = random_gaussians(count, degree)
    formats.write(tmp_path / "a.ply", written)
    assert same_bits(formats.read(tmp_path / "a.ply"), written)


def test_round_trip_keeps_nan_infinity_and_denormals(tmp_path: Path) -> None:
    written = random_gaussians(3, 1)
    written.means[0, 0], written.quats[1, 2], written.shN[2, 1, 1] = float("nan"), float("-inf"), 1e-42
    written.logit_opacities[0] = torch.tensor(0x7FC12345, dtype=torch.int32).view(torch.float32)
    formats.write(tmp_path / "a.ply", written)
    assert same_bits(formats.read(tmp_path / "a.ply"), written)


def test_rows_longer_than_a_chunk(tmp_path: Path, seed: int) -> None:
    written = random_gaussians(asset.CHUNK + 3, 0)
    formats.write(tmp_path / "a.ply", written)
    assert same_bits(formats.read(tmp_path / "a.ply"), written)


def test_written_layout_is_that_of_the_field(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.ply", random_gaussians(1, 3))
    data = (tmp_path / "a.ply").read_bytes()
    lines = data[: data.index(b"end_header")].decode().split("\n")
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 1"]
    names = [line.split()[-1] for line in lines[3:-1]]
    assert all(line.startswith("property float ") for line in lines[3:-1])
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{i}" for i in range(45)]
    assert names[54:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert len(data) - data.index(b"end_header\n") - 11 == 248


def test_rest_is_stored_color_by_color(tmp_path: Path) -> None:
    gaussians = random_gaussians(1, 1)
    formats.write(tmp_path / "a.ply", gaussians)
    stored = np.frombuffer((tmp_path / "a.ply").read_bytes()[-(62 - 36) * 4 :], "<f4")[9:18]
    assert stored.tolist() == gaussians.shN[0].T.flatten().tolist()  # red m=-1,0,1, then green, then blue


@pytest.mark.parametrize(("kind", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_both_byte_orders_double_and_extra_columns(tmp_path: Path, kind: str, order: str) -> None:
    names = [*BASE, "segment"]
    values = table(4, names)
    dtype = np.dtype([(name, order + ("u2" if name == "segment" else "f8")) for name in names])
    rows = np.zeros(4, dtype)
    for index, name in enumerate(names):
        rows[name] = np.abs(values[:, index]) if name == "segment" else values[:, index]
    properties = [("ushort " if name == "segment" else "float64 ") + name for name in names]
    path = save(tmp_path / "a.ply", header(kind, {"vertex": (4, properties)}), rows.tobytes())
    check_base(formats.read(path), values)


def check_base(gaussians: Gaussians, values: np.ndarray) -> None:
    stored = [gaussians.means, gaussians.sh0[:, 0], gaussians.logit_opacities[:, None], gaussians.log_scales]
    assert torch.cat([*stored, gaussians.quats], dim=1).tolist() == values[:, : len(BASE)].tolist()


def test_columns_in_any_order(tmp_path: Path, seed: int) -> None:
    written = random_gaussians(5, 2)
    formats.write(tmp_path / "a.ply", written)
    names = [f"f_rest_{i}" for i in range(24)] + BASE
    ours = np.concatenate([written.shN.transpose(1, 2).flatten(1).numpy(), base_rows(written)], axis=1)
    shuffled = torch.randperm(len(names)).tolist()
    head = header("binary_little_endian", {"vertex": (5, [f"float32 {names[i]}" for i in shuffled])})
    path = save(tmp_path / "b.ply", head, np.ascontiguousarray(ours[:, shuffled]).tobytes())
    assert same_bits(formats.read(path), written)


def base_rows(gaussians: Gaussians) -> np.ndarray:
    parts = [gaussians.means, gaussians.sh0[:, 0], gaussians.logit_opacities[:, None], gaussians.log_scales]
    return torch.cat([*parts, gaussians.quats], dim=1).numpy()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_with_comments_and_nan(tmp_path: Path, newline: str) -> None:
    values = table(3, BASE)
    values[1, 2] = np.nan
    body = newline.join(" ".join(repr(float(value)) for value in row) + " " for row in values)
    head = header(
        "ascii", {"vertex": (3, [f"float {n}" for n in BASE])}, newline, "comment a  b" + newline + "obj_info c"
    )
    gaussians = formats.read(save(tmp_path / "a.ply", head, body.encode()))
    assert np.array_equal(base_rows(gaussians), values, equal_nan=True)


@pytest.mark.parametrize("comment", ["", "comment origin 0.5 0 -7"])
def test_far_places_in_double_precision_keep_their_digits(tmp_path: Path, comment: str) -> None:
    values = table(3, BASE).astype(np.float64)
    values[:, :3] = [[448262.125, 5411932.25, 400], [448263.0625, 5411931, 401.5], [448262, 5411932, 400.03125]]
    head = header("binary_little_endian", {"vertex": (3, [f"double {name}" for name in BASE])}, extra=comment)
    asset = formats.read_asset(save(tmp_path / "a.ply", head, values.tobytes()))
    more = [0.5, 0, -7] if comment else [0, 0, 0]
    assert asset.gaussians.means.abs().max() < 2
    whole = asset.gaussians.means.double().numpy() + asset.origin - more
    assert np.array_equal(whole, values[:, :3])


def test_a_list_is_no_column(tmp_path: Path) -> None:
    properties = ["list uchar float x", *[f"float {name}" for name in BASE if name != "x"]]
    path = tmp_path / "a.ply"
    path.write_bytes(header("binary_little_endian", {"vertex": (1, properties)}) + bytes(1 + 4 * len(BASE)))
    with pytest.raises(InputError, match="its vertices have no x; export it again"):
        formats.read(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_lists_before_and_after_the_vertices_are_walked(tmp_path: Path, order: str) -> None:
    values = table(2, BASE)
    kind = "binary_little_endian" if order == "<" else "binary_big_endian"
    faces = b"".join(
        bytes([n]) + np.arange(n).astype(order + "i4").tobytes() + np.float32(7).astype(order + "f4").tobytes()
        for n in (3, 0, 5)
    )
    face = (3, ["list uchar int vertex_indices", "float area"])
    head = header(
        kind, {"face": face, "camera": (1, ["short id"]), "vertex": (2, [f"float {n}" for n in BASE]), "after": face}
    )
    path = save(tmp_path / "a.ply", head, faces, b"\0\0", values.astype(order + "f4").tobytes(), faces)
    check_base(formats.read(path), values)


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
def test_a_list_among_the_vertices_properties(tmp_path: Path, kind: str) -> None:
    values = table(2, BASE)
    properties = ["list uchar uchar neighbors", *[f"float {n}" for n in BASE]]
    head = header(kind, {"face": (1, ["list uchar int i"]), "vertex": (2, properties)})
    if kind == "ascii":
        rows = [f"2 8 9 {' '.join(map(str, row.tolist()))}" for row in values]
        body = "\n".join(["3 0 1 2", *rows]).encode()
    else:
        body = b"\1\0\0\0\0" + b"".join(b"\2\x08\x09" + row.tobytes() for row in values)
    check_base(formats.read(save(tmp_path / "a.ply", head, body)), values)


@pytest.mark.parametrize(("stored", "degree"), [(9, 1), (12, 1), (45, 3), (48, 3), (72, 4), (3, 0)])
def test_harmonics_beyond_a_full_degree_are_left_out(tmp_path: Path, stored: int, degree: int) -> None:
    names = BASE + [f"f_rest_{i}" for i in range(stored)]
    values = table(2, names)
    head = header("binary_little_endian", {"vertex": (2, [f"float {name}" for name in names])})
    gaussians = formats.read(save(tmp_path / "a.ply", head, values.tobytes()))
    assert gaussians.degree == degree
    kept = bases_of_degree(degree) - 1
    for color, k in itertools.product(range(3), range(kept)):
        assert gaussians.shN[1, k, color] == values[1, len(BASE) + color * (stored // 3) + k]


def test_color_instead_of_harmonics_and_a_disc(tmp_path: Path) -> None:
    names = [name for name in BASE if not name.startswith("f_dc") and name != "scale_2"]
    head = header(
        "binary_little_endian",
        {"vertex": (1, [f"float {n}" for n in names] + [f"uchar {n}" for n in ("red", "green", "blue")])},
    )
    gaussians = formats.read(save(tmp_path / "a.ply", head, np.zeros(len(names), "<f4").tobytes(), bytes([255, 0, 51])))
    assert rgb_from_sh0(gaussians.sh0[0, 0]).tolist() == pytest.approx([1, 0, 0.2], abs=1e-6)
    assert gaussians.scales[0, 2].item() == pytest.approx(1e-6)


def test_a_file_of_another_program(shared_data: Path) -> None:
    gaussians = formats.read(shared_data / "splats" / "inria_9080.ply")
    assert (len(gaussians), gaussians.degree) == (9080, 3)
    low, high = gaussians.means.min(dim=0).values, gaussians.means.max(dim=0).values
    assert low.tolist() == pytest.approx([-409.7, -405.9, -291.9], abs=0.05)
    assert high.tolist() == pytest.approx([471.4, 336.6, 1004], abs=0.5)
    # np.median of an even count is the mean of the middle two
    assert np.median(gaussians.log_scales[:, 0].numpy()) == pytest.approx(3.0307, abs=5e-5)
    assert gaussians.opacities.mean().item() == pytest.approx(0.1228, abs=5e-5)
    assert gaussians.sh0[:, 0, 0].mean().item() == pytest.approx(0.4835, abs=5e-5)
    assert gaussians.shN[:, 0, 0].abs().mean().item() == pytest.approx(0.03509, abs=5e-6)
    norms = gaussians.quats.norm(dim=1)
    assert norms.min() < 0.7 < 1.1 < norms.max()  # as stored: nothing is normalized


def test_another_file_of_another_program(shared_data: Path, tmp_path: Path) -> None:
    gaussians = formats.read(shared_data / "splats" / "train3pts.ply")
    assert gaussians.means.min(dim=0).values.tolist() == pytest.approx([-2.748, -1.012, -1.397], abs=5e-4)
    assert gaussians.means.max(dim=0).values.tolist() == pytest.approx([2.008, 0.08105, 1.329], abs=5e-4)
    assert gaussians.log_scales[:, 0].median().item() == pytest.approx(-4.7557, abs=5e-5)
    assert gaussians.opacities.mean().item() == pytest.approx(0.2924, abs=5e-5)
    assert gaussians.sh0[:, 0, 0].mean().item() == pytest.approx(0.2812, abs=5e-5)
    assert gaussians.shN[:, 0, 0].abs().mean().item() == pytest.approx(0.01039, abs=5e-6)


def test_the_original_file_comes_back_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "splats" / "inria_9080.ply"
    formats.write(tmp_path / "again.ply", formats.read(original))
    assert (tmp_path / "again.ply").read_bytes() == original.read_bytes()


FLOATS = [f"float {name}" for name in BASE]
LITTLE = "binary_little_endian"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"plyx\n", "first line is not `ply`"),
        (b"ply\nformat ascii 1.0\n", "without its format or its end"),
        (b"ply\nelement vertex 1\nproperty float x\nend_header\n", "without its format or its end"),
        (b"ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "says nothing known"),
        (b"ply\nformat ascii 1.0\nelement vertex " + b"9" * 5000 + b"\nend_header\n", "says nothing known"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "says nothing known"),
        (header(LITTLE, {"face": (1, ["uchar a"])}), "no element `vertex`"),
        (header(LITTLE, {"vertex": (10**17, [])}), "no properties"),
        (header(LITTLE, {"vertex": (1, ["float x", "float x"])}), "twice"),
        (header(LITTLE, {"vertex": (10**17, FLOATS)}), "truncated"),
        (header("ascii", {"vertex": (10**17, FLOATS)}), "truncated"),
        (header(LITTLE, {"face": (10**17, ["list uchar int i"]), "vertex": (1, FLOATS)}), "truncated"),
        (header(LITTLE, {"vertex": (2, FLOATS)}) + bytes(4 * 14 * 2 - 1), "truncated|damaged"),
        (header("ascii", {"vertex": (1, FLOATS)}) + b"\n" * 99, "damaged"),
        (header("ascii", {"vertex": (1, FLOATS)}) + b"1 2 3 4 5 6 7 8 9 10 11 12 13\n\n\n", "damaged"),
        (header("ascii", {"vertex": (1, FLOATS)}) + b"1 2 3 4 5 6 7 8 9 10 11 12 13 x\n", "damaged"),
        (header(LITTLE, {"face": (1, ["list char int i"]), "vertex": (1, FLOATS)}) + b"\xff" + bytes(56), "damaged"),
        (header(LITTLE, {"face": (1, ["list float int i"]), "vertex": (1, FLOATS)}) + b"\0\0\x80\x7f" * 15, "damaged"),
        (header(LITTLE, {"vertex": (1, [f for f in FLOATS if f != "float rot_2"])}) + bytes(52), "have no rot_2"),
        (header(LITTLE, {"vertex": (1, ["float y", "float z"])}) + bytes(8), "not a whole splat: .* have no x, opac"),
        (header(LITTLE, {"vertex": (1, [*FLOATS, "float f_rest_0"])}) + bytes(60), "multiple of 3"),
    ],
)  # fmt: skip
def test_damaged_files_get_one_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        formats.read(save(tmp_path / "a.ply", data))
    assert "a.ply" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_file_is_refused(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.ply", random_gaussians(2, 0))
    data = (tmp_path / "a.ply").read_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(InputError):
            formats.read(save(tmp_path / "b.ply", data[:length]))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        formats.read(tmp_path / "none.ply")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        formats.read(tmp_path / "folder.ply")


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*scene.obj: no format for \.obj \(known: .*\.ply"):
        formats.write(tmp_path / "scene.obj", Gaussians.empty())
    with pytest.raises(InputError, match="no format for a file without suffix"):
        formats.write(tmp_path / "scene", Gaussians.empty())


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.PLY", random_gaussians(1, 0))
    before = (tmp_path / "a.PLY").read_bytes()

    class Broken:
        """Fails after the header has been written."""

        shN = torch.zeros(0, 0, 3)

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: slice) -> Gaussians:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        formats.write(tmp_path / "a.PLY", Broken())  # type: ignore[arg-type]
    assert (tmp_path / "a.PLY").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.PLY"]


def test_the_origin_of_a_map_is_kept_in_all_its_digits(tmp_path: Path) -> None:
    gaussians, path = Gaussians.empty(0), tmp_path / "a.ply"
    origin = (448_262.123456789, -5_411_932.1, 1 / 3)
    formats.write(path, Asset(gaussians, origin=origin))
    assert formats.read_asset(path).origin == origin
    formats.write(path, gaussians)
    assert formats.read_asset(path).origin == (0, 0, 0)
    assert b"comment" not in path.read_bytes()


@pytest.mark.parametrize("words", ["1 2", "1 2 three", "1 2 nan", ""])
def test_an_origin_that_is_no_place_is_one_sentence(tmp_path: Path, words: str) -> None:
    path = tmp_path / "a.ply"
    formats.write(path, Asset(Gaussians.empty(0), origin=(1.0, 2.0, 3.0)))
    path.write_bytes(path.read_bytes().replace(b"origin 1.0 2.0 3.0", f"origin {words}".encode()))
    with pytest.raises(InputError, match=r"a\.ply: the comment 'origin.*' must hold"):
        formats.read_asset(path)


@pytest.mark.parametrize(
    ("comments", "known"),
    [
        (["SplatRenderMode: mip"], {"antialiased": True}),
        (["Exported from Brush", "SPLATRENDERMODE:  Default "], {"antialiased": False, "generator": "Brush"}),
        (["antialiased 1"], {"antialiased": True}),
        (["antialiased 1", "SplatRenderMode: default"], {"antialiased": False}),  # the last one counts
        (["SplatRenderMode: 2dgs"], {"kernel": "disc"}),
        (["Vertical Axis: z"], {"up": (0, 0, 1)}),  # nerfstudio
        (["Vertical axis: 0.1 -0.9 2e-3"], {"up": (0.1, -0.9, 2e-3)}),
        (["Vertical axis: y"], {}),  # Brush says so when it does not know
        (["Vertical axis: 0 0 0", "Vertical axis: 1 2", "Vertical axis: nan 1 0", "antialiased", "origins"], {}),
        (["meters_per_unit 0.25", "color_space linear"], {"meters_per_unit": 0.25, "color_space": "linear"}),
        (["meters_per_unit -1", "meters_per_unit x", "color_space blue", "SplatRenderMode: banana"], {}),
        (["Generated by SuperSplat 2.7.1"], {"generator": "SuperSplat 2.7.1"}),
        (["VCGLIB generated"], {"generator": "VCGLIB"}),
    ],
)
def test_what_comments_say(tmp_path: Path, comments: list[str], known: dict[str, object]) -> None:
    formats.write(tmp_path / "a.ply", random_gaussians(1, 0))
    lines = "".join(f"comment {comment}\n" for comment in comments).encode()
    data = (tmp_path / "a.ply").read_bytes().replace(b"element vertex", lines + b"element vertex")
    read = formats.read_asset(save(tmp_path / "b.ply", data))
    plain = Asset(read.gaussians)
    said = {name: getattr(read, name) for name in ("antialiased", "kernel", "up", "meters_per_unit", "color_space",
                                                   "generator")}  # fmt: skip
    assert {name: value for name, value in said.items() if value != getattr(plain, name)} == known


def test_what_an_asset_knows_comes_back(tmp_path: Path) -> None:
    asset = Asset(
        random_gaussians(2, 0), "RDF", True, "disc", "linear", 0.01, (0.0, -1.0, 0.5), (1e6, 2.5, -3.0), "PLY", "a b"
    )
    formats.write(tmp_path / "a.ply", asset)
    again = formats.read_asset(tmp_path / "a.ply")
    for name in ("antialiased", "kernel", "color_space", "meters_per_unit", "up", "origin", "generator"):
        assert getattr(again, name) == getattr(asset, name)
    assert same_bits(again.gaussians, asset.gaussians)  # a disc's third scale, too


def test_directions_follow_the_frame(tmp_path: Path) -> None:
    asset = Asset(random_gaussians(1, 1), axes="RUB", up=(0.0, 1.0, 0.0), origin=(1.0, 2.0, 3.0))
    formats.write(tmp_path / "a.ply", asset)
    again = formats.read_asset(tmp_path / "a.ply")
    assert (again.up, again.origin) == ((0, -1, 0), (1, -2, -3))
    assert again.gaussians.means[0, 1] == -asset.gaussians.means[0, 1]
    formats.write(tmp_path / "a.ply", asset, formats.WriteOptions(raw=True))
    assert formats.read_asset(tmp_path / "a.ply").up == (0, 1, 0)


def test_a_generator_cannot_end_the_header(tmp_path: Path) -> None:
    asset = Asset(random_gaussians(1, 0), generator="sly\nend_header\n\u2603" + "x" * 500)
    formats.write(tmp_path / "a.ply", asset)
    assert formats.read_asset(tmp_path / "a.ply").generator == ("sly end_header ?" + "x" * 500)[:200]
