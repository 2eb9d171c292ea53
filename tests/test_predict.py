"""From dense scores to AVA rows: what is pooled, which boxes are scored, and mAP 1 for perfect scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from factories import WIDTH, changed, everywhere, member, write_source
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini import ava
from lart_mini.cli import main
from lart_mini.data.mini_ava import MiniAva
from lart_mini.evaluation import ava_csv
from lart_mini.evaluation.frame_map import evaluate, evaluate_files
from lart_mini.evaluation.key_boxes import KeyBoxes, at_key_boxes, ava_rows, key_boxes, no_key_boxes, pooled
from lart_mini.files import BadInput
from lart_mini.lart import predict as predict_module
from lart_mini.lart.assembly import assemble
from lart_mini.lart.config import ASSEMBLIES, LARTConfig, assembly_for
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.model import LART
from lart_mini.lart.predict import box_scores, dense_scores, samples_of, windows
from lart_mini.lart.tokens import stats_of
from lart_mini.lart.weights import save_model
from lart_mini.tracklets.conversion import convert
from lart_mini.tracklets.npz import save_tracklets
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import Tracklet


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


def small(**changes: Any) -> LART:
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "people": 3,
        "width": 16,
        "depth": 1,
        "heads": 2,
        "pose_width": 16,
        "frames": 12,
    }
    return LART(LARTConfig(**config | changes)).eval()


def people() -> list[Tracklet]:
    """Shorter and longer than 12 frames, two of one scene."""
    sizes = [(60, 0, 50, 9), (60, 1, 45, 50), (90, 0, 85, 12), (120, 4, 55, 31)]
    return [member(*size) for size in sizes]


def test_named_key_frames_and_confident_boxes_alone_are_scored_on_request() -> None:
    found = np.ones(80, bool)
    one = replace(member(60, 0, 50, 80), detected=found, confidence=np.linspace(0, 1, 80, dtype=np.float32))
    assert key_boxes([one]).table["second"].to_list() == [902, 903, 904]
    assert key_boxes([one], "named").t.tolist() == [10] and key_boxes([one], "named", 0.2).t.tolist() == []
    # Frames 60, 90 and 120 have confidence 10/79, 40/79 and 70/79; the bound itself is enough.
    assert key_boxes([one], confidence=float(one.confidence[40])).t.tolist() == [40, 70]
    missed = replace(one, detected=np.arange(80) != 10)
    assert len(key_boxes([missed], "named").table) == 0
    with pytest.raises(BadInput, match=r"expected all \| named \| clip, found some"):
        key_boxes([one], "some")


@given(st.integers(1, 300), st.integers(1, 130), st.sampled_from(["paper", "released"]))
@settings(derandomize=True, max_examples=150)
def test_each_frame_is_scored_where_it_is_most_central(length: int, frames: int, profile: str) -> None:
    starts, owner = windows(length, frames, ASSEMBLIES[profile])
    assert starts[0] == 0 and len(owner) == length and set(owner) <= set(range(len(starts)))
    place = np.arange(length) - np.array(starts)[owner]
    assert (place >= 0).all() and (place < frames).all()
    assert starts[-1] + frames == length or (length <= frames and starts == [0])
    if profile == "released":
        assert (owner[:frames] == 0).all()
    else:
        reach = np.array([[min(t - s, s + frames - 1 - t) for s in starts] for t in range(length)])
        if length > frames:
            np.testing.assert_array_equal(reach[np.arange(length), owner], reach.max(axis=1))
            inner = slice(frames // 2, length - frames // 2)
            assert (reach.max(axis=1)[inner] >= frames // 4 - 1).all()


@pytest.mark.parametrize("profile", ["paper", "released"])
def test_long_tracklets_are_scored_window_by_window(profile: str) -> None:
    members, model = people(), small()
    stats = stats_of(members)
    samples = samples_of(members, model.config, stats, profile)  # type: ignore[arg-type]
    scores = dense_scores(model, samples, batch_size=3, progress=False)
    assembly = ASSEMBLIES[profile]
    for i, (one, rows) in enumerate(zip(members, scores, strict=True)):
        others = [t for t in members if t.scene == one.scene and t is not one]
        starts, owner = windows(len(one), 12, assembly)
        assert rows.shape == (len(one), 60)
        for number, start in enumerate(starts):
            batch = assemble(one, others, frames=12, people=3, stats=stats, profile=assembly, start=start)
            with torch.no_grad():
                wanted = model(batch)[0, 0].sigmoid().numpy()
            t = np.flatnonzero(owner == number)
            np.testing.assert_allclose(rows[t], wanted[t - start], atol=1e-5)
        np.testing.assert_allclose(dense_scores(model, samples, only=[i], progress=False)[0], rows, atol=1e-5)


def test_box_scores_are_the_pooled_dense_scores_some_tracklets_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members, model = people(), small()
    samples = samples_of(members, model.config, stats_of(members), "paper")
    boxes = key_boxes([replace(t, detected=np.ones(len(t), bool)) for t in members])
    assert len(set(boxes.tracklet.tolist())) == 3 and len(boxes.table) == 4
    wanted = at_key_boxes(dense_scores(model, samples, progress=False), boxes)
    for at_once in (1, 2, 256):
        monkeypatch.setattr(predict_module, "AT_ONCE", at_once)
        np.testing.assert_allclose(box_scores(model, samples, boxes, progress=False), wanted, atol=1e-5)


def test_a_store_gives_the_scores_of_its_tracklets(tmp_path: Path) -> None:
    convert(write_source(tmp_path / "source"), tmp_path / "store", jobs=1, part_size=3)
    store = Store(tmp_path / "store")
    members = list(store)
    model = small(joints_width=8, appearance=WIDTH, appearance_width=8, width=32)
    assembly = assembly_for(model.config, "released")
    stats = stats_of(members)
    one, other = (samples_of(kept, model.config, stats, assembly) for kept in (store, members))
    for a, b in zip(*(dense_scores(model, s, 4, progress=False) for s in (one, other)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_evaluated_columns_of_80_classes_are_taken() -> None:
    members = people()[:1]
    model = small(classes=80)
    samples = samples_of(members, model.config, stats_of(members), "paper")
    (rows,) = dense_scores(model, samples, progress=False)
    with torch.no_grad():
        wanted = model(assemble(members[0], [], frames=12, people=3, stats=stats_of(members)))[0, 0].sigmoid()
    np.testing.assert_allclose(rows, wanted[:9, np.array(ava.EVALUATED) - 1], atol=1e-6)


def test_appearance_that_the_model_does_not_read_is_refused() -> None:
    members = people()
    bare = [replace(t, appearance=None) for t in members]
    config = LARTConfig(appearance=9, appearance_width=8)
    with pytest.raises(
        BadInput, match=f"appearance: expected width 9, which the model reads, found width {WIDTH}"
    ):
        samples_of(members, config, stats_of(members), "paper")
    with pytest.raises(BadInput, match="which the model reads, found none"):
        samples_of(bare, config, stats_of(members), "paper")
    assert len(samples_of(members, LARTConfig(), stats_of(members), "paper")) == 4


def test_the_profile_is_the_models_own_unless_asked_for() -> None:
    assert (LARTConfig.paper().profile, LARTConfig.released().profile) == ("paper", "released")
    assert assembly_for(LARTConfig.paper()) == ASSEMBLIES["paper"]
    assert assembly_for(LARTConfig.released()) == ASSEMBLIES["released"]
    assert assembly_for(LARTConfig.released(), "paper") == replace(ASSEMBLIES["paper"], joints=True)
    assert not assembly_for(LARTConfig.paper(), "released").joints
    with pytest.raises(BadInput, match=r"expected paper \| released, found both"):
        assembly_for(LARTConfig(), "both")


@pytest.mark.parametrize("split", ["ava-train", "ava-val", "ava-test"])
def test_perfect_scores_on_true_boxes_are_worth_one(tiny: MiniAva, split: str, tmp_path: Path) -> None:
    truth = ava_csv.read_groundtruth(tiny.groundtruth(split))
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
    ava_csv.write_detections(rows, tmp_path / "detections.csv")
    again = evaluate_files(tiny.groundtruth(split), tmp_path / "detections.csv")
    assert again.mean_ap == pytest.approx(1)
    worse = rows.with_columns(pl.col("score").reverse())
    assert evaluate(truth, worse).mean_ap < 0.7


def test_boxes_begin_at_second_902_and_stay_in_the_frame() -> None:
    one = everywhere(member(60, 0, 0, 80))  # key frames 0, 30 and 60: seconds 900, 901 and 902
    assert key_boxes([one]).table["second"].to_list() == [902]
    one = changed(one, "box", 60, [-1, -0.5, 322, 241]).validate()  # the pixel of grace
    assert key_boxes([one]).table.row(0)[2:] == (0, 0, 1, 1)


def test_clips_shorter_than_avas_clock_are_told_of_it_or_scored_from_frame_0() -> None:
    one = everywhere(member(60, 0, 0, 50))
    assert len(key_boxes([one]).table) == 0
    assert key_boxes([one], "clip").table["second"].to_list() == [900, 901]
    text = str(no_key_boxes("tracks", [one], "all", 0))
    assert "at a key frame (60, 90, 120, … at 30 frames a second), found frames 0 to 49" in text
    assert "--keyframes clip" in text and "--keyframes" not in str(no_key_boxes("tracks", [one], "clip", 0))
    later = replace(one, frame=one.frame + 91)
    unseen = replace(later, detected=later.frame != 120)
    assert "found frames 0 to 140" in str(no_key_boxes("tracks", [one, unseen], "all", 0))
    sure = replace(later, frame=later.frame - 10, confidence=np.full(50, 0.3, np.float32))
    text = str(no_key_boxes("tracks", [sure], "all", 0.8))
    assert (
        text
        == "tracks: boxes: expected a detection of confidence 0.8 at a key frame, found at most 0.3 there"
    )
    assert "that is in the tracklet's name, found frames 91 to 140" in str(
        no_key_boxes("t", [later], "named", 0)
    )


def test_predict_says_why_a_clip_has_no_boxes_and_scores_it_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = replace(everywhere(member(60, 0, 0, 50)), appearance=None)
    save_tracklets([one], tmp_path / "clip.npz")
    save_model(tmp_path / "m.safetensors", small(), stats_of([one]))
    options = ("predict", "--checkpoint", "m.safetensors", "--tracklets", "clip.npz", "--out", "out.csv")
    arguments = [str(tmp_path / option) if "." in option else option for option in options]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "found frames 0 to 49" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--keyframes", "clip"])
    assert not stopped.value.code
    assert ava_csv.read_detections(tmp_path / "out.csv")["second"].unique().sort().to_list() == [900, 901]
