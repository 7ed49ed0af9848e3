"""The GPU backend beside the card's ceilings, gsplat and the reference: python benchmarks/gpu.py [--ply FILE].

Prints, for synthetic clouds and trained splats: milliseconds of each stage and of the whole step, pictures per second,
memory, least traffic and instructions as shares of what the card can do, and how far results are from float64. gsplat
takes part where it can be imported. Exit code 1: results are wrong; 2: there is no GPU, and nothing was measured.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

from sfumato.kernels.backends import interpreted

COUNTS = (100_000, 1_000_000, 5_000_000)
SIZES = ((1920, 1080), (3840, 2160))


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="Gaussians of the synthetic clouds")
    parser.add_argument("--sizes", type=_size, nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    parser.add_argument("--ply", type=Path, nargs="+", default=(), help="trained splats to measure, too")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--no-gsplat", action="store_true", help="leave gsplat out even where it is installed")
    parser.add_argument("--smoke", action="store_true", help="a tiny scene, interpreted on the CPU: times mean nothing")
    options = parser.parse_args()
    if options.smoke and not interpreted():
        command = [sys.executable, __file__, *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}).returncode
    if not options.smoke and not torch.cuda.is_available():
        print("torch sees no GPU here: nothing was measured.")
        return 2
    from gpu_report import report  # imports Triton, which settles at once whether it interprets

    return report(options)


if __name__ == "__main__":
    sys.exit(main())
