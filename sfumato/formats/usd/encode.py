"""An Asset to OpenUSD: one ParticleField3DGaussianSplat, +y up, its numbers as they are, without a transform."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.core.asset import Asset
from sfumato.core.files import replacing_path
from sfumato.core.sh import bases_of_degree
from sfumato.formats.facts import KEY, facts_of
from sfumato.formats.losses import warn_clamped
from sfumato.formats.placement import count_clamped, linear_scales, unit_quats
from sfumato.formats.usd.process import check_installed

__all__ = ["write"]

PLACE = "/Splat"
CHUNK = 1 << 15  # rows, few enough that what is made of them stays in the processor's cache
SPACES = {"srgb": "srgb_rec709_display", "linear": "lin_rec709_display"}


def write(path: Path, asset: Asset, axes: str) -> None:
    """Write the splat, its numbers in the frame `axes`; .usda is text, .usd and .usdc are binary.

    Warns (SfumatoWarning) of scales float32 cannot hold as such. Raises InputError when usd-core is not installed,
    OSError when the file cannot be written.
    """
    clamped = count_clamped(asset.gaussians.log_scales)
    warn_clamped(path, "scales too large or too small for float32", clamped, len(asset))
    check_installed(path)
    with replacing_path(path) as beside:
        layer = _layer(asset, axes)
        named = beside.with_name(beside.name + path.suffix.lower())  # pxr knows formats by their suffix
        try:
            _export(layer, named, path)
            named.replace(beside)
        finally:
            named.unlink(missing_ok=True)


def _export(layer: Any, named: Path, path: Path) -> None:
    """Raises OSError, which says why as far as OpenUSD does, a line for each of many buffers."""
    from pxr import Tf

    try:
        if layer.Export(str(named)):
            return
        why = ""
    except Tf.ErrorException as error:
        why = str(error)
    likely = (errno.ENOSPC, errno.EFBIG)
    code = next((one for one in likely if os.strerror(one) in why), errno.EIO)
    raise OSError(code, os.strerror(code), str(path))


def _layer(asset: Asset, axes: str) -> Any:
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdVol, Vt

    import sfumato

    layer = Sdf.Layer.CreateAnonymous(".usdc")
    stage = Usd.Stage.Open(layer)
    facts = facts_of(asset, axes)
    facts.pop("metersPerUnit", None)
    facts |= {} if asset.meters_per_unit is not None else {"unitIsKnown": False}
    told = {name: Gf.Vec3d(*value) if isinstance(value, list) else value for name, value in facts.items()}
    layer.customLayerData = {"creator": f"sfumato {sfumato.__version__}"} | ({KEY: told} if told else {})
    UsdGeom.SetStageUpAxis(stage, "Y")
    UsdGeom.SetStageMetersPerUnit(stage, asset.meters_per_unit or 1.0)
    prim = UsdVol.ParticleField3DGaussianSplat.Define(stage, PLACE).GetPrim()
    stage.SetDefaultPrim(prim)
    Usd.ColorSpaceAPI.Apply(prim).CreateColorSpaceNameAttr(SPACES[asset.color_space])

    columns = _columns(asset, axes)
    prim.GetAttribute("extent").Set(Vt.Vec3fArray.FromNumpy(_extent(columns)))
    prim.GetAttribute("positions").Set(Vt.Vec3fArray.FromNumpy(columns.pop("means")))
    prim.GetAttribute("orientations").Set(Vt.QuatfArray.FromNumpy(columns.pop("quats")))
    prim.GetAttribute("scales").Set(Vt.Vec3fArray.FromNumpy(columns.pop("scales")))
    prim.GetAttribute("opacities").Set(Vt.FloatArray.FromNumpy(columns.pop("opacities")))
    prim.GetAttribute("radiance:sphericalHarmonicsDegree").Set(asset.gaussians.degree)
    sh = prim.GetAttribute("radiance:sphericalHarmonicsCoefficients")
    sh.Set(Vt.Vec3fArray.FromNumpy(columns.pop("sh").reshape(-1, 3)))
    sh.SetMetadata("elementSize", bases_of_degree(asset.gaussians.degree))
    return layer


def _columns(asset: Asset, axes: str) -> dict[str, NDArray[np.float32]]:
    """Each array whole, as pxr takes them."""
    N, K = len(asset), bases_of_degree(asset.gaussians.degree)
    widths = {"means": (N, 3), "quats": (N, 4), "scales": (N, 3), "opacities": (N,), "sh": (N, K, 3)}
    columns = {name: np.empty(shape, np.float32) for name, shape in widths.items()}
    start = 0
    for part in asset.chunks(axes, CHUNK):
        stop = start + len(part)
        columns["means"][start:stop] = part.means
        columns["quats"][start:stop] = unit_quats(part.quats)[:, [1, 2, 3, 0]]  # pxr's memory: imaginary, then real
        columns["scales"][start:stop] = linear_scales(part.log_scales)
        columns["opacities"][start:stop] = part.logit_opacities.double().sigmoid()
        columns["sh"][start:stop, :1] = part.sh0
        columns["sh"][start:stop, 1:] = part.shN
        start = stop
    return columns


def _extent(columns: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """(2, 3) corners of a box around three standard deviations of every Gaussian."""
    if not len(columns["means"]):
        return np.zeros((2, 3), np.float32)
    means, reach = columns["means"], 3.0 * columns["scales"].max(axis=1, keepdims=True).astype(np.float64)
    largest = np.finfo(np.float32).max
    corners = np.stack([(means - reach).min(axis=0), (means + reach).max(axis=0)])
    return corners.clip(-largest, largest).astype(np.float32)
