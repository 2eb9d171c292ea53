"""Late fusion: the scores that two models gave the same boxes, added up by weight (SkeleTR, Table 3)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lart_mini.evaluation.ava_csv import CORNERS, read_detections
from lart_mini.files import BadInput, finite_number

BOX = ("video", "second", *CORNERS)
COPY = "copy"  # a box that stands in a file several times is as many boxes: from 0 on


def fuse_files(first: str | Path, second: str | Path, weights: tuple[float, float] = (1, 1)) -> pl.DataFrame:
    """Detections of the same boxes in two AVA files (columns of `read_detections`), fused.

    A score is the weighted mean of both: AP asks for the order alone, and the mean stays within 0 to 1 where
    a sum would not. A class that one file does not score for a box counts 0 there. Rows are in the first
    file's order, then those of the second alone.
    Raises BadInput where a box of one file is not in the other, the same number, or the weights are none.
    """
    for weight in weights:
        finite_number("--weights", "weight", weight, 0)
    if sum(weights) == 0:
        raise BadInput("--weights", "weights", "one above 0", weights)
    tables = [_rows(first), _rows(second)]
    _same_boxes(first, second, *tables)
    _same_boxes(second, first, *tables[::-1])
    keys = [*BOX, "action", COPY]
    both = tables[0].join(
        tables[1].drop("line"), on=keys, how="full", coalesce=True, maintain_order="left_right"
    )
    scores = [pl.col(name).fill_null(0.0) for name in ("score", "score_right")]
    mean = (weights[0] * scores[0] + weights[1] * scores[1]) / sum(weights)
    table = both.select(*BOX, "action", mean.alias("score"))
    whole = (table["second"] == table["second"].floor()).all()
    return table.with_columns(pl.col("second").cast(pl.Int64)) if whole else table


def _rows(path: str | Path) -> pl.DataFrame:
    """A file's rows that have a box, with their line and the number of the box's copy."""
    table = read_detections(path).with_row_index("line", offset=1).filter(pl.col("action").is_not_null())
    return table.with_columns(
        pl.col("second").cast(pl.Float64),
        pl.col("score").fill_null(1.0),  # as the published scripts count a row of seven columns
        pl.int_range(pl.len()).over(*BOX, "action").alias(COPY),
    )


def _same_boxes(path: str | Path, other: str | Path, table: pl.DataFrame, among: pl.DataFrame) -> None:
    """Raise BadInput at the first box of `table` that is not among the other file's."""
    alone = table.join(among, on=[*BOX, COPY], how="anti", maintain_order="left")
    if len(alone):
        row = alone.row(0, named=True)
        box = ", ".join(f"{row[corner]:g}" for corner in CORNERS)
        found = f"{row['video']} at {row['second']:g}: {box}" + (", once more" if row[COPY] else "")
        raise BadInput(path, f"line {row['line']}, box", f"a box of {other}, corners equal", found)
