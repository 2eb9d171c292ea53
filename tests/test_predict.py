"""From dense scores to AVA rows: what is pooled, which boxes are scored, and mAP 1 for perfect scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lart_mini import ava
from lart_mini.evaluation import evaluate, evaluate_files
from lart_mini.mini_ava import MiniAva
from lart_mini.model import LART, LARTConfig
from lart_mini.predict import KeyBoxes, at_key_boxes, ava_rows, dense_scores, key_boxes, pooled
from lart_mini.tokens import TrackletDataset, stats_of
from lart_mini.tracklets import Tracklet


@pytest.fixture(scope="module")
def scored(tiny: MiniAva) -> list[Tracklet]:
    return tiny.tracklets("ava-val")


def test_twelve_frames_centred_on_the_key_frame_are_pooled() -> None:
    scores = np.arange(60, dtype=np.float32).reshape(30, 2) ** 2
    wanted = sum(scores[t] for t in range(9, 21)) / 12
    np.testing.assert_allclose(pooled(scores, 15), wanted)
    np.testing.assert_allclose(pooled(scores, 15, frames=2), (scores[14] + scores[15]) / 2)
    # Near the tracklet's ends there are fewer.
    np.testing.assert_allclose(pooled(scores, 2), scores[:8].mean(axis=0))
    np.testing.assert_allclose(pooled(scores, 29), scores[23:].mean(axis=0))


def test_every_detection_at_a_key_frame_is_a_box(scored: list[Tracklet]) -> None:
    boxes = key_boxes(scored)
    wanted = [
        (index, t)
        for index, tracklet in enumerate(scored)
        for t in range(len(tracklet))
        if tracklet.detected[t] and tracklet.frame[t] % 30 == 0 and tracklet.frame[t] >= 60
    ]
    assert list(zip(boxes.tracklet.tolist(), boxes.t.tolist(), strict=True)) == wanted
    for (index, t), row in zip(wanted, boxes.table.rows(named=True), strict=True):
        tracklet = scored[index]
        assert row["video"] == tracklet.video and row["second"] == 900 + tracklet.frame[t] / 30
        x, y, w, h = tracklet.box[t]
        pixels = [row["x1"] * 1280, row["y1"] * 720, row["x2"] * 1280, row["y2"] * 720]
        np.testing.assert_allclose(pixels, [x, y, x + w, y + h], atol=1e-3)
    corners = boxes.table.select("x1", "y1", "x2", "y2").to_numpy()
    assert corners.min() >= 0 and corners.max() <= 1


def test_no_tracklets_have_no_boxes() -> None:
    boxes = key_boxes([])
    assert boxes.table.columns == ["video", "second", "x1", "y1", "x2", "y2"] and len(boxes.table) == 0


def test_rows_come_box_by_box_and_class_by_class(scored: list[Tracklet]) -> None:
    boxes = key_boxes(scored)
    count = len(boxes.table)
    scores = np.random.default_rng(0).random((count, 60), np.float32)
    rows = ava_rows(boxes, scores)
    assert rows.columns == ["video", "second", "x1", "y1", "x2", "y2", "action", "score"]
    assert len(rows) == 60 * count and rows["action"].to_list() == list(ava.EVALUATED) * count
    np.testing.assert_array_equal(rows["score"].to_numpy().reshape(count, 60), scores.astype(np.float64))
    assert rows[::60].select(boxes.table.columns).equals(boxes.table)


def test_pooled_scores_are_those_of_their_own_tracklet(scored: list[Tracklet]) -> None:
    boxes = key_boxes(scored)
    scores = [np.full((len(t), 60), index, np.float32) for index, t in enumerate(scored)]
    np.testing.assert_array_equal(at_key_boxes(scores, boxes)[:, 7], boxes.tracklet)


def test_dense_scores_depend_on_neither_batches_nor_order(scored: list[Tracklet]) -> None:
    torch.manual_seed(0)
    model = LART(LARTConfig(people=3, width=32, depth=2, heads=2, pose_width=24))
    stats = stats_of(scored)

    def scores(members: list[Tracklet], batch_size: int) -> dict[str, np.ndarray]:
        dataset = TrackletDataset(members, frames=128, people=3, stats=stats, train=False)
        rows = dense_scores(model, dataset, batch_size, progress=False)
        return {t.name: row for t, row in zip(members, rows, strict=True)}

    # Scenes turned round, but not the people within one: they fill the slots in this order.
    scenes = sorted({t.scene for t in scored}, reverse=True)
    turned = [t for scene in scenes for t in scored if t.scene == scene]
    one, many, other = scores(scored, 1), scores(scored, 16), scores(turned, 4)
    assert len(one) == len(scored)
    for tracklet in scored:
        row = one[tracklet.name]
        assert row.shape == (128, 60) and 0 < row.min() and row.max() < 1
        np.testing.assert_allclose(many[tracklet.name], row, atol=1e-5)
        np.testing.assert_allclose(other[tracklet.name], row, atol=1e-5)
    assert not model.training


@pytest.mark.parametrize("split", ["ava-train", "ava-val", "ava-test"])
def test_perfect_scores_on_true_boxes_are_worth_one(tiny: MiniAva, split: str, tmp_path: Path) -> None:
    truth = ava.read_groundtruth(tiny.groundtruth(split))
    corners = ["video", "second", "x1", "y1", "x2", "y2"]
    people = truth.group_by(*corners, "person", maintain_order=True).agg("action")
    labels = np.zeros((len(people), 80), np.float32)
    for row, actions in zip(labels, people["action"].to_list(), strict=True):
        row[np.array(actions) - 1] = 1
    nobody = np.zeros(0, np.int64)
    boxes = KeyBoxes(people.select(corners), nobody, nobody)
    rows = ava_rows(boxes, ava.to_evaluated(labels))
    evaluation = evaluate(truth, rows)
    assert evaluation.mean_ap == pytest.approx(1)
    assert evaluation.counts["classes"] == len(set(truth["action"]) & set(ava.EVALUATED))
    ava.write_detections(rows, tmp_path / "detections.csv")
    again = evaluate_files(tiny.groundtruth(split), tmp_path / "detections.csv")
    assert again.mean_ap == pytest.approx(1)
    worse = rows.with_columns(pl.col("score").reverse())
    assert evaluate(truth, worse).mean_ap < 0.7
