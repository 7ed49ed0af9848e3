"""Colors of video to those of photos: what the samples mean in, a lookup table to 8-bit sRGB out."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFilter

__all__ = ["BT2020", "HLG", "P3", "PQ", "srgb_table"]

PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273: SMPTE ST 2084, ARIB STD-B67
BT2020, P3 = 9, 12  # color primaries of ITU-T H.273: BT.2020, Display P3
WHITE = 203.0  # cd/m2 of a white page in HDR video (BT.2408)
PEAK = 1000.0  # cd/m2 of the display that HLG is graded for (BT.2100)
KNEE = 0.7  # of white; what is brighter is compressed
GRID = 65  # samples along each side of the table
XYZ_FROM_BT709 = np.array(
    [[0.412391, 0.357584, 0.180481], [0.212639, 0.715169, 0.072192], [0.019331, 0.119195, 0.950532]]
)
XYZ_FROM = {
    BT2020: np.array([[0.636958, 0.144617, 0.168881], [0.262700, 0.677998, 0.059302], [0.0, 0.028073, 1.060985]]),
    P3: np.array([[0.486571, 0.265668, 0.198217], [0.228975, 0.691739, 0.079287], [0.0, 0.045113, 1.043944]]),
}

_Array = NDArray[np.float64]


@lru_cache(maxsize=4)
def srgb_table(transfer: int, primaries: int) -> ImageFilter.Color3DLUT | None:
    """From R'G'B' of that transfer and those primaries to sRGB; None when they are as good as the same.

    HDR is shown with a page's white a little below the white of the picture, and highlights compressed.
    """
    if transfer not in (PQ, HLG) and primaries not in XYZ_FROM:
        return None
    side = np.linspace(0, 1, GRID)
    b, g, r = np.meshgrid(side, side, side, indexing="ij")  # red changes fastest
    signal = np.stack([r, g, b], axis=-1).reshape(-1, 3)
    light = {PQ: _pq, HLG: _hlg}.get(transfer, _sdr)(signal)
    if primaries in XYZ_FROM:
        light = light @ (np.linalg.inv(XYZ_FROM_BT709) @ XYZ_FROM[primaries]).T
    light = np.maximum(light, 0)
    if transfer in (PQ, HLG):
        light = _compressed(light)
    light = np.clip(light, 0, 1)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return ImageFilter.Color3DLUT(GRID, srgb.astype(np.float32).ravel(), target_mode="RGB")


def _sdr(signal: _Array) -> _Array:
    """SDR video is shown as it is, so its samples are taken for sRGB."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _pq(signal: _Array) -> _Array:
    """Light, 1 at WHITE: the EOTF of BT.2100, table 4."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    light: _Array = 10000 / WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light


def _hlg(signal: _Array) -> _Array:
    """Light, 1 at WHITE: the inverse OETF and the OOTF of BT.2100, table 5, for a display of PEAK."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    shown: _Array = PEAK / WHITE * luminance[:, None] ** 0.2 * scene
    return shown


def _compressed(light: _Array) -> _Array:
    """Up to KNEE as it is, from there on ever closer to 1: each channel alone, so that highlights fade to white."""
    above = np.maximum(light - KNEE, 0) / (1 - KNEE)
    return np.asarray(np.where(light > KNEE, KNEE + (1 - KNEE) * above / (1 + above), light))
