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
FIRST = ava.keyframe(ava.FIRST_SECOND)  # frame 60: the films' first two seconds are not annotated
KEY_FRAMES = ("all", "named", "clip")


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
    The released evaluation asks that, and a confidence of 0.80 on AVA. `clip`: every full second from frame 0
    (second 900) on, for clips that are not cut out of a film as AVA's. Raises BadInput for another choice.
    """
    if which not in KEY_FRAMES:
        raise BadInput("key frames", "choice", " | ".join(KEY_FRAMES), which)
    first = 0 if which == "clip" else FIRST
    rows, owners, frames = [], [], []
    for index, tracklet in enumerate(tracklets):
        key = (tracklet.frame % ava.FRAMES_PER_SECOND == 0) & (tracklet.frame >= first)
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


def no_key_boxes(file: object, tracklets: Iterable[Tracklet], which: str, confidence: float) -> BadInput:
    """Why `key_boxes` found none: the frames there are and the key frames, or the confidence at those."""
    frames, best = [], -np.inf
    for tracklet in tracklets:
        frames += [int(tracklet.frame[0]), int(tracklet.frame[-1])]
        boxes = key_boxes([tracklet], which)
        best = max(best, *tracklet.confidence[boxes.t].tolist(), -np.inf)
    if best > -np.inf:
        expected = f"a detection of confidence {confidence:g} at a key frame"
        return BadInput(file, "boxes", expected, f"at most {best:.2g} there")
    step, first = ava.FRAMES_PER_SECOND, 0 if which == "clip" else FIRST
    numbers = ", ".join(str(first + i * step) for i in range(3))
    expected = f"a detection at a key frame ({numbers}, … at {step} frames a second)"
    if which == "named":
        expected = "a detection at the key frame that is in the tracklet's name"
    found = f"frames {min(frames)} to {max(frames)}" if frames else "no tracklet"
    hint = "" if which == "clip" else "; --keyframes clip counts from frame 0 on"
    return BadInput(file, "boxes", expected, found + hint)


def pooled(scores: NDArray[np.float32], t: int, frames: int = POOLED_FRAMES) -> NDArray[np.float32]:
    """Mean of scores (T, C) over the frames [t − frames/2, t + frames/2), cut at the tracklet's ends."""
    return scores[max(0, t - frames // 2) : t + frames // 2].mean(axis=0)


def at_key_boxes(scores: list, boxes: KeyBoxes) -> NDArray[np.float32]:
    """Pooled scores (N, 60) of the key boxes from the dense scores of their tracklets."""
    return np.stack([pooled(scores[i], int(t)) for i, t in zip(boxes.tracklet, boxes.t, strict=True)])


def ava_rows(boxes: KeyBoxes, scores: NDArray[np.float32]) -> pl.DataFrame:
    """AVA detections: a row for each box and evaluated class, columns as of `ava_csv.read_detections`."""
    classes = len(ava.EVALUATED)
    repeated = boxes.table[np.repeat(np.arange(len(boxes.table)), classes)]
    return repeated.with_columns(
        pl.Series("action", np.tile(np.array(ava.EVALUATED), len(boxes.table)), dtype=pl.Int64),
        pl.Series("score", scores.reshape(-1).astype(np.float64)),
    )
