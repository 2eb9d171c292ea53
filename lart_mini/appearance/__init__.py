"""Appearance: what a frozen image network sees of a video, and of each person in it."""

from lart_mini.appearance.features import Maps, maps_of, rendered_maps
from lart_mini.appearance.frames import Frames, RenderedFrames, VideoFrames
from lart_mini.appearance.looks import (
    Looks,
    Projection,
    fit_projection,
    load_projection,
    looks_of,
    principal_components,
    rendered_looks,
    together,
    with_appearance,
)
from lart_mini.appearance.pooling import crop_places, cut, focal_length, roi_samples
from lart_mini.appearance.trunk import CHANNELS, EfficientNetLite0, load_trunk, padded
from lart_mini.appearance.videos import find_videos, vectors_of

__all__ = [
    "CHANNELS",
    "EfficientNetLite0",
    "Frames",
    "Looks",
    "Maps",
    "Projection",
    "RenderedFrames",
    "VideoFrames",
    "crop_places",
    "cut",
    "find_videos",
    "fit_projection",
    "focal_length",
    "load_projection",
    "load_trunk",
    "looks_of",
    "maps_of",
    "padded",
    "principal_components",
    "rendered_looks",
    "rendered_maps",
    "roi_samples",
    "together",
    "vectors_of",
    "with_appearance",
]
