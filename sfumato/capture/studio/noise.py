"""Noise and the few functions that turn it into pictures: seeds in, smooth random fields and mixed colors out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "color", "fractal", "linear_from_srgb", "mix", "profile", "ramp", "step", "turned"]

Array = NDArray[np.floating[Any]]


def linear_from_srgb(values: Array) -> Array:
    """sRGB in [0, 1] to linear light, IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def color(code: str) -> Array:
    """(3,) linear light of a color written as six hexadecimal digits, such as `c96f4a`."""
    srgb = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.float32) / 255
    return linear_from_srgb(srgb)


def mix(a: Array, b: Array, amount: Array | float) -> Array:
    """`a` where amount is 0, `b` where it is 1; an amount (H, W) mixes colors (3,) or (H, W, 3)."""
    t = np.asarray(amount, dtype=np.float32)
    if t.ndim and max(np.ndim(a), np.ndim(b)) > 0 and np.shape(a)[-1:] == (3,):
        t = t[..., None]
    return (a + (b - a) * t).astype(np.float32)


def step(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, a smooth cubic between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def ramp(stops: list[tuple[float, str]], x: Array) -> Array:
    """(..., 3) colors along `stops`, pairs of a position and a hexadecimal color in rising order."""
    places = [place for place, _ in stops]
    colors = np.stack([color(code) for _, code in stops])
    return np.stack([np.interp(x, places, colors[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def turned(vectors: Array, matrix: Array) -> Array:
    """(n, 3) `matrix` (3, 3) times each of `vectors` (n, 3), in one thread: photos are already made side by side."""
    return np.asarray(np.einsum("nj,ij->ni", vectors, matrix))


def fractal(
    rng: np.random.Generator, height: int, width: int, slope: float = 1.8, stretch: float = 1.0, coarsest: float = 2.0
) -> Array:
    """(height, width) noise that wraps around, mean 0, deviation 1, with an amplitude of frequency ** -slope.

    `stretch` above 1 draws the noise out along x. Frequencies below `coarsest` cycles per picture height are left
    out, so that no single blob decides the picture.
    """
    fy = np.fft.fftfreq(height)[:, None] * height
    fx = np.fft.rfftfreq(width)[None, :] * height * stretch
    frequency = np.sqrt(fx * fx + fy * fy).astype(np.float32)
    amplitude = np.where(frequency >= coarsest, np.maximum(frequency, 1e-3) ** np.float32(-slope), 0)
    phases = rng.random(frequency.shape, dtype=np.float32) * np.float32(2 * np.pi)
    spectrum = (amplitude * np.exp(1j * phases)).astype(np.complex64)
    field = np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    return np.asarray((field - field.mean()) / field.std())


def profile(rng: np.random.Generator, width: int, slope: float = 1.5, coarsest: float = 2.0) -> Array:
    """(width,) the same noise on a circle: a skyline, a wobble."""
    frequency = np.fft.rfftfreq(width) * width
    amplitude = np.where(frequency >= coarsest, np.maximum(frequency, 1e-3) ** -slope, 0)
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(len(frequency)))
    line = np.fft.irfft(spectrum, n=width).astype(np.float32)
    return np.asarray((line - line.mean()) / line.std())
