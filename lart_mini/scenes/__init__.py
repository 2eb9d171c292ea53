"""Scenes: captured takes composed into videos of several people, and a camera that films them (00, 03)."""

from lart_mini.scenes.camera import Camera, Filmed, film, look_at, shoot
from lart_mini.scenes.render import Masks, Renderer
from lart_mini.scenes.scene import ANNOTATED_FROM, PARTS, Scene, compose, stream
from lart_mini.scenes.staging import Performance, cast, perform
from lart_mini.scenes.takes import Segment, scored_actions, segments
from lart_mini.scenes.world import World

__all__ = [
    "ANNOTATED_FROM",
    "PARTS",
    "Camera",
    "Filmed",
    "Masks",
    "Performance",
    "Renderer",
    "Scene",
    "Segment",
    "World",
    "cast",
    "compose",
    "film",
    "look_at",
    "perform",
    "scored_actions",
    "segments",
    "shoot",
    "stream",
]
