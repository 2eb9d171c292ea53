"""Blanks of 07_ava_evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini.course.check import Blank, Slip, gives
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.evaluation.frame_map import POLICIES, average_precision, compare, iou

HERE = "07_ava_evaluation"
Array = NDArray[Any]


def _overlap(a: Array, b: Array) -> float:
    """`iou` of two boxes (4,) each: x1, y1, x2, y2, or with x and y exchanged in both."""
    return float(iou(a[None], b[None])[0])


def _pairs() -> list[tuple[Array, Array]]:
    """Boxes that share a half; two that lie apart across a corner; one inside the other; two that lie apart
    sideways alone, and above each other alone; and the second of two further to the left."""
    boxes = [
        ((1, 1, 4, 7), (2, 1, 5, 7)),
        ((0, 0, 1, 1), (2, 3, 4, 5)),
        ((0.1, 0.2, 0.5, 0.9), (0.2, 0.3, 0.4, 0.5)),
        ((0, 0, 2, 2), (3, 0.5, 5, 1.5)),
        ((0, 0, 2, 2), (0.5, 3, 1.5, 5)),
        ((2, 1, 5, 7), (1, 0, 4, 6)),
    ]
    return [(np.array(a, float), np.array(b, float)) for a, b in boxes]


def _sides(a: Array, b: Array) -> tuple[float, float]:
    """Width and height that two boxes share; negative where they lie apart."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return width, height


def _area(box: Array) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _unclipped(a: Array, b: Array) -> float:
    both = np.prod(_sides(a, b))
    return float(both / (_area(a) + _area(b) - both))


def _shared(a: Array, b: Array) -> float:
    return float(np.prod(np.maximum(_sides(a, b), 0)))


def _table(boxes: Array, **more: Any) -> pl.DataFrame:
    """Boxes (n, 4) as rows of one class in one key frame."""
    columns = dict(zip(CORNERS, boxes.T, strict=True)) | more
    return pl.DataFrame(columns).with_columns(
        video=pl.lit("film"), second=pl.lit(902, pl.Int64), action=pl.lit(14, pl.Int64)
    )


def _right_rows(rows: Array, scores: Array, true_boxes: Array) -> NDArray[np.bool_]:
    """What `compare` says of rows (n, 4) of one class in one frame: right or not, (n,)."""
    truth = _table(true_boxes, person=np.arange(len(true_boxes)))
    scored = compare(truth, _table(rows, score=scores), POLICIES["activitynet"])
    right = np.zeros(len(rows), bool)
    right[scored.row] = scored.true_positive
    return right


def _largest(rows: Array, true_boxes: Array) -> Array:
    """Each row's largest overlap with a true box, (n,)."""
    return np.array([max(_overlap(a, b) for b in true_boxes) for a in rows])


def _frames() -> list[tuple[Array, Array, Array]]:
    """Rows by falling score; the best one last, and one at exactly 0.5; two true boxes side by side; and a
    row that overlaps its box too little, before the one that is right."""
    spot, other = (0.1, 0.2, 0.3, 0.8), (0.6, 0.2, 0.8, 0.8)
    beside = (0.12, 0.2, 0.32, 0.8)
    half, moved = (0.0, 0.0, 0.75, 0.5), (0.25, 0.0, 1.0, 0.5)  # IoU 0.5 in floating point, too
    frames = [
        ([spot, other, beside, (0.4, 0.2, 0.5, 0.4)], [0.9, 0.8, 0.7, 0.6], [spot, other]),
        ([beside, moved, spot], [0.3, 0.6, 0.9], [spot, half]),
        ([spot, (0.11, 0.2, 0.31, 0.8)], [0.9, 0.5], [(0.105, 0.2, 0.305, 0.8), (0.16, 0.2, 0.36, 0.8)]),
        ([(0.2, 0.2, 0.4, 0.8), spot], [0.9, 0.5], [spot]),
    ]
    return [(np.array(rows), np.array(scores), np.array(boxes)) for rows, scores, boxes in frames]


def _curve(right: Array, true_count: int) -> tuple[Array, Array]:
    """Precision and recall (n,) after each row."""
    hits = np.cumsum(right)
    return hits / np.arange(1, len(right) + 1), hits / true_count


def _average_precision(right: Array, true_count: int) -> float:
    """`average_precision` of rows by falling score, right or not (n,), and the number of true boxes."""
    return average_precision(*_curve(right, true_count))


def _area_under(precision: Array, recall: Array) -> float:
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def _without_envelope(right: Array, true_count: int) -> float:
    return _area_under(*_curve(right, true_count))


def _raised_from_the_left(right: Array, true_count: int) -> float:
    precision, recall = _curve(right, true_count)
    return _area_under(np.maximum.accumulate(precision), recall)


def _ranked() -> list[tuple[Array, int]]:
    """Precision that only falls from hit to hit; one that rises again; and no row that is right."""
    rows = [([1, 1, 0, 0, 1, 0, 1, 0], 5), ([0, 1, 1, 0, 1], 3), ([0, 0], 2)]
    return [(np.array(right, bool), count) for right, count in rows]


BLANKS = (
    Blank(
        "intersection_over_union",
        HERE,
        _overlap,
        _pairs,
        (
            Slip(
                "boxes that lie apart: a negative side is no area, and two make a positive; cut both at 0",
                gives(_unclipped),
            ),
            Slip(
                "the shared area is counted twice in the union: it is |A| + |B| − |A ∩ B|",
                gives(lambda a, b: _shared(a, b) / (_area(a) + _area(b))),
            ),
            Slip(
                "the union is that of both boxes, not the area of one",
                gives(lambda a, b: _shared(a, b) / _area(a)),
            ),
            Slip(
                "the last two numbers are a corner, x2 and y2, not width and height",
                gives(lambda a, b: _shared(a, b) / (a[2] * a[3] + b[2] * b[3] - _shared(a, b))),
            ),
        ),
    ),
    Blank(
        "right_rows",
        HERE,
        _right_rows,
        _frames,
        (
            Slip(
                "a true box is given away twice: an earlier row has claimed it",
                lambda got, wanted, rows, scores, boxes: got.sum() > len(boxes),
            ),
            Slip(
                "the rows claim in the order in which they stand; the highest score comes first",
                gives(lambda rows, scores, boxes: _right_rows(rows, -np.arange(len(rows)), boxes)),
            ),
            Slip(
                "the lowest score claims first: argsort goes upwards",
                gives(lambda rows, scores, boxes: _right_rows(rows, -scores, boxes)),
            ),
            Slip(
                "an overlap of exactly 0.5 is enough",
                lambda got, wanted, rows, scores, boxes: bool(
                    (np.isclose(_largest(rows, boxes), 0.5) == (got != wanted)).all()
                ),
            ),
            Slip(
                "a row whose best box is taken is wrong; it does not get its second best",
                lambda got, wanted, rows, scores, boxes: bool(
                    (got & ~wanted).any() and got.sum() <= len(boxes)
                ),
            ),
            Slip(
                "only a right row claims its box: one that overlaps it by less than half leaves it free",
                lambda got, wanted, rows, scores, boxes: bool(
                    (wanted & ~got).any() and not wanted[scores.argmax()]
                ),
            ),
        ),
    ),
    Blank(
        "average_precision",
        HERE,
        _average_precision,
        _ranked,
        (
            Slip(
                "recall is a share of all true boxes; those that no row has found count as well",
                gives(lambda right, true_count: _average_precision(right, max(1, int(right.sum())))),
            ),
            Slip(
                "the curve is not raised to its envelope: precision may rise again further on",
                gives(_without_envelope),
            ),
            Slip(
                "the envelope looks back; it is the highest precision from here on",
                gives(_raised_from_the_left),
            ),
            Slip(
                "this is the mean precision over all rows; each hit weighs by the recall that it adds",
                gives(lambda right, true_count: _curve(right, true_count)[0].mean()),
            ),
        ),
    ),
)
