"""AVA's classes, clock and CSV files: what is read back, and what is refused with which words."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini import ava
from lart_mini.evaluation import ava_csv
from lart_mini.files import BadInput

BOX = "0.1,0.2,0.3,0.4"
ROW = f"a,0902,{BOX},12"


def write(tmp_path: Path, text: str | bytes, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_class_table() -> None:
    assert [action.id for action in ava.CLASSES] == list(range(1, 81))
    assert len(set(ava.NAMES.values())) == 80 and len(ava.EVALUATED) == 60
    counted = {
        category: sum(action.evaluated for action in ava.CLASSES if action.category == category)
        for category in ava.CATEGORIES
    }
    assert counted == {"PM": 13, "OM": 32, "PI": 15}
    assert [action.id for action in ava.CLASSES if action.category == "OM"] == list(range(15, 64))
    assert (
        ava.NAMES[12] == "stand" and ava.NAMES[17].startswith("carry") and ava.NAMES[64].startswith("fight")
    )


@given(st.integers(ava.FIRST_SECOND, ava.LAST_SECOND))
@settings(derandomize=True, max_examples=50)
def test_clock(second: int) -> None:
    assert ava.second(ava.keyframe(second)) == second and ava.keyframe(902) == 60
    about = np.arange(ava.keyframe(second) - 15, ava.keyframe(second) + 15)
    assert (ava.nearest_keyframe(about) == ava.keyframe(second)).all()
    with pytest.raises(BadInput, match="multiple of 30"):
        ava.second(ava.keyframe(second) + 1)


def test_columns_of_60_80_and_81() -> None:
    labels = np.arange(2 * 80).reshape(2, 80)
    evaluated = ava.to_evaluated(labels)
    np.testing.assert_array_equal(evaluated[0] + 1, ava.EVALUATED)
    np.testing.assert_array_equal(ava.to_evaluated(np.insert(labels, 0, -1, axis=1)), evaluated)
    back = ava.to_all(evaluated)
    np.testing.assert_array_equal(ava.to_evaluated(back), evaluated)
    assert back.sum() == evaluated.sum()  # zeros elsewhere
    for convert, columns in ((ava.to_evaluated, 60), (ava.to_evaluated, 79), (ava.to_all, 80)):
        with pytest.raises(BadInput, match=f"found {columns}"):
            convert(np.zeros((3, columns)))


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_written_tables_are_read_back(tmp_path: Path, name: str) -> None:
    table = pl.DataFrame(
        {
            "video": ["a", "b", "b"],
            "second": [902, 1798, 903],
            "x1": [0.1, 1 / 3, None],
            "y1": [0.2, 0.0, None],
            "x2": [0.3, 1.0, None],
            "y2": [1e-7 + 0.2, 1.0, None],
            "action": [12, 80, None],
            "person": [None, 3, None],
        }
    )
    path = tmp_path / name
    ava_csv.write_groundtruth(table, path)
    assert ava_csv.read_groundtruth(path).equals(table)
    first = path.read_bytes()
    ava_csv.write_groundtruth(table, path)
    assert path.read_bytes() == first  # no time of writing inside
    detections = table.with_columns(score=pl.Series([0.25, 1e-12, None])).drop("person")
    ava_csv.write_detections(detections, path)
    assert ava_csv.read_detections(path).equals(detections)


def test_rows_are_written_as_ava_writes_them(tmp_path: Path) -> None:
    ava_csv.write_groundtruth(
        ava_csv.read_groundtruth(write(tmp_path, f"{ROW}\na,903,{BOX},7,5\nb,2\n")), tmp_path / "o"
    )
    assert (tmp_path / "o").read_text() == f"{ROW}\na,0903,{BOX},7,5\nb,0002\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{ROW}\n",
        f"\ufeff{ROW}\r\n\r\n",
        '"a",902, 0.1,0.2,"0.3",4e-1,12,\n',
        gzip.compress(ROW.encode(), mtime=0) + gzip.compress(b"\n", mtime=0),
    ],
)
def test_spellings_of_one_row(tmp_path: Path, text: str | bytes) -> None:
    table = ava_csv.read_groundtruth(write(tmp_path, text))
    assert table.rows() == [("a", 902, 0.1, 0.2, 0.3, 0.4, 12, None)]


@pytest.mark.parametrize(("mark", "end"), [("\ufeff", ""), ("", "\n\n"), ("\ufeff", "\r\n\r\n")])
def test_byte_order_mark_and_blank_lines_at_the_end(tmp_path: Path, mark: str, end: str) -> None:
    rows = ava_csv.read_detections(write(tmp_path, f"{mark}{ROW},0.5\n{ROW},0.6{end}")).rows()
    assert rows == [("a", 902, 0.1, 0.2, 0.3, 0.4, 12, 0.5), ("a", 902, 0.1, 0.2, 0.3, 0.4, 12, 0.6)]


def test_a_name_with_wildcards_is_a_name(tmp_path: Path) -> None:
    write(tmp_path, f"{ROW},0.5\n", "rows1.csv")
    assert ava_csv.read_detections(write(tmp_path, f"{ROW},0.6\n", "rows[12].csv"))["score"].item() == 0.6


@pytest.mark.parametrize("first", [f"a,0903,{BOX},12,4", f"a,0903,{BOX},12", "a,0903"])
def test_any_length_may_come_first(tmp_path: Path, first: str) -> None:
    table = ava_csv.read_groundtruth(write(tmp_path, f"{first}\na,0904\n{ROW},4\n{ROW}\n"))
    assert table.height == 4 and table["person"].to_list()[1:] == [None, 4, None]


GROUNDTRUTH, DETECTIONS = ava_csv.read_groundtruth, ava_csv.read_detections
BAD_FILES = [
    (GROUNDTRUTH, f"{ROW}\n\n{ROW}\n", "line 2, columns", "found 1 columns"),
    (GROUNDTRUTH, f"{ROW},1\n{ROW},1,9\n", "line 2, columns", "found 9 columns"),
    (GROUNDTRUTH, f"{ROW}\na,0902,0.1,0.2,0.3\n", "line 2, columns", "found 5 columns"),
    (DETECTIONS, f"{ROW},1,2\n", "line 1, columns", "expected 2 or 7 or 8 columns, found 9 columns"),
    (DETECTIONS, f"{ROW}\n{ROW},\n", "line 2, score", "expected a number, found ''"),
    (GROUNDTRUTH, f"{ROW},me\n", "line 1, person", "found 'me'"),
    (GROUNDTRUTH, f"{ROW},inf\n", "line 1, person", "found inf"),
    (GROUNDTRUTH, f"a,nan,{BOX},12\n", "line 1, second", "a number of seconds, found nan"),
    (GROUNDTRUTH, f"a,1e300,{BOX},12\n", "line 1, second", "a number of seconds, found 1e+300"),
    (GROUNDTRUTH, f"{ROW}\na,902,{BOX},12.5\n", "line 2, action", "a class id (a whole number), found 12.5"),
    (GROUNDTRUTH, f"0,a,902.0,{BOX},12\n1,a,903.0,{BOX},12\n", "line 1, video", "index=False), found '0'"),
    (DETECTIONS, f",video,t,a,b,c,d,e,f\n0,a,902,{BOX},12,0.5\n", "line 1, video", "no index column"),
    (GROUNDTRUTH, f"{ROW}\na,0902,0.1,0.2,,0.4,12\n", "line 2, x2", "expected a number, found ''"),
    (DETECTIONS, f"{ROW},high\n", "line 1, score", "found 'high'"),
    (DETECTIONS, f"{ROW},nan\n", "line 1, score", "found nan"),
    (GROUNDTRUTH, f"a,9o2,{BOX},12\n", "line 1, second", "a number of seconds, found '9o2'"),
    (GROUNDTRUTH, f"{ROW}\n,0902,{BOX},12\n", "line 2, video", "expected a video id"),
    (GROUNDTRUTH, f"{ROW}\na,0902,0.1,0.2,0.05,0.4,12\n", "line 2, x2", "expected at least x1, found 0.05"),
    (GROUNDTRUTH, "a,0902,0.1,0.2,0.3,0.1,12\n", "line 1, y2", "expected at least y1"),
    (GROUNDTRUTH, "a,0902,64,48,320,240,12\n", "line 1, x1", "(pixels?)"),
    (GROUNDTRUTH, "a,0902,0.1,0.2,nan,0.4,12\n", "line 1, x2", "found nan"),
    (GROUNDTRUTH, f"{ROW}\na,0902,-1.1,0.2,0.3,0.4,12\n", "line 2, x1", "-1 to 2 are scored), found -1.1"),
    (GROUNDTRUTH, f"a,0902,{BOX},81\n", "line 1, action", "in 1..80, found 81"),
    (GROUNDTRUTH, f"a,0902,{BOX},0\n", "line 1, action", "count from 1"),
    (GROUNDTRUTH, f"video,second,x1,y1,x2,y2,action\n{ROW}\n", "line 1, second", "no header"),
    (DETECTIONS, f"{ROW},1\nvideo,second,x1,y1,x2,y2,action,score\n", "line 2, second", "no header"),
    (GROUNDTRUTH, "", "file", "an empty file"),
    (GROUNDTRUTH, "\n \n", "file", "an empty file"),
    (GROUNDTRUTH, gzip.compress(b"a,0902\n" * 50_000)[:-20], "line 49", "cut short"),
    (GROUNDTRUTH, b"\x1f\x8b" + 30 * b"x", "line 1", "gzip"),
    (DETECTIONS, ROW.encode() + b",1\n\xff\xfe,0902\n", "line 2", "utf-8, found the byte 0xff"),
    (DETECTIONS, ROW.encode() + b",1\n" + b"\0" * 9000, "line 2", "a zero byte"),
    (ava_csv.read_excluded, f"a,0902\n{ROW}\n", "line 2, columns", "expected 2 columns, found 7 columns"),
]


@pytest.mark.parametrize(("reader", "content", "field", "words"), BAD_FILES)
def test_bad_files_are_named_by_line_and_field(tmp_path, reader, content, field: str, words: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {field}") and words in message and "\n" not in message


def test_the_first_bad_line_of_a_long_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ava_csv, "_PIECE", 100)
    path = write(tmp_path, f"{ROW},1\n" * 40 + f"{ROW},1,1\n" + f"{ROW},1\n" * 3)
    with pytest.raises(BadInput, match=r"line 41, columns: .* found 9 columns"):
        GROUNDTRUTH(path)


# One row as other programs write it. Seconds are numbers everywhere, and LART's script tells six decimals.
@pytest.mark.parametrize(
    ("text", "second", "last"),
    [
        (f"a,0902,{BOX},12,1.0000\n", 902, 1),  # SlowFast's groundtruth_latest.csv
        (f"a,902.0,{BOX},12.0,3.0\n", 902, 3),  # pandas
        (f"a,902.0,{BOX},12,\n", 902, None),
        (f"a , 0902 ,{BOX},12 \t, 3\t\r\n", 902, 3),
        (f"a,2.5333333,{BOX},12\n", 2.533333, None),
        (f"a,0902,{BOX},12,0.75\n", 902, 0.75),  # a score where a person belongs
    ],
)
def test_rows_as_others_write_them(tmp_path: Path, text: str, second: float, last: float | None) -> None:
    row = GROUNDTRUTH(write(tmp_path, f"{text}b,0903\n")).row(0)
    assert (row[0].strip(), *row[1:]) == ("a", second, 0.1, 0.2, 0.3, 0.4, 12, last)
    assert isinstance(row[1], type(second)) and isinstance(row[7], type(last))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n  \n\t\n", "\n" * 9000])
@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
def test_every_encoding_and_line_end_gives_the_same_rows(tmp_path, encoding, newline, end, pack) -> None:
    text = (f"{ROW},0.5\nä,902,{BOX},12,1" + end).replace("\n", newline)
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    table = DETECTIONS(write(tmp_path, pack((mark + text).encode(encoding))))
    assert table["video"].to_list() == ["a", "ä"] and table["score"].to_list() == [0.5, 1]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
@settings(derandomize=True, max_examples=50)
def test_seconds_are_told_apart_as_by_six_decimals(seconds: list[float]) -> None:
    content = "".join(f"a,{second!r},{BOX},12\n" for second in seconds)
    with tempfile.TemporaryDirectory() as folder:
        read = GROUNDTRUTH(write(Path(folder), content))["second"].to_list()
    assert [f"{second:.6f}" for second in read] == [f"{second:.6f}" for second in seconds]


def test_no_frame_need_be_excluded(tmp_path: Path) -> None:
    for text in ("", "\n\n"):
        assert ava_csv.read_excluded(write(tmp_path, text)).shape == (0, 2)
    assert ava_csv.read_excluded(write(tmp_path, "a,902.0\n")).rows() == [("a", 902)]


def test_detections_without_scores_are_read_as_such(tmp_path: Path) -> None:
    assert DETECTIONS(write(tmp_path, f"{ROW}\n{ROW},0.5\n"))["score"].to_list() == [None, 0.5]


def test_fractions_of_a_second_are_written_and_read_back(tmp_path: Path) -> None:
    table = GROUNDTRUTH(write(tmp_path, f"a,2.533333,{BOX},12\na,12,{BOX},12\n"))
    ava_csv.write_groundtruth(table, tmp_path / "out.csv")
    assert GROUNDTRUTH(tmp_path / "out.csv").equals(table)


def test_rounding_beyond_the_frame_is_no_fault(tmp_path: Path) -> None:
    assert GROUNDTRUTH(write(tmp_path, "a,0902,-0.001,0,1.001,1,12\n")).height == 1


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="readable file"):
        GROUNDTRUTH(tmp_path / "none.csv")


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    good = ava_csv.read_detections(write(tmp_path, f"{ROW},0.5\n"))
    for bad in (good.drop("score"), good.with_columns(x2=0.0), good.with_columns(action=pl.lit(None))):
        with pytest.raises(BadInput):
            ava_csv.write_detections(bad, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@settings(max_examples=150)
@given(st.lists(st.text() | st.text("ab_-,\"\r\n\0 \t#;'\ufeff10", max_size=5), min_size=1, max_size=3))
def test_ids_are_refused_or_read_back(ids: list[str]) -> None:
    rows = {"second": 902, "x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 0.4, "action": 12, "score": 0.5}
    table = pl.DataFrame({"video": ids}).with_columns(pl.lit(value).alias(key) for key, value in rows.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.csv")
        try:
            ava_csv.write_detections(table, path)
        except BadInput as problem:
            assert "video: expected an id without" in str(problem) and not path.exists()
        else:
            assert ava_csv.read_detections(path)["video"].to_list() == ids


@pytest.mark.parametrize("odd", ["", "a,b", '"a"', 'a"b', "a\nb", "a\rb", "a\0b", "\ufeffa"])
def test_ids_that_would_be_others_are_not_written(tmp_path: Path, odd: str) -> None:
    good = ava_csv.read_detections(write(tmp_path, f"{ROW},0.5\n"))
    with pytest.raises(BadInput, match="video: expected an id without comma"):
        ava_csv.write_detections(good.with_columns(video=pl.lit(odd)), tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
