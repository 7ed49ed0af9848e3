"""A file that nobody vouches for, read with little memory: the sentence that it is refused with, if it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from sfumato import formats
from sfumato.core.errors import InputError

MOST = 2 << 30  # bytes that any of these small files may take
CLOUDS = (".points.ply", ".las", ".laz")


@contextmanager
def little_memory() -> Iterator[None]:
    """Inside, asking for more than MOST bytes fails; where the system can be told so."""
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MOST, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused(path: Path) -> str | None:
    """The sentence that a file is refused with; None when it is read whole. Anything else fails the test."""
    with little_memory():
        try:
            count = formats.count(path)
            read = formats.read_asset(path)
        except InputError as error:
            sentence = str(error)
            assert "\n" not in sentence
            assert path.name in sentence
            assert len(sentence) < 400
            return sentence
    assert len(read) == count or (path.name.endswith(CLOUDS) and len(read) < count)  # points that are nowhere
    return None
