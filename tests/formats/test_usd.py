"""OpenUSD: stages written by hand, what a round trip costs, and files that lead elsewhere or break pxr."""

import math
import struct
import sys
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.formats import usd
from sfumato.formats.options import WriteOptions
from sfumato.formats.usd import process as usd_process

from linear import check_known, check_round_trip
from scenes import crowd

if sys.version_info >= (3, 11):
    from pxr import Sdf, Usd, UsdUtils
else:
    pytest.skip("OPENUSD NOT TESTED: usd-core needs Python 3.11", allow_module_level=True)

SPLAT = """
    point3f[] positions = [(1, 2, 3)]
    quatf[] orientations = [(0, 0, 0, 2)]
    float3[] scales = [(1, 2, 0)]
    float[] opacities = [0.25]
    int radiance:sphericalHarmonicsDegree = 0
    float3[] radiance:sphericalHarmonicsCoefficients = [(0.1, 0.2, 0.3)]
"""


def text(path: Path, body: str, head: str = "") -> Path:
    path.write_text(f"#usda 1.0\n(\n{head}\n)\n{body}\n", encoding="utf-8")
    return path


def prim(name: str = "a", inside: str = SPLAT, head: str = "") -> str:
    return f'def ParticleField3DGaussianSplat "{name}" (\n{head}\n)\n{{\n{inside}\n}}\n'


def test_one_gaussian_by_hand(tmp_path: Path) -> None:
    path = text(tmp_path / "a.usda", prim())
    asset = usd.read(path, raw=True)
    gaussians = asset.gaussians
    assert asset.axes == "RUB"  # without an up axis, +y
    assert gaussians.means.tolist() == [[1, 2, 3]]
    assert gaussians.quats.tolist() == [[0, 0, 0, 1]]  # text has the real number first
    assert gaussians.log_scales[0].tolist() == pytest.approx([0, math.log(2), -20])
    assert gaussians.opacities.tolist() == pytest.approx([0.25])
    assert gaussians.sh0.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert asset.meters_per_unit is None
    assert not asset.notes
    assert usd.read(path).gaussians.means.tolist() == [[1, -2, -3]]
    assert usd.count(path) == 1


def test_up_is_z_and_units(tmp_path: Path) -> None:
    path = text(tmp_path / "a.usda", prim(), 'upAxis = "Z"\nmetersPerUnit = 0.01')
    asset = usd.read(path)
    assert asset.meters_per_unit == 0.01
    assert asset.gaussians.means.tolist() == [[1, -3, 2]]  # up is -y, and what was ahead, +y, is +z


@pytest.mark.parametrize(
    ("name", "count", "degree"),
    [("a.usdc", 0, 3), ("a.usda", 1, 0), ("a.usd", 255, 1), ("a.usdc", 256, 2), ("a.usda", 257, 3), ("a.usdc", 20, 4)],
)
def test_round_trip(tmp_path: Path, name: str, count: int, degree: int, seed: int) -> None:
    wanted = crowd(count, degree)
    formats.write(tmp_path / name, wanted)
    check_round_trip(formats.read(tmp_path / name), wanted)
    assert formats.count(tmp_path / name) == count
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_rows_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(usd, "CHUNK", 7)
    wanted = crowd(20, 2)
    formats.write(tmp_path / "a.usdc", wanted)
    check_round_trip(formats.read(tmp_path / "a.usdc"), wanted)


def test_what_is_written(tmp_path: Path, seed: int) -> None:
    formats.write(tmp_path / "a.usdc", Asset(crowd(10, 2), meters_per_unit=0.5))
    stage = Usd.Stage.Open(Sdf.Layer.OpenAsAnonymous(str(tmp_path / "a.usdc")))
    splat = stage.GetDefaultPrim()
    assert splat.GetTypeName() == "ParticleField3DGaussianSplat"
    assert stage.GetMetadata("metersPerUnit") == 0.5
    assert stage.GetMetadata("upAxis") == "Y"
    sh = splat.GetAttribute("radiance:sphericalHarmonicsCoefficients")
    assert sh.GetMetadata("elementSize") == 9
    assert len(sh.Get()) == 90
    assert splat.GetAttribute("colorSpace:name").Get() == "srgb_rec709_display"
    low, high = splat.GetAttribute("extent").Get()
    assert all(a < b for a, b in zip(low, high, strict=True))


def test_what_the_asset_knows(tmp_path: Path) -> None:
    for name in ("a.usda", "a.usdc"):
        check_known(tmp_path / name, antialiased=False)
    formats.write(tmp_path / "b.usda", crowd(2, 0))
    assert formats.read_asset(tmp_path / "b.usda").meters_per_unit is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
@pytest.mark.parametrize("suffix", [".usdc", ".usda"])
def test_where_no_more_fits_the_old_file_stays(tmp_path: Path, suffix: str) -> None:
    import resource

    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            formats.write(path, crowd(500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(path)
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("suffix", [".ply", ".usdc"])
def test_names_as_long_as_may_be(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / ("\U0001f98a" * ((255 - len(suffix)) // 4) + suffix)
    formats.write(path, crowd(5))
    assert formats.count(path) == 5
    assert list(tmp_path.iterdir()) == [path]


def test_raw_keeps_the_numbers(tmp_path: Path, seed: int) -> None:
    wanted = crowd(5, 2)
    formats.write(tmp_path / "a.usdc", Asset(wanted, axes="LUF"), WriteOptions(raw=True))
    assert torch.equal(usd.read(tmp_path / "a.usdc", raw=True).gaussians.means, wanted.means)


def test_giants_are_clamped(tmp_path: Path, seed: int) -> None:
    wanted = crowd(3, 0)
    wanted.log_scales[1, 0] = 200.0
    with pytest.warns(SfumatoWarning, match="1 of 3"):
        formats.write(tmp_path / "a.usdc", wanted)
    assert formats.read(tmp_path / "a.usdc").finite.all()


def test_halfs_where_there_are_no_floats(tmp_path: Path) -> None:
    inside = SPLAT.replace("point3f[] positions", "point3h[] positionsh").replace(
        "quatf[] orientations", "quath[] orientationsh"
    )
    inside = inside.replace("float[] opacities", "half[] opacitiesh").replace("float3[] scales", "half3[] scalesh")
    inside = inside.replace("float3[]", "half3[]").replace("Coefficients", "Coefficientsh")
    gaussians = usd.read(text(tmp_path / "a.usda", prim(inside=inside)), raw=True).gaussians
    assert gaussians.means.tolist() == [[1, 2, 3]]
    assert gaussians.quats.tolist() == [[0, 0, 0, 1]]
    assert gaussians.sh0.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3], abs=1e-4)


def test_transforms_visibility_and_animation(tmp_path: Path) -> None:
    still = 'double3 xformOp:translate = (10, 0, 0)\nuniform token[] xformOpOrder = ["xformOp:translate"]'
    scaled = 'float3 xformOp:scale = (1, 3, 1)\nuniform token[] xformOpOrder = ["xformOp:scale"]'
    moving = SPLAT.replace("positions = [(1, 2, 3)]", "positions.timeSamples = { 3: [(7, 8, 9)], 5: [(0, 0, 0)] }")
    hidden = SPLAT + 'token visibility = "invisible"'
    body = prim("b", SPLAT + scaled) + prim("c", moving) + prim("d", hidden)
    asset = usd.read(text(tmp_path / "a.usda", f'def Xform "World" {{\n{still}\n{body}\n}}'), raw=True)
    assert asset.gaussians.means.tolist() == [[11, 6, 3], [17, 8, 9]]
    assert asset.gaussians.scales[0].sort().values.tolist() == pytest.approx([0, 1, 6], abs=1e-6)
    assert len(asset.notes) == 2
    assert "1 splats that are marked as invisible" in asset.notes[0]
    assert "1 Gaussians are stretched" in asset.notes[1]


def test_another_projection_is_noted(tmp_path: Path) -> None:
    for mode, notes in (
        ("perspective", ()),
        ("tangential", ("1 splats ask for tangential projection, which is not known here; they are drawn as usual",)),
    ):
        path = text(tmp_path / "a.usda", prim(inside=SPLAT + f'uniform token projectionModeHint = "{mode}"\n'))
        assert usd.read(path).notes == notes


def test_what_a_package_leads_to_outside_is_not_opened(tmp_path: Path) -> None:
    text(tmp_path / "b.usda", prim())
    for name in ("b.usda", "../b.usda", str(tmp_path / "b.usda")):
        path = tmp_path / "a.usdz"
        path.unlink(missing_ok=True)
        writer = Sdf.ZipFileWriter.CreateNew(str(path))
        root = text(tmp_path / "root.usda", f'def "x" (\nreferences = @{name}@</a>\n)\n{{\n}}')
        writer.AddFile(str(root), "root.usda")
        writer.Save()
        with pytest.raises(InputError, match=r"spread over several files|it has no"):
            usd.read(path)


def test_a_package(tmp_path: Path, seed: int) -> None:
    wanted = crowd(10, 1)
    formats.write(tmp_path / "splat.usdc", wanted)
    text(tmp_path / "root.usda", 'def "World" (\nreferences = @./splat.usdc@\n)\n{\n}')
    assert UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(tmp_path / "root.usda")), str(tmp_path / "a.usdz"))
    (tmp_path / "splat.usdc").unlink()
    check_round_trip(formats.read(tmp_path / "a.usdz"), wanted)


VARIANT = """
def "x" (
    variants = { string s = "y" }
    prepend variantSets = "s"
)
{
    variantSet "s" = {
        "y" (
            references = @b.usda@</a>
        ) {
        }
    }
}
"""


@pytest.mark.parametrize(
    "body",
    [
        'def "x" (\nreferences = @./b.usda@</a>\n)\n{\n}',
        'def "x" (\npayload = @b.usda@</a>\n)\n{\n}',
        VARIANT,
    ],
)
def test_no_other_file_is_opened(tmp_path: Path, body: str) -> None:
    text(tmp_path / "b.usda", prim())
    with pytest.raises(InputError, match=r"spread over several files \('(\./)?b\.usda'\), .* usdcat --flatten"):
        usd.read(text(tmp_path / "a.usda", body))


def test_no_other_layer_is_opened(tmp_path: Path) -> None:
    text(tmp_path / "b.usda", prim())
    with pytest.raises(InputError, match="spread over several files"):
        usd.count(text(tmp_path / "a.usda", prim(), "subLayers = [@b.usda@]"))


def test_references_that_multiply_end(tmp_path: Path) -> None:
    inner = prim("p0")
    for level in range(1, 30):
        twice = "\n".join(f'def "{name}" (\nreferences = </p{level - 1}>\n)\n{{\n}}' for name in "ab")
        inner += f'def "p{level}" {{\n{twice}\n}}\n'
    with pytest.raises(InputError, match="composed of 58 references"):
        usd.read(text(tmp_path / "a.usda", inner))
    several = prim("p") + "".join(f'def "q{name}" (\nreferences = </p>\n)\n{{\n}}\n' for name in "abc")
    assert usd.count(text(tmp_path / "a.usda", several)) == 4


DAMAGES = {
    "rows": (SPLAT.replace("[0.25]", "[0.25, 0.5]"), "opacities must have 1 rows; got 2"),
    "harmonics": (SPLAT.replace("Degree = 0", "Degree = 1"), "Coefficients must have 4 rows; got 1"),
    "degree": (SPLAT.replace("Degree = 0", "Degree = 5"), "degree 0 to 4; got 5"),
    "missing": (SPLAT.replace("float3[] scales", "float3[] other"), "has no scales"),
    "syntax": (SPLAT + "\n[\n", "OpenUSD cannot use it"),
    "matrix": (
        SPLAT + 'double3 xformOp:translate = (nan, 0, 0)\nuniform token[] xformOpOrder = ["xformOp:translate"]',
        "not finite",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_has_a_sentence(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    inside, words = DAMAGES[name]
    with pytest.raises(InputError, match=words) as refused:
        usd.read(text(tmp_path / "a.usda", prim(inside=inside)))
    assert str(refused.value).startswith(str(tmp_path / "a.usda"))
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_stages_that_say_strange_things(tmp_path: Path) -> None:
    for head, words in (('upAxis = "X"', "up axis must be Y or Z"), ("metersPerUnit = -1", "metersPerUnit of -1")):
        with pytest.raises(InputError, match=words):
            usd.read(text(tmp_path / "a.usda", prim(), head))
    with pytest.raises(InputError, match="has no ParticleField3DGaussianSplat"):
        usd.read(text(tmp_path / "a.usda", 'def Mesh "m" {\n}'))
    strange = 'customLayerData = {\ndictionary sfumato = {\nstring up = "x"\nint antialiased = 3\n}\n}'
    assert usd.read(text(tmp_path / "a.usda", prim(), strange)).up is None


def test_what_breaks_pxr_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats.write(tmp_path / "a.usdc", crowd(3, 0))
    whole = (tmp_path / "a.usdc").read_bytes()
    (tmp_path / "a.usdc").write_bytes(whole[:-1])
    with pytest.raises(InputError, match="truncated: its table of contents"):
        formats.read(tmp_path / "a.usdc")
    table = struct.unpack("<q", whole[16:24])[0]
    (tmp_path / "a.usdc").write_bytes(whole[: table + 8] + b"\xff" * 200)
    with pytest.raises(InputError, match="damaged"):
        formats.read(tmp_path / "a.usdc")
    (tmp_path / "a.usdc").write_bytes(whole)
    monkeypatch.setattr(usd_process, "START", "import os; os.abort()")
    with pytest.raises(InputError, match="breaks off"):
        formats.read(tmp_path / "a.usdc")
    monkeypatch.setattr(usd_process, "START", "import time; time.sleep(100)")
    monkeypatch.setattr(usd_process, "LEAST_TIME", 0.2)
    with pytest.raises(InputError, match="after 0 seconds"):
        formats.read(tmp_path / "a.usdc")


def test_cut_text(tmp_path: Path) -> None:
    path = text(tmp_path / "a.usda", prim() + "# the end")
    assert usd.count(path) == 1
    path.write_text(path.read_text(encoding="utf-8").partition("opacities")[0], encoding="utf-8")
    with pytest.raises(InputError, match="truncated: its last line"):
        usd.count(path)


def test_another_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rename it to end in \.usdc or"):
        formats.read(text(tmp_path / "a.txt", prim()))


def test_without_usd_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = text(tmp_path / "a.usda", prim())
    monkeypatch.setattr(usd_process, "find_spec", lambda name: None)
    for act in (lambda: usd.read(path), lambda: formats.write(tmp_path / "b.usdc", crowd(2, 0))):
        with pytest.raises(InputError, match=r"pip install 'sfumato\[usd\]'"):
            act()
    assert not (tmp_path / "b.usdc").exists()


def test_what_is_recognized() -> None:
    zipped = b"PK\3\4" + bytes(22) + b"\x08\0\0\0default.usda"
    assert not usd.recognizes(Path("a.zip"), zipped)  # its first name is "default."
    assert usd.recognizes(Path("a.usdz"), zipped[:26] + b"\x0c\0\0\0default.usda")
    assert usd.recognizes(Path("x"), b"#usda 1.0\n")
    assert not usd.recognizes(Path("a.usda"), b"")
