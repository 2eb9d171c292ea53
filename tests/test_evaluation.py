"""The evaluator against tests/reference/evaluation.py, against hand-made cases, and on bad input."""

from __future__ import annotations

import json
import math
import random
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import evaluation as literal

from lart_mini import ava
from lart_mini.evaluation import activitynet_heap, ava_csv, frame_map, intervals, packed_sort
from lart_mini.evaluation.report import report_text
from lart_mini.files import BadInput

POLICIES = list(frame_map.POLICIES)
Rows = list[list[str]]


def tables(groundtruth: Rows, detections: Rows) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of CSV text as the tables that ava's readers would give."""
    result = []
    for rows, last in ((groundtruth, "person"), (detections, "score")):
        schema = ava_csv.csv_schema(last)
        columns = zip(*([*row, *[None] * (8 - len(row))] for row in rows), strict=True)
        text = pl.DataFrame(dict(zip(schema, columns, strict=True)), schema=dict.fromkeys(schema, pl.String))
        result.append(text.cast(schema))
    return result[0], result[1]


def draw(seed: int, grid: int, levels: int, crowd: int, people: float) -> tuple[Rows, Rows, Rows]:
    """Ground truth, detections and excluded frames.

    Few levels make equal scores; grid 0 slides one box along, so that it overlaps two others equally.
    """
    dice = random.Random(seed)
    actions = dice.choice([[12], [2, 12, 80], [1, 4, 12, 14, 16, 64, 79]])

    def box() -> list[str]:
        if grid == 0:
            left = dice.randrange(0, 9, 2) / 16
            return [str(corner) for corner in (left, 0.0, left + 0.5, 1.0)]
        x, y = (sorted(dice.randrange(grid + 1) / grid for _ in range(2)) for _ in range(2))
        return [str(corner) for corner in (x[0], y[0], x[1], y[1])]

    known = [box() for _ in range(4)]
    frames = [(video, f"{902 + second:04d}") for video in "ab" for second in range(dice.choice([1, 3]))]
    groundtruth: Rows = [["a", "0902"]]
    detections: Rows = [["b", "0902"]]
    for frame in frames:
        empty = dice.random() < 0.2
        if dice.random() < 0.2:
            groundtruth.append([*frame])
        for _ in range(0 if empty else dice.randrange(8)):
            label = [*frame, *dice.choice([dice.choice(known), box()]), str(dice.choice(actions))]
            groundtruth.append([*label, str(dice.randrange(3))] if dice.random() < people else label)
        for _ in range(dice.randrange(2 * crowd)):
            place = dice.choice([dice.choice(known), box()])
            detections.append(
                [*frame, *place, str(dice.choice(actions)), str(dice.randrange(levels) / levels)]
            )
    if dice.random() < 0.5:
        dice.shuffle(groundtruth)
        dice.shuffle(detections)
    return groundtruth, detections, [[*frame] for frame in frames if dice.random() < 0.2]


CASES = {
    "seed": st.integers(0, 2**32),
    "grid": st.sampled_from([0, 3, 10, 1000]),
    "levels": st.sampled_from([1, 2, 5, 50, 10**9]),
    "crowd": st.sampled_from([3, 20, 60]),
    "people": st.sampled_from([0.0, 0.5, 1.0]),
}


@pytest.mark.parametrize("policy", POLICIES)
@given(**CASES)
@settings(derandomize=True, max_examples=600)
def test_equals_the_literal_version(policy: str, **knobs: int) -> None:
    groundtruth, detections, excluded = draw(**knobs)
    expected = literal.per_class_ap(groundtruth, detections, policy, excluded)
    left_out = pl.DataFrame(
        {"video": [row[0] for row in excluded], "second": [int(row[1]) for row in excluded]},
        schema={"video": pl.String, "second": pl.Int64},
    )
    got = frame_map.evaluate(*tables(groundtruth, detections), policy, left_out)
    np.testing.assert_allclose(list(got.per_class.values()), list(expected.values()), rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.mean_ap, literal.mean_ap(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
@given(**CASES, pairs=st.sampled_from([1, 3, 50]))
@settings(derandomize=True, max_examples=100)
def test_other_class_ids_fractions_of_seconds_and_smaller_pieces_change_nothing(
    policy: str, pairs: int, **knobs: int
) -> None:
    """Class ids stand for themselves but for their order, seconds for frames; no score counts as 1."""
    groundtruth, detections, excluded = draw(**knobs)
    truth, found = tables(groundtruth, detections)
    left_out = pl.DataFrame(excluded, schema=["video", "second"], orient="row").cast({"second": pl.Int64})
    found = found.with_columns(pl.col("score").replace(0.5, 1.0))
    plain = frame_map.evaluate(truth, found, policy, left_out)

    action, second, score = pl.col("action") * 3 + 5, pl.col("second") / 7 + 0.25, pl.col("score")
    truth, left_out = truth.with_columns(action, second), left_out.with_columns(second)
    found = found.with_columns(action, second + 1e-8, pl.when(score != 1).then(score).alias("score"))
    names = {3 * old + 5: f"own {old}" for old in ava.EVALUATED}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_map, "PAIRS", pairs)
        own = frame_map.evaluate(truth, found, policy, left_out, names)
    np.testing.assert_array_equal(list(own.per_class.values()), list(plain.per_class.values()))
    assert own.counts == plain.counts and list(own.per_class) == list(names)
    assert all(math.isnan(value) for value in own.by_category.values())


def test_pieces_hold_no_more_pairs_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_map, "PAIRS", 10)
    count = np.array([4, 4, 2, 1, 30, 9, 1, 5])
    pieces = [count[part].tolist() for part in frame_map._pieces(count)]
    assert pieces == [[4, 4, 2], [1], [30], [9, 1], [5]]


def test_a_crowd_in_one_frame_takes_no_more_memory_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody in one frame, as when a column of seconds is constant by mistake: 2.25 million pairs."""
    corners = np.sort(np.random.default_rng(0).random((1500, 2, 2)), axis=1).reshape(1500, 4)
    rows = [("a", 902, *box, 12) for box in corners.tolist()]
    truth = table([(*row, number) for number, row in enumerate(rows)], "person")
    found = table([(*row, number / 1500) for number, row in enumerate(rows)], "score")
    monkeypatch.setattr(frame_map, "PAIRS", 10_000)
    tracemalloc.start()
    try:
        assert frame_map.evaluate(truth, found, "slowfast").mean_ap == 1
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


@given(**CASES, cap=st.sampled_from([1, 2, 7, 50, None]))
@settings(derandomize=True, max_examples=300)
def test_heap_keeps_the_readers_rows_in_its_order(cap: int | None, **knobs: int) -> None:
    _, detections, _ = draw(**knobs)
    read, _ = literal.read_with_heap(detections, cap or 0)
    _, table = tables([["a", "0902"]], detections)
    table = table.filter(pl.col("action").is_in(ava.EVALUATED))
    if table.is_empty():
        return
    frames = table.select("video", "second").unique(maintain_order=True).with_row_index("frame")
    frame = table.join(frames, on=["video", "second"], maintain_order="left")["frame"].to_numpy()
    action, score = table["action"].to_numpy(), table["score"].to_numpy()
    by_score = np.lexsort((-score, frame))
    corners = table.select("y1", "x1", "y2", "x2")
    kept = activitynet_heap.kept(frame, action, corners, score, by_score, cap)
    rows = table.select("score", "action", "y1", "x1", "y2", "x2")[kept].rows()
    wanted = [row for number in range(frames.height) for row in read[frames.row(number)[1:]]]
    # Where equal scores cannot change a result the heap is not played: then only the rows must be the same.
    assert sorted(rows) == sorted(wanted)
    assert [row[:1] for row in rows] == [row[:1] for row in wanted]
    for action_id in set(action):
        assert [row for row in rows if row[1] == action_id] == [row for row in wanted if row[1] == action_id]


def frame_rows(actions: list[int], scores: list[float]) -> Rows:
    return [["a", "0902", "0", "0", "1", "1", str(a), str(s)] for a, s in zip(actions, scores, strict=True)]


def test_which_of_equal_rows_the_cap_keeps() -> None:
    """Fifty rows fill the heap; an equal score comes too late, a higher one drives out the lowest class."""
    truth = [["a", "0902", "0", "0", "1", "1", str(action)] for action in (3, 4, 12)]
    crowd = frame_rows([4] + [3] + [80] * 48, [0.5] * 50)
    found = frame_map.evaluate(*tables(truth, crowd + frame_rows([12], [0.5]))).per_class
    assert (found[3], found[4], found[12]) == (1, 1, 0)
    found = frame_map.evaluate(*tables(truth, crowd + frame_rows([12], [0.6]))).per_class
    assert (found[3], found[4], found[12]) == (0, 1, 1)


# Eight boxes side by side, a fifth of the frame high; the ground truth is six of them.
PLACES = [(0.1 * i, 0.0, 0.1 * i + 0.1, 0.2) for i in range(8)]


def table(rows: list[tuple], last: str) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=ava_csv.csv_schema(last), orient="row")


def eight_boxes() -> tuple[pl.DataFrame, pl.DataFrame]:
    truth = [("a", 902, *PLACES[i], 12, i) for i in (0, 1, 2, 4, 5, 7)]
    found = [("a", 902, *PLACES[i], 12, 0.9 - 0.1 * i) for i in range(7)]
    return table(truth, "person"), table(found, "score")


@pytest.mark.parametrize("policy", POLICIES)
def test_average_precision_by_hand(policy: str) -> None:
    """Hits 1 1 1 0 1 1 0 of 6: precision 1 up to recall 3/6, then 5/6 up to 5/6, then nothing."""
    truth, found = eight_boxes()
    result = frame_map.evaluate(truth, found, policy)
    assert result.per_class[12] == pytest.approx(3 / 6 + 2 / 6 * 5 / 6)
    assert result.mean_ap == result.by_category["PM"] == result.per_class[12]
    assert math.isnan(result.by_category["PI"]) and math.isnan(result.per_class[80])
    precision, recall, score = frame_map.precision_recall(truth, found, 12, policy)
    np.testing.assert_allclose(precision, [1, 1, 1, 3 / 4, 4 / 5, 5 / 6, 5 / 7])
    np.testing.assert_allclose(recall * 6, [1, 2, 3, 3, 4, 5, 5])
    np.testing.assert_allclose(score, found["score"])
    assert frame_map.precision_recall(truth, found, 80, policy)[0].size == 0


def test_where_the_policies_differ() -> None:
    truth, found = eight_boxes()
    elsewhere = found.with_columns(second=pl.lit(903, pl.Int64), score=pl.lit(0.95))
    both = pl.concat([elsewhere, found])
    here = frame_map.evaluate(truth, found).mean_ap
    assert frame_map.evaluate(truth, both, "activitynet").mean_ap == here
    assert frame_map.evaluate(truth, both, "mmaction2").mean_ap == here
    assert frame_map.evaluate(truth, both, "slowfast").mean_ap < here / 1.5
    # A frame that ground truth names without boxes counts for ActivityNet alone of the first two.
    named = pl.concat([truth, table([("a", 903, *[None] * 6)], "person")])
    assert frame_map.evaluate(named, both, "activitynet").mean_ap < here / 1.5
    assert frame_map.evaluate(named, both, "mmaction2").mean_ap == here
    # A class that is never detected.
    more = pl.concat([truth, truth.with_columns(action=pl.lit(80, pl.Int64))])
    assert frame_map.evaluate(more, found, "activitynet").mean_ap == here / 2
    assert frame_map.evaluate(more, found, "mmaction2").mean_ap == here
    # The same box twice, the lower score first in the file.
    twice = table([("a", 902, *PLACES[0], 12, score) for score in (0.3, 0.8)], "score")
    one = truth[:1]
    assert [frame_map.evaluate(one, twice, policy).mean_ap for policy in POLICIES] == [1, 0.5, 1]
    # Scores of 0.002 and below.
    low = found[:1].with_columns(score=pl.lit(0.002))
    assert [frame_map.evaluate(one, low, policy).counts["labels_found"] for policy in POLICIES] == [1, 1, 0]


def test_excluded_frames() -> None:
    truth, found = eight_boxes()
    later = truth.with_columns(second=pl.lit(903, pl.Int64))
    both, left_out = pl.concat([truth, later]), pl.DataFrame({"video": ["a"], "second": [903]})
    here = frame_map.evaluate(truth, found).mean_ap
    means = [frame_map.evaluate(both, found, policy, left_out).mean_ap for policy in POLICIES]
    # MMAction2 still counts the labels of excluded frames as missed.
    assert means[:2] == [here, here] and means[2] == pytest.approx(here / 2)


def test_counts_and_json() -> None:
    truth, found = eight_boxes()
    result = frame_map.evaluate(pl.concat([truth, table([("b", 950, *[None] * 6)], "person")]), found)
    assert result.counts == {
        "frames": 2,
        "boxes": 6,
        "labels": 6,
        "classes": 1,
        "detections": 7,
        "detections_scored": 7,
        "labels_found": 5,
        "frames_shared": 1,
        "frames_without_detections": 1,
        "frames_without_groundtruth": 0,
        "labels_left_out": 0,
        "detections_left_out": 0,
    }
    content = json.loads(result.to_json())
    assert content["mAP"] == result.mean_ap and content["PI"] is None and content["per_class"]["80"] is None
    assert len(content["per_class"]) == 60 and content["frames"] == 2
    text = report_text(result)
    assert "12 stand" in text and f"{100 * result.mean_ap:.2f}" in text and "frames shared" in text


def test_nothing_to_score() -> None:
    truth, found = eight_boxes()
    empty = frame_map.evaluate(truth[:0], found)
    assert math.isnan(empty.mean_ap) and "–" in report_text(empty)
    assert [frame_map.evaluate(truth, found[:0], policy).mean_ap for policy in POLICIES[:2]] == [0, 0]
    assert math.isnan(frame_map.evaluate(truth, found[:0], "mmaction2").mean_ap)


def test_bad_tables() -> None:
    truth, found = eight_boxes()
    with pytest.raises(BadInput, match=r"policy: expected activitynet or .*, found coco"):
        frame_map.evaluate(truth, found, "coco")
    with pytest.raises(BadInput, match=r"detections: columns: .* without score"):
        frame_map.evaluate(truth, truth)
    with pytest.raises(BadInput, match=r"detections: score: .* nan"):
        frame_map.evaluate(truth, found.with_columns(score=math.nan))
    with pytest.raises(BadInput, match="detections: second: expected whole seconds or decimals"):
        frame_map.evaluate(truth, found.with_columns(pl.col("second").cast(pl.String)))
    with pytest.raises(BadInput, match=r"detections: second: .*32 bits, found 9000000000"):
        frame_map.evaluate(truth, found.with_columns(second=pl.lit(9 * 10**9)))
    for column in ("x1", "action", "score"):
        with pytest.raises(BadInput, match=f"detections: {column}: expected numbers, found String"):
            frame_map.evaluate(truth, found.with_columns(pl.col(column).cast(pl.String)))
    with pytest.raises(BadInput, match="excluded: columns: expected video, second, found video"):
        frame_map.evaluate(truth, found, excluded=truth.select("video"))
    for classes in ({}, {0: "a"}, {256: "a"}):
        with pytest.raises(BadInput, match=r"classes: expected ids in 1..255"):
            frame_map.evaluate(truth, found, classes=classes)
    with pytest.raises(BadInput, match="one of the 60"):
        frame_map.precision_recall(truth, found, 2)


def test_half_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).normal(3, 2, size=(4000, 5))
    half = np.array([intervals.half_interval(row.tolist()) for row in drawn])
    assert abs((np.abs(drawn.mean(axis=1) - 3) <= half).mean() - 0.95) < 0.012
    assert intervals.half_interval([0.5]) is None


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 2**20]), st.sampled_from([1, 300]))
@settings(derandomize=True, max_examples=100)
def test_packed_sort_is_the_plain_one(seed: int, groups: int, n: int) -> None:
    """Scores of all sizes and signs, neighbours in their last bits and equals among them."""
    dice = np.random.default_rng(seed)
    scores = [0.0, -0.0, 1.0, 0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 0), 5e-324, -0.5, -np.inf, np.inf]
    scores += [*dice.normal(size=10), *10 ** dice.uniform(-300, 300, 10)]
    group, score = dice.integers(0, groups, n), dice.choice(scores, n)
    plain = sorted(range(n), key=lambda k: (group[k], -score[k]))
    assert packed_sort.by_group_and_score(group, score).tolist() == plain
