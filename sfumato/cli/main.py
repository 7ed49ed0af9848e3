"""Arguments to a verb and its exit code: 0 done, 1 a bug, 2 bad input, 130 interrupted; errors are one sentence."""

import errno
import importlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sfumato
from sfumato.core.errors import SfumatoError, SfumatoWarning, lacks_gpu_memory, lacks_memory

__all__ = ["VERBS", "main"]

VERBS = {
    "train": "photos to a trained splat, scored on photos it never saw",
    "sfm": "photos to cameras and points, by structure from motion",
    "eval": "score a splat on a scene's held-out photos",
    "render": "a splat to a film or pictures",
    "view": "fly through a splat or a run in the browser",
    "export": "a splat and its viewer in one HTML file to share",
    "convert": "a splat from any format to any other",
    "edit": "move, cut, recolor and reduce a splat, step by step",
    "clean": "remove floaters from a splat, and say why",
    "merge": "several splats in one, laid upon each other by what they show",
    "segment": "cut a splat into the things that masks of its photos show",
    "lint": "what is wrong with a splat file, and what viewers do with it",
    "info": "what is in a splat file",
    "demo": "the whole way, on photographs of a scene that sfumato invents",
    "doctor": "what works on this machine, and how to repair what does not",
}
# errors of the world outside, whose own words say what to do
OUTSIDE = (
    "EACCES",
    "EDQUOT",
    "EFBIG",
    "EIO",
    "EISDIR",
    "EMFILE",
    "ENAMETOOLONG",
    "ENOSPC",
    "ENOTDIR",
    "EPERM",
    "EROFS",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default the process's own, and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the console or a pipe has no letters for is no bug
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run(words)
    except SfumatoError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:  # whoever reads our output has read enough
        sys.stderr.close()
        return 0
    except SystemExit as stop:  # the parser of flags has said what is wrong
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    except Exception as error:
        if sentence := _outside(error):
            return _say(sentence, 2)
        sys.excepthook(type(error), error, error.__traceback__)
        return _say("this is a bug in sfumato; please report it with the lines above and `sfumato doctor`", 1)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"sfumato {sfumato.__version__}")
        return 0
    verb, *rest = words
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {' '.join(VERBS)}"
        return _say(f"no verb {verb!r}; {hint}", 2)
    if "" in rest:  # it would be taken for the folder at hand
        return _say(f"{verb} was given an empty word, such as a variable that is not set; give a path", 2)
    from sfumato.cli.interrupt import terminable

    with terminable(), _plain_warnings():
        code: int = importlib.import_module(f"sfumato.cli.{verb}").main(rest)
    return code


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Inside, sfumato's own warnings are sentences like its errors; those of other packages look as always."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, SfumatoWarning):
            print(f"sfumato: {message}", file=sys.stderr)
        else:
            before(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def _help() -> str:
    lines = [f"sfumato {sfumato.__version__}: photos in, 3D Gaussian splat out", "", "usage: sfumato VERB ...", ""]
    lines += [f"  {verb:9}{purpose}" for verb, purpose in VERBS.items()]
    lines += ["", "first steps:"]
    lines += [
        "  sfumato demo                       see it work",
        "  sfumato train photos -o out        your own photos",
    ]
    lines += ["  sfumato VERB --help                what a verb can do"]
    return "\n".join(lines)


def _outside(error: Exception) -> str | None:
    """The sentence for an error that is not sfumato's fault, or None."""
    if isinstance(error, OSError) and errno.errorcode.get(error.errno or 0) in OUTSIDE:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    if lacks_gpu_memory(error):
        return (
            "there is not enough memory on the GPU; close other programs that use it, or try smaller pictures, as by"
            " --downscale 2, a smaller --max-gaussians or --gpu-memory, or --backend cpu"
        )
    if lacks_memory(error):
        return "there is not enough memory; try --downscale 2, fewer photos or a smaller --max-gaussians"
    return None


def _say(sentence: str, code: int) -> int:
    print(f"sfumato: {sentence}", file=sys.stderr, flush=True)
    return code
