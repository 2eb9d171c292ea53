"""A question that one frame cannot answer: is this piece of motion played forwards or backwards?

It is asked of motions that have a direction: getting up, picking up, putting down, crouching. All of it is in
the tracklets: each stands twice, once with its frames in reverse order, and its labels say which of the two
it is. So model, training and scoring are those of actions. A piece is centred on its key frame, with as many
frames before as after: the frame in the middle, all that a model of one frame reads, is the same both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.evaluation.frame_map import FRAME
from lart_mini.evaluation.intervals import Draws, Floats, Resampled
from lart_mini.evaluation.key_boxes import KeyBoxes
from lart_mini.tracklets.tracklet import FRAME_FIELDS, GROUND_TRUTH, NO_LABEL, FloatArray, Tracklet

DIRECTED = (3, 6, 36, 47)  # crouch/kneel, get up, lift/pick up, put down
PIECE = 63  # frames, an odd number


def both_ways(tracklets: Sequence[Tracklet]) -> list[Tracklet]:
    """The tracklets played forwards, then all of them backwards, labelled 1 and 0 in every class.

    Labelled is a frame whose ground truth has one of the DIRECTED classes.
    """
    directed = [action - 1 for action in DIRECTED]
    found = []
    for forwards in (True, False):
        for tracklet in tracklets:
            moves = (tracklet.label_source == GROUND_TRUTH) & (tracklet.labels[:, directed] > 0).any(axis=1)
            source = np.where(moves, GROUND_TRUTH, NO_LABEL).astype(np.int8)
            labels = np.full_like(tracklet.labels, forwards)
            told = replace(tracklet, labels=labels, label_source=source)
            found.append(told if forwards else backwards(told))
    return found


def backwards(tracklet: Tracklet) -> Tracklet:
    """The tracklet with its frames in reverse order, numbered -frame; of a video of its own."""
    per_frame = {*FRAME_FIELDS, "appearance", "camera"}
    given = {field.name: getattr(tracklet, field.name) for field in fields(tracklet)}
    turned = {
        name: value[::-1].copy() for name, value in given.items() if name in per_frame and value is not None
    }
    turned |= {"name": tracklet.name.replace("-", "backwards-", 1), "frame": -turned["frame"]}
    return replace(tracklet, **turned)


def pieces(boxes: KeyBoxes, groundtruth: pl.DataFrame, tracklets: Sequence[Tracklet]) -> KeyBoxes:
    """The pieces about the key boxes of people who, by the ground truth, do something DIRECTED; both ways.

    `tracklets`: those of `both_ways`; `boxes`: of their first half. A piece lies inside its tracklet. The
    table says of each which classes it shows (`actions`) and whether it is played `forwards`.
    """
    keys = [*FRAME, "person"]
    shown = groundtruth.filter(pl.col("action").is_in(DIRECTED)).group_by(keys, maintain_order=True)
    table = boxes.table.with_row_index("row").join(
        shown.agg(pl.col("action").alias("actions")), on=keys, how="inner", maintain_order="left"
    )
    rows, count = table["row"].to_numpy(), len(tracklets) // 2
    owner, t = boxes.tracklet[rows], boxes.t[rows]
    after = np.array([len(one) for one in tracklets], np.int64)[owner] - 1 - t  # frames
    whole = np.minimum(t, after) >= PIECE // 2
    both = [table.filter(whole).with_columns(forwards=pl.lit(way)) for way in (True, False)]
    owner, t, after = owner[whole], t[whole], after[whole]
    return KeyBoxes(
        pl.concat(both).drop("row"), np.concatenate([owner, owner + count]), np.concatenate([t, after])
    )


def told_right(boxes: KeyBoxes, scores: FloatArray) -> NDArray[np.bool_]:
    """Whether each piece's direction is told right (N,), by scores (N, 60) in 0–1 that it is played forwards.

    Every output of the model was taught the same; their mean counts.
    """
    return (scores.mean(axis=1) > 0.5) == boxes.table["forwards"].to_numpy()


@dataclass(frozen=True, eq=False)
class Accuracy(Resampled):
    """In place of mAP the share of pieces told right; ap (S, 1 + R, 60): the weight of those of a class.

    A piece that shows several of the classes asked about counts once for each.
    """

    weight: Floats  # (1 + R, 60) of all pieces of a class

    def mean_ap(self, classes: Sequence[int] = ava.EVALUATED) -> Floats:
        """Share told right (1 + R,) of the pieces of some classes, mean over seeds."""
        columns = [ava.EVALUATED.index(action) for action in classes]
        right, every = self.ap[..., columns].sum(axis=2), self.weight[:, columns].sum(axis=1)
        return self.draws.over_seeds(right / every)


def accuracy(boxes: Sequence[KeyBoxes], by_seed: Sequence[Sequence[FloatArray]], draws: Draws) -> Accuracy:
    """Of the scores (N, 60) of each seed and fold; `boxes`: each fold's pieces."""
    table = pl.concat(own.table.select("take", "actions") for own in boxes)
    shows = np.array([[action in own for action in ava.EVALUATED] for own in table["actions"]])  # (N, 60)
    numbers = {take: i for i, take in enumerate(draws.takes)}
    weights = draws.weights[:, [numbers[take] for take in table["take"]]]  # (1 + R, N)
    right = [np.concatenate(list(map(told_right, boxes, scores))) for scores in by_seed]
    return Accuracy(draws, np.stack([weights @ (shows & told[:, None]) for told in right]), weights @ shows)
