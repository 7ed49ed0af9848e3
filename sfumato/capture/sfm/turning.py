"""Whether a camera was only turned on its spot: any depth explains such photos, so cameras that fit may be wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_turned"]

_Matches = tuple[NDArray[np.float64], NDArray[np.float64]]  # (M, 2) and (M, 2), in lengths of the photo's longer side

BENT = 0.004  # median distance that a turned camera's homography may leave: noise, and the lens's distortion
WARPED = 0.06  # how far from a rotation it may be; a photo of a plane after a step of 3 % of its distance is as far
NEAR, FAR = 0.05, 0.35  # median motion: less says too little, and more is often matched wrongly
FOCALS = np.geomspace(0.3, 4.0, 60)  # that are tried
ENOUGH = 3  # pairs; one alone is seldom sure


def is_turned(pairs: Sequence[_Matches]) -> bool:
    """True when most pairs of photos are related as by turning a pinhole camera with one focal length.

    Points are relative to the middle of the photo. Such pairs are related by K R K^-1 (Hartley and Zisserman 2004,
    8.4.2), which, unlike the homography of a plane that was seen from two places, is a rotation for the right K.
    """
    telling = [(x, y) for x, y in pairs if NEAR < np.median(np.linalg.norm(x - y, axis=1)) < FAR]
    if len(telling) < ENOUGH:
        return False
    fitted = [_homography(*pair) for pair in telling]
    if np.median([left for _, left in fitted]) > BENT:
        return False
    warps = np.median([[_warp(H, focal) for focal in FOCALS] for H, _ in fitted], axis=0)
    return bool(warps.min() < WARPED)


def _homography(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """(3, 3) that takes x to y in the sense of least squares (the direct linear transform), and the median distance."""
    one, zero = np.ones((len(x), 1)), np.zeros((len(x), 3))
    points = np.hstack([x, one])
    rows = np.vstack([np.hstack([points, zero, -y[:, :1] * points]), np.hstack([zero, points, -y[:, 1:] * points])])
    H = np.linalg.svd(rows, full_matrices=False)[2][-1].reshape(3, 3)
    moved = points @ H.T
    moved = moved[:, :2] / np.where(np.abs(moved[:, 2:]) < 1e-12, 1e-12, moved[:, 2:])
    return H, float(np.median(np.linalg.norm(moved - y, axis=1)))


def _warp(H: NDArray[np.float64], focal: float) -> float:
    """How far K^-1 H K, made to keep volumes, is from a rotation: 0 when it is one."""
    K = np.diag([focal, focal, 1.0])
    turn = np.linalg.inv(K) @ H @ K
    volume = np.linalg.det(turn)
    if abs(volume) < 1e-12:
        return np.inf
    turn = turn / np.cbrt(volume)
    return float(np.linalg.norm(turn @ turn.T - np.eye(3)))
