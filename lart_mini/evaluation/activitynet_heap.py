"""Which rows the ActivityNet reader keeps of a frame, and in which order.

The reader pushes each row of a frame as a tuple (score, class, y1, x1, y2, x2) onto a binary heap of 50;
once that is full, a row replaces the smallest tuple if its score is higher than that tuple's. Then it sorts
what is left by falling score, so that rows of equal score stay as they lie in the heap. Only frames where
equal scores let the heap decide something are played through; for the others sorting says the same.
"""

from __future__ import annotations

import heapq

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
    bound = len(frame) if cap is None else cap
    count = np.bincount(frame[by_score])
    near = np.minimum(count, bound + 1)  # with the first row beyond the cut
    place = _counted_up(near)  # by score in the frame
    by_score = by_score[place + np.repeat(np.cumsum(count) - count, near)]
    decided = np.unique(_decided_by_heap(frame[by_score], action, score, by_score, place == bound))
    chosen = by_score[place < bound]
    if not decided.size:
        return chosen
    is_decided = np.zeros(int(frame.max()) + 1, bool)
    is_decided[decided] = True
    played = np.flatnonzero(is_decided[frame])
    played = played[np.argsort(frame[played], kind="stable")]
    box = corners[played].to_numpy()
    starts = np.flatnonzero(np.append(True, np.diff(frame[played])))
    size = np.minimum(count, bound)
    first = (np.cumsum(size) - size)[decided]  # of each frame played, in `chosen`
    for start, end, into in zip(starts, np.append(starts[1:], len(played)), first, strict=True):
        rows = played[start:end]
        tuples = zip(score[rows].tolist(), action[rows].tolist(), *box[start:end].T.tolist(), strict=True)
        left = _play(list(tuples), bound)
        chosen[into : into + len(left)] = rows[left]
    return chosen


def _counted_up(sizes: np.ndarray) -> np.ndarray:
    """0, 1, … up to each of the sizes, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


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
    frame: np.ndarray, action: np.ndarray, score: np.ndarray, by_score: np.ndarray, beyond: np.ndarray
) -> np.ndarray:
    """Frames with equal scores at the cut, or in one class before it.

    action, score (n,) of all rows; by_score, frame and beyond (m,) of rows by frame and falling score;
    `beyond` marks a frame's first row after the cut.
    """
    ordered = score[by_score]
    equal = (frame[1:] == frame[:-1]) & (ordered[1:] == ordered[:-1])  # row k + 1 equals row k
    at_cut = frame[1:][equal & beyond[1:]]
    equal &= ~beyond[1:]
    member = np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))
    run = np.cumsum(np.insert(~equal, 0, True))[member]
    _, first, size = np.unique(run * 256 + action[by_score[member]], return_index=True, return_counts=True)
    return np.concatenate((at_cut, frame[member[first[size > 1]]]))
