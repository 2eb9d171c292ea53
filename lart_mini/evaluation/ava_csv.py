"""AVA's CSV files of ground truth, detections and excluded key frames, read and written.

A ground truth row is `video,second,x1,y1,x2,y2,action[,person]`, a detection row ends in a score instead of a
person; corners are fractions of the frame's width and height. A row of `video,second` alone marks a key frame
without boxes.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from lart_mini.ava import CLASS_COUNT
from lart_mini.files import BadInput, atomic_path
from lart_mini.reading.budget import MIB
from lart_mini.reading.tables import check_utf_8, is_ready, table_bytes

LEAST, MOST = -1.0, 2.0  # corners that are scored; beyond them no box of a frame can be meant
MOST_CLASSES = 255  # ids of a class set that is not AVA's
CORNERS = ("x1", "y1", "x2", "y2")
_TRAILING_BLANKS = re.compile(rb"(?<![ \t])[ \t]++(?=[,\r\n]|\Z)")
_PIECE = 16 * MIB  # bytes that are looked through at once for a bad line

Schema = dict[str, type[pl.DataType]]


# Polars parses and checks whole columns, the file as it lies on the disk where it can. Where that fails, the
# rows are read with decimals and blanks where AVA has neither; only if that fails too are they read as lines,
# to name the first bad one.


def read_groundtruth(path: str | Path, classes: int = CLASS_COUNT) -> pl.DataFrame:
    """Read a ground truth CSV (.csv or .csv.gz) with class ids up to `classes`.

    Columns video (str), second (i64; f64 to six decimals where the file has fractions), x1, y1, x2, y2 (f64,
    fractions of the frame), action (i64), person (i64, null where the file has seven columns; f64 where it
    has scores there, as SlowFast's may); a row without box has nulls from x1 on.
    Raises BadInput naming the line and the field.
    """
    return _read(Path(path), "person", (2, 7, 8), classes)


def read_detections(path: str | Path, classes: int = CLASS_COUNT) -> pl.DataFrame:
    """Read a detections CSV (.csv or .csv.gz): as `read_groundtruth`, with score (f64) in place of person.

    The score is null where the file has seven columns; the published scripts count it as 1.
    """
    return _read(Path(path), "score", (2, 7, 8), classes)


def read_excluded(path: str | Path) -> pl.DataFrame:
    """Read a list of excluded key frames, rows `video,second`, or none: columns video (str), second."""
    return _read(Path(path), "person", allowed=(2,)).select("video", "second")


def csv_schema(last: str) -> Schema:
    """Columns and types of a table whose last column is `person` (ground truth) or `score` (detections)."""
    numbers = {corner: pl.Float64 for corner in CORNERS}
    ending = pl.Int64 if last == "person" else pl.Float64
    return {"video": pl.String, "second": pl.Int64, **numbers, "action": pl.Int64, last: ending}


def _read(path: Path, last: str, allowed: tuple[int, ...], classes: int = CLASS_COUNT) -> pl.DataFrame:
    why = "a row that is not complete"
    for source, schema in _attempts(path, last):
        if not source:
            if allowed == (2,):  # none is excluded
                return pl.DataFrame(schema=schema)
            raise BadInput(path, "file", "at least one row", "an empty file")
        try:
            table = _parsed(source, schema)
            break
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            why = str(error).splitlines()[0]
    else:
        raise _bad_line(path, last, allowed) or BadInput(path, "file", "an AVA CSV", why)
    if not _complete(table, last, allowed):
        raise _bad_line(path, last, allowed) or BadInput(path, "file", "an AVA CSV", why)
    if last == "score" and table["score"].null_count() > table["action"].null_count():
        fault = _bad_line(path, last, allowed)  # an empty eighth column is not seven columns
        if fault:
            raise fault
    _check_values(path, table, last, classes)
    return _whole(table)


def _attempts(path: Path, last: str) -> Iterator[tuple[Path | bytes, Schema]]:
    """What polars may read with which schema, the fastest first."""
    schema = csv_schema(last)
    loose = {name: pl.Float64 if kind is pl.Int64 else kind for name, kind in schema.items()}
    ready = is_ready(path, len(schema))
    if ready:
        yield path, schema
    content = table_bytes(path)
    if not ready:
        yield content, schema
    yield content, loose
    yield _TRAILING_BLANKS.sub(b"", content), loose


def _parsed(source: Path | bytes, schema: Schema) -> pl.DataFrame:
    if isinstance(source, Path) or source[: source.find(b"\n")].count(b",") >= len(schema) - 1:
        return pl.read_csv(source, schema=schema, has_header=False, glob=False)
    # Polars fills short rows with nulls if the first one is full: a header of our own is.
    return pl.read_csv(b"\n".join((",".join(schema).encode(), source)), schema=schema)


def _complete(table: pl.DataFrame, last: str, allowed: tuple[int, ...]) -> bool:
    """Whether every row has all the fields that its number of columns promises; the last may be missing."""
    if not any(table.null_count().row(0)):
        return True
    box = [*CORNERS, "action"]
    boxless = pl.all_horizontal(pl.col(*box, last).is_null())
    gap = pl.any_horizontal(pl.col(*box).is_null()) if max(allowed) > 2 else pl.lit(True)
    wrong = pl.any_horizontal(pl.col("video", "second").is_null()) | (~boxless & gap)
    return not table.select(wrong.any()).item()


def _whole(table: pl.DataFrame) -> pl.DataFrame:
    """Decimals that are whole numbers as such; other seconds to the six decimals that LART's script keeps."""
    for name in ("second", "action", "person"):
        if name in table.columns and table[name].dtype == pl.Float64:
            column = table[name]
            if (column == column.floor()).all():
                column = column.cast(pl.Int64)
            elif name == "second":
                values = column.unique()
                column = column.replace_strict(values, [round(value, 6) for value in values.to_list()])
            table = table.with_columns(column)
    return table


def _bad_line(path: Path, last: str, allowed: tuple[int, ...]) -> BadInput | None:
    """Read the file as lines and say which is the first that cannot be a row, and in which field."""
    content = table_bytes(path)
    check_utf_8(path, content)
    if _has_index(content):
        expected = "a video id (no index column: pandas leaves it out with index=False)"
        return BadInput(path, "line 1, video", expected, repr(content[:40].split(b",")[0].decode()))
    start = line = 0
    while start < len(content):
        end = content.find(b"\n", start + _PIECE) + 1 or len(content)
        lines = content[start:end].decode().removesuffix("\n").split("\n")
        fault = _first_bad(path, pl.Series("line", lines), line, last, allowed)
        if fault:
            return fault
        start, line = end, line + len(lines)
    return None


def _first_bad(
    path: Path, lines: pl.Series, before: int, last: str, allowed: tuple[int, ...]
) -> BadInput | None:
    schema = csv_schema(last)
    split = pl.col("line").str.split_exact(",", len(schema) - 1).struct.rename_fields(list(schema))
    count = (pl.col("line").str.count_matches(",") + 1).alias("columns")
    table = lines.str.strip_chars_end("\r").to_frame()
    table = table.select(count, split.alias("fields")).unnest("fields")
    counts = " or ".join(map(str, allowed)) + " columns"
    faults = [(pl.col("columns").is_in(allowed).not_(), "columns", counts)]
    for name, kind in schema.items():
        text = pl.col(name).str.strip_chars('" \t')
        bad = (
            text.str.len_bytes() == 0 if kind is pl.String else text.cast(pl.Float64, strict=False).is_null()
        )
        # Seven columns leave the last open; two leave everything after the second open.
        absent = pl.col(name).is_null() | ((text.str.len_bytes() == 0) & pl.lit(name == "person"))
        faults.append((bad & ~absent, name, _EXPECTED[name]))
    heading = [
        table[name].str.strip_chars('" ').cast(pl.Float64, strict=False).is_null()
        for name in ("second", "action")
    ]
    found = _first(table, faults)
    if found is None:
        return None
    row, name, expected = found
    shown = f"{table['columns'][row]} columns" if name == "columns" else repr(table[name][row])
    if heading[0][row] and heading[1][row] and table["columns"][row] > 2:
        expected = "a row of data (AVA files have no header)"
    return BadInput(path, f"line {before + row + 1}, {name}", expected, shown)


def _has_index(content: bytes) -> bool:
    """Whether the first lines begin with 0, 1, 2, … before a name and a second: pandas' index."""
    lines = [line.split(b",", 3) for line in content[:4096].split(b"\n")[:4] if line.strip()]
    rows = lines[1:] if not lines[0][0].strip(b'" ') else lines[:3]  # the index has no name in a heading
    counted = [row[0] for row in rows] == [str(number).encode() for number in range(len(rows))]
    return (
        bool(rows)
        and counted
        and all(len(row) > 3 and not _number(row[1]) and _number(row[2]) for row in rows)
    )


def _number(text: bytes) -> bool:
    try:
        float(text.strip(b'" '))
    except ValueError:
        return False
    return True


_EXPECTED = {
    "video": "a video id",
    "second": "a number of seconds",
    **{corner: "a number" for corner in CORNERS},
    "action": "a class id (a whole number)",
    "person": "a person id (a number)",
    "score": "a number",
}


def _first(table: pl.DataFrame, faults: list[tuple[pl.Expr, str, str]]) -> tuple[int, str, str] | None:
    """Earliest row at which one of the faults (condition, field, expected) holds."""
    conditions = [condition.fill_null(False).alias(str(i)) for i, (condition, _, _) in enumerate(faults)]
    if not table.select(pl.any_horizontal(conditions).any()).item():
        return None
    holds = table.select(conditions)
    row, fault = min((int(column.arg_true()[0]), i) for i, column in enumerate(holds) if column.any())
    return row, faults[fault][1], faults[fault][2]


def _check_values(path: object, table: pl.DataFrame, last: str, classes: int = CLASS_COUNT) -> None:
    """Raise BadInput at the first row whose numbers cannot be a box, a class or a score."""
    inside = f"a fraction of the frame (0 to 1; {LEAST:g} to {MOST:g} are scored)"
    # The negation also catches NaN, which lies in no interval.
    faults = [(pl.col(corner).is_between(LEAST, MOST).not_(), corner, inside) for corner in CORNERS]
    faults += [(pl.col(b) < pl.col(a), b, f"at least {a}") for a, b in (("x1", "x2"), ("y1", "y2"))]
    faults.append((pl.col("action").is_between(1, classes).not_(), "action", f"a class id in 1..{classes}"))
    if last == "score":
        faults.append((pl.col("score").is_finite().not_(), "score", "a finite number"))
    for name in ("second", "action", "person"):
        if name in table.columns and table[name].dtype == pl.Float64:
            fraction = (pl.col(name) != pl.col(name).floor()) & pl.lit(name == "action")
            faults.append((pl.col(name).abs().lt(2**53).not_() | fraction, name, _EXPECTED[name]))
    fault = _first(table, faults)
    if fault is None:
        return
    row, name, expected = fault
    found = str(table[name][row])
    if name in CORNERS:
        found += " in the box " + ", ".join(str(table[corner][row]) for corner in CORNERS)
        found += " (pixels?)" if max(abs(table[corner][row]) for corner in CORNERS) > 2 else ""
    if name == "action":
        found += " (class ids count from 1)" if table[name][row] == 0 else ""
    raise BadInput(path, f"line {row + 1}, {name}", expected, found)


def write_groundtruth(table: pl.DataFrame, path: str | Path) -> None:
    """Write columns video, second, x1, y1, x2, y2, action, person as AVA CSV, gzipped where `path` says .gz.

    A null person leaves seven columns, a row without box two; seconds have four digits.
    What could not be read back raises BadInput, and nothing is written.
    """
    _write(table, Path(path), "person")


def write_detections(table: pl.DataFrame, path: str | Path) -> None:
    """Write columns video, second, x1, y1, x2, y2, action, score, as `write_groundtruth` does."""
    _write(table, Path(path), "score")


def _write(table: pl.DataFrame, path: Path, last: str) -> None:
    schema = csv_schema(last)
    missing = [name for name in schema if name not in table.columns]
    if missing:
        raise BadInput(path, "columns", ", ".join(schema), ", ".join(table.columns))
    if not (table["second"] == table["second"].cast(pl.Int64, strict=False)).all():
        schema["second"] = pl.Float64
    table = table.select(pl.col(name).cast(kind) for name, kind in schema.items())
    if not _complete(table, last, allowed=(2, 7, 8)):
        raise BadInput(path, "rows", "all fields of a box or none", "a row with some of them")
    _check_values(path, table, last)
    odd = table["video"].filter(table["video"].str.contains(r'^$|^\x{feff}|[",\r\n\x00]'))
    if len(odd):
        raise BadInput(path, "video", "an id without comma, quote or line break", repr(odd[0]))
    texts = {name: pl.col(name).cast(pl.String) for name in schema}
    texts["second"] = texts["second"].str.zfill(4)
    rows = table.select(pl.concat_str(list(texts.values()), separator=",", ignore_nulls=True))
    with atomic_path(path) as temporary:
        if path.suffix == ".gz":
            # No name and no time in the gzip header: the same table gives the same bytes.
            with temporary.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
                packed.write(rows.write_csv(include_header=False, quote_style="never").encode())
        else:
            rows.write_csv(temporary, include_header=False, quote_style="never")
