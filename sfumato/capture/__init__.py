"""Photos, or somebody's dataset with cameras, to a Scene."""

from sfumato.capture.load import load_scene

__all__ = ["load_scene"]
