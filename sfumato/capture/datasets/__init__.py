"""Datasets of other programs: one module each, with `find`, which tells whether it is one, and `read`, to a Capture."""
