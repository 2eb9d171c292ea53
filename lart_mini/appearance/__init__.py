"""Appearance: what a frozen image network sees of a video, and of each person in it."""

from lart_mini.appearance.features import Maps, maps_of, rendered_maps
from lart_mini.appearance.frames import Frames, RenderedFrames, VideoFrames
from lart_mini.appearance.looks import (
    Looks,
    Projection,
    fit_projection,
    load_projection,
    looks_of,
    rendered_looks,
    with_appearance,
)
from lart_mini.appearance.pooling import POOLINGS, crop_places, cut, focal_length, roi_samples
from lart_mini.appearance.trunk import CHANNELS, EfficientNetLite0, load_trunk, padded

__all__ = [
    "CHANNELS",
    "POOLINGS",
    "EfficientNetLite0",
    "Frames",
    "Looks",
    "Maps",
    "Projection",
    "RenderedFrames",
    "VideoFrames",
    "crop_places",
    "cut",
    "fit_projection",
    "focal_length",
    "load_projection",
    "load_trunk",
    "looks_of",
    "maps_of",
    "padded",
    "rendered_looks",
    "rendered_maps",
    "roi_samples",
    "with_appearance",
]
