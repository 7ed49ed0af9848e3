"""Photographs of a scene that exists only as mathematics: cameras in, photos with exact depth and normals out."""

from sfumato.capture.studio.photograph import Photograph, photograph
from sfumato.capture.studio.walk import phone_walk, shoot

__all__ = ["Photograph", "phone_walk", "photograph", "shoot"]
