"""What other programs read of the files we write: python benchmarks/format_readers.py SPLAT [--cameras cameras.json].

Every format is written from some of the splat's Gaussians, read by sfumato and by each program that knows it, and
compared: how many, in which frame, and the largest difference of each field between the two readings. Spark draws each
file in headless Chromium, and its picture is compared with ours. Programs are fetched by npm and pip into a folder of
temporary files (or --packages), only for this; those for Spark are as in benchmarks/viewer.py.
"""

import argparse
import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from cloud import cloud
from format_programs import NPM, PROGRAMS, Program, RefusedError, Way, fetch, said_by
from torch import Tensor
from viewer import AS_OURS, as_asked, first_camera, outside
from viewer_browser import Viewer, measure, serve

from sfumato import formats
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8, write_image
from sfumato.core.rotation import multiply_quaternions
from sfumato.evaluate.metrics import psnr
from sfumato.formats import WriteOptions
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render


@dataclass(frozen=True)
class Variant:
    """A file that we write, and the frame of its numbers."""

    name: str
    suffix: str
    frame: str = CANONICAL
    options: WriteOptions = field(default_factory=WriteOptions)


VARIANTS = (
    Variant("PLY", ".ply"),
    Variant("compressed PLY", ".compressed.ply"),
    Variant(".splat", ".splat"),
    *(Variant(f".ksplat {level}", ".ksplat", options=WriteOptions(ksplat_level=level)) for level in (0, 1, 2)),
    Variant("SPZ 2, 6 bits", ".spz", "RUB", WriteOptions(spz_version=2, spz_sh_bits=6)),
    *(
        Variant(f"SPZ {v}, {bits} bits", ".spz", "RUB", WriteOptions(spz_version=v, spz_sh_bits=bits))
        for v in (3, 4)
        for bits in (4, 6, 8)
    ),
    Variant("SOG", ".sog"),
    Variant("GLB", ".glb", "LUF"),
    Variant("OpenUSD", ".usdc", "RUB"),
)
DRAWN = (".ply", ".compressed.ply", ".splat", ".ksplat", ".spz", ".sog")  # what Spark knows
UP, ORIGIN = (0.0, -1.0, 0.0), (448_262.125, -5_411_932.25, 31.5)  # written along, where others must not stumble
SPARK = Viewer("Spark", "/bench/spark.html", AS_OURS)
REFUSED = ("SPZ 4",)  # by Spark
UPRIGHT = (CANONICAL, "RUB", "LUF")  # frames in which pictures are tried: those of PLY, of SPZ and three.js, of glTF
FRAMES = tuple(
    "".join(letters) for pairs in itertools.permutations(("RL", "UD", "FB")) for letters in itertools.product(*pairs)
)
# largest differences of two good readings of the same bytes
WITHIN = {
    "positions": 1e-5,  # of the largest
    "log scales": 1e-3,
    "rotations": 0.05,  # degrees
    "covariances": 1e-4,  # of the largest number of each; of programs that keep no scales and rotations
    "opacities": 1e-3,
    "sh0": 1e-3,
    "shN": 1e-3,
}
ALIKE = 30.0  # dB, from where on two pictures show the same scene the same way round
HEAD = ("format", "program", "version", "Gaussians", "frame", *WITHIN, "picture dB", "verdict")


@dataclass
class Row:
    """A program's reading of a file. `differences` as WITHIN, none for what the program does not tell."""

    variant: Variant
    program: str
    version: str
    count: int | None = None
    frame: str = ""
    differences: dict[str, float] = field(default_factory=dict)
    picture: float | None = None
    verdict: str = ""
    fault: bool = False

    def faulty(self, verdict: str) -> "Row":
        self.verdict, self.fault = verdict, True
        return self

    def word(self) -> str:
        """The verdict in a word: roughly is what a program can keep of what it read."""
        if self.fault:
            return "FAULT"
        if self.picture is not None:
            return f"{self.picture:.0f} dB"
        first, _, rest = self.verdict.partition(" it")
        return {"reads": "roughly" if rest else "exactly", "does not read": "no"}.get(first, "valid")

    def cells(self) -> list[str]:
        differences = [f"{self.differences[name]:.1g}" if name in self.differences else "-" for name in WITHIN]
        picture = "-" if self.picture is None else f"{self.picture:.1f}"
        count = "-" if self.count is None else f"{self.count:,}"
        named = [self.variant.name, self.program, self.version, count, self.frame or "-"]
        return [*named, *differences, picture, f"FAULT: {self.verdict}" if self.fault else self.verdict]


def written(folder: Path, gaussians: Gaussians, variants: Sequence[Variant]) -> Iterator[tuple[Variant, Path]]:
    """A file for each variant. Raises InputError when one cannot be written."""
    for i, variant in enumerate(variants):
        path = folder / f"{i}{variant.suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SfumatoWarning)  # what formats cannot hold is not the question here
            formats.write(path, Asset(gaussians, up=UP, origin=ORIGIN), variant.options)
        yield variant, path


def read_by(program: Program, variant: Variant, place: Path, path: Path) -> Row:
    """What a program reads of a file, compared with what we read of it."""
    row = Row(variant, program.name, program.version)
    ours = formats.read(path)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            theirs = program.read(place, path, Path(scratch))
    except RefusedError as error:
        row.fault = not f"{variant.name}, degree {ours.degree}".startswith(program.refuses or "-")
        row.verdict = f"does not read it: {error}"
        return row
    row.count = len(theirs)
    if row.count != len(ours):
        return row.faulty(f"reads {row.count:,} of {len(ours):,} Gaussians")
    row.frame = frame_of(theirs.means, ours.means)
    ours = ours.to(torch.float64)
    theirs = matched(reframe(theirs, row.frame, CANONICAL), ours)
    row.differences = differences(theirs, ours, program.covariances)
    return judged(row, program, theirs, ours)


def judged(row: Row, program: Program, theirs: Gaussians, ours: Gaussians) -> Row:
    """The verdict on a reading that has as many Gaussians as there are."""
    if row.frame not in (CANONICAL, row.variant.frame):
        return row.faulty(f"reads it turned to {row.frame}")
    if theirs.degree < min(ours.degree, program.degree):
        return row.faulty(f"reads no harmonics above degree {theirs.degree}")
    words = [f"harmonics to degree {theirs.degree} of {ours.degree}"] if theirs.degree < ours.degree else []
    for name, value in row.differences.items():
        if value <= WITHIN[name]:
            continue
        way = program.ways.get(f"{row.variant.suffix} {name}", program.ways.get(name))
        if way is None:
            return row.faulty(f"reads other {name}")
        if differences(cut(theirs, name, way), cut(ours, name, way), program.covariances)[name] > way.within:
            return row.faulty(f"reads other {name}, beyond {way.told}")
        words.append(way.told)
    row.verdict = "; ".join(["reads it", *words])
    return row


def cut(gaussians: Gaussians, name: str, way: Way) -> Gaussians:
    """What a program can keep of the field at all."""
    if name not in ("sh0", "shN"):
        return gaussians
    return replace(gaussians, **{name: getattr(gaussians, name).clamp(way.least, way.most)})


def frame_of(theirs: Tensor, ours: Tensor) -> str:
    """Of all 48 frames the one in which another program's (N, 3) means, in any order, are ours in CANONICAL."""
    wanted = ours.double().sort(dim=0).values

    def apart(frame: str) -> float:
        means = theirs @ matrix_between(frame, CANONICAL).T
        return float((means.sort(dim=0).values - wanted).square().sum())

    return min(sorted(FRAMES, key=lambda frame: frame != CANONICAL), key=apart)


def matched(theirs: Gaussians, ours: Gaussians) -> Gaussians:
    """Their rows in the order of ours, which some programs change: each that is nearest by place and volume."""
    largest = ours.means.abs().max()
    if (theirs.means - ours.means).abs().max() <= WITHIN["positions"] * largest:
        return theirs
    wanted, found = (torch.cat([g.means / largest, g.log_scales.sum(1, True)], dim=1) for g in (ours, theirs))
    return theirs[torch.cdist(wanted, found, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)]


def differences(theirs: Gaussians, ours: Gaussians, covariances: bool) -> dict[str, float]:
    """The largest of each field, rows in the same order; of harmonics those that both have."""
    bases = min(theirs.shN.shape[1], ours.shN.shape[1])
    found = {"positions": (theirs.means - ours.means).abs().max() / ours.means.abs().max()}
    if covariances:
        apart = (theirs.covariances - ours.covariances).abs().amax(dim=(1, 2))
        found["covariances"] = (apart / ours.covariances.abs().amax(dim=(1, 2))).max()
    else:
        found["log scales"] = (theirs.log_scales - ours.log_scales).abs().max()
        found["rotations"] = degrees_between(theirs.quats, ours.quats).max()
    found["opacities"] = (theirs.opacities - ours.opacities).abs().max()
    found["sh0"] = (theirs.sh0 - ours.sh0).abs().max()
    if bases:
        found["shN"] = (theirs.shN[:, :bases] - ours.shN[:, :bases]).abs().max()
    return {name: float(value) for name, value in found.items()}


def degrees_between(a: Tensor, b: Tensor) -> Tensor:
    """(N,) degrees between (N, 4) rotations of Gaussians, which look the same after half a turn about an own axis."""
    halves = torch.eye(4, dtype=a.dtype)
    b = torch.nn.functional.normalize(b, dim=1)
    a = torch.nn.functional.normalize(a, dim=1)
    turned = torch.stack([multiply_quaternions(b, half.expand_as(b)) for half in halves])  # (4, N, 4)
    chords = torch.minimum((turned - a).norm(dim=2), (turned + a).norm(dim=2)).amin(dim=0)
    return 4 * torch.rad2deg(torch.asin((chords / 2).clamp(max=1)))


def pictures(files: Sequence[tuple[Variant, Path]], place: Path, camera: Camera, kept: Path | None) -> Iterator[Row]:
    """What Spark draws of each file, compared with what we draw of it, in each frame that scenes are upright in."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("no Playwright, which drives the browser; pip install playwright, or --no-browser") from None

    with sync_playwright() as driver, serve(files[0][1].parent, place / "node_modules") as site:
        for variant, path in files:
            row = Row(variant, SPARK.name, NPM["@sparkjsdev/spark"])
            ours = to_uint8(render(formats.read(path), camera, RenderSettings(depth=False)).image)
            try:
                cameras = [as_asked(in_frame(camera, frame)) for frame in UPRIGHT]
                found = measure(driver, site, SPARK, path.name, cameras, 1, range(len(cameras)))
            except InputError as error:
                row.verdict, row.fault = f"does not read it: {error}", not variant.name.startswith(REFUSED)
                yield row
                continue
            alike = {f: psnr(p.float() / 255, ours) for f, p in zip(UPRIGHT, found.pictures, strict=True)}
            row.frame = max(alike, key=alike.__getitem__)
            row.picture, row.count = alike[row.frame], found.gaussians
            row.verdict = "draws it"
            if row.picture < ALIKE or row.count != formats.count(path):
                row.faulty("draws something else")
            elif row.frame != variant.frame:
                row.faulty(f"draws it turned to {row.frame}")
            if kept:
                save(kept, variant, {"ours": ours} | dict(zip(UPRIGHT, found.pictures, strict=True)))
            yield row


def in_frame(camera: Camera, frame: str) -> Camera:
    """The camera for a scene whose numbers are in another frame than CANONICAL."""
    viewmat = camera.viewmat.clone()
    viewmat[:3, :3] = viewmat[:3, :3] @ matrix_between(frame, CANONICAL).to(viewmat)
    return Camera(viewmat, camera.K, camera.width, camera.height)


def save(folder: Path, variant: Variant, shown: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = variant.name.lower().replace(" ", "-").replace(",", "").strip(".")
    for who, picture in shown.items():
        write_image(folder / f"{name}-{who}.png", picture.float() / 255)


def checked(variant: Variant, path: Path, place: Path) -> Row:
    """What Khronos' validator says of a glTF; names of KHR_gaussian_splatting it calls errors, knowing none yet."""
    row = Row(variant, "glTF validator", NPM["gltf-validator"])
    try:
        said = json.loads(said_by(["node", str(place / "gltf_validator.mjs"), str(path)], place))
    except RefusedError as error:
        return row.faulty(f"does not read it: {error}")
    others = [words for words in said if "KHR_gaussian_splatting" not in words]
    row.verdict = "valid, but for names that it does not know yet"
    return row.faulty(f"complains: {others[0]}") if others else row


def sampled(options: argparse.Namespace) -> tuple[Gaussians, Camera]:
    """`--count` Gaussians of the splat, from all over it, and a camera that sees them."""
    width, height = options.size
    if options.splat is None:
        return cloud(options.count, width, height)
    whole = formats.read(options.splat)
    part = whole[torch.linspace(0, len(whole) - 1, min(options.count, len(whole))).long()]
    camera = first_camera(options.cameras, width, height) if options.cameras else outside(part, width, height)
    return part, camera


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("splat", type=Path, nargs="?", help="of any format; a made scene otherwise")
    parser.add_argument("--cameras", type=Path, help="cameras.json of the splat's run: drawn from its first camera")
    parser.add_argument("--count", type=int, default=5000, help="Gaussians of it")
    parser.add_argument("--sh-degree", type=int, default=3, choices=range(4), help="of the harmonics, at most")
    parser.add_argument("--size", nargs=2, type=int, default=(320, 240), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--packages", type=Path, help="a folder for what npm and pip fetch, or that has it already")
    parser.add_argument(
        "--formats", nargs="+", default=[variant.name for variant in VARIANTS], help="some of the names"
    )
    parser.add_argument("--no-browser", action="store_true", help="without Spark")
    parser.add_argument("--pictures", type=Path, help="folder for what Spark drew, and we")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    variants = [variant for variant in VARIANTS if variant.name in options.formats]
    gaussians, camera = sampled(options)
    gaussians = gaussians.with_degree(min(gaussians.degree, options.sh_degree))
    place = fetch(options.packages)
    print(f"{len(gaussians):,} Gaussians of degree {gaussians.degree}\n")
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    with tempfile.TemporaryDirectory() as folder:
        files = list(written(Path(folder), gaussians, variants))
        found = []
        for row in rows(files, place, camera, options):
            print("| " + " | ".join(row.cells()) + " |", flush=True)
            found.append(row)
    print("\n" + "\n".join(overview(found)))
    faults = sum(row.fault for row in found)
    print(f"\n{len(found)} readings, {faults or 'none'} of them not as it should be.")
    if faults:
        sys.exit(1)


def overview(found: Sequence[Row]) -> list[str]:
    """Lines of a table with a format in each row and a program in each column."""
    names = list(dict.fromkeys(row.variant.name for row in found))
    programs = list(dict.fromkeys(f"{row.program} {row.version}" for row in found))
    words = {(row.variant.name, f"{row.program} {row.version}"): row.word() for row in found}
    lines = ["| format | " + " | ".join(programs) + " |", "|---" * (len(programs) + 1) + "|"]
    return lines + [
        f"| {name} | " + " | ".join(words.get((name, who), "") for who in programs) + " |" for name in names
    ]


def rows(
    files: Sequence[tuple[Variant, Path]], place: Path, camera: Camera, options: argparse.Namespace
) -> Iterator[Row]:
    """Every program's reading of every file."""
    for variant, path in files:
        for program in PROGRAMS:
            if variant.suffix in program.suffixes:
                yield read_by(program, variant, place, path)
        if variant.suffix == ".glb":
            yield checked(variant, path, place)
    drawn = [(variant, path) for variant, path in files if variant.suffix in DRAWN]
    if drawn and not options.no_browser:
        yield from pictures(drawn, place, camera, options.pictures)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
