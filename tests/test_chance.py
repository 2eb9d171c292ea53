"""What chance decides, each thing by its own seed, and the print by which data sets are told apart.

A seed that is ignored looks like a good one: everything repeats.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from factories import IDENTITY, everywhere, make_tracklet, scene

from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.recipe import shuffled_labels
from lart_mini.tracklets.tracklet import Tracklet
from lart_mini.training.batches import BucketSampler
from lart_mini.training.resume import fingerprint_of_data


def order(seed: int, epoch: int = 0) -> list[list[int]]:
    sampler = BucketSampler([1] * 10 + [2] * 10, 4, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_of_the_data_follows_seed_and_epoch() -> None:
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({str(batches) for batches in orders}) == 9
    # Not only the order of batches: who is in them.
    assert len({str(sorted(map(sorted, batches))) for batches in orders}) == 9
    assert order(2, 1) == order(2, 1)


def test_others_are_offered_their_slots_in_random_order() -> None:
    tracklets = [everywhere(one) for one in scene([(100, 9)] * 4)]
    data = TrackletDataset(tracklets, frames=9, people=2, stats=IDENTITY, train=True)
    orders = set()
    for epoch in range(60):
        data.set_epoch(epoch)
        orders.add(tuple(data.draw(0).others))
    assert len(orders) == 6 and all(sorted(others) == [1, 2, 3] for others in orders)
    test = TrackletDataset(tracklets, frames=9, people=2, stats=IDENTITY, train=False)
    assert test.draw(2).others == [0, 1, 3]


def test_an_items_size_is_that_of_its_own_scene() -> None:
    """Up to the slots that there are; the sampler puts items of like sizes into one batch."""
    bare = [replace(t, label_source=np.zeros(9, np.int8)) for t in scene([(100, 9)] * 2, 60)]
    told = [everywhere(t) for t in scene([(100, 9)], 90) + scene([(100, 9)] * 4, 120)]
    told = [replace(t, label_source=np.full(9, 2, np.int8)) for t in told]
    data = TrackletDataset([*bare, *told], frames=9, people=3, stats=IDENTITY, train=True)
    assert [data.size(i) for i in range(len(data))] == [1, 3, 3, 3, 3]


def controls(seed: int) -> list[bytes]:
    tracklets = [make_tracklet(9, track, track) for track in range(8)]
    return [t.labels.tobytes() + t.label_source.tobytes() for t in shuffled_labels(tracklets, seed)]


def test_the_control_is_mixed_by_its_seed() -> None:
    mixed = [controls(seed) for seed in range(4)]
    assert len({b"".join(labels) for labels in mixed}) == 4
    assert controls(3) == mixed[3] and all(sorted(labels) == sorted(mixed[0]) for labels in mixed)


def fingerprint(tracklets: list[Tracklet]) -> str:
    return fingerprint_of_data(TrackletDataset(tracklets, frames=9, people=2, stats=IDENTITY, train=True))


def test_a_data_sets_print_tells_content_and_not_only_size() -> None:
    tracklets = [everywhere(one) for one in scene([(100, 9)] * 3)]
    before = fingerprint(tracklets)
    assert fingerprint([replace(t) for t in tracklets]) == before
    for field in ("pose", "betas", "translation", "labels", "label_source", "detected"):
        array = getattr(tracklets[1], field).copy()
        array[4] = {"labels": 1 - array[4], "label_source": 2 - array[4], "detected": False}.get(
            field, array[4] + 1
        )
        other = [tracklets[0], replace(tracklets[1], **{field: array}), tracklets[2]]
        assert fingerprint(other) != before, field
