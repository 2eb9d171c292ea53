"""Late fusion: scores of equal boxes are added by weight, boxes that are not equal are refused."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini import cli
from lart_mini.evaluation.ava_csv import csv_schema, read_detections, write_detections
from lart_mini.evaluation.fusion import fuse_files
from lart_mini.files import BadInput

ROWS = """a,0902,0.1,0.2,0.3,0.4,1,0.5
a,0902,0.1,0.2,0.3,0.4,12,0.25
a,0903,0.1,0.2,0.3,0.4,1,0.75
b,0902,0.5,0.2,0.9,0.4,1,1
"""


def files(folder: Path, first: str, second: str) -> tuple[Path, Path]:
    paths = folder / "a.csv", folder / "b.csv"
    for path, text in zip(paths, (first, second), strict=True):
        path.write_text(text)
    return paths


def boxes(seed: int, count: int) -> pl.DataFrame:
    """Rows of boxes, some of which stand there twice, three classes each, in any order."""
    rng = np.random.default_rng(seed)
    corners = np.concatenate([rng.uniform(0, 0.4, (count, 2)), rng.uniform(0.5, 1, (count, 2))], 1).round(3)
    rows = [
        (f"v{i % 3}", 902 + i % 2, *corner, action, float(rng.random()))
        for i, corner in enumerate(corners.tolist())
        for action in (1, 12, 80)
        for _ in range(1 + (i % 4 == 0))
    ]
    return pl.DataFrame(rows, schema=csv_schema("score"), orient="row")


@settings(max_examples=25)
@given(st.integers(0, 999), st.floats(0, 5), st.floats(0.125, 5))
def test_scores_are_the_weighted_mean(seed: int, one: float, other: float) -> None:
    """In whatever order the second file has its boxes; of one that stands there twice, in turn."""
    first = boxes(seed, 9)
    second = first.with_columns(score=pl.Series(np.random.default_rng(seed).random(len(first))))
    moved = pl.concat([second.filter(pl.col("video") == video) for video in ("v2", "v0", "v1")])
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "a.csv", Path(folder) / "b.csv.gz"
        write_detections(first, paths[0])
        write_detections(moved, paths[1])
        fused = fuse_files(*paths, (one, other))
        backwards = fuse_files(*paths[::-1], (other, one))
    assert fused.drop("score").equals(first.drop("score"))
    wanted = (one * first["score"] + other * second["score"]) / (one + other)
    np.testing.assert_allclose(fused["score"], wanted, atol=1e-12)
    order = ["video", "second", "x1", "action", "score"]
    np.testing.assert_allclose(fused.sort(order)["score"], backwards.sort(order)["score"], atol=1e-12)


def test_a_class_without_a_score_counts_nought(tmp_path: Path) -> None:
    second = ROWS.replace("a,0902,0.1,0.2,0.3,0.4,12,0.25", "a,0902,0.1,0.2,0.3,0.4,80,0.5")
    fused = fuse_files(*files(tmp_path, ROWS, second), (2, 1))
    assert fused["action"].to_list() == [1, 12, 1, 1, 80]
    np.testing.assert_allclose(fused["score"], [0.5, 0.25 * 2 / 3, 0.75, 1, 0.5 / 3])
    assert fused.schema == read_detections(tmp_path / "a.csv").schema


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.1,0.2,0.3,0.4,1,0.75", "0.1,0.2,0.3,0.401,1,0.75", r"line 3, box: expected a box of .*"),
        ("b,0902", "b,0904", r"line 4, box: .*found b at 902: 0\.5, 0\.2, 0\.9, 0\.4$"),
        ("a,0903", "c,0903", r"line 3, box: .*found a at 903"),
        ("b,0902,0.5,0.2,0.9,0.4,1,1\n", "", r"a\.csv: line 4, box: expected a box of .*b\.csv"),
        ("b,0902", "b,0902,0.5,0.2,0.9,0.4,1,1\nb,0902", r"b\.csv: line 5, box: .*once more$"),
        ("0902,0.1,0.2,0.3,0.4,1,0.5\n", "0902,0.1,0.2,0.3,0.4,1,nan\n", r"b\.csv: line 1, score: "),
    ],
)
def test_unequal_boxes_are_one_line(
    tmp_path: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in ROWS
    paths = files(tmp_path, ROWS, ROWS.replace(old, new))
    out = tmp_path / "fused.csv"
    with pytest.raises(SystemExit) as end:
        cli.main(["fuse", *map(str, paths), "--weights", "2", "1", "--out", str(out)])
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1 and not out.exists()
    assert re.search(message, told.strip()), told


@pytest.mark.parametrize("weights", [(0, 0), (-1, 2), (float("nan"), 1), (float("inf"), 1)])
def test_weights_are_numbers_and_one_is_above_nought(tmp_path: Path, weights: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match=r"--weights: weights?: expected"):
        fuse_files(*files(tmp_path, ROWS, ROWS), weights)


def test_the_command_writes_to_the_screen_or_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = files(tmp_path, ROWS, ROWS)
    command = ["fuse", *map(str, paths), "--weights", "2", "1"]
    for more in ([], ["--out", str(tmp_path / "fused.csv")]):
        with pytest.raises(SystemExit) as end:
            cli.main([*command, *more])
        assert end.value.code == 0
    shown = capfd.readouterr().out
    assert shown == (tmp_path / "fused.csv").read_text()
    assert read_detections(tmp_path / "fused.csv").equals(read_detections(paths[0]))


def test_seconds_may_have_fractions_in_one_file(tmp_path: Path) -> None:
    fused = fuse_files(*files(tmp_path, ROWS, ROWS.replace(",0902", ",902.0")))
    assert fused.equals(read_detections(tmp_path / "a.csv"))
    half = ROWS.replace("b,0902", "b,902.5")
    assert fuse_files(*files(tmp_path, half, half))["second"].to_list()[-1] == 902.5


def test_rows_without_a_box_have_no_score(tmp_path: Path) -> None:
    fused = fuse_files(*files(tmp_path, ROWS + "d,0905\n", ROWS))
    assert len(fused) == 4
