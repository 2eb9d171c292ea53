"""Training as in the paper's Table 7: pre-train on pseudo labels, fine-tune on ground truth.

One readable loop for both stages and for any number of processes: AdamW, cosine schedule with warm-up, random
token masking, drop path, layer-wise decay, and optionally a moving average of the weights. Lightning Fabric
brings the devices: bf16 on CUDA, plain float32 on a CPU.
"""

from __future__ import annotations

import copy
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lart_mini.files import BadInput
from lart_mini.lart.datasets import EgoDataset, collate
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import TokenBatch
from lart_mini.progress import progress as progress_bar
from lart_mini.training.batches import BucketSampler, whole
from lart_mini.training.config import TrainConfig, parameter_groups, rate_factor
from lart_mini.training.resume import Keeper, TrainingState, fingerprint_of_data, fingerprint_of_weights


@dataclass(frozen=True)
class History:
    """What training reported: one entry a step of loss and learning rate, and the rate it ran at."""

    loss: list[float]
    lr: list[float]
    steps_per_epoch: int
    seconds: float
    tokens_per_second: float


def choose_fabric(
    accelerator: str = "auto",
    devices: int | str = "auto",
    nodes: int = 1,
    precision: str | None = None,
    strategy: str = "auto",
) -> Fabric:
    """The devices to train on, with their processes started; bf16 mixed precision on CUDA, else float32.

    `accelerator`: auto (CUDA where there is one), cpu or cuda. Each device gets a process and the whole model
    (DDP); processes that torchrun or SLURM started are recognised, else they are started here. Raises
    BadInput for devices that are not there, and for a strategy that splits the model: LART is too small to
    need one.
    """
    if strategy != "auto" and "ddp" not in strategy:
        raise BadInput("training", "strategy", "auto or a kind of ddp", strategy)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    chosen: Any = precision or ("bf16-mixed" if accelerator in ("cuda", "gpu") else "32-true")
    if devices == "auto" and "LOCAL_WORLD_SIZE" in os.environ:  # torchrun says how many it has started
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    try:
        fabric = Fabric(
            accelerator=accelerator, strategy=strategy, devices=devices, num_nodes=nodes, precision=chosen
        )
        fabric.launch()
    except (RuntimeError, TypeError, ValueError) as error:
        wanted = f"{accelerator}, devices {devices}, nodes {nodes}, {chosen}"
        reason = " ".join(str(error).split())[:200]
        raise BadInput("training", "devices", "ones that are there", f"{wanted}: {reason}") from None
    return fabric


def masked_bce(logits: Tensor, batch: TokenBatch, tokens: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over classes and over tokens that have a detection and a label.

    logits (B,P,T,C). Masked tokens count, undetected ones do not (supplement C.2); others count as the ego
    does, as in the released code. Where `batch` is a part of a larger one, `tokens` is the number in the
    whole: the parts' losses then add up to the whole's mean.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="none").mean(-1)
    weight = batch.label_weight * batch.detected
    return (loss * weight).sum() / (weight.sum() if tokens is None else tokens).clamp(min=1)


def fit(
    model: LART,
    dataset: EgoDataset,
    config: TrainConfig,
    progress: bool = True,
    *,
    fabric: Fabric | None = None,
    checkpoint: str | Path | None = None,
    save_every: float = 300.0,
    workers: int = 0,
) -> History:
    """Train `model` in place on `dataset`; with `config.ema` it ends with the averaged weights.

    All chance (crops, choice of others, masks, dropout) comes from `config.seed` and the data set's: two
    runs are equal. With a `checkpoint` file the training's state is kept there every `save_every` seconds and
    after each epoch, and a call that finds one goes on from it: killed and resumed, a run on a CPU ends with
    the same bits. `fabric`: what choose_fabric gave, else one device. `workers`: processes that load data.
    Raises BadInput for an empty data set and for a checkpoint of another training.
    """
    if len(dataset) == 0:
        raise BadInput("training", "dataset", "a tracklet with a label of the wanted source", "none")
    fabric = fabric or choose_fabric(devices=1)
    dataset.mask_ratio = config.mask_ratio
    model.set_drop_path(config.drop_path)
    optimizer = torch.optim.AdamW(parameter_groups(model, config), betas=config.betas)
    average = copy.deepcopy(model).to(fabric.device).eval() if config.ema else None
    learner, stepper = fabric.setup(_learner(model, config.compile), optimizer)
    state = TrainingState(model, optimizer, average)
    keeper = Keeper(checkpoint, save_every, fabric)
    keeper.resume(state, lambda: _identity(model, dataset, config))
    sampler, loader = _loader(dataset, config, fabric, workers)
    per_epoch, began = len(sampler), time.perf_counter() - state.seconds
    shown = progress and fabric.is_global_zero
    steps = config.epochs * per_epoch
    with progress_bar(total=steps, initial=state.step, desc="training", disable=not shown) as bar:
        for epoch in range(state.step // per_epoch, config.epochs):
            sampler.set_epoch(epoch, skip=state.step % per_epoch)
            dataset.set_epoch(epoch)
            learner.train()
            for batch in loader:
                rate = config.lr * rate_factor(config, state.step, per_epoch)
                torch.manual_seed(_chance(config.seed, state.step, fabric.global_rank))
                loss, tokens = _step(fabric, learner, stepper, batch, rate, config)
                state.record(loss, rate, tokens, time.perf_counter() - began)
                if average is not None:
                    _average(average, model, _decay(config, state.step))
                keeper.keep(state)
                bar.update()
                bar.set_postfix(loss=f"{loss:.4f}", tokens_s=f"{state.tokens_per_second:,.0f}")
            keeper.keep(state, now=True)
    if average is not None:
        model.load_state_dict(average.state_dict())
    model.eval()
    return History(state.loss, state.lr, per_epoch, state.seconds, state.tokens_per_second)


class _FromTensors(nn.Module):
    """A LART that takes a batch's tensors by name: Fabric's mixed precision refuses a frozen dataclass."""

    def __init__(self, model: LART) -> None:
        super().__init__()
        self.model = model

    def forward(self, **tensors: Tensor) -> Tensor:
        return self.model(TokenBatch(**tensors))


def _learner(model: LART, compiled: bool) -> Any:
    """What Fabric sets up. `model` stays as it is, so that its weights keep their names."""
    learner = _FromTensors(model)
    return torch.compile(learner, dynamic=True) if compiled else learner


def _loader(
    dataset: EgoDataset, config: TrainConfig, fabric: Fabric, workers: int
) -> tuple[BucketSampler, DataLoader]:
    """Of each batch of the whole training, this process's share."""
    sampler = BucketSampler(
        [dataset.people_count(i) for i in range(len(dataset))],
        config.batch_size,
        seed=config.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    shares = _Shares(dataset)
    return sampler, DataLoader(shares, batch_sampler=sampler, collate_fn=whole, num_workers=workers)


class _Shares(Dataset[TokenBatch]):
    """A data set that gives whole batches: of no items too, since all processes have to take part."""

    def __init__(self, dataset: EgoDataset) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: list[int]) -> TokenBatch:
        if not indices:
            # The last batch may be too short for all processes.
            item = self.dataset[0]
            return replace(item, label_weight=torch.zeros_like(item.label_weight))
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(indices)
        return collate([self.dataset[index] for index in indices])


def _rows(batch: TokenBatch, start: int, stop: int) -> TokenBatch:
    return TokenBatch(**{name: tensor[start:stop] for name, tensor in batch.tensors().items()})


def _step(
    fabric: Fabric,
    learner: Any,
    optimizer: torch.optim.Optimizer,
    batch: TokenBatch,
    rate: float,
    config: TrainConfig,
) -> tuple[float, int]:
    """One step on this process's share of a batch; the whole batch's loss and number of detected tokens.

    The loss is the mean over the whole batch, however it is divided among processes and micro-batches.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    optimizer.zero_grad()
    counts = torch.stack([(batch.label_weight * batch.detected).sum(), batch.detected.sum()])
    labelled, detected = _summed(fabric, counts)
    size = -(-config.batch_size // (fabric.world_size * config.accumulate))
    starts = range(0, len(batch), size)
    total = torch.zeros((), device=fabric.device)
    for start in starts:
        part = _rows(batch, start, start + size).to(fabric.device)
        # Gradients travel between processes once a step, and arrive as their mean.
        with fabric.no_backward_sync(learner, enabled=start != starts[-1]):
            loss = masked_bce(learner(**part.tensors()), part, labelled)
            fabric.backward(loss * config.loss_scale * fabric.world_size)
        total += loss.detach()
    if config.clip:
        fabric.clip_gradients(learner, optimizer, max_norm=config.clip)
    optimizer.step()
    return float(_summed(fabric, total)), int(detected)


def _summed(fabric: Fabric, tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    return fabric.strategy.all_reduce(tensor.to(fabric.device), reduce_op="sum")


def _chance(seed: int, step: int, process: int) -> int:
    """Seed of a step's dropout and drop path, so that no state of a generator has to be kept."""
    return int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0])


def _decay(config: TrainConfig, steps: int) -> float:
    """Decay of the moving average after `steps` steps."""
    return min(config.ema, steps / (steps + 10)) if config.ema_warmup else config.ema


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(new, 1 - decay)


def _identity(model: LART, dataset: EgoDataset, config: TrainConfig) -> dict[str, str]:
    """What tells trainings apart. How a step is divided or compiled may change between two runs of one."""
    decisive = {key: value for key, value in asdict(config).items() if key not in ("accumulate", "compile")}
    parts = {f"model.{key}": value for key, value in asdict(model.config).items()}
    parts |= {f"training.{key}": value for key, value in decisive.items()}
    parts |= {"weights": fingerprint_of_weights(model), "data": fingerprint_of_data(dataset)}
    return {key: str(value) for key, value in parts.items()}
