"""A training that is killed goes on as if it had not been, and takes no state that is not its own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_job
from training_job import Stopped, fit, stop_at

from lart_mini.files import BadInput
from lart_mini.lart.config import StageConfig
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.training import batches

SHORT = StageConfig(epochs=2, batch_size=4, warmup_epochs=1)


@pytest.fixture
def data() -> TrackletDataset:
    return training_job.dataset()


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_killed_six_times_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    job = [sys.executable, training_job.__file__, "killed", str(tmp_path)]
    subprocess.run(job, check=True, timeout=3600)
    assert int((tmp_path / "kills").read_text()) >= 5
    whole, resumed = (torch.load(tmp_path / name) for name in ("whole", "resumed"))
    assert resumed["loss"] == whole["loss"] and resumed["lr"] == whole["lr"]
    assert resumed["weights"].keys() == whole["weights"].keys()
    for name, value in whole["weights"].items():
        assert torch.equal(resumed["weights"][name], value), name
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"kills", "whole", "resumed", "run.state"}, "nothing half-written stays"


@pytest.mark.parametrize("stopped", [1, 4, 6])
def test_stopped_in_any_step_it_goes_on(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: int
) -> None:
    whole, table = training_job.model(), tmp_path / "log" / "steps.csv"
    history = fit(whole, data, SHORT, progress=False)
    assert history.steps_per_epoch == 4
    with monkeypatch.context() as patch:
        stop_at(patch, stopped)
        with pytest.raises(Stopped):
            fit(training_job.model(), data, SHORT, False, state=tmp_path / "s", log=table, save_every=0)
    # What is left where a process is killed while it writes.
    (tmp_path / ".s.abc").write_bytes(b"half")
    with table.open("ab") as file:
        file.write(b"\xff\n")
    resumed = training_job.model()
    seen: list[int] = []
    monkeypatch.setattr(batches, "whole", lambda batch: (seen.append(len(batch)), batch)[1])
    again = fit(resumed, data, SHORT, False, state=tmp_path / "s", log=table)
    assert torch.equal(weights(resumed), weights(whole))
    assert (again.loss, again.lr) == (history.loss, history.lr)
    assert len(seen) == 8 - stopped, "batches that were done are not loaded again"
    assert {p.name for p in tmp_path.iterdir()} == {"s", "log"}
    steps = [line.split(",")[0] for line in table.read_text().splitlines()]
    assert steps == ["step", *map(str, range(8))], "each step once, also where it went on"


def test_states_are_kept_after_each_epoch_only_where_time_is_short(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 6)
    with pytest.raises(Stopped):
        fit(training_job.model(), data, SHORT, False, state=tmp_path / "s", save_every=1e9)
    assert len(torch.load(tmp_path / "s", weights_only=True)["loss"]) == 4


def test_a_finished_training_is_not_trained_again(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged = replace(SHORT, ema=0.5)
    first, second = training_job.model(), training_job.model()
    history = fit(first, data, averaged, False, state=tmp_path / "s")
    stop_at(monkeypatch, 0)
    again = fit(second, data, averaged, False, state=tmp_path / "s")
    assert torch.equal(weights(first), weights(second)) and again.loss == history.loss


def test_the_state_of_another_training_is_refused(data: TrackletDataset, tmp_path: Path) -> None:
    path = tmp_path / "s"
    fit(training_job.model(), data, SHORT, False, state=path)
    before = path.read_bytes()
    other = training_job.model()
    with torch.no_grad():
        other.mask_token.add_(1)
    for model, dataset, config, named in (
        (training_job.model(), data, replace(SHORT, lr=2e-3), "training.lr: expected 0.002, found 0.001"),
        (training_job.model(width=32), data, SHORT, "model.width: expected 32, found 16"),
        (training_job.model(), training_job.dataset(6), SHORT, "data"),
        (other, data, SHORT, "weights"),
    ):
        with pytest.raises(BadInput, match=named) as refused:
            fit(model, dataset, config, False, state=path)
        assert str(path) in str(refused.value) and "start anew" in str(refused.value)
        assert path.read_bytes() == before
    # How a step is divided decides nothing.
    fit(training_job.model(), data, replace(SHORT, accumulate=2), False, state=path)


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("ran",)


def test_what_is_no_state_is_refused_and_not_run(
    data: TrackletDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    torch.save({"format": "another"}, path)
    another = path.read_bytes()
    torch.save(Evil(), path)
    for content in (b"", b"nonsense", pickle.dumps(Evil(), 2), path.read_bytes(), another, another[:200]):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"s: (file|format|pickle)"):
            fit(training_job.model(), data, SHORT, False, state=path)
        assert path.read_bytes() == content
    assert capsys.readouterr().out == ""


def spoil_weight(kept: dict) -> None:
    kept["model"]["mask_token"] = kept["model"]["mask_token"][:-1].clone()


def spoil_name(kept: dict) -> None:
    kept["model"]["more"] = torch.zeros(1)


def spoil_number(kept: dict) -> None:
    kept["model"]["mask_token"][0] = torch.nan


def spoil_groups(kept: dict) -> None:
    kept["optimizer"]["param_groups"].pop()


def spoil_decay(kept: dict) -> None:
    kept["optimizer"]["param_groups"][0]["weight_decay"] = 7.0


def spoil_moment(kept: dict) -> None:
    moments = next(iter(kept["optimizer"]["state"].values()))
    moments["exp_avg"] = moments["exp_avg"].double()


def spoil_moments(kept: dict) -> None:
    del next(iter(kept["optimizer"]["state"].values()))["exp_avg_sq"]


def spoil_loss(kept: dict) -> None:
    kept["loss"].append("low")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_weight, "model: mask_token: expected torch.float32 of shape"),
        (spoil_name, "model: expected the weights of this model, found more or fewer: more"),
        (spoil_number, "model: mask_token: expected finite numbers"),
        (spoil_groups, "optimizer: expected . groups"),
        (spoil_decay, "optimizer: weight_decay"),
        (spoil_moment, "optimizer: exp_avg of weight .: expected torch.float32"),
        (spoil_moments, "optimizer: expected exp_avg, exp_avg_sq, step of each weight"),
        (spoil_loss, "loss: expected numbers"),
    ],
)
def test_of_a_state_that_does_not_fit_nothing_is_taken_over(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, told: str
) -> None:
    path = tmp_path / "s"
    stop_at(monkeypatch, 2)
    with pytest.raises(Stopped):
        fit(training_job.model(), data, SHORT, False, state=path, save_every=0)
    kept = torch.load(path, weights_only=True)
    spoil(kept)
    torch.save(kept, path)
    before, model = path.read_bytes(), training_job.model()
    untouched = weights(model)
    with pytest.raises(BadInput, match=f"s: {told}"):
        fit(model, data, SHORT, False, state=path)
    assert torch.equal(weights(model), untouched) and path.read_bytes() == before


def test_a_full_disk_leaves_the_state_before(
    data: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, save, count = tmp_path / "s", torch.save, iter(range(100))

    def limited(state: object, file: Path) -> None:
        if next(count) == 2:
            file.write_bytes(b"half")
            raise RuntimeError("no space left")
        save(state, file)

    monkeypatch.setattr(torch, "save", limited)
    with pytest.raises(BadInput, match=r"room.*no space left"):
        fit(training_job.model(), data, SHORT, False, state=path, save_every=0)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    assert len(torch.load(path, weights_only=True)["loss"]) == 2
