"""Which rows the ActivityNet reader keeps of a frame, and in which order: its heap, all frames at once.

The reader pushes each row of a frame as a tuple (score, class, y1, x1, y2, x2) onto a binary heap of 50;
once that is full, a row replaces the smallest tuple if its score is higher than that tuple's. Then it sorts
what is left by falling score, so that rows of equal score stay as they lie in the heap. Only frames where
equal scores let the heap decide something are played through; for the others sorting says the same.
"""

from __future__ import annotations

import numpy as np
import polars as pl


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
    rank = _rank(score[played], action[played], corners[played])
    layout = _play(frame[played], score[played], rank, bound)
    played = played[layout]
    # Stable, twice: by falling score within the heap's order, then by frame.
    played = played[np.argsort(-score[played], kind="stable")]
    everything = np.concatenate((chosen[~open_frame[frame[chosen]]], played))
    return everything[np.argsort(frame[everything], kind="stable")]


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


def _rank(score: np.ndarray, action: np.ndarray, corners: pl.DataFrame) -> np.ndarray:
    """(n,) place of each row's tuple among all tuples; equal tuples have equal places."""
    tuples = pl.DataFrame({"score": score, "action": action}).hstack(corners)
    order = tuples.select(pl.arg_sort_by(tuples.columns)).to_series()
    ordered = tuples[order]
    new = ordered.select(pl.any_horizontal(pl.all() != pl.all().shift())).to_series().fill_null(False)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = new.cum_sum().to_numpy()
    return rank


def _play(frame: np.ndarray, score: np.ndarray, rank: np.ndarray, bound: int) -> np.ndarray:
    """Push every frame's rows onto its heap, the k-th rows of all frames together; rows sorted by frame.

    Returns the rows left, by frame and then as they lie in the heap.
    """
    _, start, count = np.unique(frame, return_index=True, return_counts=True)
    longest = np.argsort(-count, kind="stable")  # frames that still have a row are then always the first ones
    start, count = start[longest], count[longest]
    heap = np.full((len(start), min(bound, int(count.max()))), -1)  # rows; -1 is empty
    for step in range(int(count.max())):
        active = np.arange(np.searchsorted(-count, -step))
        row = start[active] + step
        if step < bound:
            heap[active, step] = row
            _sift_to_root(heap, rank, active, np.full(len(active), step))
        else:
            higher = score[row] > score[heap[active, 0]]
            _replace_root(heap, rank, active[higher], row[higher])
    return heap[heap >= 0]


def _sift_to_root(heap: np.ndarray, rank: np.ndarray, frames: np.ndarray, place: np.ndarray) -> None:
    """Swap the row at `place` with its parent while it is smaller, in each of the frames. In place."""
    while frames.size:
        parent = (place - 1) >> 1
        row, above = heap[frames, place], heap[frames, parent]
        smaller = (place > 0) & (rank[row] < rank[above])
        frames, place, parent = frames[smaller], place[smaller], parent[smaller]
        heap[frames, place], heap[frames, parent] = above[smaller], row[smaller]
        place = parent


def _replace_root(heap: np.ndarray, rank: np.ndarray, frames: np.ndarray, row: np.ndarray) -> None:
    """Put `row` in the place of each frame's smallest. In place.

    As Python's heapq does it: the hole sinks to a leaf along the smaller children, of equal ones the right;
    the row falls into it and rises from there.
    """
    size = heap.shape[1]
    place = np.zeros(len(frames), np.int64)
    sinking = np.arange(len(frames))
    while sinking.size:
        here = place[sinking]
        left, right = 2 * here + 1, np.minimum(2 * here + 2, size - 1)
        inside = left < size
        sinking, here, left, right = sinking[inside], here[inside], left[inside], right[inside]
        at = frames[sinking]
        child = np.where(rank[heap[at, left]] < rank[heap[at, right]], left, right)
        heap[at, here] = heap[at, child]
        place[sinking] = child
    heap[frames, place] = row
    _sift_to_root(heap, rank, frames, place)
