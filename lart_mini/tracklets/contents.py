"""`lart-mini validate`: what is in a file, a folder or a store of tracklets, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl

from lart_mini.files import BadInput, process_count
from lart_mini.progress import progress as progress_bar
from lart_mini.tracklets.records import index_row, unpack
from lart_mini.tracklets.released import read_released, released_files
from lart_mini.tracklets.store import Store, is_store

Row = dict[str, Any]
COUNTED = ("length", "detected", "ground_truth", "pseudo")


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found: `tracklets` has a row for each valid one, `problems` a line for each that is not."""

    tracklets: pl.DataFrame  # dataset, appearance_width, length, detected, ground_truth, pseudo
    problems: list[str]


def survey(path: str | Path, *, jobs: int = 1) -> Survey:
    """Read all of a released file, of a folder of them (in `jobs` processes), or of a store, and check it.

    Raises BadInput where there is nothing to read.
    """
    path, jobs = Path(path), process_count(jobs)
    if is_store(path):
        store = Store(path)
        found, total = _of_store(store), len(store)
    else:
        files = released_files(path) if path.is_dir() else [path]
        tasks = (joblib.delayed(_of_file)(file) for file in files)
        found, total = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks), len(files)
    rows: list[Row] = []
    problems: dict[str, None] = {}  # in order, and each once: a lost part makes the same one many times
    for row in progress_bar(found, total=total, unit="tracklet"):
        if isinstance(row, str):
            problems[row] = None
        else:
            rows.append(row)
    schema = {"dataset": pl.String} | dict.fromkeys(("appearance_width", *COUNTED), pl.Int64)
    return Survey(pl.DataFrame(rows, schema=schema, orient="row"), list(problems))


def _of_file(file: Path) -> Row | str:
    try:
        tracklet = read_released(file)
    except FileNotFoundError as problem:  # a link that leads nowhere
        return str(BadInput(file, "file", "a file that can be read", problem.strerror))
    except BadInput as problem:
        return str(problem)
    return index_row(tracklet) | {"length": len(tracklet)}


def _of_store(store: Store) -> Iterator[Row | str]:
    for i, name in enumerate(store.index["name"].to_list()):
        where = f"{store.path} ({name})"
        try:
            packed = store.packed(i)
            if packed.checksum() != packed.row["checksum"]:
                raise BadInput(where, "checksum", packed.row["checksum"], packed.checksum())
            told = index_row(unpack(packed, where))
            for field, value in told.items():
                if packed.row[field] != value:
                    raise BadInput(where, f"index, {field}", value, packed.row[field])
            yield packed.row
        except BadInput as problem:
            yield str(problem)


def summary(found: Survey) -> str:
    """A table of the datasets, then lengths, appearance and the number of problems."""
    table = found.tracklets
    lines = [f"{'':<18}{'tracklets':>10}{'frames':>12}{'detected':>10}{'ground truth':>14}{'pseudo':>9}"]
    for dataset in [*table["dataset"].unique(maintain_order=True).to_list(), "all"]:
        rows = table if dataset == "all" else table.filter(pl.col("dataset") == dataset)
        frames, *counts = (int(rows[name].sum()) for name in COUNTED)
        detected, truth, pseudo = (f"{100 * count / max(frames, 1):.1f} %" for count in counts)
        lines.append(f"{dataset:<18}{len(rows):>10,}{frames:>12,}{detected:>10}{truth:>14}{pseudo:>9}")
    if len(table):
        length = table["length"].to_numpy()
        lines.append(f"length: {length.min()} to {length.max()} frames, median {np.median(length):g}")
        for width, count in table["appearance_width"].value_counts().sort("appearance_width").iter_rows():
            lines.append(f"appearance: {f'width {width}' if width else 'none'} in {count:,} tracklets")
    lines.append(f"problems: {len(found.problems)}")
    return "\n".join(lines)
