"""Work done ahead of a step: the same batches for any number of processes, and no step waits for its loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import training_job
from factories import IDENTITY, everywhere, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import loader

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig, Profile, StageConfig
from lart_mini.lart.datasets import Chance, TrackletDataset
from lart_mini.lart.model import LART, plan_ahead
from lart_mini.lart.tokens import lowest
from lart_mini.training import loop
from lart_mini.training.batches import Batches
from lart_mini.training.devices import choose_fabric
from lart_mini.training.graphs import Replayed, Results

CPU = torch.device("cpu")
SHORT = StageConfig(epochs=3, batch_size=4, warmup_epochs=0)


def copies(data: TrackletDataset, first: int, last: int, **options: Any) -> list[dict[str, torch.Tensor]]:
    steps = Batches(data, 4, seed=3, **options).steps(first, last, CPU)
    return [{name: tensor.clone() for name, tensor in batch.tensors().items()} for batch in steps]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_processes_loads_the_same(workers: int) -> None:
    data, plan = training_job.dataset(), partial(plan_ahead, config=training_job.model().config)
    data.mask_ratio = 0.4
    found = copies(data, 0, 11, workers=workers, prepare=plan)
    assert len(found) == 11 and "computed" in found[0], "more than two epochs of four"
    batches = Batches(data, 4, seed=3)
    for step, batch in enumerate(found):
        epoch, number = divmod(step, 4)
        batches.sampler.set_epoch(epoch)
        data.set_epoch(epoch)
        indices = next(islice(batches.sampler, number, None))
        assert same(batch, plan(data.batch([data.draw(i) for i in indices]).tensors())), step
    later = copies(data, 6, 11, workers=workers, prepare=plan)
    assert all(map(same, later, found[6:])), "gone on from step 6"


def test_a_plan_made_ahead_is_the_one_that_forward_makes() -> None:
    data = training_job.dataset()
    for changes in ({}, {"token_order": "time"}, {"undetected": "computed"}):
        model = training_job.model(dropout=0.0, **changes)
        for ratio in (0.0, 0.4, 1.0):
            data.mask_ratio = ratio
            batch = data.batch([data.draw(i) for i in range(len(data))])
            ahead = replace(batch, **plan_ahead(batch.tensors(), model.config))
            assert (ahead.computed is None) == (changes == {"undetected": "computed"})
            assert torch.equal(model(ahead), model(batch))


def test_a_batch_without_gaps_is_planned_too() -> None:
    """A recorded step cannot ask a GPU whether there are gaps."""
    model = training_job.model(dropout=0.0)
    alone = [everywhere(one) for one in scene([(100, 9)])]
    data = TrackletDataset(alone, train=True, frames=6, people=1, stats=IDENTITY, mask_ratio=0.0)
    batch = data.batch([data.draw(0), data.draw(0)])
    assert batch.detected.all() and batch.masked is not None and not batch.masked.any()
    ahead = replace(batch, **plan_ahead(batch.tensors(), model.config))
    assert ahead.computed is not None and torch.equal(model(ahead), model(batch))


@pytest.mark.parametrize("profile", ["paper", "released"])
def test_whole_batches_equal_those_put_together_one_by_one(profile: Profile) -> None:
    tracklets = [*scene([(100, 30), (95, 20), (110, 40), (100, 9)]), *scene([(50, 12), (55, 12)], 180)]
    settings: Any = {"frames": 12, "people": 3, "stats": IDENTITY, "mask_ratio": 0.4}
    data = TrackletDataset(tracklets, train=True, profile=profile, **settings)
    literal = loader.one_by_one(data, tracklets, IDENTITY)
    for epoch in range(3):
        data.set_epoch(epoch)
        for indices in ([0], [1, 4, 2], [5, 3, 0, 2]):
            placed = data.place(data.load(indices), CPU)
            assert same(placed.tensors(), literal(indices).tensors())


def test_frame_numbers_may_be_far_apart() -> None:
    far = [everywhere(one) for one in scene([(100, 6), (100, 6)])]
    frames = np.array([0, 1, 2, 10**15, 10**15 + 1, 2**62])
    far = [replace(far[0], frame=frames), replace(far[1], frame=frames - 1)]
    batch = TrackletDataset(far, frames=6, people=2, stats=IDENTITY, train=False)[0]
    assert batch.detected[0].int().tolist() == [[1] * 6, [1, 1, 0, 1, 0, 0]]
    np.testing.assert_array_equal(batch.pose[0, 1, 3], far[1].vector()[4])


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 2**40))
def test_an_items_chance_is_its_own(seed: int, epoch: int, index: int) -> None:
    chance = Chance(seed, epoch)
    first = chance.of(index).random(5)
    chance.of(index + 1).integers(2**63, size=3)
    assert np.array_equal(chance.of(index).random(5), first), "whatever others drew"
    for other in (Chance(seed, epoch).of(index + 1), Chance(seed, epoch + 1).of(index)):
        assert not np.array_equal(other.random(5), first)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
@settings(derandomize=True)
def test_the_lowest_lots_are_masked(seed: int, share: float, ratio: float) -> None:
    draws = np.random.default_rng(seed)
    detected = torch.from_numpy(draws.random((3, 2, 5)) < share)
    lots = torch.from_numpy(draws.random((3, 2, 5)))
    masked = lowest(lots, detected, ratio)
    for own, seen, lot in zip(masked, detected, lots, strict=True):
        count = int(ratio * int(seen.sum()))
        assert int(own.sum()) == count and not (own & ~seen).any()
        assert sorted(lot[own].tolist()) == sorted(lot[seen].tolist())[:count]


@pytest.mark.parametrize("every", [1, 3, 100])
def test_however_seldom_it_is_looked_at_a_training_is_the_same(every: int) -> None:
    found, wanted = training_job.model(), training_job.model()
    data = training_job.dataset()
    history = training_job.fit(found, data, SHORT, report_every=every)
    expected = training_job.fit(wanted, data, SHORT)
    assert (history.loss, history.lr) == (expected.loss, expected.lr)
    assert all(map(torch.equal, found.parameters(), wanted.parameters()))


def test_a_ruined_step_is_not_taken_though_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    step, count, weights = loop._step, iter(range(100)), []
    model = training_job.model()

    def spoiled(fabric: Any, learner: Any, optimizer: Any, loss: Any, *rest: Any) -> Any:
        bad = next(count) == 2
        taken = step(fabric, learner, optimizer, lambda *a: loss(*a) * (math.nan if bad else 1), *rest)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        return taken

    monkeypatch.setattr(loop, "_step", spoiled)
    with pytest.raises(BadInput, match="step 2 at rate"):
        training_job.fit(model, training_job.dataset(), SHORT, report_every=100)
    assert len(weights) == 4, "an epoch"
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2]) and torch.equal(weights[1], weights[3])


def test_recorded_steps_are_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of `graphs.py` but CUDA's own part, for which a recorder stands in that runs the work again."""
    worked, recorded, played = [], [], []

    def record(work: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        recorded.append(True)
        results = tuple(torch.zeros(()) for _ in range(3))

        def play() -> None:
            played.append(True)
            for result, value in zip(results, work(), strict=True):
                result.copy_(value)

        return play, results

    def replayed(work: loop.Work, *_: Any) -> Any:
        def counted(batch: Any) -> Results:
            worked.append(True)
            return work(batch)

        return nullcontext(Replayed(counted, record))

    wanted, found, data = training_job.model(), training_job.model(), training_job.dataset()
    expected = training_job.fit(wanted, data, SHORT)
    monkeypatch.setattr(loop, "_as_chosen", replayed)
    history = training_job.fit(found, data, SHORT)
    assert history.loss == expected.loss
    assert all(map(torch.equal, found.parameters(), wanted.parameters()))
    assert len(worked) == len(expected.loss)
    assert 0 < len(recorded) < len(played), "some more than once"


# ---------------------------------------------------------------------------------------- what a GPU may lack


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")

    monkeypatch.setattr(loop, "_step", full)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 << 30)
    properties = SimpleNamespace(total_memory=6 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    with pytest.raises(BadInput) as refused:
        training_job.fit(training_job.model(), training_job.dataset(), replace(SHORT, accumulate=2))
    expected = "more than 5.0 GiB for a batch of 4, or --accumulate 4, found 6.0 GiB"
    assert str(refused.value) == f"training: memory of the GPU: expected {expected}"


def test_what_the_gpu_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match=r"accelerator: expected a CUDA device, or --accelerator cpu, found"):
        choose_fabric("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old card")
    with pytest.raises(BadInput, match="bf16, or --precision 32-true, found an old card"):
        choose_fabric("cuda", 1)


def test_blocks_are_compiled_and_keep_their_names() -> None:
    model = LART(LARTConfig(people=2, frames=8, width=16, depth=2, heads=2, pose_width=16))
    names = list(model.state_dict())
    model.compile(backend="eager")
    assert list(model.state_dict()) == names
    assert [block._compiled_call_impl is not None for block in model.blocks] == [True, True]
    assert model._compiled_call_impl is None
