"""Tokens: normalisation, windows aligned by frame number, labels by source, batches that waste nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tracklets import changed, make_tracklet
from torch.utils.data import DataLoader

from lart_mini import ava
from lart_mini.errors import BadInput
from lart_mini.tokens import (
    BucketSampler,
    Stats,
    TokenBatch,
    TrackletDataset,
    assemble,
    collate,
    group_others,
    stats_of,
)
from lart_mini.tracklets import Tracklet

IDENTITY = Stats(np.zeros(229, np.float32), np.ones(229, np.float32))


def scene(sizes: list[tuple[int, int]], keyframe: int = 150) -> list[Tracklet]:
    """Tracklets of one scene, from (first frame, length)."""
    people = []
    for track, (first, length) in enumerate(sizes):
        one = make_tracklet(length, seed=track + keyframe, track=track)
        name = f"ava-train_a_b-cdefghi_{keyframe:06d}_{track}_{length}"
        frame = np.arange(first, first + length)
        people.append(replace(one, name=name, keyframe=keyframe, frame=frame).validate())
    return people


def test_stats_come_from_detected_frames_and_normalise_them() -> None:
    tracklet = changed(make_tracklet(50), "betas", slice(None), 2.5)
    wild = np.where(tracklet.detected[:, None], tracklet.translation, 1e6).astype(np.float32)
    stats = stats_of([replace(tracklet, translation=wild)])
    normal = stats.normalise(tracklet.vector()[tracklet.detected])
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-5)
    varying = np.r_[0:216, 226:229]
    np.testing.assert_allclose(normal.std(0)[varying], 1, atol=1e-4)
    assert (stats.std[216:226] == 1).all() and np.abs(normal[:, 216:226]).max() == 0
    with pytest.raises(ValueError, match="no detected frame"):
        stats_of([])


def test_stats_round_trip(tmp_path: Path) -> None:
    stats = stats_of([make_tracklet()])
    stats.save(tmp_path / "stats.npy")
    loaded = Stats.load(tmp_path / "stats.npy")
    np.testing.assert_array_equal(stats.mean, loaded.mean)
    np.testing.assert_array_equal(stats.std, loaded.std)
    np.save(tmp_path / "stats.npy", np.zeros((2, 1, 226)))
    with pytest.raises(BadInput, match=r"stats: expected finite numbers of shape \(2, 229\)"):
        Stats.load(tmp_path / "stats.npy")
    (tmp_path / "stats.npy").write_bytes(b"text")
    with pytest.raises(BadInput, match=r"a \.npy array"):
        Stats.load(tmp_path / "stats.npy")


def test_the_ego_fills_slot_0_as_it_is() -> None:
    ego = make_tracklet(20, appearance=6)
    batch = assemble(ego, [], frames=8, people=2, stats=IDENTITY, start=5, joints=True)
    assert [len(batch), *batch.pose.shape] == [1, 1, 2, 8, 229]
    assert batch.present.tolist() == [[True, False]] and batch.masked is None
    window = slice(5, 13)
    np.testing.assert_array_equal(batch.detected[0, 0], ego.detected[window])
    shown = ego.detected[window, None]
    np.testing.assert_array_equal(batch.pose[0, 0], ego.vector()[window] * shown)
    assert ego.appearance is not None and batch.appearance is not None and batch.joints is not None
    np.testing.assert_array_equal(batch.appearance[0, 0], ego.appearance[window] * shown)
    camera = ego.translation / np.array([1, 1, 200], np.float32)
    points = (ego.joints + camera[:, None]).reshape(-1, 135)
    np.testing.assert_allclose(batch.joints[0, 0], points[window] * shown, rtol=1e-6)
    for tensor in batch.tensors().values():
        assert not tensor[0, 1].any()


@given(st.integers(80, 125), st.integers(1, 30), st.integers(0, 19), st.integers(1, 25))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_others_stand_at_the_same_frame_numbers(first: int, length: int, start: int, frames: int) -> None:
    """The rule, literally: slot k holds the other's row of the ego's k-th frame number, if there is one."""
    ego, other = scene([(100, 20), (first, length)])
    batch = assemble(ego, [other], frames=frames, people=2, stats=IDENTITY, start=start)
    seen = False
    for k in range(frames):
        row = np.flatnonzero(other.frame == ego.frame[start + k]) if start + k < len(ego) else []
        if len(row) and other.detected[row[0]]:
            seen = True
            np.testing.assert_array_equal(batch.pose[0, 1, k], other.vector()[row[0]])
            assert batch.detected[0, 1, k]
        else:
            assert not batch.detected[0, 1, k] and not batch.pose[0, 1, k].any()
    assert batch.present.tolist() == [[True, seen]]


def test_others_out_of_the_window_leave_their_slot_to_the_next() -> None:
    ego, away, near, far = scene([(100, 20), (500, 20), (100, 20), (100, 20)])
    batch = assemble(ego, [away, near, far], frames=20, people=2, stats=IDENTITY)
    assert batch.present.all()
    np.testing.assert_array_equal(batch.pose[0, 1], near.vector() * near.detected[:, None])


def test_gaps_in_the_frame_numbers_are_respected() -> None:
    ego, other = scene([(100, 6), (100, 10)])
    ego = replace(ego, frame=np.array([100, 101, 104, 105, 108, 120]))
    other = replace(other, detected=np.ones(10, bool))
    batch = assemble(ego, [other], frames=6, people=2, stats=IDENTITY)
    assert batch.detected[0, 1].tolist() == [True] * 5 + [False]
    np.testing.assert_array_equal(batch.pose[0, 1, :5], other.vector()[[0, 1, 4, 5, 8]])


def test_labels_are_weighed_by_source_and_detection() -> None:
    ego = make_tracklet(20)
    sources = {"any": ego.label_source > 0, "ground truth": ego.label_source == 2}
    for choice, wanted in sources.items():
        batch = assemble(ego, [], frames=20, people=1, stats=IDENTITY, labels=choice)  # type: ignore[arg-type]
        wanted = wanted & ego.detected
        np.testing.assert_array_equal(batch.label_weight[0, 0], wanted)
        columns = np.array(ava.EVALUATED) - 1
        np.testing.assert_array_equal(batch.labels[0, 0], ego.labels[:, columns] * wanted[:, None])
    assert sources["any"].sum() > sources["ground truth"].sum() > 0


def test_what_stands_in_undetected_frames_has_no_effect() -> None:
    ego, other = scene([(100, 20), (95, 20)])
    before = assemble(ego, [other], frames=20, people=2, stats=IDENTITY, joints=True)
    noisy = []
    for tracklet in (ego, other):
        gap = ~tracklet.detected
        assert gap.any()
        for field in ("pose", "betas", "translation", "joints", "box"):
            tracklet = changed(tracklet, field, gap, 77)
        noisy.append(tracklet)
    after = assemble(noisy[0], noisy[1:], frames=20, people=2, stats=IDENTITY, joints=True)
    for name, tensor in before.tensors().items():
        assert torch.equal(tensor, after.tensors()[name]), name


def test_a_start_outside_the_ego_is_refused() -> None:
    with pytest.raises(ValueError, match="start 20 is outside an ego of 20 frames"):
        assemble(make_tracklet(20), [], frames=8, people=1, stats=IDENTITY, start=20)


def test_group_others_shares_scenes() -> None:
    tracklets = [*scene([(0, 5), (0, 6)]), *scene([(0, 7)], keyframe=180), *scene([(0, 8)] * 3)[2:]]
    assert group_others(tracklets) == [[1, 3], [0, 3], [], [0, 1]]


def test_collate_trims_and_pads_people() -> None:
    people = scene([(100, 6), (100, 6), (100, 6)])
    people = [replace(p, detected=np.ones(6, bool)) for p in people]
    two = assemble(people[0], people[1:2], frames=6, people=5, stats=IDENTITY)
    one = assemble(people[2], [], frames=6, people=1, stats=IDENTITY)
    batch = collate([two, one])
    assert batch.pose.shape == (2, 2, 6, 229) and batch.present.tolist() == [[True, True], [True, False]]
    assert torch.equal(batch.pose[0], two.pose[0, :2]) and torch.equal(batch.pose[1, :1], one.pose[0])
    assert not batch.pose[1, 1].any() and not batch.detected[1, 1].any()
    masked = collate([two.with_mask(two.detected)])
    assert masked.masked is not None and masked.masked.shape == (1, 2, 6)
    with pytest.raises(ValueError, match="same tensors"):
        collate([two.with_mask(two.detected), one])


def test_to_moves_every_tensor() -> None:
    batch = assemble(make_tracklet(5), [], frames=5, people=1, stats=IDENTITY).to("meta")
    assert isinstance(batch, TokenBatch) and len(batch.tensors()) == 5
    assert {tensor.device.type for tensor in batch.tensors().values()} == {"meta"}


def test_training_items_are_random_by_epoch_and_repeatable() -> None:
    tracklets = scene([(100, 30), (100, 30), (100, 30)])

    def items(epoch: int, seed: int = 0) -> torch.Tensor:
        data = TrackletDataset(tracklets, frames=8, people=3, stats=IDENTITY, train=True, seed=seed)
        data.set_epoch(epoch)
        return torch.cat([data[i].pose for i in range(len(data))])

    assert torch.equal(items(1), items(1))
    assert not torch.equal(items(1), items(2)) and not torch.equal(items(1), items(1, seed=5))
    tracklet = tracklets[0]
    data = TrackletDataset([tracklet], frames=8, people=1, stats=IDENTITY, train=True)
    windows = tracklet.vector() * tracklet.detected[:, None]
    starts = set()
    for epoch in range(200):
        data.set_epoch(epoch)
        pose = data[0].pose[0, 0].numpy()
        starts |= {s for s in range(23) if np.array_equal(pose, windows[s : s + 8])}
    assert starts == set(range(23))


def test_egos_without_labels_are_left_out_of_training_only() -> None:
    labelled, plain = scene([(100, 10), (100, 10)])
    plain = replace(plain, label_source=np.full(10, 1, np.int8))
    labelled = replace(labelled, detected=np.ones(10, bool), label_source=np.full(10, 2, np.int8))
    options = {"frames": 10, "people": 2, "stats": IDENTITY, "labels": "ground truth"}
    train = TrackletDataset([plain, labelled], train=True, **options)  # type: ignore[arg-type]
    assert train.egos == [1] and train[0].present.all() and train.people_count(0) == 2
    test = TrackletDataset([plain, labelled], train=False, **options)  # type: ignore[arg-type]
    assert len(test) == 2
    np.testing.assert_array_equal(test[0].pose[0, 0], plain.vector() * plain.detected[:, None])


def test_long_tracklets_need_starts_at_test() -> None:
    tracklets = scene([(100, 30)])
    with pytest.raises(ValueError, match="need `starts`"):
        TrackletDataset(tracklets, frames=8, people=1, stats=IDENTITY, train=False)
    data = TrackletDataset(tracklets, frames=8, people=1, stats=IDENTITY, train=False, starts=[11])
    assert torch.equal(
        data[0].pose, assemble(tracklets[0], [], frames=8, people=1, stats=IDENTITY, start=11).pose
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.integers(1, 9), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_bucket_sampler_gives_everything_once(counts: list[int], size: int, shuffle: bool) -> None:
    sampler = BucketSampler(counts, size, shuffle=shuffle)
    batches = list(sampler)
    assert len(batches) == len(sampler) and sorted(chain(*batches)) == list(range(len(counts)))
    assert sum(len(batch) < size for batch in batches) <= 1
    # Sorted by people, batches overlap in one count at most.
    spans = sorted((min(counts[i] for i in b), max(counts[i] for i in b)) for b in batches)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_bucket_sampler_repeats_by_epoch_and_feeds_a_loader() -> None:
    tracklets = [*scene([(100, 9)] * 3), *scene([(100, 9)], 180), *scene([(100, 9)] * 2, 210)]
    data = TrackletDataset(tracklets, frames=9, people=5, stats=IDENTITY, train=True)
    sampler = BucketSampler([data.people_count(i) for i in range(len(data))], 3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]
    shapes = {tuple(b.pose.shape) for b in DataLoader(data, batch_sampler=sampler, collate_fn=collate)}
    assert shapes == {(3, 3, 9, 229), (3, 2, 9, 229)}
