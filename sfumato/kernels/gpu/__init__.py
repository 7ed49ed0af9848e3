"""The same stages in Triton, for NVIDIA and AMD GPUs: compiled when first used, nothing is compiled at install."""

from sfumato.kernels.gpu.adam import adam, adam_from_splats
from sfumato.kernels.gpu.bin import bin
from sfumato.kernels.gpu.blend import blend
from sfumato.kernels.gpu.photometric import photometric
from sfumato.kernels.gpu.prepare import is_prepared, prepare
from sfumato.kernels.gpu.project import project

__all__ = ["adam", "adam_from_splats", "bin", "blend", "is_prepared", "photometric", "prepare", "project"]
