"""The errors sfumato raises on purpose; whatever else escapes is a bug in sfumato."""

import unicodedata

__all__ = [
    "BackendError",
    "InputError",
    "SfumatoError",
    "SfumatoWarning",
    "ShapeError",
    "TileListError",
    "lacks_gpu_memory",
    "lacks_memory",
]

# how torch's allocator says it, on Linux and on Windows
_NO_MEMORY = ("can't allocate memory", "not enough memory")
_NO_GPU_MEMORY = "out of memory"  # as torch, Triton, CUDA and HIP say it alike


class SfumatoError(Exception):
    """Base of every error whose message is meant for the person who caused it.

    Its words are one line, whatever names and numbers from files are in it: control characters are escaped.
    """

    def __str__(self) -> str:
        return "".join(letter if _is_plain(letter) else _escaped(letter) for letter in super().__str__())


class InputError(SfumatoError, ValueError):
    """A file, folder or argument is not what was wanted; the message says what to do."""


class ShapeError(InputError):
    """A tensor has the wrong shape or type."""


class BackendError(SfumatoError, RuntimeError):
    """A backend cannot run here, or cannot do what was asked of it."""


class TileListError(SfumatoError, RuntimeError):
    """Tile lists would hold more pairs of tile and splat than allowed; nothing has been allocated for them."""

    def __init__(self, pairs: int, most: int) -> None:
        super().__init__(
            f"the picture's tile lists must hold at most {most:,} entries; these Gaussians need {pairs:,} or more:"
            " remove the largest ones, or make a smaller picture"
        )
        self.pairs = pairs  # at least so many are needed
        self.most = most


class SfumatoWarning(UserWarning):
    """Something is not as expected, but the work goes on; the message says what was done about it."""


def lacks_memory(error: BaseException) -> bool:
    """True for the error of whoever asks the system for more memory than there is."""
    words = str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(s in words for s in _NO_MEMORY))


def lacks_gpu_memory(error: BaseException) -> bool:
    """The same of a GPU's memory, whose libraries have a class for it each, or none."""
    return isinstance(error, RuntimeError) and _NO_GPU_MEMORY in str(error).lower()


def _is_plain(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of any width


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
