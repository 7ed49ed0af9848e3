"""A file of OpenUSD to plain arrays in a folder, in a process of its own: damaged files make pxr crash, print and hang.

Run as a script, `usd/child.py FILE FOLDER BYTES LOOK`, it imports nothing of sfumato, so that it starts quickly. It
leaves `stage.json` in the folder, with what was found or with the sentence of why not, and without LOOK=count an
array for each name in ARRAYS and each splat.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARRAYS", "main"]

ARRAYS = ("means", "quats", "scales", "opacities", "sh")  # (N, 3), (N, 4) xyzw, (N, 3), (N, 1), (N * K, 3)
SPLAT = "ParticleField3DGaussianSplat"
SH, DEGREE = "radiance:sphericalHarmonicsCoefficients", "radiance:sphericalHarmonicsDegree"
MOST_ARCS = 16  # references within a file: chains of them show things several hundred times, of 300 forever
MOST_COPIES = 16  # of the 6 bytes that a position takes at least, as instances
MOST_DEGREE = 4
MOST_MATRIX = 1e30  # its squares must fit, and float32 ends at 3e38


class _RefusedError(Exception):
    """The rest of a sentence that begins with the file's name."""


def main(file: str, folder: str, most: str, look: str) -> None:
    """Leave what is in the file in the folder; take at most so many bytes of memory, where the system can be told."""
    with suppress(ImportError, ValueError, OSError):  # Windows; systems that allow less already
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (int(most), hard))
    from pxr import Tf

    try:
        found = _found(Path(file), Path(folder), look == "count")
    except _RefusedError as error:
        found = {"refused": str(error)}
    except (Tf.ErrorException, Tf.CppException, UnicodeError) as error:
        found = {"refused": f"is damaged: OpenUSD cannot use it ({_short(error)}); export it again"}
    except (MemoryError, RuntimeError):
        found = {"refused": "asks OpenUSD for more memory than it may take; export it again"}
    (Path(folder) / "stage.json").write_text(json.dumps(found), encoding="utf-8")


def _found(file: Path, folder: Path, counting: bool) -> dict[str, Any]:
    from pxr import Sdf, Usd

    package = file.suffix.lower() == ".usdz"
    layer = Sdf.Layer.FindOrOpen(str(file)) if package else Sdf.Layer.OpenAsAnonymous(str(file))
    if not layer:
        raise _RefusedError("is damaged: OpenUSD cannot open it; export it again")
    _check_arcs(file, layer, package)
    stage = Usd.Stage.Open(layer)
    if not stage:
        raise _RefusedError("is damaged: OpenUSD makes no stage of it; export it again")
    found = _described(stage)
    prims = _splats(stage, found["notes"])
    total, most = 0, max(MOST_COPIES * file.stat().st_size // 6, MOST_COPIES)
    for index, prim in enumerate(prims):
        total += len(_array(prim, "positions", 3))
        if total > most:
            told = f"shows at least {total} Gaussians by references, more than {MOST_COPIES} times what it can hold"
            raise _RefusedError(f"{told}; export it with fewer")
        found["fields"].append(_field(prim, folder / str(index), counting))
    return found | {"count": total}


def _check_arcs(file: Path, layer: Any, package: bool) -> None:
    """Refuse what leads out of the file, and chains of references that multiply what they show."""
    from pxr import Sdf

    waiting, seen, arcs = [layer], set(), 0
    while waiting:
        here = waiting.pop()
        arcs += _arcs(here)
        for asset in filter(None, here.GetCompositionAssetDependencies()):  # without a name: within the layer
            name = Sdf.ComputeAssetPathRelativeToLayer(here, asset)
            inside = name.replace("\\", "/").startswith(f"{file.as_posix()}[")  # pxr writes either on Windows
            if not package or not inside:
                told = f"is spread over several files ({str(asset)[:100]!r}), which are not opened"
                raise _RefusedError(f"{told}; make one of them with usdcat --flatten")
            if name not in seen:
                seen.add(name)
                there = Sdf.Layer.FindOrOpen(name)
                if not there:
                    raise _RefusedError(f"is damaged: it has no {str(asset)[:100]!r}; export it again")
                waiting.append(there)
    if arcs > MOST_ARCS:
        told = f"is composed of {arcs} references, of which at most {MOST_ARCS} are followed"
        raise _RefusedError(f"{told}; flatten it with usdcat --flatten")


def _arcs(layer: Any) -> int:
    """How many sublayers, references, payloads, inherits and specializes a layer has."""
    from pxr import Sdf

    found = [len(layer.subLayerPaths)]

    def look(place: Any) -> None:
        prim = layer.GetPrimAtPath(place) if place.IsPrimPath() or place.IsPrimVariantSelectionPath() else None
        if prim:
            lists = (prim.referenceList, prim.payloadList, prim.inheritPathList, prim.specializesList)
            found.append(sum(len(arcs.GetAddedOrExplicitItems()) for arcs in lists))

    layer.Traverse(Sdf.Path.absoluteRootPath, look)
    return sum(found)


def _described(stage: Any) -> dict[str, Any]:
    """What the stage says of all that is in it."""
    from pxr import UsdGeom

    custom = dict(stage.GetRootLayer().customLayerData)
    facts = custom.get("sfumato")
    meters = None  # the hundredth that OpenUSD assumes is nobody's word
    if UsdGeom.StageHasAuthoredMetersPerUnit(stage):
        meters = float(UsdGeom.GetStageMetersPerUnit(stage))
        if not 0 < meters < float("inf"):
            raise _RefusedError(f"has a metersPerUnit of {meters}, which must be a number above 0; export it again")
    return {
        "up": str(UsdGeom.GetStageUpAxis(stage)),
        "meters": meters,
        "creator": str(custom["creator"])[:200] if isinstance(custom.get("creator"), str) else None,
        "facts": {name: _plain(value) for name, value in facts.items()} if isinstance(facts, dict) else {},
        "fields": [],
        "notes": [],
    }


def _splats(stage: Any, notes: list[str]) -> list[Any]:
    """The visible splats of the stage."""
    from pxr import Usd, UsdGeom

    splats = [prim for prim in stage.Traverse(Usd.TraverseInstanceProxies()) if prim.GetTypeName() == SPLAT]
    shown = [prim for prim in splats if UsdGeom.Imageable(prim).ComputeVisibility() != "invisible"]
    if not shown:
        hidden = f"its {len(splats)} splats are invisible" if splats else f"it has no {SPLAT}"
        raise _RefusedError(f"shows no splat: {hidden}; export the splat itself")
    if len(shown) < len(splats):
        notes.append(f"{len(splats) - len(shown)} splats that are marked as invisible are left out")
    flat = sum(prim.GetAttribute("projectionModeHint").Get() == "tangential" for prim in shown)
    if flat:
        notes.append(f"{flat} splats ask for tangential projection, which is not known here; they are drawn as usual")
    if any(prim.HasAuthoredMetadata("clips") for splat in shown for prim in _line(splat)):
        raise _RefusedError("is an animation in clips, which are not opened; export one moment")
    return shown


def _line(prim: Any) -> Iterator[Any]:
    """A prim and those above it."""
    while prim:
        yield prim
        prim = prim.GetParent()


def _field(prim: Any, target: Path, counting: bool) -> dict[str, Any]:
    """A splat's place, and its arrays as files that begin with the target's name."""
    from pxr import UsdGeom

    means = _array(prim, "positions", 3)
    N = len(means)
    attribute = prim.GetAttribute(DEGREE)
    degree = attribute.Get(_moment(attribute))
    if not isinstance(degree, int) or not 0 <= degree <= MOST_DEGREE:
        raise _RefusedError(f"must have harmonics of degree 0 to {MOST_DEGREE}; got {str(degree)[:20]}")
    moment = _moment(prim.GetAttribute("positions"))
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(moment), dtype=np.float64).T
    if not (np.abs(matrix) < MOST_MATRIX).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise _RefusedError("has a transform that is not finite, or has perspective; export it again")
    if not counting:
        arrays = (
            means,
            _array(prim, "orientations", 4, N),
            _array(prim, "scales", 3, N),
            _array(prim, "opacities", 1, N),
            _array(prim, SH, 3, N * (degree + 1) ** 2),
        )
        for name, array in zip(ARRAYS, arrays, strict=True):
            np.save(target.with_name(f"{target.name}.{name}.npy"), array, allow_pickle=False)
    spaces = (above.GetAttribute("colorSpace:name") for above in _line(prim))
    space = next((str(name.Get()) for name in spaces if name and name.Get()), "")
    return {"world": matrix.tolist(), "degree": degree, "space": space[:100]}


def _array(prim: Any, name: str, width: int, rows: int | None = None) -> NDArray[Any]:
    """(rows, width) floats, or halfs where there are no floats, of the first moment that has any."""
    empty = None
    for attribute in (prim.GetAttribute(name), prim.GetAttribute(f"{name}h")):
        value = attribute.Get(_moment(attribute)) if attribute else None
        if value is None:
            continue
        found = np.asarray(value).reshape(-1, width)  # of a quaternion, pxr keeps the imaginary numbers first
        if not len(found):
            empty = found
            continue
        if rows is not None and len(found) != rows:
            raise _RefusedError(f"is damaged: {name} must have {rows} rows; got {len(found)}; export it again")
        return found
    if rows is None or rows == 0:
        return np.zeros((0, width), np.float32) if empty is None else empty
    raise _RefusedError(f"is not a whole splat: {str(prim.GetPath())[:100]} has no {name}")


def _moment(attribute: Any) -> Any:
    """The time to ask an attribute about: none, unless it is animated only."""
    from pxr import Usd

    animated = attribute and attribute.GetNumTimeSamples() and attribute.Get() is None
    return Usd.TimeCode.EarliestTime() if animated else Usd.TimeCode.Default()


def _plain(value: Any) -> Any:
    """A value of OpenUSD's metadata as JSON has it: its vectors are sequences without a common type."""
    if isinstance(value, bool | int | float | str):
        return value
    with suppress(TypeError, ValueError):
        return [float(number) for number in value]
    return None


def _short(error: BaseException) -> str:
    """What an error of pxr says, without the names of its functions."""
    words = re.findall(r" : '(.*)'", str(error), flags=re.DOTALL) or [str(error)]
    return " ".join(words[0].split())[:160]


if __name__ == "__main__":
    main(*sys.argv[1:5])
