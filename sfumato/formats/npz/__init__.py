"""numpy's .npz: Gaussians to arrays under their stored names, uncompressed, and back, every bit kept.

`numpy.load` gives means, quats, log_scales, logit_opacities, sh0 and shN as `core.gaussians.Gaussians` has them, and
`asset`, a string of JSON with the frame and what else is known. Files with float16 or float64, of `savez_compressed`,
without `asset` or without shN are read as well; Python objects are not.
"""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfumato.core.asset import CHUNK, Asset
from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import MAX_DEGREE, bases_of_degree, degree_of_bases
from sfumato.formats.facts import facts_of, known_from
from sfumato.formats.limits import check_memory, opened
from sfumato.formats.npz.npy import DAMAGES, Array, arrays_of, write_header
from sfumato.formats.options import WriteOptions

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "numpy"
SUFFIXES: tuple[str, ...] = (".npz",)
EXACT = True
ABOUT = "asset"  # name of the array with the JSON
_FIELDS = Gaussians.names()
_MOST_ABOUT = 1 << 16  # characters of JSON
_EPOCH = (1980, 1, 1, 0, 0, 0)  # as numpy dates its members: the same splat makes the same bytes


def recognizes(path: Path, head: bytes) -> bool:
    """Zip archives with an array of means, and those of that name whatever they have."""
    if head[:2] != b"PK":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "means.npy" in archive.namelist()
    except (OSError, *DAMAGES):
        return path.suffix.lower() in SUFFIXES


def read(path: Path, raw: bool = False) -> Asset:
    """The splat, float32, in the canonical frame or, raw, in the file's: that in its JSON, else the canonical one.

    Raises InputError when the file is missing, damaged, or an array is missing or of another shape or type.
    """
    with _archive(path) as archive:
        arrays = arrays_of(path, archive, (*_FIELDS, ABOUT))
        shapes = _shapes(path, archive, arrays)
        about = _about(path, archive, arrays)
        source = _axes(path, about)
        tensors = [torch.empty(shape) for shape in shapes.values()]
        for name, tensor in zip(shapes, tensors, strict=True):
            if tensor.numel():
                arrays[name].copy_to(path, archive, tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None])
    gaussians = Gaussians(*tensors)
    target = source if raw else CANONICAL
    for start in range(0, len(gaussians), CHUNK) if source != target else ():
        part = gaussians[start : start + CHUNK]
        for whole, turned in zip(part, reframe(part, source, target), strict=True):
            whole.copy_(turned)
    generator = about.get("generator")
    return Asset(
        gaussians,
        axes=target,
        color_space="linear" if about.get("colorSpace") == "linear" else "srgb",
        generator=generator if isinstance(generator, str) and generator else None,
        **known_from(about, source, target),
    )


def count(path: Path) -> int:
    """How many Gaussians the arrays' shapes promise. Raises InputError as `read` does for what these show."""
    with _archive(path) as archive:
        return _shapes(path, archive, arrays_of(path, archive, _FIELDS))["means"][0]


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write float32 arrays, uncompressed: floats hardly get smaller, and it would take 50 times as long.

    The file appears whole or not at all. Raises OSError when it cannot be written.
    """
    axes = asset.axes if options.raw else CANONICAL
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in _FIELDS:
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True) as member:
                write_header(member, "<f4", tuple(getattr(asset.gaussians, name).shape))
                for part in asset.chunks(axes):
                    tensor = getattr(part, name).to(torch.float32).contiguous()
                    if tensor.numel():
                        member.write(tensor.numpy().astype("<f4", copy=False).data)
        with archive.open(zipfile.ZipInfo(f"{ABOUT}.npy", _EPOCH), "w") as member:
            text = np.array(json.dumps(_known(asset, axes)))
            write_header(member, f"<U{len(text.item())}", ())
            member.write(text.item().encode("utf-32-le"))


def _known(asset: Asset, axes: str) -> dict[str, Any]:
    import sfumato

    linear = {"colorSpace": "linear"} if asset.color_space == "linear" else {}
    return {"generator": f"sfumato {sfumato.__version__}", "axes": axes, **linear, **facts_of(asset, axes)}


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with opened(path):
        try:
            archive = zipfile.ZipFile(path)
        except DAMAGES as error:
            told = f"it has no whole table of its arrays ({error})"
            raise InputError(f"{path} is truncated or no .npz: {told}; copy or download it again") from None
        with archive:
            yield archive


def _shapes(path: Path, archive: zipfile.ZipFile, arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    """The shape of each field of the Gaussians; shN is of no bases when there is none."""
    missing = [name for name in _FIELDS if name != "shN" and name not in arrays]
    if missing:
        there = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:10]) or "none"
        wanted = ", ".join(missing)
        raise InputError(f"{path} is not a whole splat: it has no array {wanted} (it has: {there}); save those too")
    N = arrays["means"].shape[0] if arrays["means"].shape else 0
    wanted_shapes: dict[str, list[tuple[int, ...]]] = {
        "means": [(N, 3)],
        "quats": [(N, 4)],
        "log_scales": [(N, 3)],
        "logit_opacities": [(N,), (N, 1)],
        "sh0": [(N, 1, 3), (N, 3)],
        "shN": [(N, bases_of_degree(degree) - 1, 3) for degree in range(MAX_DEGREE + 1)],
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, allowed in wanted_shapes.items():
        shape = arrays[name].shape if name in arrays else (N, 0, 3)
        if shape not in allowed:
            raise InputError(f"{path}: {name} must be {' or '.join(map(str, allowed))}; got {shape}")
        if name in arrays and arrays[name].kind.kind != "f":
            raise InputError(f"{path}: {name} must be float16, float32 or float64; got {arrays[name].kind}")
        shapes[name] = shape if name == "shN" else allowed[0]
    degree = degree_of_bases(shapes["shN"][1] + 1)
    check_memory(path, N, degree, path.stat().st_size, "save it with numpy.savez, uncompressed")
    return shapes


def _about(path: Path, archive: zipfile.ZipFile, arrays: dict[str, Array]) -> dict[str, Any]:
    """The object in the JSON; empty without one."""
    if ABOUT not in arrays:
        return {}
    array = arrays[ABOUT]
    if array.kind.kind != "U" or array.shape not in ((), (1,)) or array.kind.itemsize > 4 * _MOST_ABOUT:
        raise InputError(f"{path}: {ABOUT} must be one string of JSON; got an array {array.shape} of {array.kind}")
    try:
        found = json.loads(array.text(path, archive))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {ABOUT} must be a string of JSON, which this is not ({error})") from None
    return found if isinstance(found, dict) else {}


def _axes(path: Path, about: dict[str, Any]) -> str:
    axes = about.get("axes", CANONICAL)
    try:
        matrix_between(str(axes), CANONICAL)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return str(axes)
