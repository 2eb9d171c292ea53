"""Parquet tables: columns, types and how many rows are looked at before any is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lart_mini.files import BadInput

MOST_ROWS = 50_000_000  # the published tracklets are 1.5 million


def read_parquet(
    path: Path,
    schema: Mapping[str, Any],
    advice: str = "",
    most: int = MOST_ROWS,
    nullable: Collection[str] = (),
) -> pl.DataFrame:
    """The columns of `schema`, in its order, of a table of at most `most` rows; others are passed over.

    Raises BadInput, which says `advice` after what it expects, for no file, anything but a table, a column
    that is missing or of another type, too many rows, and for a null but in `nullable`.
    """
    expected = f"a parquet table{advice}"
    if not path.is_file():
        raise BadInput(path, "file", expected, "none")
    try:
        stored = pl.scan_parquet(path, glob=False)
        found = stored.collect_schema()
        for name, kind in schema.items():
            if found.get(name) != kind:
                raise BadInput(path, name, f"a column of {kind}{advice}", found.get(name, "none"))
        rows = stored.select(pl.len()).collect().item()
        if rows > most:
            raise BadInput(path, "rows", f"at most {most:,}", f"{rows:,}")
        table = stored.select(*schema).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise BadInput(path, "file", expected, str(error).split("\n")[0]) from None
    for name in schema:
        if name not in nullable and table[name].null_count():
            raise BadInput(path, name, f"a value in every row{advice}", "null")
    return table
