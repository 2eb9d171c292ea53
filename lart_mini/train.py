"""Training as in the paper's Table 7: pre-train on pseudo labels, fine-tune on ground truth.

One readable loop for both stages: AdamW, cosine schedule with warm-up, random token masking, drop path,
layer-wise decay, and optionally an exponential moving average of the weights. Lightning Fabric chooses the
device: bf16 on CUDA, plain float32 on a CPU.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lart_mini.model import LART, random_mask
from lart_mini.progress import progress as progress_bar
from lart_mini.tokens import BucketSampler, TokenBatch, TrackletDataset, collate


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained; defaults are Table 7's where it speaks."""

    epochs: int = 30  # passes over the tracklets
    batch_size: int = 64  # tracklets as ego a step
    lr: float = 1e-3  # at the top of the schedule
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW momentum
    weight_decay: float = 0.05  # on matrices; not on biases, norms, and the mask token
    warmup_epochs: float = 5.0  # of linear warm-up
    mask_ratio: float = 0.4  # share of detected tokens replaced by the mask token
    drop_path: float = 0.0  # chance that a residual branch is skipped
    layer_decay: float = 1.0  # learning rate of each layer relative to the one above it
    clip: float = 1.0  # gradient norm; 0 for none
    ema: float = 0.0  # decay of the weights' moving average; 0 for none
    seed: int = 0  # of initialisation order, masks, dropout, and crops

    @classmethod
    def pretrain(cls, **changes: object) -> TrainConfig:
        """Table 7, column Kinetics-400."""
        return cls(**changes)  # type: ignore[arg-type]

    @classmethod
    def finetune(cls, **changes: object) -> TrainConfig:
        """Table 7, column AVA."""
        table: dict[str, object] = {"mask_ratio": 0.0, "drop_path": 0.1, "layer_decay": 0.9}
        return cls(**table | changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class History:
    """What training reported: one entry a step of loss and learning rate, and the rate it ran at."""

    loss: list[float]
    lr: list[float]
    steps_per_epoch: int
    seconds: float
    tokens_per_second: float


def choose_fabric() -> Fabric:
    """One device, chosen automatically: bf16 mixed precision on CUDA, float32 elsewhere."""
    if torch.cuda.is_available():
        return Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


def masked_bce(logits: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Binary cross-entropy, the mean over classes and over tokens that have a detection and a label.

    logits (B,P,T,C). Masked tokens count, undetected ones do not (supplement C.2); others count as the ego
    does, as in the released code.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="none").mean(-1)
    weight = batch.label_weight * batch.detected
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate at `step` of `steps`: up a line over `warmup` steps, down half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def parameter_groups(model: LART, config: TrainConfig) -> list[dict]:
    """AdamW's groups: lr · layer_decay^(distance from the head), and weight decay on matrices only.

    Layer 0 is the encoders and the mask token, layer i the i-th block, the last layer the head (ELECTRA's
    layer-wise decay, reference [10] of the paper).
    """
    top = len(model.blocks) + 1
    groups: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        layer = top if name.startswith("head") else 0
        if name.startswith("blocks."):
            layer = int(name.split(".")[1]) + 1
        decays = parameter.ndim >= 2 and "token" not in name
        group = groups.setdefault(
            (layer, decays),
            {
                "params": [],
                "scale": config.layer_decay ** (top - layer),
                "weight_decay": config.weight_decay if decays else 0.0,
                "lr": 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def fit(model: LART, dataset: TrackletDataset, config: TrainConfig, progress: bool = True) -> History:
    """Train `model` in place on `dataset`; with `config.ema` it ends with the averaged weights.

    All chance (crops, choice of others, masks, dropout) comes from `config.seed`: two runs are equal.
    """
    torch.manual_seed(config.seed)
    fabric = choose_fabric()
    model.set_drop_path(config.drop_path)
    optimizer = torch.optim.AdamW(parameter_groups(model, config), betas=config.betas)
    average = copy.deepcopy(model).to(fabric.device).eval() if config.ema else None
    wrapped, optimizer = fabric.setup(model, optimizer)
    counts = [dataset.people_count(i) for i in range(len(dataset))]
    sampler = BucketSampler(counts, config.batch_size, seed=config.seed)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate)
    masks = torch.Generator().manual_seed(config.seed)
    losses: list[float] = []
    rates: list[float] = []
    steps, tokens, start = config.epochs * len(sampler), 0, time.perf_counter()
    with progress_bar(total=steps, desc="training", disable=not progress) as bar:
        for epoch in range(config.epochs):
            sampler.set_epoch(epoch)
            dataset.set_epoch(epoch)
            wrapped.train()
            for batch in loader:
                rate = config.lr * schedule(len(losses), steps, round(config.warmup_epochs * len(sampler)))
                masked = random_mask(batch.detected, config.mask_ratio, masks)
                batch = batch.with_mask(masked).to(fabric.device)
                losses.append(_step(fabric, wrapped, optimizer, batch, rate, config.clip))
                rates.append(rate)
                tokens += int(batch.detected.sum())
                if average is not None:
                    _average(average, model, min(config.ema, len(losses) / (len(losses) + 10)))
                bar.update()
                speed = tokens / (time.perf_counter() - start)
                bar.set_postfix(loss=f"{losses[-1]:.4f}", tokens_s=f"{speed:,.0f}")
    if average is not None:
        model.load_state_dict(average.state_dict())
    model.eval()
    seconds = time.perf_counter() - start
    return History(losses, rates, len(sampler), seconds, tokens / max(seconds, 1e-9))


def _step(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: TokenBatch,
    rate: float,
    clip: float,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    optimizer.zero_grad()
    loss = masked_bce(model(batch), batch)
    fabric.backward(loss)
    if clip:
        fabric.clip_gradients(model, optimizer, max_norm=clip)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(new, 1 - decay)
