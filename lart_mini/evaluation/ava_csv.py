"""AVA's CSV files of ground truth, detections and excluded key frames, read and written."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from pathlib import Path

import polars as pl

from lart_mini.ava import CLASS_COUNT
from lart_mini.files import BadInput, atomic_path

COORDINATE_TOLERANCE = 0.001  # AVA writes three decimals; a corner may miss the frame by one unit of the last
CORNERS = ("x1", "y1", "x2", "y2")
_GZIP, _BLANK = b"\x1f\x8b", (b"\n\n", b"\r\n\r\n")


# Polars parses and checks whole columns, the file as it lies on the disk where it can; only where a file is
# wrong is it read again as lines, to name the first bad one.


def read_groundtruth(path: str | Path) -> pl.DataFrame:
    """Read a ground truth CSV (.csv or .csv.gz).

    Columns video (str), second (i64), x1, y1, x2, y2 (f64, fractions of the frame), action (i64, 1..80),
    person (i64, null where the file has seven columns); a row without box has nulls from x1 on.
    Raises BadInput naming the line and the field.
    """
    return _read(Path(path), "person", allowed=(2, 7, 8))


def read_detections(path: str | Path) -> pl.DataFrame:
    """Read a detections CSV (.csv or .csv.gz): as `read_groundtruth`, with score (f64) in place of person."""
    return _read(Path(path), "score", allowed=(2, 8))


def read_excluded(path: str | Path) -> pl.DataFrame:
    """Read a list of excluded key frames, rows `video,second`: columns video (str), second (i64)."""
    return _read(Path(path), "person", allowed=(2,)).select("video", "second")


def csv_schema(last: str) -> dict[str, type[pl.DataType]]:
    """Columns and types of a table whose last column is `person` (ground truth) or `score` (detections)."""
    numbers = {corner: pl.Float64 for corner in CORNERS}
    ending = pl.Int64 if last == "person" else pl.Float64
    return {"video": pl.String, "second": pl.Int64, **numbers, "action": pl.Int64, last: ending}


def _read(path: Path, last: str, allowed: tuple[int, ...]) -> pl.DataFrame:
    schema = csv_schema(last)
    try:
        if _plain(path, len(schema)):
            table = pl.read_csv(path, schema=schema, has_header=False, glob=False)
        else:
            # Polars fills short rows with nulls if the first one is full: a header of our own is.
            content = ",".join(schema).encode() + b"\n" + _content(path)
            table = pl.read_csv(content, schema=schema)
    except pl.exceptions.PolarsError as error:
        raise _first_bad_line(path, _content(path), schema, allowed, str(error)) from None
    if not _complete(table, last, allowed):
        raise _first_bad_line(path, _content(path), schema, allowed, "a row that is not complete")
    _check_values(path, table, last)
    return table


def _plain(path: Path, columns: int) -> bool:
    """Whether polars can read the file as it is: unpacked, its first row full, no blank lines at the end."""
    try:
        with path.open("rb") as file:
            first = file.readline(2**16)
            file.seek(-min(4, file.seek(0, os.SEEK_END)), os.SEEK_END)
            end = file.read()
    except OSError:
        return False
    full = first.count(b",") >= columns - 1
    return full and not first.startswith(_GZIP) and not end.endswith(_BLANK)


def _content(path: Path) -> bytes:
    """The file's rows, unpacked, without byte order mark and blank lines at the end."""
    content = _unpacked(path).removeprefix(codecs.BOM_UTF8)
    if not content or content.isspace():
        raise BadInput(path, "file", "at least one row", "an empty file")
    return content.rstrip() if content.endswith(_BLANK) else content


def _unpacked(path: Path) -> bytes:
    """Bytes of the file; a gzip that was cut short is refused, not read as far as it goes."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(path, "file", "a readable file", error.strerror) from None
    if not raw.startswith(_GZIP):
        return raw
    parts: list[bytes] = []
    while raw:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(raw))
        except zlib.error as error:
            raise BadInput(path, f"line {_lines(parts)}", "gzip data", error) from None
        if not unpacker.eof:
            raise BadInput(path, f"line {_lines(parts)}", "a complete gzip file", "one that is cut short")
        raw = unpacker.unused_data
    return b"".join(parts)


def _lines(parts: list[bytes]) -> int:
    return 1 + sum(part.count(b"\n") for part in parts)


def _complete(table: pl.DataFrame, last: str, allowed: tuple[int, ...]) -> bool:
    """Whether every row has all the fields that its number of columns promises."""
    if not any(table.null_count().row(0)):
        return True
    box = [*CORNERS, "action"]
    boxless = pl.all_horizontal(pl.col(*box, last).is_null())
    wanted = box if last == "person" else [*box, last]
    gap = pl.any_horizontal(pl.col(*wanted).is_null()) if max(allowed) > 2 else pl.lit(True)
    wrong = pl.any_horizontal(pl.col("video", "second").is_null()) | (~boxless & gap)
    return not table.select(wrong.any()).item()


def _first_bad_line(
    path: Path, content: bytes, schema: dict[str, type[pl.DataType]], allowed: tuple[int, ...], otherwise: str
) -> BadInput:
    """Read the file as lines and say which is the first that cannot be a row, and in which field."""
    raw = pl.Series("line", content.rstrip().decode("utf-8", errors="replace").split("\n"))
    lines = raw.str.strip_chars_end("\r").to_frame()
    split = pl.col("line").str.split_exact(",", len(schema) - 1).struct.rename_fields(list(schema))
    count = (pl.col("line").str.count_matches(",") + 1).alias("columns")
    table = lines.select(count, split.alias("fields")).unnest("fields")
    counts = " or ".join(map(str, allowed)) + " columns"
    faults = [(pl.col("columns").is_in(allowed).not_(), "columns", counts)]
    for name, kind in schema.items():
        text = pl.col(name).str.strip_chars('" ')
        bad = text.str.len_bytes() == 0 if kind is pl.String else text.cast(kind, strict=False).is_null()
        # Seven columns leave the person open; two leave everything after the second open.
        absent = pl.col(name).is_null() | ((text.str.len_bytes() == 0) & pl.lit(name == "person"))
        faults.append((bad & ~absent, name, _EXPECTED[name]))
    heading = table["second"].str.strip_chars('" ').cast(pl.Float64, strict=False).is_null()
    heading &= table["action"].str.strip_chars('" ').cast(pl.Float64, strict=False).is_null()
    row, name, expected = _first(table, faults) or (None, "file", "an AVA CSV")
    if row is None:
        return BadInput(path, name, expected, otherwise.splitlines()[0])
    found = f"{table['columns'][row]} columns" if name == "columns" else repr(table[name][row])
    if heading[row] and table["columns"][row] > 2:
        expected = "a row of data (AVA files have no header)"
    return BadInput(path, f"line {row + 1}, {name}", expected, found)


_EXPECTED = {
    "video": "a video id",
    "second": "a whole number of seconds",
    **{corner: "a number" for corner in CORNERS},
    "action": "a class id (a whole number)",
    "person": "a person id (a whole number)",
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


def _check_values(path: object, table: pl.DataFrame, last: str) -> None:
    """Raise BadInput at the first row whose numbers cannot be a box, a class or a score."""
    low, high = -COORDINATE_TOLERANCE, 1 + COORDINATE_TOLERANCE
    inside = "a fraction of the frame in [0, 1]"
    # The negation also catches NaN, which lies in no interval.
    faults = [(pl.col(corner).is_between(low, high).not_(), corner, inside) for corner in CORNERS]
    faults += [(pl.col(b) < pl.col(a), b, f"at least {a}") for a, b in (("x1", "x2"), ("y1", "y2"))]
    faults.append((pl.col("action").is_between(1, CLASS_COUNT).not_(), "action", "a class id in 1..80"))
    if last == "score":
        faults.append((pl.col("score").is_finite().not_(), "score", "a finite number"))
    fault = _first(table, faults)
    if fault is None:
        return
    row, name, expected = fault
    found = str(table[name][row])
    if name in CORNERS:
        found += " in the box " + ", ".join(str(table[corner][row]) for corner in CORNERS)
        found += " (pixels?)" if max(abs(table[corner][row]) for corner in CORNERS) > 2 else ""
    if name == "action":
        found += " (class ids count from 1)" if found == "0" else ""
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
    table = table.select(pl.col(name).cast(kind) for name, kind in schema.items())
    if not _complete(table, last, allowed=(2, 7, 8)):
        raise BadInput(path, "rows", "all fields of a box or none", "a row with some of them")
    _check_values(path, table, last)
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
