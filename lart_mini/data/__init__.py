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
    scene_of,
)
from lart_mini.data.rendered import Rendered, rendered, world_of

__all__ = [
    "SIZES",
    "SPLITS",
    "TRACKERS",
    "MiniAva",
    "Rendered",
    "Rests",
    "Size",
    "assign",
    "compose_videos",
    "groundtruth_of",
    "linked",
    "mini_ava",
    "rendered",
    "rests_on",
    "scene_of",
    "split_by_fold",
    "world_of",
]
