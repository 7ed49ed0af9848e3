"""WriteOptions: what a writer may be told, each where a format has a choice."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["WriteOptions"]


@dataclass(frozen=True)
class WriteOptions:
    """What a writer may be told, each where a format has a choice.

    Parameters
    ----------
    raw : bool
        The numbers go to the file as they are, in whatever frame they have; else in the frame its readers expect.
    spz_version : {2, 3, 4}
        3 is read by most programs, 4 is smaller (zstd), 2 is for old engines: its rotations are rough.
    spz_sh_bits : {4, 5, 6, 7, 8}
        Bits of each harmonic, with one more for those of degree 1: other programs take 4, smaller and visibly worse; 8
        is truer.
    ksplat_level : {0, 1, 2}
        0: floats. 1: 16 bits. 2: harmonics in 8 bits.
    """

    raw: bool = False
    spz_version: Literal[2, 3, 4] = 3
    spz_sh_bits: Literal[4, 5, 6, 7, 8] = 6
    ksplat_level: Literal[0, 1, 2] = 1
