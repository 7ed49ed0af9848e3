"""Videos made here, frame by frame, to photos: which frames are taken, which way up, in which colors, what is refused."""

import json
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from sfumato.capture.frame import degrees
from sfumato.capture.tonemap import BT2020, HLG, P3, PQ, srgb_table
from sfumato.capture.video import VIDEO_SUFFIXES, extract_frames, is_video
from sfumato.capture.windows import Travel, choose, frame_count, sharpness
from sfumato.core.errors import InputError, SfumatoWarning

WIDTH, HEIGHT = 320, 180
Pixels = np.ndarray


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
    pictures: Sequence[Pixels],
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
            frame = picture
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
        assert file.layer[0][1:3] == file.layer[1][1:3] == (1, 1)  # 4:4:4

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


def shown_as(picture: Pixels, turns: int, mirrored: bool) -> Pixels:
    """Turned clockwise by quarters, then mirrored left to right."""
    turned = np.rot90(picture, -turns)
    return turned[:, ::-1] if mirrored else turned


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation(tmp_path: Path, turns: int, mirrored: bool) -> None:
    """Every display matrix; ffmpeg's counts counterclockwise."""
    pictures = pan(np.arange(30) * 5)
    video = film(
        tmp_path / "turned.mp4",
        pictures,
        shown=lambda stream: stream.set_display_rotation(-90 * turns, hflip=mirrored),
    )
    notes: list[str] = []
    names = extract_frames(video, tmp_path / "f", 5, note=notes.append)
    place = round(seconds_of(tmp_path / "f")[2] * 30)
    got, expected = photo(tmp_path / "f" / names[2]), shown_as(pictures[place], turns, mirrored)
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 6
    size = f"{got.shape[1]}x{got.shape[0]}"
    if not mirrored:
        turned = f", turned by {90 * turns} degrees" if turns else ""
        assert notes == [f"5 of 30 frames chosen from 1.0 s of video ({size}{turned})"]
