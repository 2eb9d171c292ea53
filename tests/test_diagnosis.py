"""Each fault that users meet, seeded into good detections: the diagnosis names it and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lart_mini import ava
from lart_mini.evaluation import ava_csv, frame_map
from lart_mini.evaluation.diagnosis import diagnose
from lart_mini.evaluation.remarks import remarks
from lart_mini.evaluation.report import report_text

VIDEOS, SECONDS = ("video_aaaaa", "video_bbbbb"), range(902, 942)
ACTIONS = (1, 4, 12, 14, 17, 29, 59, 74, 79, 80)
KEY = ["video", "second", *ava_csv.CORNERS]
CORNER = {"y1": 0.0, "x2": 0.1, "y2": 0.1}
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
    corner = [(pl.col("x1") / 100).alias("x1"), *(pl.lit(at).alias(name) for name, at in CORNER.items())]
    crowd = found.with_columns(*corner, SCORE + 5)
    findings = diagnose(frame_map.evaluate(truth, pl.concat([crowd, found])))
    assert len(findings) == 1 and "Only the 50 highest rows of a frame count" in findings[0]
    assert diagnose(frame_map.evaluate(truth, pl.concat([crowd, found]), "slowfast")) == []


def test_repeated_rows_are_counted_and_taken_away() -> None:
    truth, found = tables()
    result = frame_map.evaluate(truth, pl.concat([found, found, found]), "slowfast")
    findings = diagnose(result)
    words = (
        "28,800 of 43,200 detections repeat an earlier one (frame, box and class): mAP on a sample of frames"
    )
    assert len(findings) == 1 and findings[0].startswith(words)
    once = 100 * frame_map.evaluate(truth, found, "slowfast").mean_ap
    assert f"is {100 * result.mean_ap:.1f} %, without them {once:.1f} %." in findings[0]
    twice = diagnose(
        frame_map.evaluate(truth, pl.concat([found, found]).with_columns(ACTION + 1), "slowfast")
    )
    assert len(twice) == 2 and "14,400 of 28,800" in twice[0] and "one too high" in twice[1]


def test_a_crowd_is_named_and_not_tried() -> None:
    truth, found = tables()
    same = [SECOND * 0 + 902]
    few = frame_map.evaluate(truth.with_columns(same), found.with_columns(same), "slowfast")
    assert diagnose(few) == []  # 360 labels a video, in one frame each
    truth = truth.with_columns(same, video=pl.lit("a"), x1=pl.col("x1") + SECOND * 1e-6)
    truth = pl.concat([truth.with_columns(y1=pl.col("y1") + i * 1e-6) for i in range(2)])
    findings = diagnose(frame_map.evaluate(truth, found.with_columns(same, video=pl.lit("a"))))
    words = "More than 1,000 ground-truth labels stand in one frame (1 such; 1,440 in second 902 of 'a')"
    assert len(findings) == 1 and findings[0].startswith(words)


def test_fractions_of_seconds_are_no_fault() -> None:
    truth, found = tables()
    later = found.with_columns(SECOND + 0.5)
    assert "No second of the detections" in diagnose(frame_map.evaluate(truth, later))[0]
    assert diagnose(frame_map.evaluate(truth.with_columns(SECOND + 0.5), later)) == []


def test_own_classes_are_diagnosed_as_such() -> None:
    truth, found = tables()
    names = dict.fromkeys(ava.EVALUATED, "own") | {255: "never"}
    assert diagnose(frame_map.evaluate(truth, found, classes=names)) == []
    findings = diagnose(frame_map.evaluate(truth, found.with_columns(ACTION + 1), classes=names))
    assert len(findings) == 1 and "one too high" in findings[0]


def said(**changes: pl.DataFrame) -> list[str]:
    truth, found = tables()
    both = {"truth": truth, "found": found} | changes
    return remarks(frame_map.evaluate(both["truth"], both["found"]))


def test_remarks_tell_of_what_is_unusual_and_of_nothing_else() -> None:
    truth, found = tables()
    assert said() == []
    crawling = pl.when(ACTION == 12).then(2).otherwise(ACTION).alias("action")
    count, rows = (ACTION == 12).sum(), pl.len()
    labels, all_labels = truth.select(count, rows).row(0)
    words = f"{labels} of {all_labels} ground-truth labels (class 2) and 240 of 14,400 detections (class 2)"
    text = said(truth=truth.with_columns(crawling), found=found.with_columns(crawling))
    assert len(text) == 1 and text[0].startswith(words) and "--classes" in text[0]
    (text,) = said(found=found.with_columns(ACTION.replace({3: 2, 4: 16, 5: 18})))
    assert text.startswith("720 of 14,400 detections (classes 2, 16, 18) were left out")
    (text,) = said(found=found.with_columns(pl.col("x1") - 0.3))
    outside = found.filter(pl.col("x1") < 0.299).height
    assert text.startswith(f"{outside:,} detections have corners outside the frame (-0.2")
    (text,) = said(found=found.with_columns(pl.when(SECOND > 902).then(SCORE).alias("score")))
    assert text.startswith("360 of 14,400 detections have no score (seven columns): each counts as 1")
    (text,) = said(truth=truth.with_columns(pl.col("person") + 0.5))
    assert "scores, not people: are the two files exchanged?" in text


def test_many_left_out_classes_are_counted() -> None:
    truth, found = tables()
    result = frame_map.evaluate(truth, found, classes={255: "own"})
    (text,) = remarks(result)
    assert (
        "(classes 1, 4, 12, 14, 17, 29, 59, 74, 79, 80) and 14,400 of 14,400 detections (classes 1, 3,"
        in text
    )
    assert text.endswith("and 50 more) were left out: their classes are none of the 1 given.")
    assert text in report_text(result)


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
