"""`sfumato clean`: a splat to the same splat without floaters, and a table of what goes and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from sfumato.cli.flags import Backend, parse
from sfumato.cli.reading import Reading, ReadingFlags
from sfumato.cli.writing import Writing, WritingFlags, write_splat
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.core.asset import Asset
    from sfumato.core.gaussians import Gaussians
    from sfumato.core.scene import Scene
    from sfumato.edit.clean import Criteria, Findings
    from sfumato.edit.visibility import Visibility
    from sfumato.evaluate import Evaluation

__all__ = ["Clean", "Limits", "main"]

_Number = Annotated[float, arg(metavar="X")]


@dataclass(frozen=True)
class Limits:
    """What is too much; 0 looks for no such thing."""

    # the fields of edit.clean.Criteria once more, since importing that takes torch, and a second

    faint: _Number = 0.008
    """Opacity below X."""
    giant: _Number = 1.0
    """Standard deviation above X radii of the scene, which hold 90 % of the opacity."""
    needle: _Number = 30.0
    """Longer than X times its width, where it is as long as --length says."""
    length: _Number = 0.5
    """Of a needle: standard deviation above X radii of the scene; shorter ones draw edges."""
    isolated: _Number = 10.0
    """Neighbours farther away than X times its own standard deviation."""
    unseen: _Number = 5e-4
    """With --scene: those seen least, which together make no more than this share of the pictures."""
    spoils: _Number = 0.1
    """With --scene: what it adds to the training photos' error, squared color, above X: they say it is not there."""
    few: _Number = 0.1
    """With --scene: share of the cameras that are few; of six, two always are."""
    near: _Number = 0.5
    """Seen by few cameras, and nearer than X times the median depth that they look at."""
    lonely: _Number = 3.0
    """Seen by few cameras, and isolated by X."""
    spike: _Number = 30.0
    """Seen by few cameras, and longer than X times its width."""

    def criteria(self) -> "Criteria":
        """The same, as `inspect` takes them. Raises InputError."""
        from sfumato.edit.clean import Criteria

        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise InputError(f"--{name} must be a number from 0 on; got {value:g}")
        off = {name: None for name, value in asdict(self).items() if value == 0 and name not in ("length", "few")}
        return Criteria(**{**asdict(self), **off})


@dataclass(frozen=True)
class Clean:
    """Remove floaters from a splat, and say why; with --scene, far more are found."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The splat's file."""
    output: Annotated[
        Path | None, arg(aliases=["-o"], metavar="OUT", help_behavior_hint="(required, unless --dry-run)")
    ] = None
    """The file to write; its suffix names the format."""
    scene: Annotated[Path | None, arg(metavar="INPUT")] = None
    """The dataset that it was trained on: its training cameras look, its held-out photos say what it costs."""
    preview: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write what is removed as a splat of its own."""
    dry_run: bool = False
    """Say what would be removed, and do not write OUT."""
    limits: Annotated[Limits, OmitArgPrefixes] = field(default_factory=Limits)
    reading: ReadingFlags = field(default_factory=Reading)
    backend: Backend = "auto"
    """What computes; auto: the GPU where one can, else the CPU. reference is slow, for checking."""
    writing: WritingFlags = field(default_factory=Writing)
    force: bool = False
    """Replace OUT and FILE."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Clean, words)
    if flags.output is None and not flags.dry_run:
        raise InputError("clean must be told what to write: add -o OUT, or --dry-run to only see what would go")
    from sfumato.cli.console import patient
    from sfumato.cli.run import in_frame_of, load, prepare
    from sfumato.cli.splat import check_target, read_splat
    from sfumato.edit.clean import inspect

    criteria = flags.limits.criteria()
    targets = [path for path in (None if flags.dry_run else flags.output, flags.preview) if path is not None]
    for path in targets:
        check_target(path, flags.force, [flags.splat])
    if len({path.resolve() for path in targets}) < len(targets):
        raise InputError(f"--preview must be another file than OUT; both are {flags.preview}")
    asset = read_splat(flags.splat, flags.writing.raw)
    scene = seen = spoiled = None
    if flags.scene is not None:
        scene = load(flags.scene, flags.reading)
        prepare(flags.backend)
        seen, spoiled = _look(scene, in_frame_of(scene, asset), flags.backend, asset.antialiased is True)
    with patient() as progress:
        progress("looking for floaters", 0, 0)
        findings = inspect(asset.gaussians, criteria, seen, spoiled)
    if not findings.kept.any():
        raise InputError(f"nothing of {flags.splat} would stay: these limits remove all {len(asset):,}; raise them")
    _show(asset.gaussians, findings, seen)
    kept = replace(asset, gaussians=asset.gaussians[findings.kept.nonzero()[:, 0]])
    if scene is not None and scene.test:
        _compare(scene, asset, kept, flags.backend)
    if flags.output is not None and not flags.dry_run:
        print(f"{flags.output}: {len(kept):,} Gaussians stay ({write_splat(flags.output, kept, flags.writing)})")
    if flags.preview is not None:
        _preview(flags.preview, asset, findings, flags.writing)
    return 0


def _look(scene: "Scene", gaussians: "Gaussians", name: str, antialiased: bool) -> tuple["Visibility", "Tensor"]:
    """What the training cameras see, and what of it the training photos contradict, on the CPU."""
    from sfumato.cli.console import Stages
    from sfumato.edit.spoilage import spoilage
    from sfumato.edit.visibility import visibility
    from sfumato.kernels.backends import choose
    from sfumato.kernels.stages import RenderSettings

    backend, device = choose(name)
    settings = RenderSettings(near=scene.near, depth=False, antialiased=antialiased)
    cameras = [view.camera for view in scene.train]
    with Stages() as progress:
        there = gaussians.to(device)
        seen = visibility(there, cameras, settings, backend, progress)
        spoiled = spoilage(there, scene.train, settings, scene.background, backend, progress)
    return seen.to("cpu"), spoiled.cpu()


def _show(gaussians: "Gaussians", findings: "Findings", seen: "Visibility | None") -> None:
    """The table of reasons, and a sentence."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from sfumato.edit.clean import REASONS

    console = Console(highlight=False)
    count = int(findings.removed.sum())
    if count:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("reason", style="bold")
        for heading in ("Gaussians", "of opacity", *(["of pictures"] if seen else [])):
            table.add_column(heading, justify="right")
        table.add_column("because")
        for name, number in findings.counts.items():
            if number:
                shares = _shares(gaussians, findings.of(name), seen)
                table.add_row(name, f"{number:,}", *map(_percent, shares), REASONS[name])
        console.print(table)
        console.print()
    opacity, *pictures = map(_percent, _shares(gaussians, findings.removed, seen))
    told = f"{count:,} of {len(gaussians):,} Gaussians go ({_percent(count / len(gaussians))}): {opacity} of opacity"
    console.print(told + (f", {pictures[0]} of pictures" if seen else ""), soft_wrap=True)
    if seen is None:
        console.print("no camera was asked: --scene INPUT finds floaters that only cameras tell", soft_wrap=True)


def _shares(gaussians: "Gaussians", rows: "Tensor", seen: "Visibility | None") -> list[float]:
    """Of all opacity, and of all that cameras see, what these Gaussians make."""
    parts = [gaussians.opacities, *([seen.total] if seen else [])]
    return [(part[rows].double().sum() / part.double().sum().clamp(min=1e-30)).item() for part in parts]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 1e-4 or share == 0 else "< 0.01 %"


def _compare(scene: "Scene", before: "Asset", after: "Asset", name: str) -> None:
    """Say what it does to the held-out photos."""
    was, now = (_scored(scene, asset, name) for asset in (before, after))
    psnr = f"PSNR {was.psnr:.2f} dB to {now.psnr:.2f} dB ({now.psnr - was.psnr:+.3f})"
    print(f"held out {len(was.views)}: {psnr}, SSIM {was.ssim:.4f} to {now.ssim:.4f}")


def _scored(scene: "Scene", asset: "Asset", name: str) -> "Evaluation":
    from sfumato.cli.run import in_frame_of
    from sfumato.evaluate import evaluate
    from sfumato.kernels.backends import choose
    from sfumato.kernels.stages import RenderSettings

    backend, device = choose(name)
    settings = RenderSettings(near=scene.near, depth=False, antialiased=asset.antialiased is True)
    return evaluate(in_frame_of(scene, asset).to(device), scene.test, settings, scene.background, backend)


def _preview(path: Path, asset: "Asset", findings: "Findings", writing: Writing) -> None:
    """Write what goes; when nothing does, say that there is nothing to write."""
    gone = asset.gaussians[findings.removed.nonzero()[:, 0]]
    if len(gone):
        print(f"{path}: the {len(gone):,} that go ({write_splat(path, replace(asset, gaussians=gone), writing)})")
    else:
        print(f"nothing goes, so {path} is not written")
