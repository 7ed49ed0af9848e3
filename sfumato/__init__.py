"""Photos in, 3D Gaussian splat out."""
