"""SkeleTRs as experiments: each a name and what it changes of a recipe; scored at LART's own boxes.

That of BESIDE learns the video-level task at once (joint training, SkeleTR 3.4), whose videos show no take of
the fold that is held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lart_mini.claims.fold_data import Fold
from lart_mini.data.labelled_videos import VERSION as VIDEOS_VERSION
from lart_mini.data.mini_ava import SIZES
from lart_mini.data.skeletons import VERSION as SKELETONS_VERSION
from lart_mini.data.video_level import VIDEOS, video_level
from lart_mini.skeletr.datasets import Clip
from lart_mini.skeletr.recipe import Scores, SkeletonRecipe, labelled_clips, scores

BESIDE = "beside videos"
SKELETRS: Mapping[str, Mapping[str, Any]] = {
    "mix": {},
    "GCN alone": {"depth": 0, "pooling": ("1x1",)},
    "1x1": {"pooling": ("1x1",)},
    "TxP": {"pooling": ("TxP",)},
    "long": {"frames": 20, "most": 10},  # 2 s, the longest whose centres hold all of AVA's key frames
    "true identities": {"links": "true"},
    "no place": {"embed": False},
    "mirror and speed": {"mirror": True, "speed": 0.25},
    "bones": {"stream": "bone"},
    BESIDE: {},
}


def versions(name: str) -> str:
    """Versions of what the SkeleTR `name` reads beside mini_ava; not 1, so that older runs keep theirs."""
    read = {"skeletons": SKELETONS_VERSION}
    if name == BESIDE:
        read |= {"labelled videos": VIDEOS_VERSION, VIDEOS.name: VIDEOS.version}
    return "".join(f", {what} {version}" for what, version in read.items() if version != 1)


def skeletr_scores(fold: Fold, name: str, seed: int, steps: int, shuffled: bool) -> tuple[Scores, int]:
    """Scores (N,60) in 0-1 of the fold's boxes by the SkeleTR `name` of SKELETRS, and the steps it took.

    It learns for the number of epochs that is nearest to `steps`.
    """
    base = SkeletonRecipe(fold.size, fold.data_seed, fold.folds, fold.fold, seed, shuffled=shuffled)
    per_epoch = -(-SIZES[fold.size].train // base.batch_size)
    recipe = replace(base, epochs=max(1, round(steps / per_epoch)), **SKELETRS[name])
    beside: list[Clip] = []
    heads = {}
    if name == BESIDE:
        data = video_level(fold.size, fold.data_seed, fold=(fold.fold, fold.folds))
        beside = labelled_clips(data.skeletons("train"), data.labels("train"), recipe.sampling(), "video")
        heads["video_classes"] = len(data.classes)
    return scores(recipe, None, beside, **heads), recipe.epochs * per_epoch
