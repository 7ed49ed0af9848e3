"""The nouns: cameras, Gaussians, scenes, rotations, spherical harmonics, images, errors."""
