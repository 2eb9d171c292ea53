"""However a batch is divided among processes and micro-batches, its gradient is that of the whole."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import training_job
from training_job import fit

from lart_mini.files import BadInput
from lart_mini.lart.config import StageConfig
from lart_mini.training.devices import choose_fabric


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def run_job(*arguments: object) -> None:
    job = [sys.executable, training_job.__file__, *map(str, arguments)]
    subprocess.run(job, check=True, timeout=3600, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("count", [2, 4])
def test_processes_take_the_steps_of_one(tmp_path: Path, count: int) -> None:
    run_job("processes", tmp_path, count)
    seeds = [torch.load(tmp_path / f"seeds{rank}") for rank in range(count)]
    different = {seed for own in seeds for seed in own}
    assert len(seeds[0]) > 2 and len(different) == count * len(seeds[0]), "dropout is each process's own"
    last = {config.batch_size: 13 % config.batch_size for config in training_job.DIVIDED.values()}
    assert 1 in last.values() and len(training_job.dataset()) == 13, "once only process 0 has a share"
    for name in training_job.DIVIDED:
        parallel = torch.load(tmp_path / name)
        history, gradients, weights = training_job.divided(name)
        assert len(gradients) == len(parallel["gradients"]) == history.steps_per_epoch > 2
        for one, many in zip(gradients, parallel["gradients"], strict=True):
            assert one.norm() > 0 and apart(many, one) < 1e-6, name
        assert apart(parallel["weights"], weights) < 1e-6
        assert parallel["loss"] == pytest.approx(history.loss, rel=1e-6)


def test_what_four_processes_left_one_goes_on_with(tmp_path: Path) -> None:
    run_job("stopped", tmp_path, 4)
    config, data = training_job.STOPPED, training_job.dataset()
    left = torch.load(tmp_path / "run.state", weights_only=True)
    assert len(left["loss"]) == training_job.STOP_AT
    resumed, whole = training_job.model(dropout=0.0), training_job.model(dropout=0.0)
    history = fit(resumed, data, config, state=tmp_path / "run.state")
    expected = fit(whole, data, config)
    assert history.loss[: training_job.STOP_AT] == left["loss"]
    assert history.loss == pytest.approx(expected.loss, rel=1e-6)
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_micro_batches_take_the_steps_of_the_whole(parts: int) -> None:
    data, config = training_job.dataset(), StageConfig(epochs=1, batch_size=5, warmup_epochs=0)
    whole, divided = training_job.model(dropout=0.0), training_job.model(dropout=0.0)
    one = fit(whole, data, config, progress=False)
    other = fit(divided, data, replace(config, accumulate=parts), progress=False)
    assert other.loss == pytest.approx(one.loss, rel=1e-6)
    for (name, value), wanted in zip(divided.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-6, msg=name)


def test_mixed_precision_trains() -> None:
    data, model = training_job.dataset(), training_job.model(dropout=0.0)
    config = StageConfig(epochs=3, batch_size=4, lr=1e-2, warmup_epochs=0)
    mixed = fit(model, data, config, False, fabric=choose_fabric("cpu", 1, precision="bf16-mixed"))
    plain = fit(training_job.model(dropout=0.0), data, config, False)
    assert mixed.loss != plain.loss and mixed.loss == pytest.approx(plain.loss, rel=0.05)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_devices_that_are_not_there_are_refused() -> None:
    for arguments in ({"accelerator": "abacus"}, {"devices": 0}, {"strategy": "fsdp"}, {"precision": "7"}):
        with pytest.raises(BadInput, match="training"):
            choose_fabric(**({"accelerator": "cpu", "devices": 1} | arguments))  # type: ignore[arg-type]
