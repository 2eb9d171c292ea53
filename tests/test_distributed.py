"""However a batch is divided among processes and micro-batches, its gradient is that of the whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning_fabric
import pytest
import torch
import training_job
from lightning_fabric.utilities.exceptions import MisconfigurationException
from training_job import fit

from lart_mini.files import BadInput
from lart_mini.lart.config import StageConfig
from lart_mini.training.devices import choose_fabric, rounded


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def run_job(*arguments: object) -> None:
    job = [sys.executable, training_job.__file__, *map(str, arguments)]
    subprocess.run(job, check=True, timeout=3600, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Three: shares of no batch are even, and of the last one only process 0 has any."""
    count = 3
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


STARTS = ("torchrun", "#SBATCH")
SRUN = """#!/bin/sh
for i in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" &
    started="$started $!"
done
for one in $started; do wait $one || exit 1; done
"""
SMALL = "--accelerator cpu --preset small --batch-size 4 --pretrain-epochs 1 --finetune-epochs 1 --workers 0"


def test_the_readmes_ways_to_start_many(whole: Path, tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    torchrun, slurm = [next(block for block in blocks if word in block) for word in STARTS]
    srun = tmp_path / "srun"
    srun.write_text(SRUN, encoding="utf-8")
    srun.chmod(0o755)
    said = dict(line.split()[1:3] for line in slurm.splitlines() if line.startswith("#SBATCH"))
    assert (said["--nodes"], said["--ntasks-per-node"]) == ("2", "4") and "--nodes 2 --devices 4" in slurm
    one_node = slurm.replace("--nodes 2 --devices 4", "--nodes 1 --devices 2")
    slurm_says = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    slurm_says |= {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "lart", "SLURM_NODELIST": "localhost"}
    losses = {}
    for name, script, environment in (
        ("one", "lart-mini train --store store --out run --devices 1", {}),
        ("torchrun", torchrun.replace("--nproc-per-node 4", "--nproc-per-node 2"), {}),
        ("slurm", one_node, slurm_says),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "store").symlink_to(whole)
        found = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
        command = script.rstrip() + f" {SMALL}\n"
        env = os.environ | environment | {"PATH": found, "OMP_NUM_THREADS": "1"}
        subprocess.run(["sh", "-c", command], check=True, cwd=folder, env=env, timeout=3600)
        (log,) = (folder / "run").glob("finetune-*.csv")
        rows = log.read_text(encoding="utf-8").splitlines()[1:]
        losses[name] = [float(row.split(",")[2]) for row in rows]
    assert len(losses["one"]) > 1
    for name in ("torchrun", "slurm"):  # dropout is each process's own
        assert losses[name] == pytest.approx(losses["one"], rel=0.2) and losses[name] != losses["one"]


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
    for arguments in ({"accelerator": "abacus"}, {"devices": 0}, {"precision": "7"}):
        with pytest.raises(BadInput, match="training"):
            choose_fabric(**({"accelerator": "cpu", "devices": 1} | arguments))  # type: ignore[arg-type]


def test_half_of_what_torchrun_says_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert choose_fabric("cpu").world_size == 1


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "16-mixed", "64-true", "32"])
def test_precisions_that_change_the_weights_or_the_loss_are_refused(precision: str) -> None:
    with pytest.raises(BadInput, match=r"^training: precision: expected 32-true \| bf16-mixed, found"):
        choose_fabric("cpu", 1, precision=precision)


def test_what_fabric_calls_a_misconfiguration_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise MisconfigurationException("You requested gpu: [8]\n But your machine only has: [0]")

    monkeypatch.setattr(lightning_fabric, "Fabric", refuse)
    with pytest.raises(BadInput, match=r"^training: devices: .*only has: \[0\]$") as refused:
        choose_fabric("cpu", 8)
    assert len(str(refused.value).splitlines()) == 1


def test_float32_is_rounded_only_while_a_gpu_trains_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, read = ["highest"], torch.get_float32_matmul_precision
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: asked[-1])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    for device, precision, wanted in (
        ("cuda", "bf16-mixed", ["highest", "high", "highest"]),
        ("cuda", "32-true", ["highest"]),
        ("cpu", "bf16-mixed", ["highest"]),
    ):
        asked[:] = ["highest"]
        strategy = SimpleNamespace(precision=SimpleNamespace(precision=precision))
        fabric: Any = SimpleNamespace(device=torch.device(device), strategy=strategy)
        with pytest.raises(KeyboardInterrupt), rounded(fabric):
            raise KeyboardInterrupt
        assert asked == wanted
    assert read() == "highest", "what runs on a CPU leaves it as it is"
