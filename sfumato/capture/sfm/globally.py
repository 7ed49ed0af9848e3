"""The global mapper as a process of its own: `python -m sfumato.capture.sfm.globally DATABASE PHOTOS OUTPUT`."""

import sys
from collections.abc import Sequence

from sfumato.capture.sfm.site import SEED
from sfumato.capture.undistort import load_pycolmap

__all__ = ["main"]


def main(words: Sequence[str]) -> None:
    """Write the models found to numbered folders of the output."""
    pycolmap = load_pycolmap()
    pycolmap.set_random_seed(SEED)
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = options.mapper.random_seed = SEED
    calibration = pycolmap.ViewGraphCalibrationOptions()
    calibration.random_seed = SEED
    pycolmap.calibrate_view_graph(
        words[0], calibration
    )  # focal lengths are not its business, and must be good from the start
    pycolmap.global_mapping(*words, options=options)


if __name__ == "__main__":
    main(sys.argv[1:])
