"""Which rows the ActivityNet reader keeps of a frame, and in which order.

The reader pushes each row of a frame as a tuple (score, class, y1, x1, y2, x2) onto a binary heap of 50;
once that is full, a row replaces the smallest tuple if its score is higher than that tuple's. Then it sorts
what is left by falling score, so that rows of equal score stay as they lie in the heap. Only frames where
equal scores let the heap decide something are played through; for the others sorting says the same.
"""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import polars as pl

Row = tuple[float, int, float, float, float, float]  # score, class, y1, x1, y2, x2


def kept(
    frame: np.ndarray,
    action: np.ndarray,
    corners: pl.DataFrame,
    score: np.ndarray,
    by_score: np.ndarray,
    cap: int | None,
) -> np.ndarray:
    """Indices of the rows that the reader keeps, by frame and then in the reader's order.

    frame, action, score (n,) and corners (n, 4) are rows in the order of arrival, frames numbered from 0;
    by_score (m,) names those that count, by frame and falling score; cap is the heap's size or None.
    """
    count = np.bincount(frame[by_score])
    place = np.arange(len(by_score)) - np.repeat(np.cumsum(count) - count, count)  # by score in the frame
    bound = len(frame) if cap is None else cap
    near = place <= bound  # with the first row beyond the cut
    by_score, place = by_score[near], place[near]
    open_frame = np.zeros(len(count), bool)
    open_frame[_decided_by_heap(frame[by_score], action[by_score], score[by_score], place == bound)] = True
    chosen = by_score[place < bound]
    if not open_frame.any():
        return chosen
    played = np.flatnonzero(np.append(open_frame, False)[np.minimum(frame, len(open_frame))])
    played = played[np.argsort(frame[played], kind="stable")]
    box = corners[played].to_numpy()
    parts = [chosen[~open_frame[frame[chosen]]]]
    for start, end in pairwise((*np.unique(frame[played], return_index=True)[1], len(played))):
        rows = played[start:end]
        tuples = zip(score[rows].tolist(), action[rows].tolist(), *box[start:end].T.tolist(), strict=True)
        parts.append(rows[_play(list(tuples), bound)])
    everything = np.concatenate(parts)
    return everything[np.argsort(frame[everything], kind="stable")]


def _play(rows: list[Row], bound: int) -> list[int]:
    """Push one frame's rows as they arrive; the places of those that are left, in the reader's order."""
    place = {id(row): number for number, row in enumerate(rows)}  # of equal tuples too, each its own
    heap: list[Row] = []
    for row in rows:
        if len(heap) < bound:
            heapq.heappush(heap, row)
        elif row[0] > heap[0][0]:
            heapq.heapreplace(heap, row)
    return [place[id(row)] for row in sorted(heap, key=lambda row: -row[0])]


def _decided_by_heap(
    frame: np.ndarray, action: np.ndarray, score: np.ndarray, beyond: np.ndarray
) -> np.ndarray:
    """Frames with equal scores at the cut, or in one class before it.

    Rows sorted by frame and falling score; `beyond` (n,) marks a frame's first row after the cut.
    """
    equal = (frame[1:] == frame[:-1]) & (score[1:] == score[:-1])  # row k + 1 equals row k
    at_cut = frame[1:][equal & beyond[1:]]
    equal &= ~beyond[1:]
    member = np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))
    run = np.cumsum(np.insert(~equal, 0, True))[member]
    _, first, size = np.unique(run * 256 + action[member], return_index=True, return_counts=True)
    return np.concatenate((at_cut, frame[member[first[size > 1]]]))
