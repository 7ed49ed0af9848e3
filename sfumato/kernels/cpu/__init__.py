"""The same stages in Numba, on explicit vectors and a pool of Python threads: milliseconds on any CPU."""

from sfumato.kernels.cpu.adam import adam, adam_from_splats
from sfumato.kernels.cpu.bin import bin
from sfumato.kernels.cpu.blend import blend
from sfumato.kernels.cpu.photometric import photometric
from sfumato.kernels.cpu.prepare import is_prepared, prepare
from sfumato.kernels.cpu.project import project

__all__ = ["adam", "adam_from_splats", "bin", "blend", "is_prepared", "photometric", "prepare", "project"]
