"""Point clouds: every byte order and type of color that programs write, and files that are cut or forged."""

from pathlib import Path

import numpy as np
import pytest

from sfumato.core.errors import InputError
from sfumato.core.point_cloud import read_point_cloud

XYZ = np.array([[0.5, -1.25, 3.0], [600000.125, 5200000.25, 400.5], [1e-3, 0, -2]])
RGB = np.array([[255, 0, 17], [1, 2, 3], [128, 64, 32]], dtype=np.uint8)


def write(path: Path, order: str, colors: str = "uchar", before: bytes = b"", names: str = "red green blue") -> bytes:
    """A cloud with double positions, an extra property between, and an element before it."""
    header = f"ply\nformat {order} 1.0\ncomment element vertex 9\n"
    if before:
        header += "element camera 1\nproperty float x\nproperty uchar y\n"
    header += f"element vertex {len(XYZ)}\n" + "".join(f"property double {axis}\n" for axis in "xyz")
    header += "property float confidence\n" + "".join(f"property {colors} {name}\n" for name in names.split())
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    kind = {"uchar": "u1", "ushort": "u2", "float": "f4"}[colors]
    stored = {"uchar": RGB, "ushort": RGB.astype(np.uint16) * 257, "float": (RGB / 255).astype(np.float32)}[colors]
    if order == "ascii":
        rows = [" ".join(map(repr, [*p, 0.5, *c])) for p, c in zip(XYZ.tolist(), stored.tolist(), strict=True)]
        body = ("7.5 3\n" if before else "") + "\n".join(rows) + "\n3 0 1 2\n"
        data = header.encode() + body.encode()
    else:
        mark = "<" if "little" in order else ">"
        layout = [("xyz", mark + "f8", 3), ("confidence", mark + "f4"), ("rgb", mark + kind, 3)]
        table = np.zeros(len(XYZ), layout)
        table["xyz"], table["rgb"] = XYZ, stored
        data = header.encode() + before + table.tobytes() + b"\3" + b"\0" * 12
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("colors", ["uchar", "ushort", "float"])
@pytest.mark.parametrize("before", [b"", b"\0\0\0\0\1"])
def test_every_order_and_color(tmp_path: Path, order: str, colors: str, before: bytes) -> None:
    write(tmp_path / "a.ply", order, colors, before)
    points = read_point_cloud(tmp_path / "a.ply")
    np.testing.assert_array_equal(points.xyz.numpy(), XYZ)  # float64 all the way
    np.testing.assert_array_equal(points.rgb.numpy(), RGB)


def test_other_names_and_no_colors(tmp_path: Path) -> None:
    write(tmp_path / "a.ply", "binary_little_endian", names="diffuse_red diffuse_green diffuse_blue")
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.ply").rgb.numpy(), RGB)
    write(tmp_path / "a.ply", "binary_little_endian", names="cyan magenta yellow")
    assert read_point_cloud(tmp_path / "a.ply").rgb.unique().tolist() == [128]


def test_windows_lines(tmp_path: Path) -> None:
    data = write(tmp_path / "a.ply", "ascii")
    (tmp_path / "a.ply").write_bytes(data.replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.ply").xyz.numpy(), XYZ)


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("twentieth", range(17))
def test_a_cut_file(tmp_path: Path, order: str, twentieth: int) -> None:
    data = write(tmp_path / "a.ply", order)
    (tmp_path / "a.ply").write_bytes(data[: len(data) * twentieth // 20])
    with pytest.raises(InputError, match=r"a\.ply is not a whole PLY file of points .*export it again"):
        read_point_cloud(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"element vertex 3", b"element vertex 999999999999999999"),
        (b"element vertex 3", b"element vertex -3"),
        (b"element vertex 3", b"element vertex many"),
        (b"element vertex", b"element cortex"),
        (b"property double x", b"property double a"),
        (b"property double x", b"property quad x"),
        (b"property double x", b"property list uchar int x"),
        (b"property double x", b"property double y"),
        (b"format", b"fromat"),
        (b"1.0\n", b"\n"),
    ],
)
@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
def test_forged_headers(tmp_path: Path, order: str, old: bytes, new: bytes) -> None:
    data = write(tmp_path / "a.ply", order)
    (tmp_path / "a.ply").write_bytes(data.replace(old, new, 1) if old != b"element vertex" else data.replace(old, new))
    if old == b"1.0\n":
        return  # the version is not looked at
    with pytest.raises(InputError, match="is not a whole PLY file"):
        read_point_cloud(tmp_path / "a.ply")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a whole PLY file"):
        read_point_cloud(tmp_path / "none.ply")
