"""Data sets made of the motion library."""

from lart_mini.data.folds import Rests, assign, rests_on, split_by_fold
from lart_mini.data.mini_ava import (
    SIZES,
    SPLITS,
    TRACKERS,
    MiniAva,
    Size,
    compose_videos,
    groundtruth_of,
    linked,
    mini_ava,
)

__all__ = [
    "SIZES",
    "SPLITS",
    "TRACKERS",
    "MiniAva",
    "Rests",
    "Size",
    "assign",
    "compose_videos",
    "groundtruth_of",
    "linked",
    "mini_ava",
    "rests_on",
    "split_by_fold",
]
