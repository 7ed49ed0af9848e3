"""The same stages in Triton, for NVIDIA and AMD GPUs: compiled at first use, no compiler to install."""
