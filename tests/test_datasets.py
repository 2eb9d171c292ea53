"""Data sets: who is ego, windows and masks that repeat, batches that waste nothing, shares of ranks."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from factories import IDENTITY, everywhere, make_tracklet, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from lart_mini.files import BadInput
from lart_mini.lart.assembly import assemble, collate
from lart_mini.lart.config import Assembly
from lart_mini.lart.datasets import TrackletDataset, group_others
from lart_mini.training.batches import BucketSampler, whole


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
    assert train.egos == [1] and train[0].present.all() and train.size(0) == 2
    test = TrackletDataset([plain, labelled], train=False, **options)  # type: ignore[arg-type]
    assert len(test) == 2
    np.testing.assert_array_equal(test[0].pose[0, 0], plain.vector() * plain.detected[:, None])


def test_long_tracklets_show_their_first_rows_at_test() -> None:
    tracklets = scene([(100, 30)])
    data = TrackletDataset(tracklets, frames=8, people=1, stats=IDENTITY, train=False)
    first = assemble(tracklets[0], [], frames=8, people=1, stats=IDENTITY, start=0)
    assert torch.equal(data[0].pose, first.pose)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.integers(1, 9))
@settings(derandomize=True, max_examples=50)
def test_bucket_sampler_gives_everything_once(counts: list[int], size: int) -> None:
    sampler = BucketSampler(counts, size)
    batches = list(sampler)
    assert len(batches) == len(sampler) and sorted(chain(*batches)) == list(range(len(counts)))
    assert sum(len(batch) < size for batch in batches) <= 1
    # Sorted by people, batches overlap in one count at most.
    spans = sorted((min(counts[i] for i in b), max(counts[i] for i in b)) for b in batches)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_bucket_sampler_repeats_by_epoch_and_feeds_a_loader() -> None:
    tracklets = [*scene([(100, 9)] * 3), *scene([(100, 9)], 180), *scene([(100, 9)] * 2, 210)]
    data = TrackletDataset(tracklets, frames=9, people=5, stats=IDENTITY, train=True)
    sampler = BucketSampler([data.size(i) for i in range(len(data))], 3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]
    shapes = {tuple(b.pose.shape) for b in DataLoader(data, batch_sampler=sampler, collate_fn=whole)}
    assert shapes == {(3, 3, 9, 229), (3, 2, 9, 229)}


def test_masks_are_drawn_by_seed_epoch_and_item() -> None:
    tracklets = [everywhere(one) for one in scene([(100, 30), (100, 30)])]

    def masks(epoch: int, seed: int = 0, ratio: float = 0.4) -> list[torch.Tensor]:
        data = TrackletDataset(tracklets, frames=30, people=2, stats=IDENTITY, train=True, seed=seed)
        data.mask_ratio = ratio
        data.set_epoch(epoch)
        found = [data[i].masked for i in (1, 0)][::-1]  # the order of asking plays no part
        return [mask for mask in found if mask is not None]

    first = masks(3)
    assert [int(mask.sum()) for mask in first] == [24, 24] and not torch.equal(*first)
    assert all(map(torch.equal, first, masks(3)))
    assert not torch.equal(first[0], masks(4)[0]) and not torch.equal(first[0], masks(3, seed=1)[0])
    assert not torch.stack(masks(3, ratio=0)).any()
    test = TrackletDataset(tracklets, frames=30, people=2, stats=IDENTITY, train=False, mask_ratio=0.4)
    assert test[0].masked is None


def test_the_released_profile_starts_at_the_first_frame_and_drops_the_last() -> None:
    long, short = [everywhere(one) for one in scene([(100, 30), (100, 9)])]
    options: dict[str, Any] = {"frames": 9, "people": 2, "stats": IDENTITY, "profile": "released"}
    train = TrackletDataset([long, short], train=True, **options)
    assert train.egos == [0, 1] and train[0].joints is not None
    for epoch in range(5):
        train.set_epoch(epoch)
        np.testing.assert_array_equal(train[0].pose[0, 0], long.vector()[:9])
        assert train[1].detected[0, 0].tolist() == [True] * 8 + [False]
    test = TrackletDataset([long, short], train=False, **options)
    np.testing.assert_array_equal(test[0].pose[0, 0], long.vector()[:9])
    assert test[1].detected[0, 0].all()


def test_items_equal_what_assemble_makes_of_the_same_draw() -> None:
    tracklets = scene([(100, 30), (95, 20), (110, 40), (100, 9)])
    for profile in (Assembly(slots="drawn", joints=True), Assembly(undetected="kept")):
        data = TrackletDataset(tracklets, frames=12, people=3, stats=IDENTITY, train=True, profile=profile)
        data.set_epoch(2)
        for i in range(len(data)):
            draw = data.draw(i)
            ego, others = tracklets[draw.ego], [tracklets[k] for k in draw.others]
            expected = assemble(
                ego, others, frames=12, people=3, stats=IDENTITY, profile=profile, start=draw.start
            )
            found = data[i].with_mask(None).tensors()
            assert found.keys() == expected.tensors().keys()
            assert all(torch.equal(tensor, found[name]) for name, tensor in expected.tensors().items())


def test_collate_keeps_the_slots_before_the_last_present_person() -> None:
    ego, away, near = [everywhere(one) for one in scene([(100, 9), (300, 9), (100, 9)])]
    drawn = assemble(ego, [away, near], frames=9, people=5, stats=IDENTITY, profile="released")
    assert drawn.present.tolist() == [[True, False, True, False, False]]
    batch = collate([drawn, assemble(ego, [], frames=9, people=1, stats=IDENTITY, profile="released")])
    assert batch.pose.shape[:2] == (2, 3) and torch.equal(batch.pose[0], drawn.pose[0, :3])


def test_collate_pads_appearance_to_the_most_vectors() -> None:
    tracklets = [make_tracklet(length, track, track, 6) for track, length in enumerate((28, 10, 21))]
    tracklets[1] = replace(tracklets[1], appearance=None)
    data = TrackletDataset(tracklets, frames=28, people=3, stats=IDENTITY, train=False)
    items = [data[i] for i in range(3)]
    alone = TrackletDataset(tracklets[2:], frames=28, people=1, stats=IDENTITY, train=False)[0]
    batch = collate([*items, alone])
    assert batch.appearance is not None and batch.appearance.shape == (4, 3, 4, 6)
    assert batch.appearance_index is not None and (batch.appearance_index[3, 1:] == -1).all()
    dense, first = batch.dense().appearance, items[0].dense().appearance
    assert dense is not None and first is not None and torch.equal(dense[:1], first)
    assert dense[3, 0].any() and not dense[3, 1:].any()
    narrow = replace(tracklets[0], appearance=np.ones((28, 5), np.float32))
    other = TrackletDataset([narrow], frames=28, people=3, stats=IDENTITY, train=False)
    with pytest.raises(BadInput, match=r"batch: appearance: expected one width, found \[5, 6\]"):
        collate([items[0], other[0]])
    with pytest.raises(BadInput, match="appearance: expected width 5 as before it, found width 6"):
        TrackletDataset([narrow, tracklets[2]], frames=28, people=3, stats=IDENTITY, train=False)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
@settings(derandomize=True, max_examples=50)
def test_ranks_share_every_batch_and_skipped_ones_are_skipped(
    items: int, size: int, world: int, skip: int
) -> None:
    counts = np.random.default_rng(items).integers(1, 6, items).tolist()
    whole = BucketSampler(counts, size)
    whole.set_epoch(3)
    ranks = [BucketSampler(counts, size, rank=rank, world=world) for rank in range(world)]
    shares = []
    for sampler in ranks:
        sampler.set_epoch(3, skip=skip)
        assert len(sampler) == len(whole)
        shares.append(list(sampler))
    batches = list(whole)[skip:]
    assert all(len(share) == len(batches) for share in shares)
    for batch, *parts in zip(batches, *shares, strict=True):
        assert sorted(chain(*parts)) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    sampler.set_epoch(3)
    assert len(list(sampler)) == len(whole)
    with pytest.raises(ValueError, match="outside a world"):
        BucketSampler(counts, size, rank=world, world=world)
