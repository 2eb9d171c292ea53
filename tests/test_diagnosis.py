"""Each fault that users meet, seeded into good detections: the diagnosis names it and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lart_mini import ava
from lart_mini.evaluation import ava_csv, frame_map
from lart_mini.evaluation.diagnosis import diagnose
from lart_mini.evaluation.report import report_text

VIDEOS, SECONDS = ("video_aaaaa", "video_bbbbb"), range(902, 942)
ACTIONS = (1, 4, 12, 14, 17, 29, 59, 74, 79, 80)
KEY = ["video", "second", *ava_csv.CORNERS]
COLUMN = {action: column for column, action in enumerate(ava.EVALUATED)}
VIDEO, SECOND, ACTION, SCORE = (pl.col(name) for name in ("video", "second", "action", "score"))


def tables(noise: float = 0.3) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Three upright people a frame with three labels each, and 60 rows a person that know the labels well."""
    dice = np.random.default_rng(0)
    rows = []
    for video in VIDEOS:
        for second in SECONDS:
            for person in range(3):
                x, y = dice.random(2) * (0.7, 0.3)
                for action in dice.choice(ACTIONS, 3, replace=False):
                    rows.append((video, second, x, y, x + 0.2, y + 0.6, int(action), person))
    truth = pl.DataFrame(rows, schema=[*KEY, "action", "person"], orient="row")
    every = truth.select(KEY).unique(maintain_order=True)
    every = every.join(pl.DataFrame({"action": ava.EVALUATED}), how="cross", maintain_order="left_right")
    hit = every.join(truth, on=[*KEY, "action"], how="left", maintain_order="left")["person"].is_not_null()
    return truth, every.with_columns(score=hit.cast(pl.Float64) + pl.Series(dice.normal(0, noise, len(hit))))


FAULTS = {
    "frame numbers": ([(SECOND - 900) * 30], "frame numbers: write 900 + frame / 30"),
    "counted from 0": ([SECOND - 900], "add 900"),
    "file names": ([("videos/" + VIDEO + ".mp4").alias("video")], "without folder and ending"),
    "wrong video ids": ([pl.lit("dQw4w9WgXcQ").alias("video")], "No video id of the detections"),
    "other seconds": ([SECOND + 5000], "5902 to 5941 here, 902 to 941 there"),
    "ids one too low": ([ACTION - 1], "class ids are one too low"),
    "ids one too high": ([ACTION + 1], "class ids are one too high"),
    "60 columns from 1": ([ACTION.replace_strict(COLUMN) + 1], "number the 60 evaluated classes from 1"),
    "60 columns from 0": ([ACTION.replace_strict(COLUMN)], "number the 60 evaluated classes from 0"),
    "x and y swapped": (
        [pl.col(a).alias(b) for a, b in zip(ava_csv.CORNERS, ("y1", "x1", "y2", "x2"), strict=True)],
        "x and y are swapped",
    ),
    "width and height": ([pl.col("x2") - pl.col("x1"), pl.col("y2") - pl.col("y1")], "x, y, width, height"),
    "pixels": ([pl.col("x1", "x2") * 640, pl.col("y1", "y2") * 360], "coordinates are pixels"),
    "other boxes": ([pl.col("x1", "x2") * 0.5], "overlap with a detection by half"),
    "constant scores": ([pl.lit(0.5).alias("score")], "All scores are 0.5"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_alone(fault: str) -> None:
    truth, found = tables()
    change, words = FAULTS[fault]
    result = frame_map.evaluate(truth, found.with_columns(change))
    findings = diagnose(result)
    assert len(findings) == 1 and words in findings[0]
    assert result.mean_ap < 0.5 * frame_map.evaluate(truth, found).mean_ap
    assert findings[0] in report_text(result)


@pytest.mark.parametrize("policy", frame_map.POLICIES)
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_good_detections_are_left_alone(policy: str, noise: float) -> None:
    assert diagnose(frame_map.evaluate(*tables(noise), policy)) == []


def test_two_faults_are_named_one_after_the_other() -> None:
    truth, found = tables()
    findings = diagnose(frame_map.evaluate(truth, found.with_columns((SECOND - 900) * 30, ACTION + 1)))
    assert len(findings) == 2 and "frame numbers" in findings[0] and "one too high" in findings[1]


def test_frames_that_do_not_meet() -> None:
    truth, found = tables()
    half = SECOND < 922
    findings = diagnose(frame_map.evaluate(truth, found.filter(half)))
    assert "Only 50.0 % of the ground truth's frames" in findings[0]
    findings = diagnose(frame_map.evaluate(truth.filter(half), found, "slowfast"))
    assert "Only 50.0 % of the frames with detections" in findings[0]


def test_rows_cut_by_the_cap() -> None:
    """A false track ahead of everybody fills the fifty rows."""
    truth, found = tables()
    corner = [
        pl.lit(value).alias(name) for name, value in zip(ava_csv.CORNERS, (0.0, 0.0, 0.1, 0.1), strict=True)
    ]
    crowd = found.with_columns(*corner, SCORE + 5)
    findings = diagnose(frame_map.evaluate(truth, pl.concat([crowd, found])))
    assert len(findings) == 1 and "Only the 50 highest rows of a frame count" in findings[0]
    assert diagnose(frame_map.evaluate(truth, pl.concat([crowd, found]), "slowfast")) == []


def test_ground_truth_as_detections_is_no_fault() -> None:
    truth, _ = tables()
    assert diagnose(frame_map.evaluate(truth, truth.drop("person").with_columns(score=1.0))) == []


def test_empty_tables() -> None:
    truth, found = tables()
    assert diagnose(frame_map.evaluate(truth[:0], found)) == ["The ground truth holds no box."]
    assert diagnose(frame_map.evaluate(truth, found[:0])) == ["The detections hold no box."]


def test_unpadded_seconds_are_no_fault(tmp_path: Path) -> None:
    truth, found = tables()
    ava_csv.write_detections(found, tmp_path / "found.csv")
    text = (tmp_path / "found.csv").read_text()
    assert ",0902," in text
    (tmp_path / "found.csv").write_text(text.replace(",09", ",9"))
    ava_csv.write_groundtruth(truth, tmp_path / "truth.csv")
    result = frame_map.evaluate_files(tmp_path / "truth.csv", tmp_path / "found.csv")
    assert result.mean_ap == frame_map.evaluate(truth, found).mean_ap and diagnose(result) == []
