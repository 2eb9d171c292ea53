"""SkeleTR: short skeleton sequences, a graph network for each, a transformer between them, three tasks."""

from lart_mini.skeletr.annotations import Skeleton, read_annotations, upright
from lart_mini.skeletr.datasets import Clip, Sampling, SkeletonDataset, batch_of, bones, clip_of, whole
from lart_mini.skeletr.model import Cost, SkeletonBatch, SkeleTR, SkeleTRConfig, cost, preset, seen
from lart_mini.skeletr.recipe import (
    SkeletonRecipe,
    box_scores,
    clips_of,
    labelled_clips,
    scores,
    sgd,
    train,
    trained,
    video_scores,
)
from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, Layout, STGCNConfig

__all__ = [
    "LAYOUTS",
    "STGCNPP",
    "Clip",
    "Cost",
    "Layout",
    "STGCNConfig",
    "Sampling",
    "SkeleTR",
    "SkeleTRConfig",
    "Skeleton",
    "SkeletonBatch",
    "SkeletonDataset",
    "SkeletonRecipe",
    "batch_of",
    "bones",
    "box_scores",
    "clip_of",
    "clips_of",
    "cost",
    "labelled_clips",
    "preset",
    "read_annotations",
    "scores",
    "seen",
    "sgd",
    "train",
    "trained",
    "upright",
    "video_scores",
    "whole",
]
