"""What was left out or read in an unusual way, with numbers: said of every evaluation to which it applies."""

from __future__ import annotations

import polars as pl

from lart_mini import ava
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.evaluation.class_list import AVA_60
from lart_mini.evaluation.frame_map import Evaluation

TOLERANCE = 0.001  # AVA writes three decimals; a corner may miss the frame by one unit of the last
NAMED = 10  # classes that are listed; of more, their number


def remarks(evaluation: Evaluation) -> list[str]:
    """Sentences on rows of other classes, corners outside the frame and missing or misplaced scores."""
    return [*_left_out(evaluation), *_outside(evaluation), *_scores(evaluation)]


def _tables(evaluation: Evaluation) -> tuple[tuple[pl.DataFrame, str], ...]:
    return (evaluation.groundtruth, "ground-truth labels"), (evaluation.detections, "detections")


def _left_out(evaluation: Evaluation) -> list[str]:
    found = []
    for table, what in _tables(evaluation):
        action = table["action"]
        others = action.unique().drop_nulls().sort()
        others = others.filter(~others.is_in(tuple(evaluation.classes)))
        if len(others):
            count, of = action.is_in(others.implode()).sum(), action.count()
            classes = _classes(others.to_list())
            found.append(f"{count:,} of {of:,} {what} ({classes})")
    if not found:
        return []
    text = f"{' and '.join(found)} were left out: "
    if evaluation.classes != AVA_60:
        return [f"{text}their classes are none of the {len(evaluation.classes)} given."]
    text += f"AVA scores {len(AVA_60)} of its {ava.CLASS_COUNT} classes, and not these"
    return [f"{text} (classes of your own: --classes)."]


def _classes(ids: list[int]) -> str:
    shown = ", ".join(map(str, ids[:NAMED])) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
    return f"class{'es' if len(ids) > 1 else ''} {shown}"


def _outside(evaluation: Evaluation) -> list[str]:
    said = []
    for table, what in _tables(evaluation):
        least = table.select(pl.min_horizontal(pl.col(CORNERS).min())).item()
        most = table.select(pl.max_horizontal(pl.col(CORNERS).max())).item()
        if least is None or (least >= -TOLERANCE and most <= 1 + TOLERANCE):
            continue
        inside = pl.all_horizontal(pl.col(CORNERS).is_between(-TOLERANCE, 1 + TOLERANCE))
        count = table.select((~inside).sum()).item()
        text = f"{count:,} {what} have corners outside the frame ({least:g} to {most:g} of it): "
        said.append(text + "they are scored as they are, as the published scripts do.")
    return said


def _scores(evaluation: Evaluation) -> list[str]:
    said = []
    found = evaluation.detections
    missing = found.select((pl.col("score").is_null() & pl.col("action").is_not_null()).sum()).item()
    if missing:
        text = f"{missing:,} of {found['action'].count():,} detections have no score (seven columns): "
        said.append(text + "each counts as 1, as in the published scripts.")
    if evaluation.groundtruth["person"].dtype.is_float():
        said.append("The ground truth's last column holds scores, not people: are the two files exchanged?")
    return said
