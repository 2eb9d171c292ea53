"""AVA's frame mAP at IoU 0.5, as three code bases compute it, vectorised.

A detection row claims the ground truth box of its class and frame that it overlaps most. It is a true
positive if the overlap is at least 0.5 and no earlier row claimed that box; AP is the area under the
interpolated precision–recall curve, mAP its mean over classes. The policies differ in the rows they keep, the
order in which rows claim, and what an absent frame or class costs.
tests/reference/evaluation.py says the same slowly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from lart_mini import ava
from lart_mini.evaluation import activitynet_heap, ava_csv
from lart_mini.evaluation.class_list import AVA_60, read_classes
from lart_mini.evaluation.packed_sort import by_group_and_score
from lart_mini.files import BadInput

IOU_THRESHOLD = 0.5
FRAME = ["video", "second"]
PAIRS = 2**18  # of boxes, compared at once: some 50 MB


@dataclass(frozen=True)
class Policy:
    """What one evaluator does where the metric's definition leaves it open."""

    name: str
    order: Literal["heap", "score", "arrival"]  # in which the rows of a frame claim ground truth
    frames: Literal["listed", "labelled", "any"]  # that count: named in ground truth, with boxes in it, all
    cap: int | None = None  # rows kept per frame
    above: float = -math.inf  # a row counts if its score is higher
    flat_boxes: bool = False  # whether a box without area counts (as a false positive)
    undetected_classes: bool = True  # whether a class without a detection counts, with AP 0
    excluded_truth: bool = False  # whether the ground truth of excluded frames still counts as missed
    precision: type[np.floating] = np.float64  # in which boxes and scores are compared


POLICIES = {
    policy.name: policy
    for policy in (
        # The ActivityNet challenge script as LART ships it: its reader keeps 50 rows a frame in a heap.
        Policy("activitynet", order="heap", frames="listed", cap=50),
        # PySlowFast: rows claim in the order of the file, whatever their score.
        Policy("slowfast", order="arrival", frames="any"),
        # MMAction2 since 0.20: single precision, only frames with ground truth and classes with detections.
        Policy(
            "mmaction2",
            order="score",
            frames="labelled",
            above=0.002,
            flat_boxes=True,
            undetected_classes=False,
            excluded_truth=True,
            precision=np.float32,
        ),
    )
}


@dataclass(frozen=True)
class Evaluation:
    """mAP and what it is made of; AP is a fraction in 0..1."""

    policy: str
    per_class: dict[int, float]  # class id -> AP of each that is scored, nan where there is no ground truth
    counts: dict[str, int]
    groundtruth: pl.DataFrame = field(repr=False, compare=False)
    detections: pl.DataFrame = field(repr=False, compare=False)
    classes: dict[int, str]  # id -> name, of the classes that are scored

    @property
    def mean_ap(self) -> float:
        """Mean over the classes that have an AP; nan where none has."""
        return mean(list(self.per_class.values()))

    @property
    def by_category(self) -> dict[str, float]:
        """The same mean over person movement (PM), object manipulation (OM) and person interaction (PI)."""
        groups: dict[str, list[float]] = {category: [] for category in ava.CATEGORIES}
        for action, precision in self.per_class.items():
            if category := self.category(action):
                groups[category].append(precision)
        return {category: mean(values) for category, values in groups.items()}

    def category(self, action: int) -> str:
        """PM, OM or PI where the class is AVA's, by id and name; empty for another set's class."""
        known = ava.NAMES.get(action) == self.classes[action]
        return ava.CLASSES[action - 1].category if known else ""

    def to_json(self) -> str:
        """JSON with fractions; what is nan here is null there."""
        content = {
            "policy": self.policy,
            "mAP": self.mean_ap,
            **self.by_category,
            "per_class": {str(action): value for action, value in self.per_class.items()},
            **self.counts,
        }
        return json.dumps(_null_for_nan(content), indent=2)


def evaluate_files(
    groundtruth: str | Path,
    detections: str | Path,
    policy: str = "activitynet",
    excluded: str | Path | None = None,
    classes: str | Path | None = None,
) -> Evaluation:
    """`evaluate` on AVA CSV files; raises BadInput naming file, line and field.

    `classes`: a label map's file, or ids such as "1,2,3"; AVA's 60 if not given.
    """
    _policy(policy)
    names = None if classes is None else read_classes(classes)
    highest = ava.CLASS_COUNT if names is None else ava_csv.MOST_CLASSES
    return evaluate(
        ava_csv.read_groundtruth(groundtruth, highest),
        ava_csv.read_detections(detections, highest),
        policy,
        None if excluded is None else ava_csv.read_excluded(excluded),
        names,
    )


def evaluate(
    groundtruth: pl.DataFrame,
    detections: pl.DataFrame,
    policy: str = "activitynet",
    excluded: pl.DataFrame | None = None,
    classes: Mapping[int, str] | None = None,
) -> Evaluation:
    """Score detections against ground truth: tables as `read_groundtruth` and `read_detections` give.

    `excluded` (video, second) names key frames to leave out; `classes` (id: name, ids from 1 to 255) says
    which are scored, AVA's 60 if not given. Raises BadInput for an unknown policy, missing columns, ids out
    of range and scores that are not numbers.
    """
    names = dict(sorted((AVA_60 if classes is None else classes).items()))
    if not names or not 1 <= min(names) <= max(names) <= ava_csv.MOST_CLASSES:
        raise BadInput("evaluate", "classes", f"ids in 1..{ava_csv.MOST_CLASSES}", list(names)[:9])
    scored = compare(groundtruth, detections, _policy(policy), excluded, tuple(names))
    per_class = scored.per_class()
    counts = _counts(groundtruth, detections, scored, per_class)
    return Evaluation(policy, per_class, counts, groundtruth, detections, names)


def precision_recall(
    groundtruth: pl.DataFrame,
    detections: pl.DataFrame,
    action: int,
    policy: str = "activitynet",
    excluded: pl.DataFrame | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and score, each (n,), of one class's n detections by falling score.

    Entry k tells what holds when the first k + 1 rows count. Empty where the class has no ground truth.
    """
    if action not in ava.EVALUATED:
        raise BadInput("precision_recall", "action", "one of the 60 evaluated class ids", action)
    nothing = (np.empty(0), np.empty(0), np.empty(0))
    return compare(groundtruth, detections, _policy(policy), excluded).curve(action) or nothing


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under the curve, each precision raised to the highest at no lower recall; 0 if empty."""
    if not precision.size:
        return 0.0
    recall = np.concatenate(([0.0], recall, [1.0]))
    precision = np.concatenate(([0.0], precision, [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[step] - recall[step - 1]) * envelope[step]))


@dataclass(frozen=True)
class Scored:
    """The detection rows that count, by class and falling score."""

    action: np.ndarray  # (n,) ascending
    score: np.ndarray  # (n,) falling within a class
    true_positive: np.ndarray  # (n,) bool
    row: np.ndarray  # (n,) which of the detections of scored classes it is
    truths: np.ndarray  # (C + 1,) ground truth rows of each class id up to the highest
    listed: pl.Series  # keys of the frames that the ground truth names, each once
    seen: pl.Series  # and of the detections' frames, before those without ground truth are left out
    undetected_classes: bool
    classes: tuple[int, ...]  # ids of those that are scored, ascending

    def curve(self, action: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Precision, recall and score by falling score, or None where the class does not count."""
        rows = self._rows(action)
        if rows is None:
            return None
        hits = np.cumsum(self.true_positive[rows])
        return hits / np.arange(1, hits.size + 1), hits / self.truths[action], self.score[rows]

    def per_class(self) -> dict[int, float]:
        """AP of each class that is scored, nan where it does not count."""
        result = dict.fromkeys(self.classes, math.nan)
        for action in result:
            if rows := self._rows(action):
                # Between two hits precision only falls, so that the area needs the curve at the hits alone.
                place = 1 + np.flatnonzero(self.true_positive[rows])
                hits = np.arange(1, place.size + 1)
                result[action] = average_precision(hits / place, hits / self.truths[action])
        return result

    def _rows(self, action: int) -> slice | None:
        """The rows of one class; None where it does not count."""
        own = self.action.dtype.type(action)
        first, last = (int(np.searchsorted(self.action, own, side)) for side in ("left", "right"))
        counts = self.truths[action] > 0 and (first < last or self.undetected_classes)
        return slice(first, last) if counts else None


def compare(
    groundtruth: pl.DataFrame,
    detections: pl.DataFrame,
    rules: Policy,
    excluded: pl.DataFrame | None = None,
    classes: tuple[int, ...] = ava.EVALUATED,
) -> Scored:
    """Choose frames and rows as the policy does, and decide for each row whether it is a true positive.

    `classes` are the ids that are scored, ascending, in 1..255.
    """
    _check("groundtruth", groundtruth, "person")
    _check("detections", detections, "score")
    if excluded is not None and not {*FRAME} <= {*excluded.columns}:
        raise BadInput("excluded", "columns", ", ".join(FRAME), ", ".join(excluded.columns))
    evaluated = pl.col("action").is_in(classes).fill_null(False)
    truth = _where(groundtruth, evaluated)
    found = _where(detections, evaluated & (pl.col("score").fill_null(1) > rules.above))
    tables = (groundtruth, truth, found, *(() if excluded is None else (excluded,)))
    listed_runs, truth_runs, runs, *left_out = _runs(tables)
    listed = listed_runs[0].unique()
    # A frame's number is its place in the evaluator's loop, which decides between equal scores.
    seen = runs[0].unique(maintain_order=True)
    frames = truth_runs[0].unique(maintain_order=True) if rules.frames == "labelled" else seen
    if rules.frames == "listed":
        frames = frames.filter(frames.is_in(listed.implode()))
    missable = truth["action"].to_numpy()
    for keys, _ in left_out:
        frames = frames.filter(~frames.is_in(keys.implode()))
        if not rules.excluded_truth:
            missable = missable[np.repeat(~truth_runs[0].is_in(keys.implode()).to_numpy(), truth_runs[1])]
    truths = np.bincount(missable, minlength=max(classes) + 1)
    # Two of the readers take the person id for a score; it decides between equal overlaps.
    claimed = _rows(truth, truth_runs, frames, "person", replace(rules, cap=None))
    rows = _rows(found, runs, frames, "score", rules)
    true_positive = _match(rows, claimed, (len(frames), len(truths)), rules.precision)
    score = rows.score.astype(rules.precision).astype(np.float64, copy=False)
    # The evaluators sort upwards and turn round: of equal scores the last comes first.
    order = len(score) - 1 - by_group_and_score(rows.action[::-1], score[::-1])
    action, hits = rows.action[order], true_positive[order]
    row, undetected = rows.place[order], rules.undetected_classes
    return Scored(action, score[order], hits, row, truths, listed, seen, undetected, classes)


def _where(table: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    """The rows of `table` that meet `condition`; the table itself, not a copy, where all do."""
    mask = table.select(condition).to_series()
    return table if mask.all() else table.filter(mask)


def _runs(tables: Sequence[pl.DataFrame]) -> list[tuple[pl.Series, np.ndarray]]:
    """For each table a key of the frame of each run of rows of one frame, (r,), and the runs' lengths, (r,).

    A file has some hundred rows a frame in one run: what is asked of frames is cheaper to ask of runs, and
    of a number, the same in all tables, than of a name and a second.
    """
    new = pl.any_horizontal(pl.col(FRAME) != pl.col(FRAME).shift()).fill_null(True)
    starts = [table.select(new.arg_true()).to_series().to_numpy() for table in tables]
    lengths = [np.diff(start, append=table.height) for start, table in zip(starts, tables, strict=True)]
    second = number = pl.col("second").cast(pl.Int64)
    if any(table["second"].dtype.is_float() for table in tables):  # LART's script tells six decimals apart
        second = (pl.col("second").cast(pl.Float64) * 1e6).round().cast(pl.Int64)
        number = pl.col("second").rank("dense").cast(pl.Int64)
    first = [table.select("video", second)[start] for start, table in zip(starts, tables, strict=True)]
    video = pl.col("video").cast(pl.Categorical).to_physical().cast(pl.Int64)
    keys = pl.concat(first).select(frame=video * 2**32 + number).to_series()
    ends = np.cumsum([len(start) for start in starts])
    return [(keys[end - len(size) : end], size) for end, size in zip(ends, lengths, strict=True)]


@dataclass(frozen=True)
class _Rows:
    """Rows in the frames that count: by frame, and within it in the order in which they claim."""

    frame: np.ndarray  # (n,) number of the frame, from 0
    action: np.ndarray  # (n,) uint8
    score: np.ndarray  # (n,)
    place: np.ndarray  # (n,) row of `corners`
    corners: pl.DataFrame  # y1, x1, y2, x2: the order in which the evaluators hold and compare them

    def box(self, which: np.ndarray, precision: type[np.floating]) -> np.ndarray:
        """(m, 4) boxes of the rows `which` (m,)."""
        return self.corners[self.place[which]].to_numpy().astype(precision, copy=False)


def _rows(
    table: pl.DataFrame, runs: tuple[pl.Series, np.ndarray], frames: pl.Series, last: str, rules: Policy
) -> _Rows:
    """The rows of `table` in `frames` that the policy keeps; `last` names what is read as the score."""
    numbers = frames.alias("frame").to_frame().with_row_index("number")
    number = runs[0].to_frame().join(numbers, on="frame", how="left", maintain_order="left")["number"]
    frame = np.repeat(number.fill_null(len(frames)).to_numpy(), runs[1])
    action, corners = table["action"].cast(pl.UInt8).to_numpy(), table.select("y1", "x1", "y2", "x2")
    score = table[last].cast(pl.Float64).fill_null(1).to_numpy()
    order = by_group_and_score(frame, np.zeros(len(score)) if rules.order == "arrival" else score)
    order = order[: np.count_nonzero(frame < len(frames))]  # rows in no frame that counts come last
    if rules.order == "heap":
        order = activitynet_heap.kept(frame, action, corners, score, order, rules.cap)
    if last == "score" and not rules.flat_boxes:
        sides = ((pl.col(a) < pl.col(b)) & pl.col(b).is_not_nan() for a, b in (("y1", "y2"), ("x1", "x2")))
        solid = corners.select(pl.all_horizontal(*sides)).to_series()
        order = order if solid.all() else order[solid.to_numpy()[order]]
    return _Rows(frame[order], action[order], score[order], order, corners)


def _match(rows: _Rows, truth: _Rows, size: tuple[int, int], precision: type[np.floating]) -> np.ndarray:
    """Whether each row is a true positive, (n,) bool; rows and truth in the order in which they claim.

    `size` is the number of frames and of class ids, with 0.
    """
    hits = np.zeros(len(rows.frame), bool)
    frames, classes = size
    truth_key = truth.frame.astype(np.int64) * classes + truth.action
    by_key = np.argsort(truth_key, kind="stable")
    groups, starts, sizes = np.unique(truth_key[by_key], return_index=True, return_counts=True)
    group_of = np.full(frames * classes, -1, np.int32)
    group_of[groups] = np.arange(len(groups))

    group = group_of[rows.frame.astype(np.int64) * classes + rows.action]
    row = np.flatnonzero(group >= 0)  # only these have ground truth of their class in their frame
    start, count = starts[group[row]], sizes[group[row]]
    boxes = truth.box(by_key, precision)
    claimed = np.zeros(len(by_key), bool)
    for part in _pieces(count):
        own, number = rows.box(row[part], precision), count[part]
        offset = np.cumsum(number) - number
        # All (row, ground truth) pairs, those of one row side by side.
        pair_row = np.repeat(np.arange(len(own)), number)
        pair_truth = np.arange(number.sum()) + np.repeat(start[part] - offset, number)
        overlap = iou(own[pair_row], boxes[pair_truth])
        best = np.maximum.reduceat(overlap, offset)
        enough = np.flatnonzero((overlap == best[pair_row]) & (overlap >= IOU_THRESHOLD))
        # Of equal overlaps the first ground truth, of several claims the first row.
        claimer, first = np.unique(pair_row[enough], return_index=True)
        target, winner = np.unique(pair_truth[enough[first]], return_index=True)
        new = ~claimed[target]
        claimed[target] = True
        hits[row[part][claimer[winner[new]]]] = True
    return hits


def _pieces(count: np.ndarray) -> Iterator[slice]:
    """Slices of the rows with at most PAIRS pairs each, or one row; count (n,) says how many a row has."""
    ends = np.cumsum(count)
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + PAIRS, side="right")))
        yield slice(start, end)
        start = end


# Not `boxes.overlap`: the order and the precision of the sums are the evaluators' own here.
def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes and others, each (n, 4) as y1, x1, y2, x2: (n,); 0 of two points."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    # Single precision ends with the sides: the evaluators multiply and divide in double.
    sides = np.maximum(0.0, (high - low).astype(np.float64))
    intersection = sides[:, 0] * sides[:, 1]
    union = _area(boxes) + _area(others) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _counts(
    groundtruth: pl.DataFrame, detections: pl.DataFrame, scored: Scored, per_class: dict[int, float]
) -> dict[str, int]:
    listed, seen = scored.listed, scored.seen
    shared = int(listed.is_in(seen.implode()).sum())
    left_out = [
        int(table.select((~pl.col("action").is_in(scored.classes)).sum()).item())
        for table in (groundtruth, detections)
    ]
    return {
        "frames": len(listed),
        "boxes": groundtruth.drop_nulls("action").select(*FRAME, *ava_csv.CORNERS).unique().height,
        "labels": int(scored.truths.sum()),
        "classes": sum(not math.isnan(value) for value in per_class.values()),
        "detections": detections["action"].count(),
        "detections_scored": len(scored.action),
        "labels_found": int(scored.true_positive.sum()),
        "frames_shared": shared,
        "frames_without_detections": len(listed) - shared,
        "frames_without_groundtruth": len(seen) - shared,
        "labels_left_out": left_out[0],
        "detections_left_out": left_out[1],
    }


def _policy(name: str) -> Policy:
    if name not in POLICIES:
        raise BadInput("evaluate", "policy", " or ".join(POLICIES), name)
    return POLICIES[name]


def _check(name: str, table: pl.DataFrame, last: str) -> None:
    wanted = [*FRAME, *ava_csv.CORNERS, "action", last]
    if missing := [column for column in wanted if column not in table.columns]:
        raise BadInput(name, "columns", ", ".join(wanted), f"a table without {', '.join(missing)}")
    if not table["second"].dtype.is_numeric():
        raise BadInput(name, "second", "whole seconds or decimals", table["second"].dtype)
    for column in wanted[2:]:
        if not (table[column].dtype.is_numeric() or table[column].dtype == pl.Null):
            raise BadInput(name, column, "numbers", table[column].dtype)
    if len(far := table["second"].filter(~table["second"].is_between(-(2**31), 2**31 - 1))):
        raise BadInput(name, "second", "a number of 32 bits", far[0])
    if last == "score" and table["score"].is_nan().any():
        raise BadInput(name, "score", "numbers", "nan")


def mean(values: list[float]) -> float:
    """Mean of what is not nan; nan of nothing, without numpy's warning."""
    counted = [value for value in values if not math.isnan(value)]
    return float(np.mean(counted)) if counted else math.nan


def _null_for_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _null_for_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
