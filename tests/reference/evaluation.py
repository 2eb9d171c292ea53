"""AVA's mAP the slow way: each evaluator's own loops, a frame, a class and a row at a time.

Read this beside lart_mini/evaluation/frame_map.py, which must give the same numbers. Where an original leaves
the order of equal scores to an unstable sort, a stable one stands here.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from lart_mini.ava import EVALUATED

Frame = tuple[str, int]
Row = tuple[float, int, float, float, float, float]  # score, action, y1, x1, y2, x2
Lists = dict[int, list]


def per_class_ap(
    groundtruth: list[list[str]], detections: list[list[str]], policy: str, excluded: list | None = None
) -> dict[int, float]:
    """AP of each of the 60 evaluated classes, nan where it has none, from the rows of the CSV files."""
    left_out = {(row[0], int(row[1])) for row in excluded or []}
    evaluators = {"activitynet": _activitynet, "slowfast": _slowfast, "mmaction2": _mmaction2}
    return evaluators[policy](groundtruth, detections, left_out)


def mean_ap(per_class: dict[int, float]) -> float:
    counted = [value for value in per_class.values() if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else math.nan


def read_csv(path: str | Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _parse(row: list[str], last: float) -> Row:
    x1, y1, x2, y2 = (float(text) for text in row[2:6])
    return (last, int(row[6]), y1, x1, y2, x2)


def read_with_heap(rows: list[list[str]], capacity: int) -> tuple[dict[Frame, list[Row]], set[Frame]]:
    """ActivityNet's reader: rows of each frame by falling score, and all frames that have a line at all."""
    heaps: dict[Frame, list[Row]] = {}
    named: set[Frame] = set()
    for row in rows:
        frame = (row[0], int(row[1]))
        named.add(frame)
        if len(row) == 2 or int(row[6]) not in EVALUATED:
            continue
        entry = _parse(row, float(row[7]) if len(row) == 8 else 1.0)
        heap = heaps.setdefault(frame, [])
        if capacity == 0 or len(heap) < capacity:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    return {frame: sorted(heap, key=lambda entry: -entry[0]) for frame, heap in heaps.items()}, named


def _read_all(rows: list[list[str]], last_is_score: bool) -> dict[Frame, list[Row]]:
    frames: dict[Frame, list[Row]] = {}
    for row in rows:
        if len(row) == 2 or int(row[6]) not in EVALUATED:
            continue
        last = float(row[7]) if last_is_score and len(row) == 8 else 1.0
        frames.setdefault((row[0], int(row[1])), []).append(_parse(row, last))
    return frames


def _activitynet(groundtruth: list, detections: list, left_out: set[Frame]) -> dict[int, float]:
    truth, named = read_with_heap(groundtruth, capacity=0)
    found, _ = read_with_heap(detections, capacity=50)
    truth = {frame: rows for frame, rows in truth.items() if frame not in left_out}
    found = {frame: rows for frame, rows in found.items() if frame in named and frame not in left_out}
    scores, hits = _compare_frames(found, truth, list(found), drop_flat=True)
    truths = _count(truth)
    return {
        action: _average_precision(scores[action], hits[action], truths[action])
        if truths[action]
        else math.nan
        for action in EVALUATED
    }


def _slowfast(groundtruth: list, detections: list, left_out: set[Frame]) -> dict[int, float]:
    truth = _read_all(groundtruth, last_is_score=False)
    found = _read_all(detections, last_is_score=True)
    truth = {frame: rows for frame, rows in truth.items() if frame not in left_out}
    found = {frame: rows for frame, rows in found.items() if frame not in left_out}
    scores, hits = _compare_frames(found, truth, list(found), drop_flat=True)
    truths = _count(truth)
    return {
        action: _average_precision(scores[action], hits[action], truths[action])
        if truths[action]
        else math.nan
        for action in EVALUATED
    }


def _mmaction2(groundtruth: list, detections: list, left_out: set[Frame]) -> dict[int, float]:
    truth = _read_all(groundtruth, last_is_score=True)
    found = _read_all(
        [row for row in detections if len(row) == 8 and float(row[7]) > 0.002], last_is_score=True
    )
    for frames in (truth, found):
        for rows in frames.values():
            rows.sort(key=lambda entry: -entry[0])
    truths = _count(truth)  # with the excluded frames: they count as missed
    order = [frame for frame in truth if frame not in left_out]
    scores, hits = _compare_frames(found, truth, order, drop_flat=False, precision=np.float32)
    return {
        action: _average_precision(scores[action], hits[action], truths[action])
        if truths[action] and scores[action]
        else math.nan
        for action in EVALUATED
    }


def _count(truth: dict[Frame, list[Row]]) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for rows in truth.values():
        for row in rows:
            counts[row[1]] += 1
    return counts


def _compare_frames(
    found: dict[Frame, list[Row]],
    truth: dict[Frame, list[Row]],
    order: list[Frame],
    drop_flat: bool,
    precision: type[np.floating] = np.float64,
) -> tuple[Lists, Lists]:
    """Scores and hits of each class, a frame after the other, in the order in which the rows claim."""
    scores: Lists = {action: [] for action in range(1, 81)}
    hits: Lists = {action: [] for action in range(1, 81)}
    for frame in order:
        rows = np.array(found.get(frame, [])).reshape(-1, 6)
        truths = np.array(truth.get(frame, [])).reshape(-1, 6)
        if drop_flat:
            rows = rows[(rows[:, 2] < rows[:, 4]) & (rows[:, 3] < rows[:, 5])]
        for action in range(1, 81):
            mine = rows[rows[:, 1] == action]
            theirs = truths[truths[:, 1] == action]
            scores[action].extend(mine[:, 0].astype(precision))
            hits[action].extend(_claim(mine[:, 2:].astype(precision), theirs[:, 2:].astype(precision)))
    return scores, hits


def _claim(boxes: np.ndarray, truths: np.ndarray) -> list[bool]:
    """Whether each box, in turn, is the first whose best overlap, at least 0.5, is that ground truth box."""
    claimed: set[int] = set()
    hits = []
    for box in boxes:
        best, overlap = -1, -1.0
        for number, truth in enumerate(truths):
            value = _overlap(box, truth)
            if value > overlap:
                best, overlap = number, value
        hit = overlap >= 0.5 and best not in claimed
        if hit:
            claimed.add(best)
        hits.append(hit)
    return hits


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union; two boxes without area do not overlap (the originals divide 0 by 0)."""
    height = max(0.0, float(min(box[2], other[2]) - max(box[0], other[0])))
    width = max(0.0, float(min(box[3], other[3]) - max(box[1], other[1])))
    areas = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1])
    union = float(areas) - height * width
    return height * width / union if union > 0 else 0.0


def _average_precision(scores: list[float], hits: list[bool], truths: int) -> float:
    order = sorted(range(len(scores)), key=lambda i: scores[i])[::-1]
    precisions, recalls, true_positives = [], [], 0
    for seen, i in enumerate(order, start=1):
        true_positives += hits[i]
        precisions.append(true_positives / seen)
        recalls.append(true_positives / truths)
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    area, before = 0.0, 0.0
    for precision, recall in zip(precisions, recalls, strict=True):
        area += (recall - before) * precision
        before = recall
    return area
