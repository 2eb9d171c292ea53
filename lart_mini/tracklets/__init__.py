"""Tracklets: one followed person each; released files, a store of millions, and what is in them (01, 09)."""

from lart_mini.tracklets.contents import Survey, summary, survey
from lart_mini.tracklets.conversion import Converted, convert
from lart_mini.tracklets.npz import load_tracklets, save_tracklets
from lart_mini.tracklets.records import pack, unpack
from lart_mini.tracklets.released import SAMPLES, read_pickle, read_released, write_released
from lart_mini.tracklets.store import Store, is_store
from lart_mini.tracklets.tracklet import (
    GROUND_TRUTH,
    NO_LABEL,
    PSEUDO_LABEL,
    PUBLISHED_DEPTH_UNIT,
    VECTOR_WIDTH,
    Tracklet,
)

__all__ = [
    "GROUND_TRUTH",
    "NO_LABEL",
    "PSEUDO_LABEL",
    "PUBLISHED_DEPTH_UNIT",
    "SAMPLES",
    "VECTOR_WIDTH",
    "Converted",
    "Store",
    "Survey",
    "Tracklet",
    "convert",
    "is_store",
    "load_tracklets",
    "pack",
    "read_pickle",
    "read_released",
    "save_tracklets",
    "summary",
    "survey",
    "unpack",
    "write_released",
]
