"""What is wrong when a mAP is far from what it should be: the usual faults, told from the tables.

Most faults are found by undoing them: if the detections do far better with, say, every class id one higher,
that is what is wrong with them. Keys are tried on all frames, the rest on a sample of those that both share.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from lart_mini import ava
from lart_mini.evaluation import ava_csv, frame_map
from lart_mini.evaluation.frame_map import FRAME, POLICIES, Evaluation, Policy

SAMPLE = 1000  # frames on which a repair is tried
CROWD = 1000  # labels in one frame, beyond which it is not tried
MUCH = 0.1  # a repair must raise a fraction by this much and
TIMES = 1.5  # by this factor
FEW = 0.8  # a share below this is worth a sentence
Classes = tuple[int, ...]  # ids that are scored

_SECOND, _VIDEO, _ACTION = pl.col("second"), pl.col("video"), pl.col("action")
KEY_REPAIRS = {
    "The seconds are frame numbers: write 900 + frame / 30.": [
        pl.when(_SECOND % ava.FRAMES_PER_SECOND == 0)
        .then(900 + _SECOND // ava.FRAMES_PER_SECOND)
        .alias("second")
    ],
    "The seconds are counted from the start of the annotated part: add 900.": [_SECOND + 900],
    "The video ids are file names: write them without folder and ending.": [
        _VIDEO.str.replace(r"^.*[/\\]", "").str.replace(r"\.\w+$", "")
    ],
}
# From the number of a column among the 60 evaluated classes, counted from 1 or from 0, to the class id.
_FROM_60 = [_ACTION.replace_strict(dict(enumerate(ava.EVALUATED, start)), default=None) for start in (1, 0)]
ROW_REPAIRS = {
    "x and y are swapped: the order is x1, y1, x2, y2.": [
        pl.col(new).alias(old) for new, old in zip(("y1", "x1", "y2", "x2"), ava_csv.CORNERS, strict=True)
    ],
    "The boxes are x, y, width, height: write the lower right corner instead of the size.": [
        (pl.col("x1") + pl.col("x2")).alias("x2"),
        (pl.col("y1") + pl.col("y2")).alias("y2"),
    ],
    "The class ids are one too low: AVA counts from 1 (column k of 80 is class k + 1).": [_ACTION + 1],
    "The class ids are one too high: of 81 columns the first is none (column k is class k).": [_ACTION - 1],
}
ROW_REPAIRS_OF_60 = {
    "The class ids number the 60 evaluated classes from 1: write AVA's own ids.": [_FROM_60[0]],
    "The class ids number the 60 evaluated classes from 0: write AVA's own ids.": [_FROM_60[1]],
}


def diagnose(evaluation: Evaluation) -> list[str]:
    """Sentences on what is wrong with the two tables of an evaluation, the gravest first.

    A fault that can be undone is, before the next is looked for. Empty where nothing stands out.
    """
    groundtruth, detections = evaluation.groundtruth, evaluation.detections
    if groundtruth["second"].dtype != detections["second"].dtype:  # one of them has fractions
        groundtruth, detections = (
            table.with_columns(_SECOND.cast(pl.Float64)) for table in (groundtruth, detections)
        )
    policy = POLICIES[evaluation.policy]
    truth, found = groundtruth.drop_nulls("action"), detections.drop_nulls("action")
    if truth.is_empty() or found.is_empty():
        empty = "ground truth holds" if truth.is_empty() else "detections hold"
        return [f"The {empty} no box."]
    findings, found = _keys(groundtruth, truth, found)
    crowds, truth = _crowds(truth)
    findings += crowds
    every, (truth, found) = found, _sample(truth, found)
    largest = found.select(pl.max_horizontal(pl.col(*ava_csv.CORNERS).abs().max())).item()
    if found.is_empty():
        return findings + _scores(detections)
    if largest > 2:
        text = f"The coordinates are pixels (up to {largest:.0f}): divide by the frame's width and height."
        return [*findings, text, *_scores(detections)]
    classes = tuple(evaluation.classes)
    repeated, found = _repeated(truth, found, every, policy, classes)
    more, found = _rows(truth, found, replace(policy, cap=None), classes)
    if _mean_ap(truth, found, policy, classes) < 1 - MUCH:
        more += _scores(detections) or _cap(truth, found, policy, classes)
    return findings + repeated + more


def _keys(
    groundtruth: pl.DataFrame, truth: pl.DataFrame, found: pl.DataFrame
) -> tuple[list[str], pl.DataFrame]:
    """Frames with boxes that do not meet, and the detections with the repair that makes most of them meet."""
    listed, seen = truth.select(FRAME).unique(), found.select(FRAME).unique()
    share = _share(listed, seen)
    tried = {text: _share(listed, seen.with_columns(repair)) for text, repair in KEY_REPAIRS.items()}
    best = max(tried, key=lambda text: tried[text])
    if _better(tried[best], share):
        text = f"{best} As they are, {_percent(share)} of the ground truth's frames have detections; "
        return [text + f"repaired so, {_percent(tried[best])}."], found.with_columns(KEY_REPAIRS[best])
    findings = []
    if share == 0:
        findings.append(_no_frame_meets(listed, seen))
    elif share < FEW:
        findings.append(f"Only {_percent(share)} of the ground truth's frames have detections.")
    known = _share(seen, groundtruth)
    if 0 < share and known < FEW:
        findings.append(f"Only {_percent(known)} of the frames with detections are in the ground truth.")
    return findings, found


def _no_frame_meets(listed: pl.DataFrame, seen: pl.DataFrame) -> str:
    if seen.join(listed, on="video", how="semi").is_empty():
        here, there = (table.row(0)[0] for table in (seen.sort(FRAME), listed.sort(FRAME)))
        return f"No video id of the detections is in the ground truth: {here!r} here, {there!r} there."
    here, there = (f"{table['second'].min()!r} to {table['second'].max()!r}" for table in (seen, listed))
    return f"No second of the detections is in the ground truth: {here} here, {there} there."


def _crowds(truth: pl.DataFrame) -> tuple[list[str], pl.DataFrame]:
    """Frames with more labels than a picture can hold, and the ground truth without them."""
    crowds = truth.group_by(FRAME).len().filter(pl.col("len") > CROWD).sort("len", *FRAME, descending=True)
    if crowds.is_empty():
        return [], truth
    video, second, count = crowds.row(0)
    text = (
        f"More than {CROWD:,} ground-truth labels stand in one frame ({crowds.height:,} such; {count:,} in "
    )
    text += f"second {second} of {video!r}): are the seconds right?"
    return [text], truth.join(crowds, on=FRAME, how="anti", maintain_order="left")


def _repeated(
    truth: pl.DataFrame, found: pl.DataFrame, every: pl.DataFrame, policy: Policy, classes: Classes
) -> tuple[list[str], pl.DataFrame]:
    """Rows with the frame, the box and the class of an earlier one, and the sample without them."""
    key = [*FRAME, *ava_csv.CORNERS, "action"]
    once = found.unique(key, keep="first", maintain_order=True)
    if once.height == found.height:
        return [], found
    count = every.height - every.select(pl.struct(key).hash()).to_series().n_unique()
    now, without = (_percent(_mean_ap(truth, table, policy, classes)) for table in (found, once))
    text = f"{count:,} of {every.height:,} detections repeat an earlier one (frame, box and class): "
    return [f"{text}mAP on a sample of frames is {now}, without them {without}."], once


def _sample(truth: pl.DataFrame, found: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of both tables in at most SAMPLE of the frames that they share, evenly spread."""
    shared = truth.select(FRAME).unique(maintain_order=True)
    shared = shared.join(found, on=FRAME, how="semi", maintain_order="left")
    frames = shared.gather_every(max(1, -(-shared.height // SAMPLE)))
    truth = truth.join(frames, on=FRAME, how="semi", maintain_order="left")
    return truth, found.join(frames, on=FRAME, how="semi", maintain_order="left")


def _rows(
    truth: pl.DataFrame, found: pl.DataFrame, policy: Policy, classes: Classes
) -> tuple[list[str], pl.DataFrame]:
    """The repair of boxes or class ids, if any, that raises the mAP of the sample much."""
    repairs = ROW_REPAIRS | (ROW_REPAIRS_OF_60 if classes == ava.EVALUATED else {})
    now = _mean_ap(truth, found, policy, classes)
    tried = {
        text: _mean_ap(truth, found.with_columns(repair), policy, classes) for text, repair in repairs.items()
    }
    best = max(tried, key=lambda text: tried[text])
    if _better(tried[best], now):
        text = f"{best} As they are, mAP on a sample of frames is {_percent(now)}; "
        return [text + f"repaired so, {_percent(tried[best])}."], found.with_columns(repairs[best])
    reached = _boxes_reached(truth, found, policy, classes[0])
    text = f"Only {_percent(reached)} of the ground truth's boxes overlap with a detection by half."
    return [text] if reached < FEW else [], found


def _boxes_reached(truth: pl.DataFrame, found: pl.DataFrame, policy: Policy, anything: int) -> float:
    """Share of the ground truth's boxes that some detection, of whatever class, would claim."""
    boxes = [table.select(*FRAME, *ava_csv.CORNERS).unique(maintain_order=True) for table in (truth, found)]
    truth, found = (table.with_columns(action=anything, person=None, score=1.0) for table in boxes)
    scored = frame_map.compare(truth, found, policy, classes=(anything,))
    return float(scored.true_positive.sum() / scored.truths[anything])


def _cap(truth: pl.DataFrame, found: pl.DataFrame, policy: Policy, classes: Classes) -> list[str]:
    if policy.cap is None:
        return []
    capped, free = (_mean_ap(truth, found, rules, classes) for rules in (policy, replace(policy, cap=None)))
    if not _better(free, capped):
        return []
    counted = found.filter(_ACTION.is_in(classes))
    cut = 1 - counted.group_by(FRAME).head(policy.cap).height / counted.height
    text = f"Only the {policy.cap} highest rows of a frame count, which cuts {_percent(cut)} of the rows"
    return [f"{text}: mAP on a sample of frames is {_percent(capped)}, without the cut {_percent(free)}."]


def _scores(found: pl.DataFrame) -> list[str]:
    score = pl.col("score").fill_null(1)
    low, high = found.drop_nulls("action").select(score.min().alias("low"), score.max().alias("high")).row(0)
    return [f"All scores are {low:g}: nothing is ranked."] if low == high and found.height > 1 else []


def _mean_ap(truth: pl.DataFrame, found: pl.DataFrame, policy: Policy, classes: Classes) -> float:
    per_class = frame_map.compare(truth, found.drop_nulls("action"), policy, classes=classes).per_class()
    return float(np.nan_to_num(frame_map.mean(list(per_class.values()))))


def _share(frames: pl.DataFrame, others: pl.DataFrame) -> float:
    return frames.join(others, on=FRAME, how="semi").height / frames.height


def _better(repaired: float, now: float) -> bool:
    return repaired > now + MUCH and repaired > now * TIMES


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
