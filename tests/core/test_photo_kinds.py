"""Photos of every kind: 16 bits, color profiles, linear light, photos of phones; and what is said without a reader."""

import io
import random
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, features

from sfumato.core.errors import InputError
from sfumato.core.image import image_header, read_image
from sfumato.core.linear import encode
from sfumato.core.profile import to_srgb


def png16(path: Path, pixels: np.ndarray) -> None:
    """(H, W, 1 to 4) uint16 as PNG, written here: Pillow has no such mode."""
    height, width, colors = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[colors], 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def tiff(path: Path, pixels: np.ndarray, sample_format: int) -> None:
    """(H, W, C) as one strip; sample_format 1: whole numbers, 3: floats."""
    height, width, colors = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    bits = 8 * pixels.dtype.itemsize
    entries = 10
    after = 8 + 2 + 12 * entries + 4
    extra = struct.pack(f"<{colors}H", *[bits] * colors) + struct.pack(f"<{colors}H", *[sample_format] * colors)

    def short(tag: int, values: list[int], place: int) -> bytes:
        packed = struct.pack(f"<{len(values)}H", *values)
        value = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", place)
        return struct.pack("<HHI", tag, 3, len(values)) + value

    def number(tag: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, 4, 1, value)

    directory = number(256, width) + number(257, height) + short(258, [bits] * colors, after) + short(259, [1], 0)
    directory += short(262, [2 if colors > 2 else 1], 0) + number(273, after + len(extra)) + short(277, [colors], 0)
    directory += number(278, height) + number(279, len(data))
    directory += short(339, [sample_format] * colors, after + 2 * colors)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(4) + extra + data)


class TestSixteenBits:
    @pytest.mark.parametrize("colors", [1, 2, 3, 4])
    def test_png(self, tmp_path: Path, colors: int, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 65536, (5, 7, colors), dtype=np.uint16)
        png16(tmp_path / "a.png", pixels)
        image = read_image(tmp_path / "a.png").numpy().astype(float)
        assert image.shape == (5, 7, 3 if colors in (1, 3) else 4)
        assert np.abs(image[..., -1] - pixels[..., -1] / 257).max() <= 1
        assert np.abs(image[..., 0] - pixels[..., 0] / 257).max() <= 1  # Pillow takes the upper half of each number

    @pytest.mark.parametrize("colors", [1, 3])
    def test_tiff(self, tmp_path: Path, colors: int, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 65536, (5, 7, colors), dtype=np.uint16)
        tiff(tmp_path / "a.tif", pixels, 1)
        image = read_image(tmp_path / "a.tif").numpy().astype(float)
        assert image.shape == (5, 7, 3)
        assert np.abs(image - pixels / 257).max() <= 1


# colorants of Display P3, adapted to D50, as in the profiles of phones
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
BT709 = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def profile(colorants: tuple[tuple[float, ...], ...], gamma: float = 2.2) -> bytes:
    """An ICC profile, version 2, of a display with those primaries and one gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, int(gamma * 256)) + bytes(2)
    tags = {
        name: b"XYZ " + bytes(4) + fixed(*xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
    }
    tags |= {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    tags |= {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79), b"cprt": b"text" + bytes(8)}
    first = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", first + len(body), len(data))
        body += data
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return header + fixed(0.9642, 1, 0.8249) + bytes(48) + table + body


def srgb_of_p3(pixels: np.ndarray) -> np.ndarray:
    """By the definitions, in float64."""
    light = (pixels / 255) ** (563 / 256)  # gamma as stored: a number of 256ths
    light = light @ np.array(P3) @ np.linalg.inv(np.array(BT709))
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


class TestProfiles:
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
    def test_p3_becomes_srgb(self, tmp_path: Path, suffix: str, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", icc_profile=profile(P3), lossless=True)
        image = read_image(tmp_path / f"a.{suffix}").numpy()
        assert np.abs(image - srgb_of_p3(pixels)).max() <= 3
        assert np.abs(image.astype(int) - pixels).max() > 20

    def test_alpha_stays(self, tmp_path: Path, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile(P3))
        image = read_image(tmp_path / "a.png").numpy()
        np.testing.assert_array_equal(image[..., 3], pixels[..., 3])
        assert np.abs(image[..., :3] - srgb_of_p3(pixels[..., :3])).max() <= 3

    def test_srgb_is_left_alone(self, tmp_path: Path, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=srgb)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), pixels)

    def test_what_cannot_be_used_is_passed_over(self, tmp_path: Path, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        whole = profile(P3)
        for bad in (b"no profile", b"", lab, whole[:200], whole[:128] + b"\xff" * (len(whole) - 128)):
            Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=bad)
            np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), pixels)
        Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png", icc_profile=whole)  # a gray photo, a color profile
        np.testing.assert_array_equal(read_image(tmp_path / "gray.png").numpy(), pixels[..., :1].repeat(3, 2))

    def test_palettes(self, tmp_path: Path) -> None:
        picture = Image.new("RGB", (4, 4), (200, 100, 50)).quantize(4)
        picture.save(tmp_path / "a.png", icc_profile=profile(P3))
        wanted = srgb_of_p3(np.array([200, 100, 50]))
        assert np.abs(read_image(tmp_path / "a.png").numpy() - wanted).max() <= 3


class TestLinearLight:
    def test_encoding_by_hand(self) -> None:
        light = np.array([[[0.0, 0.002, 0.2140], [1.0, 7.0, -1.0], [np.nan, np.inf, -np.inf]]])
        # 12.92 * 0.002 * 255 = 6.6; 1.055 * 0.2140^(1/2.4) - 0.055 = 0.5: 127.5
        assert encode(light).tolist() == [[[0, 7, 127], [255, 255, 0], [0, 255, 0]]]

    def test_gray_tiff_of_floats(self, tmp_path: Path) -> None:
        tiff(tmp_path / "a.tif", np.array([[[0.0], [0.5], [1.0], [3.0]]], dtype=np.float32), 3)
        assert read_image(tmp_path / "a.tif")[0].tolist() == [[0] * 3, [188] * 3, [255] * 3, [255] * 3]
        assert image_header(tmp_path / "a.tif") == (4, 1, False)

    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_tiff_of_floats(self, tmp_path: Path, kind: type, seed: int) -> None:
        pytest.importorskip("tifffile", reason="TIFF OF FLOATS NOT TESTED: no tifffile")
        light = np.random.default_rng(seed).random((5, 7, 3)).astype(kind)
        tiff(tmp_path / "a.tif", light, 3)
        assert image_header(tmp_path / "a.tif") == (7, 5, False)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").numpy(), encode(light))
        (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:160])
        with pytest.raises(InputError, match=r"b\.tif "):
            read_image(tmp_path / "b.tif")

    @pytest.mark.parametrize("names", ["RGB", ("L.R", "L.G", "L.B", "Z"), "Y"])
    def test_exr(self, tmp_path: Path, names: tuple[str, ...], seed: int) -> None:
        exr = pytest.importorskip("OpenEXR", reason="EXR NOT TESTED: no OpenEXR")
        light = np.random.default_rng(seed).random((len(names), 5, 7)).astype(np.float16)
        header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
        exr.File(header, dict(zip(names, light, strict=True))).write(str(tmp_path / "a.exr"))
        colors = light[[0, 0, 0]] if names == "Y" else light[:3]
        assert image_header(tmp_path / "a.exr") == (7, 5, False)
        np.testing.assert_array_equal(read_image(tmp_path / "a.exr").numpy(), encode(np.moveaxis(colors, 0, -1)))

    def test_exr_with_alpha(self, tmp_path: Path) -> None:
        """Its colors are multiplied by alpha; ours are not."""
        exr = pytest.importorskip("OpenEXR", reason="EXR NOT TESTED: no OpenEXR")
        values = {"R": 0.25, "G": 0.5, "B": 0.0, "A": 0.5}
        header = {"compression": exr.NO_COMPRESSION, "type": exr.scanlineimage}
        pixels = {name: np.full((2, 3), value, dtype=np.float32) for name, value in values.items()}
        exr.File(header, pixels).write(str(tmp_path / "a.exr"))
        assert image_header(tmp_path / "a.exr") == (3, 2, True)
        assert read_image(tmp_path / "a.exr")[0, 0].tolist() == [188, 255, 0, 128]

    def test_damaged_exr(self, tmp_path: Path) -> None:
        pytest.importorskip("OpenEXR", reason="EXR NOT TESTED: no OpenEXR")
        for data in (b"text", b"", b"v/1\x01\x02\0\0\0nothing else"):
            (tmp_path / "a.exr").write_bytes(data)
            with pytest.raises(InputError, match=r"a\.exr (is not an image|cannot be read)"):
                read_image(tmp_path / "a.exr")
        with pytest.raises(InputError, match="is not there"):
            read_image(tmp_path / "b.exr")


class TestPhones:
    def smooth(self) -> np.ndarray:
        v, u = np.mgrid[0:64, 0:96]
        return np.stack([u * 2, v * 3, 0 * u + 90], axis=-1).astype(np.uint8)

    @pytest.mark.parametrize("suffix", ["heic", "heif", "HIF"])
    def test_heif(self, tmp_path: Path, suffix: str) -> None:
        heif = pytest.importorskip("pillow_heif", reason="HEIF NOT TESTED: no pillow-heif")
        data = io.BytesIO()
        heif.from_pillow(Image.fromarray(self.smooth())).save(data, quality=95)
        (tmp_path / f"a.{suffix}").write_bytes(data.getvalue())
        assert image_header(tmp_path / f"a.{suffix}") == (96, 64, False)
        image = read_image(tmp_path / f"a.{suffix}").numpy()
        assert np.abs(image.astype(int) - self.smooth()).mean() < 3
        (tmp_path / "bad.heic").write_bytes(data.getvalue()[:300])
        with pytest.raises(InputError, match=r"bad\.heic (cannot be read|is not an image)"):
            read_image(tmp_path / "bad.heic")

    def test_avif(self, tmp_path: Path) -> None:
        if not features.check("avif"):
            pytest.skip("AVIF NOT TESTED: this Pillow cannot")
        Image.fromarray(self.smooth()).save(tmp_path / "a.avif", quality=95)
        assert np.abs(read_image(tmp_path / "a.avif").numpy().astype(int) - self.smooth()).mean() < 3


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("a.heic", "pillow_heif", "heic"), ("a.exr", "OpenEXR", "hdr"), ("a.tif", "tifffile", "hdr")],
)
def test_a_missing_reader_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    if name == "a.tif":
        tiff(tmp_path / name, np.zeros((2, 2, 3), np.float32), 3)
    else:
        (tmp_path / name).write_bytes(b"whatever")
    for read in (read_image, image_header):
        with pytest.raises(InputError, match=rf"{name} is .* reader.*pip install 'sfumato\[{extra}\]', or convert it"):
            read(tmp_path / name)


def test_photos_of_108_megapixels_are_photos(tmp_path: Path) -> None:
    Image.new("1", (12000, 9000)).save(tmp_path / "a.png")
    assert image_header(tmp_path / "a.png") == (12000, 9000, False)


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "LA", "RGBA", "1"])
def test_every_mode_of_a_jpeg_or_png(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode in ("CMYK",) else "png"
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.dtype == torch.uint8
    assert (image == 255).all()


def samples(folder: Path) -> list[Path]:
    """A small photo in every format that can be written here."""
    v, u = np.mgrid[0:48, 0:64]
    pixels = np.stack([u * 3, v * 4, (u * v) % 256], axis=-1).astype(np.uint8)
    photo, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x010F] = "Maker"
    photo.save(folder / "a.jpg", exif=exif, icc_profile=profile(P3))
    photo.save(folder / "a.png", icc_profile=profile(P3))
    photo.convert("CMYK").save(folder / "c.jpg")
    photo.quantize(8).save(folder / "p.png", transparency=1)
    photo.save(folder / "a.webp")
    photo.save(folder / "a.tif", compression="tiff_lzw", icc_profile=profile(P3))
    tiff(folder / "f.tif", pixels[..., :1].astype(np.float32) / 255, 3)
    png16(folder / "s.png", pixels.astype(np.uint16) * 257)
    if features.check("avif"):
        photo.save(folder / "a.avif")
    if "pillow_heif" in sys.modules:
        data = io.BytesIO()
        sys.modules["pillow_heif"].from_pillow(photo).save(data, quality=80)
        (folder / "a.heic").write_bytes(data.getvalue())
    return sorted(folder.iterdir())


@pytest.mark.filterwarnings("ignore")  # Pillow's, of odd tags
def test_damaged_files_are_pictures_or_one_sentence(tmp_path: Path, seed: int) -> None:
    for path in samples(tmp_path):
        whole = path.read_bytes()
        for _ in range(40):
            data = bytearray(whole)
            if random.random() < 0.3:
                data = data[: random.randrange(len(data))]
            for _ in range(random.randrange(6) if data else 0):
                data[random.randrange(min(len(data), random.choice((300, len(data)))))] = random.randrange(256)
            path.write_bytes(data)
            for read in (read_image, image_header):
                said = ""
                try:
                    read(path)
                except InputError as error:
                    said = str(error)
                assert not said or (str(path) in said and "\n" not in said)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_what_is_srgb_is_not_copied(mode: str) -> None:
    """A copy of each photo that is being decoded is memory that nobody plans for."""
    picture = Image.new(mode, (4, 3))
    assert to_srgb(picture) is picture
