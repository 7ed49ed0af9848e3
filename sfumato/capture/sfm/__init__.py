"""Structure from motion: photos to cameras and points, with a report of what became of every photo."""

from sfumato.capture.sfm.mapping import MIN_PHOTOS
from sfumato.capture.sfm.result import PhotoRecord, Reconstruction, photos_of
from sfumato.capture.sfm.solve import solve

__all__ = ["MIN_PHOTOS", "PhotoRecord", "Reconstruction", "photos_of", "solve"]
