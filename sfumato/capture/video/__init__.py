"""Video to photos: its sharpest frames with enough parallax between them, upright and in sRGB."""

from sfumato.capture.video.extract import VIDEO_SUFFIXES, extract_frames, is_video

__all__ = ["VIDEO_SUFFIXES", "extract_frames", "is_video"]
