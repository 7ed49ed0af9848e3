"""Images: files and back, transparency, the area filter, rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.core.errors import InputError
from sfumato.core.image import composite, opened, planar, read_image, resize, to_uint8, write_image


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_png_round_trip_is_exact(tmp_path: Path, seed: int) -> None:
    image = noise(5, 7, 3)
    write_image(tmp_path / "new folder" / "a.png", image)
    torch.testing.assert_close(read_image(tmp_path / "new folder" / "a.png"), image)


def test_jpeg_is_near(tmp_path: Path) -> None:
    image = torch.linspace(0, 1, 64)[None, :, None].expand(48, 64, 3)
    write_image(tmp_path / "a.jpg", image)
    assert (read_image(tmp_path / "a.jpg").float() / 255 - image).abs().max() < 0.02


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*a\.xyz: no image format for \.xyz"):
        write_image(tmp_path / "a.xyz", noise(2, 2, 3))


def test_a_jpeg_is_decoded_smaller(tmp_path: Path) -> None:
    image = torch.linspace(0, 1, 64)[None, :, None].expand(48, 64, 3)
    for name, size in (("a.jpg", (12, 16)), ("a.png", (48, 64))):
        write_image(tmp_path / name, image)
        smaller = read_image(tmp_path / name, shrink=4)
        assert smaller.shape == (*size, 3)
        assert smaller[0, 0, 0] < 10
        assert smaller[0, -1, 0] > 245


def test_a_reason_that_is_said_inside_stays(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise(2, 2, 3))
    with pytest.raises(InputError, match=r"^too dark$"), opened(tmp_path / "a.png"):
        raise InputError("too dark")


def test_transparency_is_kept(tmp_path: Path, seed: int) -> None:
    pixels = noise(3, 4, 4)
    Image.fromarray(pixels.numpy()).save(tmp_path / "a.png")
    torch.testing.assert_close(read_image(tmp_path / "a.png"), pixels)
    palette = Image.fromarray(pixels[..., :3].contiguous().numpy()).quantize(4)
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png").shape == (3, 4, 4)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGB"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (6, 5), (255, 255, 255)).convert(mode).save(tmp_path / "a.tiff")
    image = read_image(tmp_path / "a.tiff")
    assert image.shape == (5, 6, 3)
    assert (image == 255).all()


def test_sixteen_bits_keep_their_grays(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 32768, dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").unique().tolist() == [128]  # 32768 / 257 = 127.5


def test_orientation_is_as_stored(tmp_path: Path) -> None:
    photo, exif = Image.new("RGB", (6, 4)), Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees"
    photo.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (4, 6, 3)


def test_bad_files_in_one_sentence(tmp_path: Path, seed: int) -> None:
    with pytest.raises(InputError, match=r"gone\.png is not there$"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    with pytest.raises(InputError, match=r"text\.png is not an image that can be read here$"):
        read_image(tmp_path / "text.png")
    write_image(tmp_path / "whole.png", noise(50, 50, 3))
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"half\.png cannot be read as an image: "):
        read_image(tmp_path / "half.png")
    with pytest.raises(InputError):
        read_image(tmp_path)


def test_composite_by_hand() -> None:
    # alpha 51 / 255 = 0.2: 0.2 * 100 + 0.8 * 255 = 224 on white, 20 on black
    pixel = torch.tensor([[[100, 100, 100, 51]]], dtype=torch.uint8)
    assert composite(pixel, (1.0, 0.0, 1.0)).tolist() == [[[224, 20, 224]]]


def test_resize_is_the_mean_of_the_footprint(seed: int) -> None:
    image = noise(8, 12, 3)
    blocks = image.float().reshape(4, 2, 4, 3, 3).mean(dim=(1, 3))
    # the filter runs along rows, rounds to whole numbers, then along columns: at most 1 off
    assert (resize(image, 4, 4).float() - blocks).abs().max() <= 1
    assert resize(image, 12, 8) is image


def test_resize_keeps_the_mean_at_odd_ratios(seed: int) -> None:
    image = noise(101, 67, 3)
    assert (resize(image, 30, 43).float().mean() - image.float().mean()).abs() < 0.5


def test_to_uint8_rounds_and_clamps() -> None:
    assert to_uint8(torch.tensor([-1.0, 0.0, 0.5, 1.0, 7.0])).tolist() == [0, 0, 128, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(to_uint8(every.float() / 255), every)


def test_planar_is_the_same_picture(seed: int) -> None:
    image = noise(4, 5, 3)
    torch.testing.assert_close(planar(image), image)
    assert planar(image).stride() == (5, 1, 20)
