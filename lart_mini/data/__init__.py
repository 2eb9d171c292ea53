"""Data sets made of the motion library."""

from lart_mini.data.folds import Rests, assign, rests_on, split_by_fold
from lart_mini.data.group_activity import (
    ACTIVITIES,
    GROUP_SIZES,
    Troupes,
    group_activity,
    group_scenes,
)
from lart_mini.data.labelled_videos import Actors, LabelledVideos, Task, labelled_videos
from lart_mini.data.mini_ava import SIZES, SPLITS, MiniAva, Size, compose_videos, linked, mini_ava, scene_of
from lart_mini.data.rendered import Rendered, rendered, world_of
from lart_mini.data.skeletons import (
    COCO17,
    COCO17_EDGES,
    COCO17_MIRRORED,
    Sequences,
    Skeletons,
    coco17,
    load_skeletons,
    mini_skeletons,
    mixed_identities,
    normalised,
    save_skeletons,
    sequences,
    skeletons_2d,
    skeletons_3d,
)
from lart_mini.data.video_level import CLASSES, VIDEO_SIZES, parts_of, video_level, video_scene
from lart_mini.data.videos import TRACKERS, groundtruth_of

__all__ = [
    "ACTIVITIES",
    "CLASSES",
    "COCO17",
    "COCO17_EDGES",
    "COCO17_MIRRORED",
    "GROUP_SIZES",
    "SIZES",
    "SPLITS",
    "TRACKERS",
    "VIDEO_SIZES",
    "Actors",
    "LabelledVideos",
    "MiniAva",
    "Rendered",
    "Rests",
    "Sequences",
    "Size",
    "Skeletons",
    "Task",
    "Troupes",
    "assign",
    "coco17",
    "compose_videos",
    "groundtruth_of",
    "group_activity",
    "group_scenes",
    "labelled_videos",
    "linked",
    "load_skeletons",
    "mini_ava",
    "mini_skeletons",
    "mixed_identities",
    "normalised",
    "parts_of",
    "rendered",
    "rests_on",
    "save_skeletons",
    "scene_of",
    "sequences",
    "skeletons_2d",
    "skeletons_3d",
    "split_by_fold",
    "video_level",
    "video_scene",
    "world_of",
]
