"""Long calls into pycolmap, watched: how far they are is told while they run, and Ctrl-C stops them soon."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sfumato.capture.undistort import load_pycolmap
from sfumato.core.errors import InputError

__all__ = ["MORE", "PERIOD", "Tell", "watched"]

Tell = Callable[[int], None]  # how many are done
MORE = "take more photos, each sharing more than half of its view with the next, of something with texture"
PERIOD = 0.2  # seconds between two looks


def watched(work: Callable[[Any], object], count: Callable[[], int], tell: Tell) -> None:
    """Run `work` in a thread while this one tells how far it is, and cancels it on Ctrl-C.

    work: is given the token by which pycolmap learns that it shall stop. count: how much is done by now.
    pycolmap lets go of Python's lock but does not look for Ctrl-C; only Python's main thread is told of it.
    Raises InputError for what pycolmap complains of.
    """
    token = load_pycolmap().CancellationToken()
    errors: list[BaseException] = []
    ended = threading.Event()  # not Thread.join: interrupted, Python 3.10 to 3.12 takes the thread for ended

    def run() -> None:
        try:
            work(token)
        except BaseException as error:  # carried to the caller's thread
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="structure from motion")
    tell(0)
    thread.start()
    try:
        while not ended.wait(PERIOD):
            tell(count())
        tell(count())
    except BaseException:
        token.cancel()
        _wait_for(ended)
        raise
    finally:
        thread.join()
    if errors:
        raise _explained(errors[0])


def _wait_for(ended: threading.Event) -> None:
    """Until the end, whoever is impatient: were the thread left behind, the process would abort with a trace."""
    while not ended.is_set():
        with suppress(KeyboardInterrupt):
            ended.wait()


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, ValueError | RuntimeError) and not isinstance(error, InputError):
        return InputError(f"structure from motion failed: {error}; {MORE}")
    return error
