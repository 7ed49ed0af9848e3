"""A file of OpenUSD to its stage: nothing outside the file is opened, and what pxr has to say becomes one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.core.errors import InputError
from sfumato.formats.facts import KEY
from sfumato.formats.limits import opened

__all__ = ["AXES", "OpenStage", "opened_stage", "quiet_pxr"]

AXES = {"Y": "RUB", "Z": "RFU"}  # up axis -> frame of a stage's world: right-handed, seen from the front
MOST_ARCS = 16  # references within a file: chains of them show things several hundred times, of 300 forever


@dataclass(frozen=True)
class OpenStage:
    """A stage, and what it says of all that is in it."""

    stage: Any  # pxr.Usd.Stage
    up_axis: str  # Y or Z
    meters_per_unit: float | None  # None: it does not say
    generator: str | None
    facts: dict[str, Any]  # as formats/facts.py writes them


@contextmanager
def quiet_pxr(path: Path) -> Iterator[None]:
    """Inside, pxr prints nothing, and its errors become InputError. Raises InputError when it is not installed."""
    try:
        from pxr import Tf, UsdUtils
    except ImportError:
        how = "pip install 'sfumato[usd]', which Python 3.11 or newer can"
        raise InputError(f"{path} is OpenUSD, for which usd-core is missing; {how}") from None
    delegate = UsdUtils.CoalescingDiagnosticDelegate()
    try:
        yield
    except (Tf.ErrorException, Tf.CppException, UnicodeError) as error:
        raise InputError(f"{path} is damaged: OpenUSD cannot use it ({_short(error)}); export it again") from None
    finally:
        delegate.TakeUncoalescedDiagnostics()


@contextmanager
def opened_stage(path: Path) -> Iterator[OpenStage]:
    """The composed stage of a file; arrays taken from it are valid inside only.

    Raises InputError when it is missing or damaged, or is spread over several files: none but this one is opened.
    """
    with opened(path), path.open("rb"):
        pass  # pxr's own words for files that are not there or not readable are many
    with quiet_pxr(path):
        from pxr import Sdf, Usd

        package = path.suffix.lower() == ".usdz"
        layer = Sdf.Layer.FindOrOpen(str(path.absolute())) if package else Sdf.Layer.OpenAsAnonymous(str(path))
        if not layer:
            raise InputError(f"{path} is damaged: OpenUSD cannot open it; export it again")
        _check_arcs(path, layer, package)
        stage = Usd.Stage.Open(layer)
        if not stage:
            raise InputError(f"{path} is damaged: OpenUSD makes no stage of it; export it again")
        yield _described(path, stage)


def _check_arcs(path: Path, layer: Any, package: bool) -> None:
    """Refuse what leads out of the file, and chains of references that multiply what they show."""
    from pxr import Sdf

    home = f"{path.absolute()}["
    waiting, seen, arcs = [layer], set(), 0
    while waiting:
        here = waiting.pop()
        arcs += _arcs(here)
        for asset in here.GetCompositionAssetDependencies():
            if not asset:
                continue  # within the layer
            name = Sdf.ComputeAssetPathRelativeToLayer(here, asset)
            if not package or not name.startswith(home):
                how = "make one file of it with usdcat --flatten"
                raise InputError(
                    f"{path} is spread over several files ({str(asset)[:100]!r}), which are not opened; {how}"
                )
            if name in seen:
                continue
            seen.add(name)
            there = Sdf.Layer.FindOrOpen(name)
            if not there:
                raise InputError(f"{path} is damaged: it has no {str(asset)[:100]!r}; export it again")
            waiting.append(there)
    if arcs > MOST_ARCS:
        how = "flatten it with usdcat --flatten"
        raise InputError(f"{path} is composed of {arcs} references, of which at most {MOST_ARCS} are followed; {how}")


def _arcs(layer: Any) -> int:
    """How many references, payloads, inherits and specializes a layer has, sublayers too."""
    from pxr import Sdf

    found = [len(layer.subLayerPaths)]

    def look(place: Any) -> None:
        prim = layer.GetPrimAtPath(place) if place.IsPrimPath() or place.IsPrimVariantSelectionPath() else None
        if prim:
            lists = (prim.referenceList, prim.payloadList, prim.inheritPathList, prim.specializesList)
            found.append(sum(len(arcs.GetAddedOrExplicitItems()) for arcs in lists))

    layer.Traverse(Sdf.Path.absoluteRootPath, look)
    return sum(found)


def _described(path: Path, stage: Any) -> OpenStage:
    from pxr import UsdGeom

    up = str(UsdGeom.GetStageUpAxis(stage))
    if up not in AXES:
        raise InputError(f"{path}: its up axis must be Y or Z; got {up[:20]!r}")
    root = stage.GetRootLayer()
    said = dict(root.customLayerData).get(KEY)
    facts = {name: _plain(value) for name, value in said.items()} if isinstance(said, dict) else {}
    meters: float | None = float(UsdGeom.GetStageMetersPerUnit(stage))
    if not UsdGeom.StageHasAuthoredMetersPerUnit(stage) or facts.get("unitIsKnown") is False:
        meters = None  # the hundredth that OpenUSD assumes is nobody's word
    elif not (meters is not None and 0 < meters < float("inf")):
        raise InputError(f"{path}: its metersPerUnit must be a number above 0; got {meters}")
    written_by = re.search(r"\bsfumato [\w.]+", root.documentation or "")
    creator = dict(root.customLayerData).get("creator")
    generator = written_by[0] if written_by else str(creator)[:200] if isinstance(creator, str) and creator else None
    return OpenStage(stage, up, meters, generator, facts)


def _plain(value: Any) -> Any:
    """A value of OpenUSD's metadata as Python's own: its vectors are sequences without a common type."""
    if isinstance(value, bool | int | float | str | dict):
        return value
    try:
        return list(value)
    except TypeError:
        return None


def _short(error: BaseException) -> str:
    """What an error of pxr says, without the names of its functions."""
    words = re.findall(r" : '(.*)'", str(error), flags=re.DOTALL) or [str(error)]
    return " ".join(words[0].split())[:160]
