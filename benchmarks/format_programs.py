"""Other programs that read splats: fetched by npm and pip, run on a file -> the Gaussians they see in it."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import quaternion_from_matrix
from sfumato.core.sh import C0

__all__ = ["NPM", "PROGRAMS", "Program", "RefusedError", "Way", "fetch", "said_by"]

HERE = Path(__file__).resolve().parent
NPM = {
    "@playcanvas/splat-transform": "3.7.0",
    "@adobe/spz": "0.2.3",
    "@mkkellogg/gaussian-splats-3d": "0.4.7",
    "playcanvas": "2.23.3",
    "gltf-validator": "2.0.0-dev.3.10",
    "three": "0.187.0",
    "@sparkjsdev/spark": "2.2.0",
}
PIP = {"gsply": "0.4.6"}
PLAIN = 14  # numbers of a row without harmonics, see formats_js/rows.mjs
LONGEST = 300.0  # seconds for a file
EDGE = 1e-6  # opacities are kept so far from 0 and 1, where logits end


class RefusedError(Exception):
    """The program does not read the file: in its own words."""


@dataclass(frozen=True)
class Way:
    """How a program keeps a field more roughly than the file, and may: `within` of it, between `least` and `most`."""

    told: str
    within: float
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Program:
    """`read`: the folder of packages, the file, a folder for what it leaves -> Gaussians in a frame of its choice."""

    name: str
    package: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, Path, Path], Gaussians]
    refuses: tuple[str, ...] = ()  # what it does not know: beginnings of a variant's name and degree
    ways: dict[str, Way] = field(default_factory=dict)  # by field, or by "suffix field"
    degree: int = 3  # of harmonics, at most
    covariances: bool = False  # keeps these, not scales and rotations

    @property
    def version(self) -> str:
        return (NPM | PIP).get(self.package) or _installed(self.package)


def fetch(folder: Path | None) -> Path:
    """The folder with NPM in its node_modules and PIP in its `python`, where what is missing is put.

    A folder of the system's for temporary files without one. Raises InputError when npm or pip fails.
    """
    place = folder or Path(tempfile.gettempdir()) / "sfumato-benchmark-readers"
    place.mkdir(exist_ok=True)
    missing = [f"{name}@{number}" for name, number in NPM.items() if _npm_version(place, name) != number]
    if missing:
        npm = shutil.which("npm")
        if npm is None:
            raise InputError("npm, which fetches the other programs, is not on the PATH; install it")
        if not (place / "package.json").exists():
            (place / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        _fetched([npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), *missing])
    there = {one.metadata["Name"]: one.version for one in distributions(path=[str(place / "python")])}
    for name, number in PIP.items():
        if there.get(name) != number:  # without what it needs: sfumato has that
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
            _fetched([*pip, "--target", str(place / "python"), f"{name}=={number}"])
    for script in (HERE / "formats_js").glob("*.mjs"):  # node looks for packages beside the script
        shutil.copy(script, place)
    return place


def _npm_version(place: Path, name: str) -> str:
    path = place / "node_modules" / name / "package.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["version"]) if path.exists() else ""


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def _fetched(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise InputError(f"{command[0]} could not fetch the other programs: {done.stderr.strip().splitlines()[-1:]}")


def said_by(command: Sequence[str], place: Path) -> str:
    """What a program prints. Raises RefusedError with its complaint when it fails."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, _python_path(place)))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=LONGEST, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(str(error)) from None
    if done.returncode:
        raise RefusedError(_complaint(done.stdout + "\n" + done.stderr) or f"ends with code {done.returncode}")
    return done.stdout


def _python_path(place: Path) -> list[str]:
    return [str(place / "python"), os.environ.get("PYTHONPATH", "")]


def _complaint(text: str) -> str:
    """The first line of many that names an error, or quotes the code that raised it."""
    lines = [line.strip(" ✗\t") for line in text.splitlines() if "error" in line.lower()]
    spoken = [line for line in lines if "new Error" not in line] or lines
    return spoken[0][:200] if spoken else ""


def _rows(script: Sequence[str], place: Path, file: Path, folder: Path) -> Gaussians:
    """The rows that a script of ours leaves of what its program read."""
    target = folder / "rows.f32"
    said = said_by([*script, str(file), str(target)], place)
    try:
        found = json.loads(said.strip().splitlines()[-1])
        rows = np.fromfile(target, "<f4").reshape(found["count"], PLAIN + 3 * found["bases"]).astype(np.float64)
    except (IndexError, KeyError, ValueError, OSError):
        raise RefusedError(_complaint(said) or "ends without a word of what it read") from None
    if found.get("covariances"):
        rows[:, 3:10] = _axes(rows[:, 3:9])
    return _gaussians(rows)


def _axes(covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 6) xx xy xz yy yz zz -> (N, 7) log scales and rotations."""
    matrices = torch.from_numpy(covariances[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]]).reshape(-1, 3, 3)
    squares, axes = torch.linalg.eigh(matrices)
    axes = axes * axes.det().sign()[:, None, None]
    least = 1e-9 * squares[:, -1:]  # float32 ends there, below it roundings are as often negative
    log_scales = torch.maximum(squares, least).log() / 2
    return torch.cat([log_scales, quaternion_from_matrix(axes)], dim=1).numpy()


def _gaussians(rows: NDArray[np.float64]) -> Gaussians:
    numbers = torch.from_numpy(rows)
    return Gaussians(
        means=numbers[:, :3],
        quats=numbers[:, 6:10],
        log_scales=numbers[:, 3:6],
        logit_opacities=numbers[:, 10].clamp(EDGE, 1 - EDGE).logit(),
        sh0=numbers[:, None, 11:14],
        shN=numbers[:, PLAIN:].reshape(len(numbers), -1, 3) if rows.size else torch.zeros(len(numbers), 0, 3),
    )


def _by_node(script: str) -> Callable[[Path, Path, Path], Gaussians]:
    def read(place: Path, file: Path, folder: Path) -> Gaussians:
        return _rows(["node", str(place / script)], place, file, folder)

    return read


def _by_gsply(place: Path, file: Path, folder: Path) -> Gaussians:
    return _rows([sys.executable, str(HERE / "format_gsply.py")], place, file, folder)


def _by_splat_transform(place: Path, file: Path, folder: Path) -> Gaussians:
    """Its CSV, whose columns are those of a PLY."""
    target = folder / "rows.csv"
    program = place / "node_modules" / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    said_by(["node", str(program), "-q", "-w", str(file), str(target)], place)
    head, *lines = target.read_text(encoding="utf-8").splitlines()
    table = np.array([line.split(",") for line in lines], dtype=np.float64)
    columns = dict(zip(head.split(","), table.T, strict=True))
    bases = sum(name.startswith("f_rest_") for name in columns) // 3
    order = ["x", "y", "z", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)), "opacity"]
    order += [f"f_dc_{i}" for i in range(3)] + [f"f_rest_{c * bases + k}" for k in range(bases) for c in range(3)]
    columns["opacity"] = 1 / (1 + np.exp(-columns["opacity"]))
    return _gaussians(np.stack([columns[name] for name in order], axis=1))


def _by_usd(place: Path, file: Path, folder: Path) -> Gaussians:
    """By the schema that usd-core ships, in the frame of the stage."""
    from pxr import Usd, UsdGeom, UsdVol

    stage = Usd.Stage.Open(str(file))
    prim = next(prim for prim in stage.Traverse() if prim.IsA(UsdVol.ParticleField3DGaussianSplat))
    world = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default()))
    if not np.array_equal(world, np.eye(4)):
        raise RefusedError("the splat has a transform, which this check does not follow")
    splat = UsdVol.ParticleField3DGaussianSplat(prim)
    means = np.array(splat.GetPositionsAttr().Get(), dtype=np.float64)
    quats = [(q.GetReal(), *q.GetImaginary()) for q in splat.GetOrientationsAttr().Get()]
    sh = np.array(splat.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()).reshape(len(means), -1)
    columns = [means, np.log(splat.GetScalesAttr().Get()), quats, np.array(splat.GetOpacitiesAttr().Get())[:, None], sh]
    return _gaussians(np.concatenate(columns, axis=1, dtype=np.float64))


PLY, COMPRESSED = ".ply", ".compressed.ply"
ROUGHLY = 1.05  # times the step that a number is kept in: steps that lie differently, and roundings
SH0 = Way("colors in bytes, cut to [0, 1]", ROUGHLY / (255 * C0), -0.5 / C0, 0.5 / C0)
SHN = Way("harmonics in bytes, cut to [-1, 1]", ROUGHLY / 256, -1.0, 127 / 128)
PROGRAMS = (
    Program(
        "splat-transform",
        "@playcanvas/splat-transform",
        (PLY, COMPRESSED, ".splat", ".ksplat", ".spz", ".sog"),
        _by_splat_transform,
        ways={".splat rotations": Way("rotations by byte / 255 * 2 - 1, where .splat began with byte / 128 - 1", 1.0)},
    ),
    Program("gsply", "gsply", (PLY, COMPRESSED, ".spz"), _by_gsply),
    Program(
        "GaussianSplats3D",
        "@mkkellogg/gaussian-splats-3d",
        (PLY, COMPRESSED, ".splat", ".ksplat", ".spz"),
        _by_node("mkkellogg.mjs"),
        refuses=("SPZ 3", "SPZ 4", "compressed PLY, degree 0"),  # the last also as SuperSplat writes it
        ways={
            "sh0": SH0,
            "opacities": Way("opacities in bytes, rounded down", ROUGHLY / 255),
            f"{COMPRESSED} shN": Way("harmonics by byte * 8 / 255 - 4, half a step beside", ROUGHLY * 4 / 255),
        },
        degree=2,
    ),
    Program("Niantic's SPZ, by Adobe", "@adobe/spz", (".spz",), _by_node("adobe_spz.mjs")),
    Program(
        "three.js",
        "three",
        (PLY, ".splat", ".ksplat", ".spz", ".glb"),
        _by_node("three.mjs"),
        ways={"sh0": SH0, "shN": SHN, "opacities": Way("opacities in bytes", ROUGHLY / 510)},
        covariances=True,
    ),
    Program("PlayCanvas engine", "playcanvas", (".glb",), _by_node("playcanvas.mjs")),
    Program("OpenUSD", "usd-core", (".usdc", ".usda"), _by_usd),
)
