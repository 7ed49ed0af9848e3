"""A video file to its pictures, past its damaged parts."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfumato.capture.video.frame import Matrix
from sfumato.core.errors import InputError
from sfumato.core.limits import threads_for

__all__ = ["Film", "errors_of_av"]

_BYTES = 6  # a pixel that is decoded ahead by each thread: 10 bits in two bytes, three of them with full color
_COVER = 0x400  # of a stream's disposition: the picture on the sleeve of a record


class Film:
    """A video that can be decoded from the beginning more than once, past its damaged parts."""

    def __init__(self, video: Path) -> None:
        self.video = video
        self.damaged = 0  # packets and pictures
        self.broken: str | None = None  # why reading stopped before the end
        self.promised: float | None = None  # seconds that the pictures shall last
        self.expected = 0  # pictures; 0: not said
        self.rate = 30.0
        self.aspect = 1.0  # width of a pixel over its height
        self.tag: str | None = None  # degrees clockwise, in older files
        self.matrix: Matrix = (1, 0, 0, 1)

    def pictures(self) -> Iterator[tuple[int, float, Any]]:
        """(place, seconds, frame) of each picture; places count all that are decoded, so they are always the same."""
        import av

        try:
            container = av.open(str(self.video.resolve()))
        except errors_of_av() as error:
            raise InputError(
                f"{self.video} cannot be opened as a video ({_reason(error)}); "
                "if recording or copying it broke off, copy it again or repair it with the program that made it"
            ) from None
        with container:
            stream = self._stream(container)
            self.damaged, self.broken, place = 0, None, 0
            for packet in self._packets(container, stream):
                try:
                    decoded = packet.decode()
                except errors_of_av():
                    self.damaged += 1
                    continue
                for frame in decoded:
                    seconds = place / self.rate if frame.time is None else float(frame.time)
                    yield place, seconds, frame
                    place += 1

    def _stream(self, container: Any) -> Any:
        """The stream of pictures, with what the file says about it noted."""
        stream = container.streams.best("video")
        disposition = getattr(stream, "disposition", None)  # older PyAV does not tell
        if stream is None or getattr(disposition, "value", 0) & _COVER:
            kind = "holds sound only" if container.streams.audio else "holds no pictures"
            raise InputError(f"{self.video} {kind}; give a video")
        stream.thread_type = "AUTO"
        codec = stream.codec_context
        codec.thread_count = threads_for(_BYTES * (codec.width or 0) * (codec.height or 0), 16)
        with suppress(TypeError, ZeroDivisionError):
            self.rate = float(stream.average_rate or stream.guessed_rate) or 30.0
        if stream.duration and stream.time_base:
            self.promised = float(stream.duration * stream.time_base)
        elif container.duration:
            self.promised = container.duration / 1e6
        self.expected = stream.frames or round((self.promised or 0) * self.rate)
        self.tag = stream.metadata.get("rotate")
        self.aspect = float(stream.sample_aspect_ratio or 1)
        return stream

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """Packets until the end, or until the file cannot be read any further."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except errors_of_av() as error:
                self.broken = _reason(error)
                return
            yield packet


def errors_of_av() -> tuple[type[Exception], ...]:
    """What PyAV raises when data is not as it should be."""
    import av

    return av.FFmpegError, OSError, ValueError


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n")[0]
