"""From dense scores to AVA rows: what a model says of every frame, pooled at the key frames' boxes.

A tracklet's logits are read for all of its frames at once; at a key frame the mean over the 12 frames centred
on it counts (section 4). The boxes are the tracker's, the same for every model and baseline that is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.model import LART
from lart_mini.progress import progress as progress_bar
from lart_mini.tokens import TrackletDataset, collate
from lart_mini.tracklets import Tracklet

POOLED_FRAMES = 12


@dataclass(frozen=True)
class KeyBoxes:
    """The boxes to be scored: one row for every tracklet that has a detection at a key frame.

    table: video, second, x1, y1, x2, y2 (corners in 0–1); tracklet (N,) and t (N,) index tracklet and frame.
    """

    table: pl.DataFrame
    tracklet: NDArray[np.int64]
    t: NDArray[np.int64]


def key_boxes(tracklets: list[Tracklet]) -> KeyBoxes:
    """Every detection at a key frame (each full second from 902 on)."""
    rows, owners, frames = [], [], []
    for index, tracklet in enumerate(tracklets):
        first = ava.keyframe(ava.FIRST_SECOND)
        key = (tracklet.frame % ava.FRAMES_PER_SECOND == 0) & (tracklet.frame >= first) & tracklet.detected
        height, width = tracklet.frame_size
        for t in np.flatnonzero(key):
            x, y, w, h = tracklet.box[t] / [width, height, width, height]
            corners = np.clip([x, y, x + w, y + h], 0, 1).tolist()
            rows.append((tracklet.video, ava.second(int(tracklet.frame[t])), *corners))
            owners.append(index)
            frames.append(t)
    schema = {"video": pl.String, "second": pl.Int64} | dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64)
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return KeyBoxes(table, np.array(owners, np.int64), np.array(frames, np.int64))


@torch.no_grad()
def dense_scores(model: LART, dataset: TrackletDataset, batch_size: int = 16, progress: bool = True) -> list:
    """Scores (T, 60) in 0–1 of every tracklet of the data set, in its order, as ego once (test semantics)."""
    device = next(model.parameters()).device
    model.eval()
    # Batches of tracklets with equally many people waste nothing on empty slots.
    order = sorted(range(len(dataset)), key=lambda i: dataset.people_count(i))
    scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(dataset)
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    for batch in progress_bar(batches, desc="predicting", disable=not progress):
        logits = model(collate([dataset[i] for i in batch]).to(device))
        for i, row in zip(batch, logits[:, 0].sigmoid().float().cpu().numpy(), strict=True):
            scores[i] = row
    return scores


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
