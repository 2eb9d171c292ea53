"""SkeleTR: short skeleton sequences, a graph network for each, a transformer between them, three tasks."""

from lart_mini.skeletr.annotations import Skeleton, read_annotations, upright
from lart_mini.skeletr.pyskl import Accuracy, accuracy, class_scores, evaluate_pyskl, load_pyskl
from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, Layout, STGCNConfig
from lart_mini.skeletr.store import SkeletonStore, convert_annotations
from lart_mini.skeletr.streams import (
    STREAMS,
    bone_starts,
    clips,
    evaluation_frames,
    evaluation_input,
    training_frames,
    training_input,
)

__all__ = [
    "LAYOUTS",
    "STGCNPP",
    "STREAMS",
    "Accuracy",
    "Layout",
    "STGCNConfig",
    "Skeleton",
    "SkeletonStore",
    "accuracy",
    "bone_starts",
    "class_scores",
    "clips",
    "convert_annotations",
    "evaluate_pyskl",
    "evaluation_frames",
    "evaluation_input",
    "load_pyskl",
    "read_annotations",
    "training_frames",
    "training_input",
    "upright",
]
