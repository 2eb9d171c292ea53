"""The text of tables: gzip piece by piece and bounded, marks and line ends, what is no text. And Parquet."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini.files import BadInput
from lart_mini.reading import tables
from lart_mini.reading.budget import MIB
from lart_mini.reading.parquet import read_parquet
from lart_mini.reading.tables import is_ready, table_bytes, table_lines

ROWS = b"a,0902,1\nb,0903,2\n"


def write(folder: Path, content: bytes) -> Path:
    path = folder / "table"
    path.write_bytes(content)
    return path


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\ufeff"), max_size=9), max_size=6
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 4),
    st.integers(0, 3),
)
@settings(derandomize=True, max_examples=150)
def test_any_spelling_of_a_text_gives_its_lines(
    tmp_path_factory, lines: list[str], encoding: str, newline: str, members: int, blank: int
) -> None:
    lines = ["first", *(line for line in lines if line.strip() == line and line)]
    content = (newline.join(lines) + newline * blank).encode(encoding)
    cuts = [len(content) * i // members for i in range(members + 1)]
    packed = b"".join(gzip.compress(content[a:b]) for a, b in pairwise(cuts))
    folder = tmp_path_factory.mktemp("lines")
    for stored in (content, packed):
        path = write(folder, stored)
        assert [text for _, text in table_lines(path)] == lines
        ready = is_ready(path, 1)
        assert (
            not ready
            or table_bytes(path).rstrip() == path.read_bytes().removeprefix(b"\xef\xbb\xbf").rstrip()
        )
        assert not (ready and (stored is packed or encoding == "utf-16" or blank > 1))


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    assert list(table_lines(write(tmp_path, b"\n a \r\n\t\nb"))) == [(2, "a"), (4, "b")]
    assert table_bytes(write(tmp_path, b" \n\n")) == b""


def test_a_small_gzip_of_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "UNQUESTIONED", MIB)
    path = write(tmp_path, gzip.compress(ROWS * 3_000_000))  # 51 MiB in 0.1
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=r"file: expected at most \d+ MiB unpacked, found more"):
            table_bytes(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()
    with pytest.raises(BadInput, match="at most 1 MiB"):
        table_bytes(write(tmp_path, ROWS * 100_000), most=MIB)


def test_a_gzip_of_many_empty_members_is_read(tmp_path: Path) -> None:
    """Were what follows a member copied at each of them, this would take 8 GB of copies."""
    path = write(tmp_path, gzip.compress(ROWS) + gzip.compress(b"") * 20_000 + gzip.compress(ROWS))
    assert table_bytes(path) == ROWS * 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(ROWS * 9)[:-9], "cut short"),
        (gzip.compress(ROWS)[:10] + b"\xff" * 9, "line 1: expected gzip data"),
        (gzip.compress(ROWS) + b"more", "line 3: expected gzip data"),
        (gzip.compress(ROWS)[:-8] + bytes(8), "gzip data"),  # of another checksum
        (b"\xff\xfea\0\x00\xd8b\0", "file: expected text in utf-16"),
        (ROWS + b"\xe4\n", "line 3: expected text in utf-8, found the byte 0xe4"),
        (ROWS + b"a\0\n", "line 3: expected text, found a zero byte"),
        (gzip.compress(bytes(9000)), "line 1: expected text, found a zero byte"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        list(table_lines(path))
    assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes: who opened it would wait for ever
    for name in ("none", ".", "pipe"):
        assert not is_ready(tmp_path / name, 1)
        with pytest.raises(BadInput):
            table_bytes(tmp_path / name)


SCHEMA = {"name": pl.String, "row": pl.Int64}
PARQUET = pl.DataFrame({"row": [1, 2], "more": [0.5, None], "name": ["a", "b"]})


def test_a_parquet_table_is_the_one_of_its_name(tmp_path: Path) -> None:
    """`[1]` is no pattern that another folder fits."""
    for folder, table in (("a[1]", PARQUET), ("a1", PARQUET.reverse())):
        (tmp_path / folder).mkdir()
        table.write_parquet(tmp_path / folder / "index.parquet")
    assert read_parquet(tmp_path / "a[1]" / "index.parquet", SCHEMA).rows() == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (PARQUET.drop("row"), "row: expected a column of Int64, as told, found none"),
        (PARQUET.cast({"row": pl.Int32}), "row: expected a column of Int64, as told, found Int32"),
        (PARQUET.with_columns(name=pl.lit(None, pl.String)), "name: expected a value in every row, as told,"),
        (pl.concat([PARQUET, PARQUET]), "rows: expected at most 3, found 4"),
    ],
)
def test_what_is_no_such_parquet_table_is_named(tmp_path: Path, table: pl.DataFrame, line: str) -> None:
    table.write_parquet(tmp_path / "table")
    with pytest.raises(BadInput) as refused:
        read_parquet(tmp_path / "table", SCHEMA, ", as told", most=3)
    assert str(refused.value).startswith(f"{tmp_path / 'table'}: {line}")
