"""Brown's distortion in COLMAP's terms: the simplest model that says it, and the quotient that stands for r^8."""

import numpy as np
import pytest

from sfumato.capture.brown import brown_lens
from sfumato.capture.shot import Lens
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.errors import InputError

FOCALS, CENTER, SIZE = (900.0, 905.0), (660.0, 470.0), (1280, 960)


def brown(xy: np.ndarray, radial: tuple[float, ...], tangential: tuple[float, float]) -> np.ndarray:
    """Pixels of (M, 2) points at depth 1, by the formula written out."""
    x, y = xy.T
    r2 = x * x + y * y
    bend = 1 + sum(k * r2**i for i, k in enumerate(radial, start=1))
    p1, p2 = tangential
    u = x * bend + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * bend + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([FOCALS[0] * u + CENTER[0], FOCALS[1] * v + CENTER[1]], axis=1)


@pytest.mark.parametrize(
    ("radial", "tangential", "model", "tolerance"),
    [
        ((0.0,), (0.0, 0.0), "PINHOLE", 1e-9),
        ((-0.2, 0.05), (0.001, -0.002), "OPENCV", 1e-9),
        ((0.0,), (0.001, 0.0), "OPENCV", 1e-9),
        ((-0.2, 0.05, -0.01), (0.001, -0.002), "FULL_OPENCV", 1e-9),
        ((-0.237, 0.07, -0.011, 0.002), (0.001, -0.002), "FULL_OPENCV", 0.1),
        ((0.3, -0.5, 0.6, -0.5), (0.0, 0.0), "FULL_OPENCV", 0.1),
        ((-0.4, 0.3, -0.2, 0.1), (0.0, 0.0), "FULL_OPENCV", 0.1),
    ],
)
def test_pixels_are_those_of_the_formula(
    radial: tuple[float, ...], tangential: tuple[float, float], model: str, tolerance: float
) -> None:
    lens = brown_lens(FOCALS, CENTER, radial, tangential, SIZE)
    assert lens.model == model
    camera = load_pycolmap().Camera(model=lens.model, width=SIZE[0], height=SIZE[1], params=list(lens.params))
    xy = np.stack(np.meshgrid(np.linspace(-0.65, 0.6, 21), np.linspace(-0.48, 0.5, 17)), axis=-1).reshape(-1, 2)
    expected = brown(xy, radial, tangential)
    got = np.array([camera.img_from_cam(np.array([x, y, 1.0])) for x, y in xy])
    inside = ((expected > 0) & (expected < SIZE)).all(axis=1)
    assert inside.sum() > 200
    assert np.abs(got - expected)[inside].max() < tolerance


def test_what_no_quotient_can_follow_is_refused() -> None:
    with pytest.raises(InputError, match="export undistorted photos"):
        brown_lens(FOCALS, CENTER, (0.1, -0.3, 0.4, -0.2), (0.0, 0.0), SIZE)
    with pytest.raises(InputError, match="export undistorted photos"):
        brown_lens(FOCALS, CENTER, (5.0, -9.0, 7.0, 60.0), (0.0, 0.0), (12800, 9600))


@pytest.mark.parametrize("focal", [0.0, -5.0, float("nan")])
def test_impossible_focal_lengths(focal: float) -> None:
    for radial in ((0.1,), (0.1, 0.1, 0.1, 0.1)):
        with pytest.raises(InputError, match=r"focal length above 0|finite"):
            brown_lens((focal, 900.0), CENTER, radial, (0.0, 0.0), SIZE)


def test_no_distortion_is_a_pinhole() -> None:
    assert brown_lens(FOCALS, CENTER, (), (0.0, 0.0), SIZE) == Lens("PINHOLE", (*FOCALS, *CENTER), *SIZE)
