"""One fold as experiments need it: who is learnt from, whose boxes are scored, and the take of every box."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import polars as pl

from lart_mini.boxes import overlap, xywh_from_corners
from lart_mini.data.mini_ava import MiniAva, mini_ava
from lart_mini.data.rendered import rendered
from lart_mini.evaluation.ava_csv import CORNERS, read_groundtruth
from lart_mini.evaluation.frame_map import FRAME, IOU_THRESHOLD
from lart_mini.evaluation.key_boxes import KeyBoxes, key_boxes
from lart_mini.files import BadInput
from lart_mini.people.clips import load_library
from lart_mini.tracklets.tracklet import Tracklet


@dataclass(frozen=True, eq=False)
class FoldBoxes:
    """What is scored in a fold.

    groundtruth: the held-out takes', with a column `take`. boxes: every detection at a key frame of a
    held-out tracklet; its table names the person that it shows, and that one's take, null for nobody.
    """

    groundtruth: pl.DataFrame
    boxes: KeyBoxes

    @property
    def annotated(self) -> KeyBoxes:
        """One box for each person of the ground truth whom a tracklet shows: the annotation's."""
        table = self.boxes.table.with_row_index("row").drop_nulls("person")
        table = table.sort("overlap", descending=True, maintain_order=True)
        table = table.unique([*FRAME, "person"], keep="first", maintain_order=True).sort("row")
        rows = table["row"].to_numpy()
        table = table.with_columns(pl.col(f"true_{corner}").alias(corner) for corner in CORNERS).drop("row")
        return KeyBoxes(table, self.boxes.tracklet[rows], self.boxes.t[rows])


@dataclass(frozen=True)
class Fold:
    """Fold `fold` of `folds` of mini_ava, from 0 on. Raises BadInput as `mini_ava` does, when it is read."""

    size: str
    data_seed: int
    folds: int
    fold: int
    tracker: str
    rendered: bool = False  # the ground truth is what pictures show: a held thing is carried

    @lru_cache(maxsize=256)  # noqa: B019
    def data(self) -> MiniAva:
        """Composed if it is not in the cache."""
        if self.rendered:
            return rendered(self.size, self.data_seed, tracker=self.tracker, fold=(self.fold, self.folds))
        return mini_ava(self.size, self.data_seed, tracker=self.tracker, fold=(self.fold, self.folds))

    @lru_cache(maxsize=4)  # noqa: B019  (what is read of two folds)
    def tracklets(self, split: str) -> list[Tracklet]:
        """Of `ava-train`, `kinetics-train` or, held out, `ava-val`."""
        return self.data().tracklets(split)

    @lru_cache(maxsize=256)  # noqa: B019
    def scored(self) -> FoldBoxes:
        """What is scored."""
        data, keys = self.data(), [*FRAME, "person"]
        takes = {name: clip.take for name, clip in load_library().items()}
        clips = data.clips().with_columns(take=pl.col("clip").replace_strict(takes, return_dtype=pl.String))
        groundtruth = read_groundtruth(data.groundtruth("ava-val"))
        clips = clips.with_columns(pl.col("person").cast(groundtruth["person"].dtype)).select(*keys, "take")
        groundtruth = groundtruth.join(clips, on=keys, how="left", maintain_order="left")
        boxes = key_boxes(self.tracklets("ava-val"))
        return FoldBoxes(groundtruth, replace(boxes, table=named(boxes.table, groundtruth)))


def first_scenes(tracklets: list[Tracklet], scenes: int) -> list[Tracklet]:
    """The tracklets of the first so many videos; 0: all. Raises BadInput where there are fewer videos."""
    if not scenes:
        return tracklets
    videos = list(dict.fromkeys(tracklet.video for tracklet in tracklets))
    if scenes > len(videos):
        raise BadInput("experiment", "scenes", f"at most the {len(videos)} that there are", scenes)
    wanted = set(videos[:scenes])
    return [tracklet for tracklet in tracklets if tracklet.video in wanted]


def named(table: pl.DataFrame, groundtruth: pl.DataFrame) -> pl.DataFrame:
    """Boxes (video, second, corners) with whom they show: person, take, overlap and true corners.

    That is whoever's annotated box overlaps most, by half or more; else null.
    """
    people = groundtruth.select(*FRAME, "person", "take", *CORNERS).unique(maintain_order=True)
    people = people.rename({corner: f"true_{corner}" for corner in CORNERS})
    rows = table.with_row_index("row")
    pairs = rows.join(people, on=FRAME, how="inner", maintain_order="left")
    own, true = (
        xywh_from_corners(pairs.select(f"{which}{corner}" for corner in CORNERS).to_numpy())
        for which in ("", "true_")
    )
    pairs = pairs.with_columns(overlap=pl.Series(np.asarray(overlap(own, true), np.float64)))
    best = pairs.filter(pl.col("overlap") >= IOU_THRESHOLD)
    best = best.sort("overlap", descending=True, maintain_order=True)
    best = best.unique("row", keep="first", maintain_order=True)
    found = ["person", "take", "overlap", *(f"true_{corner}" for corner in CORNERS)]
    return rows.join(best.select("row", *found), on="row", how="left", maintain_order="left").drop("row")
