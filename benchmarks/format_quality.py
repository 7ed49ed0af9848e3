"""What each splat format costs, in bytes and in decibels: python benchmarks/format_quality.py DATA RUNS [--scenes fox].

DATA is the folder with fox, fern and lego; RUNS holds a folder per scene as `sfumato train` leaves it, and what is not
there is trained first. Each trained splat is written in each format, read back, and scored on the held-out photos like
the original. Prints a table; with --plot FILE also draws it as SVG; with --json FILE keeps the numbers, from which
--again FILE prints and draws once more.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from format_plot import plot

import sfumato
from sfumato import formats
from sfumato.core.errors import SfumatoWarning
from sfumato.formats import WriteOptions

SCENES = {"fox": 2.0, "fern": 1.0, "lego": 1.0}  # and how many times smaller its photos are, in training and here


@dataclass(frozen=True)
class Variant:
    """A format with the choices that it leaves to the writer."""

    name: str
    suffix: str
    options: WriteOptions = field(default_factory=WriteOptions)


VARIANTS = (
    Variant("PLY", ".ply"),
    Variant("npz", ".npz"),
    Variant("glTF", ".glb"),
    Variant("OpenUSD", ".usdc"),
    Variant("ksplat 0", ".ksplat", WriteOptions(ksplat_level=0)),
    Variant("ksplat 1", ".ksplat", WriteOptions(ksplat_level=1)),
    Variant("ksplat 2", ".ksplat", WriteOptions(ksplat_level=2)),
    Variant("compressed PLY", ".compressed.ply"),
    Variant(".splat", ".splat"),
    Variant("SPZ 2", ".spz", WriteOptions(spz_version=2)),
    Variant("SPZ 3, 4 bits", ".spz", WriteOptions(spz_sh_bits=4)),
    Variant("SPZ 3", ".spz"),
    Variant("SPZ 4", ".spz", WriteOptions(spz_version=4)),
    Variant("SPZ 4, 8 bits", ".spz", WriteOptions(spz_version=4, spz_sh_bits=8)),
    Variant("SOG", ".sog"),
)


@dataclass(frozen=True)
class Cost:
    """One splat in one format."""

    scene: str
    variant: str
    gaussians: int
    bytes: int
    ratio: float  # times smaller than the PLY
    psnr: float  # dB on the held-out photos
    ssim: float
    psnr_lost: float  # dB against the original; below 0: it gained
    ssim_lost: float


def costs(name: str, data: Path, run: Path, variants: list[Variant]) -> Iterator[Cost]:
    """The costs of one trained splat in all formats."""
    scene = sfumato.load_scene(data / name, downscale=SCENES[name], holdout=8)
    original = formats.read_asset(run / "splat.ply")
    before = sfumato.evaluate(original.gaussians, scene.test, background=scene.background)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "splat.ply"
        formats.write(plain, original)
        for variant in variants:
            path = Path(folder) / f"packed{variant.suffix}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SfumatoWarning)  # of what it drops: the score says what that costs
                formats.write(path, original, variant.options)
                again = formats.read(path)
            after = sfumato.evaluate(again, scene.test, background=scene.background)
            size = path.stat().st_size
            yield Cost(
                scene=name,
                variant=variant.name,
                gaussians=len(original),
                bytes=size,
                ratio=plain.stat().st_size / size,
                psnr=after.psnr,
                ssim=after.ssim,
                psnr_lost=before.psnr - after.psnr,
                ssim_lost=before.ssim - after.ssim,
            )
            path.unlink()


def trained(name: str, data: Path, runs: Path) -> Path:
    """The folder of a finished run of the scene, trained now where there is none."""
    run = runs / name
    if not (run / "splat.ply").exists():
        flags = ["-o", str(run), "--downscale", f"{SCENES[name]:g}", "--force"]
        subprocess.run([sys.executable, "-m", "sfumato", "train", str(data / name), *flags], check=True)
    return run


def table(found: list[Cost]) -> str:
    """A row per format, three columns per scene: how many times smaller than PLY, dB and SSIM lost."""
    scenes = list(dict.fromkeys(cost.scene for cost in found))
    titles = [f"{scene}: {what}" for scene in scenes for what in ("smaller", "dB lost", "SSIM lost")]
    lines = ["| | bytes a Gaussian | " + " | ".join(titles) + " |", "|---" * (len(titles) + 2) + "|"]
    for variant in dict.fromkeys(cost.variant for cost in found):
        row = [cost for scene in scenes for cost in found if (cost.scene, cost.variant) == (scene, variant)]
        each = [cost.bytes / cost.gaussians for cost in row]
        cells = [f"{min(each):.0f}" if max(each) - min(each) < 1 else f"{min(each):.0f} to {max(each):.0f}"]
        for cost in row:
            cells += [f"{cost.ratio:.1f}", f"{cost.psnr_lost + 0.0:.3f}", f"{cost.ssim_lost + 0.0:.4f}"]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines).replace("-0.000 ", "0.000 ").replace("-0.0000 ", "0.0000 ")


def measured(options: argparse.Namespace) -> list[Cost]:
    variants = [variant for variant in VARIANTS if variant.name in options.formats]
    found = []
    for name in options.scenes:
        for cost in costs(name, options.data, trained(name, options.data, options.runs), variants):
            found.append(cost)
            before = cost.psnr + cost.psnr_lost
            print(f"{name}, {cost.variant}: {before:.2f} to {cost.psnr:.2f} dB, {cost.bytes} bytes", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with fox, fern and lego")
    parser.add_argument("runs", type=Path, help="folder for their trainings")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--formats", nargs="+", choices=[v.name for v in VARIANTS], default=[v.name for v in VARIANTS])
    parser.add_argument("--plot", type=Path, help="SVG to draw")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--again", type=Path, help="numbers of an earlier run: nothing is measured")
    options = parser.parse_args()
    if options.again:
        found = [Cost(**cost) for cost in json.loads(options.again.read_text(encoding="utf-8"))]
    else:
        found = measured(options)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in found], indent=1), encoding="utf-8")
    if options.plot:
        points = [(cost.scene, cost.variant, cost.bytes / cost.gaussians, cost.psnr_lost) for cost in found]
        options.plot.write_text(plot(points), encoding="utf-8")


if __name__ == "__main__":
    main()
