"""Appearance: what a frozen image network sees of a video, and of each person in it."""

from lart_mini.appearance.features import Maps, maps_of, rendered_maps
from lart_mini.appearance.frames import Frames, RenderedFrames, VideoFrames
from lart_mini.appearance.pooling import roi_samples
from lart_mini.appearance.trunk import CHANNELS, EfficientNetLite0, load_trunk, padded

__all__ = [
    "CHANNELS",
    "EfficientNetLite0",
    "Frames",
    "Maps",
    "RenderedFrames",
    "VideoFrames",
    "load_trunk",
    "maps_of",
    "padded",
    "rendered_maps",
    "roi_samples",
]
