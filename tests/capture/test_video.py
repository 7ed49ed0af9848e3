"""Videos made here, frame by frame, to photos: which frames, which way up, in which colors, what is refused."""

import io
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from sfumato.capture.video import VIDEO_SUFFIXES, extract, extract_frames, is_video
from sfumato.capture.video.film import Film
from sfumato.capture.video.frame import rgb
from sfumato.capture.video.tonemap import BT2020, HLG, P3, PQ, srgb_table
from sfumato.capture.video.windows import Travel, choose, frame_count, sharpness
from sfumato.core import limits
from sfumato.core.errors import InputError, SfumatoWarning

WIDTH, HEIGHT = 320, 180
Pixels = np.ndarray[Any, np.dtype[Any]]


def wall(seed: int, width: int = 1200, height: int = HEIGHT) -> Pixels:
    """(height, width, 3) blots of many sizes and colors."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cell in (3, 8, 20, 50):
        coarse = random.integers(0, 256, (height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return np.asarray((total / 4).clip(0, 255)).astype(np.uint8)


def pan(offsets: Iterable[float], seed: int = 1) -> list[Pixels]:
    """What a camera sees that looks at the wall from further and further right."""
    picture = wall(seed)
    return [picture[:, round(x) : round(x) + WIDTH] for x in offsets]


def blurred(picture: Pixels, radius: float = 3) -> Pixels:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).filter(ImageFilter.GaussianBlur(radius)))


def film(
    path: Path,
    pictures: Sequence[Any],
    codec: str = "mpeg4",
    rate: int = 30,
    times: Sequence[float] | None = None,
    shown: Callable[[Any], None] | None = None,
    pixel: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode `pictures`, (H, W, 3) uint8 or frames that are ready, at `times` seconds."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options or {})
        first = pictures[0]
        stream.height, stream.width = (
            (first.shape[:2]) if isinstance(first, np.ndarray) else (first.height, first.width)
        )
        stream.pix_fmt = pixel
        stream.bit_rate = 6_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if shown:
            shown(stream)
        for number, picture in enumerate(pictures):
            frame: Any = picture
            if isinstance(picture, np.ndarray):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def record(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "frames.json").read_text(encoding="utf-8"))
    return read


def seconds_of(folder: Path) -> list[float]:
    return [frame["seconds"] for frame in record(folder)["frames"]]


def photo(path: Path) -> Pixels:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB")).astype(int)


def test_walk(tmp_path: Path) -> None:
    """Frames of a steady pan are spread evenly, overlap, look as they were, and are not made twice."""
    pictures = pan(np.arange(150) * 4)
    video = film(tmp_path / "pan.mp4", pictures)
    told: list[tuple[str, int, int]] = []
    notes: list[str] = []
    names = extract_frames(video, tmp_path / "f", None, lambda *news: told.append(news), notes.append)

    assert names == [f"frame_{i + 1:05d}.jpg" for i in range(len(names))]
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == sorted([*names, "frames.json"])
    assert 20 <= len(names) <= 45  # 596 pixels at 6 % of 320 a frame: 31
    assert notes == [f"{len(names)} of 150 frames chosen from 5.0 s of video (320x180)"]
    places = np.round(np.array(seconds_of(tmp_path / "f")) * 30).astype(int)
    assert (np.diff(places) >= 1).all()
    assert np.diff(places).max() * 4 < 0.15 * WIDTH
    for name, place in zip(names, places, strict=True):
        assert np.abs(photo(tmp_path / "f" / name) - pictures[place]).mean() < 6  # 4:2:0 and MPEG-4
    assert [told[0][0], told[-1]] == ["looking at the video", ("writing frames", len(names), len(names))]
    assert all(0 <= done <= total for _, done, total in told)
    with Image.open(tmp_path / "f" / names[0]) as file:
        layers = file.layer  # type: ignore[attr-defined]
        assert layers[0][1:3] == layers[1][1:3] == (1, 1)  # 4:4:4

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "f").iterdir()}
    again: list[str] = []
    assert (
        extract_frames(video, tmp_path / "f", None, lambda *news: pytest.fail("decoded again"), again.append) == names
    )
    assert again == notes
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "f").iterdir()} == stamps


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "mpeg4"),
        (".mov", "libx264"),
        (".mkv", "libx264"),
        (".avi", "mjpeg"),
        (".webm", "libvpx"),
        (".ts", "mpeg2video"),
    ],
)
def test_containers(tmp_path: Path, suffix: str, codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    pictures = pan(np.arange(40) * 5)
    pixel = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    video = film(tmp_path / f"pan{suffix}", pictures, codec, pixel=pixel)
    names = extract_frames(video, tmp_path / "f", 8)
    start = seconds_of(tmp_path / "f")[0]
    assert len(names) == 8
    assert start < 6  # seconds; some containers begin at one and a half
    last = photo(tmp_path / "f" / names[-1])
    assert min(np.abs(last - picture).mean() for picture in pictures[30:]) < 8
    assert capfd.readouterr() == ("", "")


def with_matrix(video: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write the display matrix of an MP4, ISO/IEC 14496-12 8.3.2: shown x = a x + c y, shown y = b x + d y."""
    data = bytearray(video.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 16384]) * 65536  # the last one has 30 bits after the point, not 16
    data[place : place + 36] = matrix.astype(">i4").tobytes()
    video.write_bytes(data)
    return video


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation(tmp_path: Path, turns: int, mirrored: bool) -> None:
    """Every display matrix: turned clockwise by quarters, then mirrored left to right."""
    pictures = pan(np.arange(30) * 5)
    a, b, c, d = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][turns]
    flip = -1 if mirrored else 1
    video = with_matrix(film(tmp_path / "turned.mp4", pictures), flip * a, b, flip * c, d)
    notes: list[str] = []
    names = extract_frames(video, tmp_path / "f", 5, note=notes.append)
    place = round(seconds_of(tmp_path / "f")[2] * 30)
    got, expected = photo(tmp_path / "f" / names[2]), np.rot90(pictures[place], -turns)[:, ::flip]
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 6
    size = f"{got.shape[1]}x{got.shape[0]}"
    if not mirrored:
        turned = f", turned by {90 * turns} degrees" if turns else ""
        assert notes == [f"5 of 30 frames chosen from 1.0 s of video ({size}{turned})"]


def test_variable_rate(tmp_path: Path) -> None:
    """Seconds are those of the frames, not their numbers; the camera moves alike from frame to frame."""
    times = np.concatenate([np.arange(45) * 0.033, 1.5 + np.arange(30) * 0.1, [4.5, 7.0]])
    video = film(tmp_path / "phone.mp4", pan(np.arange(len(times)) * 6), times=list(times))
    notes: list[str] = []
    extract_frames(video, tmp_path / "f", 20, note=notes.append)
    seconds = np.array(seconds_of(tmp_path / "f"))
    assert np.abs(seconds[:, None] - times).min(axis=1).max() < 0.002
    assert (seconds > 1.5).sum() == pytest.approx(20 * 32 / 77, abs=2)
    assert notes[0].startswith("20 of 77 frames chosen from 7.1 s")


def test_slow_motion_is_not_looked_at_frame_by_frame(tmp_path: Path) -> None:
    video = film(tmp_path / "slow.mp4", pan(np.arange(240) * 2), rate=240)
    extract_frames(video, tmp_path / "f")
    places = np.round(np.array(seconds_of(tmp_path / "f")) * 240)
    assert (places % 6 == 0).all()
    assert len(extract_frames(video, tmp_path / "g", 240)) == 240  # unless somebody asks for them


def test_sharp_frames_are_taken(tmp_path: Path) -> None:
    """Of every four frames three are blurred, as by a step."""
    pictures = pan(np.arange(160) * 4)
    mixed = [picture if place % 4 == 2 else blurred(picture, 1.5) for place, picture in enumerate(pictures)]
    extract_frames(film(tmp_path / "steps.mp4", mixed), tmp_path / "f", 25)
    places = np.round(np.array(seconds_of(tmp_path / "f")) * 30).astype(int)
    assert (places % 4 == 2).mean() == 1


def test_standing_still_gives_no_copies(tmp_path: Path, seed: int) -> None:
    """A walk, a rest with a trembling hand, a walk."""
    tremor = np.random.default_rng(seed).normal(0, 1.2, 90)
    offsets = np.concatenate([np.arange(60) * 5, 300 + tremor, 300 + np.arange(60) * 5])
    video = film(tmp_path / "rest.mp4", pan(offsets))
    names = extract_frames(video, tmp_path / "f")
    places = np.round(np.array(seconds_of(tmp_path / "f")) * 30)
    resting = (places >= 62) & (places < 148)
    assert len(names) >= 20
    assert resting.sum() <= 2


def test_fast_motion_gives_more_frames(tmp_path: Path) -> None:
    offsets = np.concatenate([np.arange(60) * 1.5, 90 + np.arange(60) * 9])
    extract_frames(film(tmp_path / "run.mp4", pan(offsets)), tmp_path / "f")
    places = np.round(np.array(seconds_of(tmp_path / "f")) * 30)
    slow, fast = (places < 60).sum(), (places >= 60).sum()
    assert fast == pytest.approx(6 * slow, rel=0.5)


def test_walking_ahead_counts(tmp_path: Path) -> None:
    """Everything moves outwards, so that on the whole nothing moves."""
    far = Image.fromarray(wall(3, 640, 360))
    sizes = 1 - 0.4 * np.arange(60) / 60
    pictures = []
    for size in sizes:
        x, y = 320 - 320 * size, 180 - 180 * size
        crop = far.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=(x, y, 640 - x, 360 - y))
        pictures.append(np.asarray(crop))
    names = extract_frames(film(tmp_path / "ahead.mp4", pictures), tmp_path / "f")
    assert len(names) >= 12
    assert np.diff(seconds_of(tmp_path / "f")).max() < 0.4


def test_a_cut_is_passed(tmp_path: Path) -> None:
    video = film(tmp_path / "cut.mp4", [*pan(np.arange(40) * 5), *pan(np.arange(40) * 5, seed=9)])
    extract_frames(video, tmp_path / "f")
    seconds = np.array(seconds_of(tmp_path / "f"))
    assert (seconds < 1.3).sum() == pytest.approx((seconds > 1.3).sum(), abs=3)


@pytest.mark.parametrize("count", [3, 17, 59, 60])
def test_as_many_as_asked(tmp_path: Path, count: int) -> None:
    offsets = np.maximum(np.arange(60) - 15, 0) * 6  # stands still at first: windows of no width
    video = film(tmp_path / "pan.mp4", pan(offsets))
    names = extract_frames(video, tmp_path / "f", count)
    seconds = seconds_of(tmp_path / "f")
    assert len(names) == count == len(set(seconds))
    assert seconds == sorted(seconds)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    def anamorphic(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    video = film(tmp_path / "wide.mkv", pan(np.arange(30) * 5), shown=anamorphic)
    names = extract_frames(video, tmp_path / "f", 4)
    assert photo(tmp_path / "f" / names[0]).shape == (HEIGHT, 427, 3)


KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}  # of the matrices of BT.709, 601, 2020


def encode(picture: Pixels, matrix: int, full: bool, bits: int) -> av.VideoFrame:
    """R'G'B' to Y'CbCr by the formula of the standards, 4:4:4, so that nothing is lost but a rounding."""
    kr, kb = KR_KB[matrix]
    r, g, b = np.moveaxis(picture / 255.0, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    chroma = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    unit, top = 2 ** (bits - 8), 2**bits - 1
    luma = y * top if full else (16 + 219 * y) * unit
    others = [c * top + 128 * unit if full else (128 + 224 * c) * unit for c in chroma]
    planes = np.stack([luma, *others]).round().clip(0, top).astype(np.uint8 if bits == 8 else np.uint16)
    if bits == 8:
        frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
    else:
        frame = av.VideoFrame(WIDTH, HEIGHT, f"yuv444p{bits}le")
        for plane, values in zip(frame.planes, planes, strict=True):
            padded = np.zeros((HEIGHT, plane.line_size // 2), dtype="<u2")
            padded[:, :WIDTH] = values
            plane.update(padded.tobytes())
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def tagged(matrix: int, full: bool, transfer: int = 2, primaries: int = 2) -> Callable[[Any], None]:
    def tag(stream: Any) -> None:
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 2 if full else 1
        context.color_trc, context.color_primaries = transfer, primaries

    return tag


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_colors(tmp_path: Path, matrix: int, full: bool, bits: int) -> None:
    """Lossless video of every matrix and range gives the colors that went in."""
    pictures = pan(np.arange(12) * 8)
    frames = [encode(picture, matrix, full, bits) for picture in pictures]
    pixel = "yuv444p" if bits == 8 else "yuv444p10le"
    video = film(tmp_path / "color.mkv", frames, "ffv1", pixel=pixel, shown=tagged(matrix, full))
    names = extract_frames(video, tmp_path / "f", 3)
    place = round(seconds_of(tmp_path / "f")[1] * 30)
    error = photo(tmp_path / "f" / names[1]) - pictures[place].astype(int)
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.6
    assert np.abs(error).mean() < 2.5  # JPEG


@pytest.mark.parametrize(("transfer", "gray", "white"), [(HLG, 0.38, 0.75), (PQ, 0.38, 0.58)])
def test_hdr(tmp_path: Path, transfer: int, gray: float, white: float) -> None:
    """The gray card and the white page of HDR video, as BT.2408 gives them, become those of a photo."""
    ramp = np.linspace(0, 1, 1001)
    table = srgb_table(transfer, BT2020)
    assert table is not None
    strip = Image.fromarray(np.repeat(np.rint(ramp * 255).astype(np.uint8)[None, :, None], 3, axis=2)).filter(table)
    shown = np.asarray(strip)[0].astype(int)
    assert np.ptp(shown, axis=1).max() <= 2  # gray stays gray
    assert (np.diff(shown[:, 0]) >= 0).all()
    assert shown[0, 0] == 0
    assert shown[round(gray * 1000), 0] == pytest.approx(100, abs=4)  # 26 cd/m2 of 203: 0.128 of white
    assert shown[round(white * 1000), 0] == pytest.approx(237, abs=3)  # 0.85 of white: highlights need the rest
    assert 240 < shown[-1, 0] <= 255

    pictures = pan(np.arange(12) * 8)
    frames = [encode(picture, 9, False, 10) for picture in pictures]
    video = film(tmp_path / "hdr.mkv", frames, "ffv1", pixel="yuv444p10le", shown=tagged(9, False, transfer, BT2020))
    names = extract_frames(video, tmp_path / "f", 3)
    place = round(seconds_of(tmp_path / "f")[1] * 30)
    expected = np.asarray(Image.fromarray(pictures[place]).filter(table)).astype(int)
    assert np.abs(photo(tmp_path / "f" / names[1]) - expected).mean() < 4


def test_wide_colors() -> None:
    """Display P3: white stays white, its red is redder than sRGB can be; sRGB's own red is (0.918, 0.2, 0.139)."""
    table = srgb_table(2, P3)
    assert table is not None
    colors = np.array([[[255, 255, 255], [255, 0, 0], [234, 51, 35], [128, 128, 128]]], dtype=np.uint8)
    shown = np.asarray(Image.fromarray(colors).filter(table)).astype(int)[0]
    assert np.abs(shown - [[255, 255, 255], [255, 0, 0], [255, 0, 0], [128, 128, 128]]).max() <= 8
    assert srgb_table(1, 1) is None


def refused(video: Path, folder: Path, frames: int | None = None) -> str:
    with pytest.raises(InputError) as caught:
        extract_frames(video, folder, frames)
    assert not folder.exists()
    assert list(folder.parent.glob(".*.part")) == []
    message = str(caught.value)
    assert "\n" not in message
    assert video.name in message or "frames must be" in message
    return message


def test_no_video(tmp_path: Path) -> None:
    text, empty, target = tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "f"
    text.write_text("this is not a video " * 200, encoding="utf-8")
    empty.write_bytes(b"")
    assert "cannot be opened as a video" in refused(text, target)
    assert "cannot be opened as a video" in refused(empty, target)
    assert "is not there" in refused(tmp_path / "none.mp4", target)
    assert "is not a file" in refused(tmp_path, target)


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert "holds sound only" in refused(path, tmp_path / "f")


def test_record_with_a_cover(tmp_path: Path) -> None:
    """The picture on a record's sleeve is no video."""
    cover = io.BytesIO()
    Image.fromarray(wall(1)).save(cover, "JPEG")
    picture = b"\0image/jpeg\0\x03\0" + cover.getvalue()
    apic = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = bytes((len(apic) >> shift) & 127 for shift in (21, 14, 7, 0))  # ID3 leaves the highest bit of a byte free
    sound = io.BytesIO()
    with av.open(sound, "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), dtype=np.int16), format="s16p", layout="mono")
        frame.rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    path = tmp_path / "record.mp4"
    path.write_bytes(b"ID3\x03\0\0" + size + apic + sound.getvalue())
    with av.open(str(path)) as file:
        assert len(file.streams.video) == 1
    assert "holds sound only" in refused(path, tmp_path / "f")


def test_too_little(tmp_path: Path) -> None:
    one, five = film(tmp_path / "one.mp4", pan([0])), film(tmp_path / "five.mp4", pan(np.arange(5) * 9))
    assert "has 1 frames" in refused(one, tmp_path / "f")
    assert "at most 5" in refused(five, tmp_path / "f", 6)
    assert "at least 3; got 2" in refused(five, tmp_path / "f", 2)


def test_camera_that_stands_still(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    noisy = [(p + random.normal(0, 6, p.shape)).clip(0, 255).astype(np.uint8) for p in pan([40] * 40)]
    blank = [np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)] * 40
    for name, pictures in (("tripod", noisy), ("cap", blank)):
        assert "stands still" in refused(film(tmp_path / f"{name}.mp4", pictures), tmp_path / "f")


@pytest.mark.parametrize(("suffix", "options"), [(".mkv", {}), (".mp4", {"movflags": "faststart"})])
def test_video_that_breaks_off(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    whole = film(tmp_path / f"whole{suffix}", pan(np.arange(120) * 5), container=options)
    data = whole.read_bytes()
    video = tmp_path / f"half{suffix}"
    video.write_bytes(data[: len(data) // 2])
    with pytest.warns(SfumatoWarning, match=r"breaks off.*: the first [12]\.\d of 4\.0 s") as caught:
        names = extract_frames(video, tmp_path / "f")
    assert len(names) >= 10
    again = [str(warning.message) for warning in caught]
    with pytest.warns(SfumatoWarning) as caught:
        assert extract_frames(video, tmp_path / "f") == names
    assert [str(warning.message) for warning in caught] == again


def test_video_without_its_index(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", pan(np.arange(60) * 5)).read_bytes()
    video = tmp_path / "half.mp4"
    video.write_bytes(whole[: len(whole) // 2])
    assert "broke off" in refused(video, tmp_path / "f")


def test_every_truncation_is_an_error_or_used(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mkv", pan(np.arange(40) * 5)).read_bytes()
    used = 0
    for part in range(20):
        video, folder = tmp_path / f"{part}.mkv", tmp_path / f"{part}"
        video.write_bytes(whole[: len(whole) * part // 20])
        with warnings.catch_warnings(), suppress(InputError):
            warnings.simplefilter("ignore", SfumatoWarning)
            names = extract_frames(video, folder)
            assert all(photo(folder / name).shape == (HEIGHT, WIDTH, 3) for name in names)
            used += 1
    assert used >= 10


def test_damage_in_the_middle(tmp_path: Path, seed: int) -> None:
    whole = bytearray(
        film(tmp_path / "whole.mp4", pan(np.arange(120) * 5), container={"movflags": "faststart"}).read_bytes()
    )
    start = len(whole) // 2
    whole[start : start + 3000] = np.random.default_rng(seed).bytes(3000)
    video = tmp_path / "damaged.mp4"
    video.write_bytes(whole)
    with pytest.warns(SfumatoWarning, match="damaged pieces of .* passed over: [1-9]"):
        names = extract_frames(video, tmp_path / "f")
    assert len(names) >= 20
    assert seconds_of(tmp_path / "f")[-1] > 3.7


@pytest.mark.parametrize(("stage", "at"), [("looking at the video", 20), ("writing frames", 3)])
def test_interruption_leaves_nothing(tmp_path: Path, stage: str, at: int) -> None:
    video = film(tmp_path / "pan.mp4", pan(np.arange(60) * 5))

    def stop(name: str, done: int, total: int) -> None:
        if (name, done) == (stage, at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_frames(video, tmp_path / "f", None, stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pan.mp4"]
    assert len(extract_frames(video, tmp_path / "f")) >= 15


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    video = film(tmp_path / "pan.mp4", pan(np.arange(40) * 5))
    yesterday = time.time() - 25 * 3600
    kept = {".other.0123abcd.part", ".f2.0123abcd.part", ".f.a b.part", ".f.ffffffff.part"}
    for name in {".f.0123abcd.part", *kept}:
        (tmp_path / name).mkdir()
        (tmp_path / name / "frame_00001.jpg").touch()
        if name != ".f.ffffffff.part":  # of a run that may be alive
            os.utime(tmp_path / name, (yesterday, yesterday))
    extract_frames(video, tmp_path / "f")
    assert {path.name for path in tmp_path.iterdir()} == {"pan.mp4", "f", *kept}


@pytest.mark.parametrize(("frames_that_fit", "at_once"), [(2, 1), (4, 2), (100, 4)])
def test_no_more_frames_are_held_than_memory_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames_that_fit: int, at_once: int
) -> None:
    video = film(tmp_path / "pan.mp4", pan(np.arange(40) * 5))
    with Image.open(tmp_path / "g" / extract_frames(video, tmp_path / "g")[0]) as one:
        pixels = one.width * one.height
    held: list[int] = []
    most, save = 0, extract._save

    def take(*words: Any) -> Pixels:
        nonlocal most
        held.append(1)
        most = max(most, len(held))
        return rgb(*words)

    def slowly(*words: Any) -> tuple[int, int]:
        time.sleep(0.02)
        held.pop()
        return save(*words)

    monkeypatch.setattr(extract, "rgb", take)
    monkeypatch.setattr(extract, "_save", slowly)
    monkeypatch.setattr(limits, "usable_cores", lambda: 4)
    monkeypatch.setattr(limits, "available_memory", lambda: frames_that_fit * extract.BYTES * pixels)
    assert extract_frames(video, tmp_path / "f")
    assert at_once < most <= 2 * at_once + 1  # half of them wait


@pytest.mark.parametrize(("memory", "threads"), [(1, 1), (1 << 40, 12)])
def test_decoders_of_large_videos_have_fewer_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, threads: int
) -> None:
    video = film(tmp_path / "pan.mp4", pan(np.arange(4) * 5))
    monkeypatch.setattr(limits, "usable_cores", lambda: 12)
    monkeypatch.setattr(limits, "available_memory", lambda: memory)
    opened = av.open(str(video))
    with opened:
        Film(video)._stream(opened)
        assert opened.streams.video[0].codec_context.thread_count == threads


def test_frames_of_a_run_that_was_faster_stay(tmp_path: Path) -> None:
    video, target = film(tmp_path / "a.mp4", pan(np.arange(40) * 5)), tmp_path / "f"
    before: dict[str, int] = {}

    def meanwhile(stage: str, done: int, total: int) -> None:
        if stage == "writing frames" and not before:
            before["of the other"] = 0
            extract_frames(video, target)
            before.update({path.name: path.stat().st_ino for path in target.iterdir()})

    names = extract_frames(video, target, None, meanwhile)
    del before["of the other"]
    assert {path.name: path.stat().st_ino for path in target.iterdir()} == before
    assert set(names) == set(before) - {"frames.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "f"]


def test_frames_of_something_else_are_made_again(tmp_path: Path) -> None:
    target = tmp_path / "f"
    first = film(tmp_path / "a.mp4", pan(np.arange(40) * 5))
    names = extract_frames(first, target)
    (target / names[1]).unlink()
    assert extract_frames(first, target) == names  # one was lost
    assert (target / names[1]).is_file()
    assert len(extract_frames(first, target, 7)) == 7
    assert len(list(target.glob("*.jpg"))) == 7
    (target / "frames.json").write_text("[]", encoding="utf-8")
    assert len(extract_frames(first, target, 7)) == 7
    other = tmp_path / "photos"
    other.mkdir()
    (other / "mine.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="holds files that were not made here"):
        extract_frames(first, other)
    assert (other / "mine.jpg").read_bytes() == b"precious"


def test_videos_by_name() -> None:
    assert all(is_video(Path(f"clip{suffix.upper()}")) for suffix in VIDEO_SUFFIXES)
    assert not any(is_video(Path(name)) for name in ("a.jpg", "mp4", "a.mp4.zip", "video"))


def test_choice_by_hand() -> None:
    travel = np.array([0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.4])
    sharp = np.array([1, 1, 9, 1, 1, 1, 5, 1.0])
    assert choose(travel, sharp, 2) == [2, 6]
    assert choose(travel, sharp, 8) == list(range(8))
    assert frame_count(6.0, 20) == 100
    assert frame_count(1000.0, 20) == 300
    assert frame_count(0.5, 20) == 20
    assert frame_count(0.1, 20) == 5  # closer together they would be copies


def test_sharpness_by_hand() -> None:
    dot = np.zeros((5, 5), dtype=np.uint8)
    dot[2, 2] = 10
    assert sharpness(dot) == pytest.approx((40**2 + 4 * 10**2) / 9)


@pytest.mark.parametrize("shift", [(0, 5), (7, 0), (-6, 4)])
def test_travel_of_a_shift(shift: tuple[int, int]) -> None:
    picture = wall(5, 500, 400)[..., 1].astype(np.float32)
    travel = Travel()
    assert travel.add(picture[50:230, 50:370]) == 0
    y, x = 50 + shift[0], 50 + shift[1]
    assert travel.add(picture[y : y + 180, x : x + 320]) == pytest.approx(np.hypot(*shift) / 320)
