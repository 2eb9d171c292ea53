"""The boxes that are scored: every tracklet's detection at a key frame, and the AVA rows of its scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.boxes import corners_from_xywh, fractions_from_corners
from lart_mini.files import BadInput
from lart_mini.tracklets.tracklet import Tracklet

POOLED_FRAMES = 12

KEY_FRAMES = ("all", "named")


@dataclass(frozen=True)
class KeyBoxes:
    """The boxes to be scored: one row for every tracklet that has a detection at a key frame.

    table: video, second, x1, y1, x2, y2 (corners in 0–1); tracklet (N,) and t (N,) index tracklet and frame.
    """

    table: pl.DataFrame
    tracklet: NDArray[np.int64]
    t: NDArray[np.int64]


def key_boxes(tracklets: Iterable[Tracklet], which: str = "all", confidence: float = 0.0) -> KeyBoxes:
    """Every detection at a key frame (each full second from 902 on), of `confidence` at least.

    `named`: only at the key frame that is in the tracklet's name, around which the published files are cut.
    The released evaluation asks that, and a confidence of 0.80 on AVA. Raises BadInput for another choice.
    """
    if which not in KEY_FRAMES:
        raise BadInput("key frames", "choice", " | ".join(KEY_FRAMES), which)
    rows, owners, frames = [], [], []
    for index, tracklet in enumerate(tracklets):
        key = (tracklet.frame % ava.FRAMES_PER_SECOND == 0) & (
            tracklet.frame >= ava.keyframe(ava.FIRST_SECOND)
        )
        key &= tracklet.detected & (tracklet.confidence >= confidence)
        if which == "named":
            key &= tracklet.frame == tracklet.keyframe
        corners = fractions_from_corners(corners_from_xywh(tracklet.box), tracklet.frame_size).clip(0, 1)
        for t in np.flatnonzero(key):
            rows.append((tracklet.video, ava.second(int(tracklet.frame[t])), *corners[t].tolist()))
            owners.append(index)
            frames.append(t)
    schema = {"video": pl.String, "second": pl.Int64} | dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64)
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return KeyBoxes(table, np.array(owners, np.int64), np.array(frames, np.int64))


def pooled(scores: NDArray[np.float32], t: int, frames: int = POOLED_FRAMES) -> NDArray[np.float32]:
    """Mean of scores (T, C) over the frames [t − frames/2, t + frames/2), cut at the tracklet's ends."""
    return scores[max(0, t - frames // 2) : t + frames // 2].mean(axis=0)


def at_key_boxes(scores: list, boxes: KeyBoxes) -> NDArray[np.float32]:
    """Pooled scores (N, 60) of the key boxes from the dense scores of their tracklets."""
    return np.stack([pooled(scores[i], int(t)) for i, t in zip(boxes.tracklet, boxes.t, strict=True)])


def ava_rows(boxes: KeyBoxes, scores: NDArray[np.float32]) -> pl.DataFrame:
    """AVA detections: a row for each box and evaluated class, columns as `ava.read_detections` gives them."""
    classes = len(ava.EVALUATED)
    repeated = boxes.table[np.repeat(np.arange(len(boxes.table)), classes)]
    return repeated.with_columns(
        pl.Series("action", np.tile(np.array(ava.EVALUATED), len(boxes.table)), dtype=pl.Int64),
        pl.Series("score", scores.reshape(-1).astype(np.float64)),
    )
