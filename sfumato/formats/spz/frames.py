"""The zstd frames of SPZ version 4, one for each block: bytes to a frame, and frames back to back to a stream."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from zstandard import ZstdDecompressionReader

__all__ = ["Frames", "packed_frame"]

# Level 12, which Niantic's library packs with, finds the short matches of quantized harmonics too, which cost more than
# they save: with matches of 6 bytes at least, trained splats become 0.5 % smaller than with it, at twice its speed.
_LEVEL, _SHORTEST, _SEARCH = 12, 6, 5


def packed_frame(block: memoryview, threads: int) -> bytes:
    """A block as one frame that says its length: the same bytes for any number of threads > 0."""
    from zstandard import ZstdCompressionParameters, ZstdCompressor

    parameters = ZstdCompressionParameters.from_level(
        _LEVEL, source_size=len(block), min_match=_SHORTEST, search_log=_SEARCH, threads=threads
    )
    return ZstdCompressor(compression_params=parameters).compress(block)


class Frames:
    """Frames that lie back to back in a file from `start` on, as a stream of all they hold."""

    def __init__(self, path: Path, file: BinaryIO, start: int, entries: Sequence[tuple[int, int]]) -> None:
        """Entries are the frames' lengths packed and unpacked, bytes, checked to be within the file."""
        self._path, self._file, self._start = path, file, start
        self._entries = list(reversed(entries))
        self._reader: ZstdDecompressionReader | None = None
        self._left = 0  # bytes that the frame must still give

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of a buffer; how many bytes, 0 at the end.

        Raises InputError when a frame is damaged, or does not unpack to its length.
        """
        from zstandard import ZstdError

        try:
            reader = self._reader
            while reader is None or not self._left:
                if not self._entries:
                    return 0
                reader = self._next_reader()
            length: int = reader.readinto(buffer[: self._left])
            self._left -= length
            if not length or (not self._left and reader.read(1)):
                raise InputError(f"{self._path} is damaged: a zstd stream must unpack to the length in its table")
        except ZstdError as error:
            raise InputError(
                f"{self._path} is damaged: its zstd stream cannot be unpacked ({error}); copy or download it again"
            ) from None
        return length

    def _next_reader(self) -> "ZstdDecompressionReader":
        from zstandard import ZstdDecompressor

        packed, self._left = self._entries.pop()
        self._file.seek(self._start)
        self._start += packed
        self._reader = ZstdDecompressor().stream_reader(self._file.read(packed), read_across_frames=True)
        return self._reader
