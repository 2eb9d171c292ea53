"""Answers as `lart-mini ablate` writes them: a table of systems' mAP and of differences, with intervals."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lart_mini.files import BadInput
from lart_mini.reading.parquet import read_parquet

HOLDS, FAILS, OPEN, NEVER = "holds", "does not hold", "not settled", "cannot be asked"

ANSWERS = pl.Schema(
    {
        "question": pl.String,
        "system": pl.String,
        "than": pl.String,  # null: the row is a system's mAP; else its difference to this one, same boxes
        "scope": pl.String,  # headline, all, one of AVA's categories, or a class
        "value": pl.Float64,  # mAP points
        "low": pl.Float64,  # of the 95 % interval
        "high": pl.Float64,
        "claim": pl.String,  # in words; empty for a system
        "paper": pl.Float64,  # its difference, mAP points
        "verdict": pl.String,  # empty for a system
        "rests": pl.Boolean,  # on a class of the headline
        "clips": pl.Int64,  # of motion that a class rests on; null for other scopes
        "command": pl.String,  # that gives the row again
        "commit": pl.String,  # of its runs
        "data": pl.String,  # digest of their data sets
    }
)
NULLABLE = ("than", "paper", "clips")
MOST_ANSWERS = 1_000_000  # rows


def read_answers(path: str | Path) -> pl.DataFrame:
    """The table that `lart-mini ablate` wrote, columns as in ANSWERS. Raises BadInput for anything else."""
    path = Path(path)
    table = read_parquet(path, ANSWERS, ", as lart-mini ablate writes it", MOST_ANSWERS, NULLABLE)
    if table.is_empty():
        raise BadInput(path, "rows", "one at least", "none")
    finite = pl.all_horizontal(pl.col("low", "value", "high").is_finite())
    bad = table.filter(~(finite & pl.col("value").is_between("low", "high")))
    if len(bad):
        found = bad.select("system", "scope", "low", "value", "high").row(0)
        raise BadInput(path, "value", "a number within its interval", found)
    return table


def asked(table: pl.DataFrame) -> pl.DataFrame:
    """Every comparison once, in the scope that its claim is about: the first that it was written in."""
    pair = ["question", "system", "than", "claim"]
    return table.filter(pl.col("than").is_not_null()).unique(pair, keep="first", maintain_order=True)
