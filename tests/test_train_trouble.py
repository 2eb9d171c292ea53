"""Trainings in trouble: numbers that no training can have, losses that are none, two at once."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import training_job
from hypothesis import given
from hypothesis import strategies as st
from training_job import fit

from lart_mini import files
from lart_mini.files import BadInput, locked
from lart_mini.lart.config import StageConfig
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.recipe import Recipe
from lart_mini.training import loop, resume
from lart_mini.training.batches import Batches
from lart_mini.training.config import TrainConfig
from lart_mini.training.metrics import Metrics

SHORT = StageConfig(epochs=2, batch_size=4, warmup_epochs=0)


@pytest.fixture
def data() -> TrackletDataset:
    return training_job.dataset()


# -------------------------------------------------------------------------------------- what can be asked for

NUMBERS = [name for name, hint in get_type_hints(StageConfig).items() if hint in (int, float)]
ODD: list[Any] = [-1, -0.5, math.nan, math.inf, -math.inf, "1", None, True, [1]]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_finite_and_in_its_range(name: str) -> None:
    for odd in ODD:
        with pytest.raises(BadInput) as refused:
            replace(SHORT, **{name: odd})
        assert str(refused.value).startswith(f"training: {name}: expected a ")
    kept = getattr(SHORT, name)
    assert getattr(replace(SHORT, **{name: kept}), name) == kept


def test_what_has_an_end_ends_there() -> None:
    ends = {"seed": 2**32 - 1, "ema": 1, "mask_ratio": 1, "drop_path": 1, "layer_decay": 1}
    for name, most in ends.items():
        assert getattr(replace(SHORT, **{name: most}), name) == most
        with pytest.raises(BadInput, match=f"^training: {name}: "):
            replace(SHORT, **{name: most + 1})
    for odd in (1.5, 2.0):
        with pytest.raises(BadInput, match=r"^training: epochs: expected a whole number from 0 on"):
            replace(SHORT, epochs=odd)
    for betas in ((0.9, 1.5), (-0.1, 0.9), (math.nan, 0.9), (0.9,), 0.9, "x", ("a", "b"), [0.9, 0.9]):
        with pytest.raises(BadInput, match=r"^training: betas: expected (2|a finite) number"):
            replace(SHORT, betas=betas)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.fixed_dictionaries({}, optional={field.name: anything for field in fields(TrainConfig)}))
def test_settings_are_taken_or_refused_in_one_line(changes: dict[str, Any]) -> None:
    try:
        config = TrainConfig(**changes)
    except BadInput as problem:
        assert len(str(problem).splitlines()) == 1
    else:
        assert config.lr >= 0 and config.epochs >= 0 and config.batch_size >= 1 and config.seed >= 0


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": math.nan}, {"lr": -1.0}, {"seed": -1}, {"seed": 2**64}, {"data_seed": -1},
        {"data_seed": 2**32}, {"batch_size": 0}, {"pretrain_epochs": -1}, {"finetune_epochs": 1.5},
        {"warmup": -1.0},
    ],
)  # fmt: skip
def test_a_recipe_is_refused_before_anything_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Recipe(**changes)


def test_workers_are_counted_from_none(data: TrackletDataset) -> None:
    with pytest.raises(BadInput, match=r"^training: workers: expected a whole number from 0 on, found -1$"):
        Batches(data, 4, workers=-1)


# --------------------------------------------------------------------------------- losses that are no numbers


def diverge(at: int, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Let the loss, or the gradient alone, be no number in step `at`."""
    step, count = loop._step, iter(range(1000))

    def spoiled(fabric: Any, learner: Any, optimizer: Any, loss: Any, *rest: Any) -> Any:
        if next(count) != at:
            return step(fabric, learner, optimizer, loss, *rest)
        if what == "loss":
            return step(fabric, learner, optimizer, lambda *a: loss(*a) * math.nan, *rest)
        # The root of 0 is a number, its slope is none.
        return step(fabric, learner, optimizer, lambda *a: loss(*a) + (0 * loss(*a)).sqrt(), *rest)

    monkeypatch.setattr(loop, "_step", spoiled)


@pytest.mark.parametrize("clip", [1.0, 0.0])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_ends_it_with_the_last_good_state(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, clip: float
) -> None:
    state, config = tmp_path / "run.state", replace(SHORT, clip=clip)
    model = training_job.model()
    with monkeypatch.context() as patch:
        diverge(3, patch, what)
        with pytest.raises(BadInput) as refused:
            fit(model, data, config, state=state, save_every=0)
    assert torch.tensor([p.isfinite().all() for p in model.parameters()]).all(), "the step was taken"
    assert str(refused.value).startswith("training: step 3 at rate 0.000") and "\n" not in str(refused.value)
    assert "a lower rate, lr" in str(refused.value)
    kept = torch.load(state)
    assert len(kept["loss"]) == 3 and all(math.isfinite(loss) for loss in kept["loss"])
    whole, resumed = training_job.model(), training_job.model()
    expected = fit(whole, data, config)
    assert fit(resumed, data, config, state=state).loss == expected.loss, "the state is not a good one"


def test_a_rate_that_is_far_too_large_is_one_line(data: TrackletDataset) -> None:
    with pytest.raises(BadInput, match=r"^training: step \d+ at rate [\d.]+e\+\d+: expected a finite loss"):
        fit(training_job.model(), data, replace(SHORT, lr=1e30, epochs=9))


def test_what_stops_a_training_closes_its_log(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Metrics] = []

    def kept(*arguments: Any) -> Metrics:
        made.append(Metrics(*arguments))
        return made[-1]

    monkeypatch.setattr(loop, "Metrics", kept)
    diverge(3, monkeypatch, "loss")
    with pytest.raises(BadInput, match="step 3"):
        fit(training_job.model(), data, SHORT, log=tmp_path / "run.csv")
    assert [one.file.closed for one in made] == [True]
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 4, "a heading and three steps"


def test_no_clipping_changes_no_bit(data: TrackletDataset) -> None:
    """The norm is asked for with an endless limit; the gradients stay as they are."""
    results = []
    for clip in (0.0, 1e12):
        model = training_job.model()
        fit(model, data, replace(SHORT, clip=clip))
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*results)


# ------------------------------------------------------------------------------------------------ two at once


def test_the_same_training_is_done_once_at_a_time(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    state = tmp_path / "run.state"
    with locked(tmp_path, "training", "lock-run.state"):
        with pytest.raises(BadInput, match="training: expected one process at a time, found process"):
            fit(training_job.model(), data, SHORT, state=state)
        assert not state.exists()
        fit(training_job.model(), data, SHORT, state=tmp_path / "other.state")  # another one beside it
    fit(training_job.model(), data, SHORT, state=state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.state", "run.state"]


def test_tensors_among_the_settings_of_a_state_are_refused() -> None:
    assert resume._same([0, (0.9, 0.95), None], [0, (0.9, 0.95), None])
    for odd in ([torch.ones(2)], (0,), [0, 0], [True], [0.0]):
        assert not resume._same(odd, [0])
