"""`sfumato eval`: a splat and a dataset to scores on the held-out photos."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sfumato.cli.flags import Backend, Input, parse
from sfumato.cli.reading import Reading, ReadingFlags

__all__ = ["Eval", "main"]


@dataclass(frozen=True)
class Eval:
    """Score a splat on a scene's held-out photos: PSNR, SSIM and, with weights, LPIPS."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The splat's file."""
    input: Input
    """The dataset that it was trained on, or another with the same world axes."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="DIR")] = None
    """Folder for report.html, report.json, report.md and compare/; without it, scores are only shown."""
    reading: ReadingFlags = field(default_factory=Reading)
    lpips: Annotated[Path | None, arg(metavar="WEIGHTS")] = None
    """State dict (.pth or .safetensors) of LPIPS with AlexNet or VGG16; sfumato ships none."""
    backend: Backend = "auto"
    """What computes; auto: the GPU where one can, else the CPU. reference is slow, for checking."""
    force: bool = False
    """Replace the report that DIR holds."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Eval, words)
    from sfumato.cli.output import REPORT, check_output, clear
    from sfumato.cli.run import in_frame_of, load, prepare, score, write_page
    from sfumato.cli.splat import read_splat
    from sfumato.evaluate.lpips import Lpips
    from sfumato.kernels.backends import choose
    from sfumato.view.views import CAMERAS

    backend, device = choose(flags.backend)
    asset = read_splat(flags.splat)
    weights = Lpips.load(flags.lpips).to(device) if flags.lpips else None
    if flags.output:
        check_output(flags.output, flags.force, flags.input, (*REPORT, CAMERAS))
    scene = load(flags.input, flags.reading)
    gaussians = in_frame_of(scene, asset)
    prepare(backend)
    if flags.output:
        clear(flags.output, REPORT)
    score(gaussians.to(device), scene, flags.output, backend, weights, antialiased=asset.antialiased is True)
    if flags.output:
        write_page(flags.output, gaussians)
    return 0
