"""The specification: every stage in plain torch, any dtype, any device, differentiable through autograd.

Slow on purpose: it is read by people and compared with by tests.
"""

from sfumato.kernels.reference.adam import adam, adam_from_splats
from sfumato.kernels.reference.bin import bin
from sfumato.kernels.reference.blend import blend
from sfumato.kernels.reference.photometric import photometric
from sfumato.kernels.reference.project import project

__all__ = ["adam", "adam_from_splats", "bin", "blend", "photometric", "project"]
