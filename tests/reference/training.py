"""The training loop as it reads in the paper's Table 7 and the released scripts: one device, nothing clever.

Shares with lart_mini the model, the samples and the settings; batches, rates, groups, clipping and averages
are written out.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F


def order(people: list[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of an epoch: shuffled, sorted by number of people, cut, and the batches shuffled."""
    generator = np.random.default_rng((seed, epoch))
    shuffled = generator.permutation(len(people)).tolist()
    shuffled.sort(key=lambda index: people[index])
    batches = [shuffled[i : i + batch_size] for i in range(0, len(shuffled), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def rate(config: Any, step: int, per_epoch: int) -> float:
    """Learning rate at a step."""
    if config.schedule_by == "epoch":
        at, end, warm = step // per_epoch + 1, config.epochs, config.warmup_epochs
        if at <= warm:
            return config.lr * at / warm
        return config.lr * 0.5 * (1 + math.cos(math.pi * (at - warm) / max(1, end - warm)))
    end, warm = config.epochs * per_epoch, round(config.warmup_epochs * per_epoch)
    if step < warm:
        return config.lr * ((step + 1) / warm)
    return config.lr * (0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, end - warm))))


def groups(model: Any, config: Any) -> list[dict]:
    """A group for each layer and kind of weight, in the order in which the model names them."""
    found: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        if name.startswith("blocks."):
            released = config.layer_decay_as == "released"
            below = 0 if released else len(model.blocks) - int(name.split(".")[1])
        else:
            below = 0 if name.startswith("head") else len(model.blocks) + 1
        decays = config.decayed == "all" or (parameter.ndim > 1 and "token" not in name)
        new = {"params": [], "scale": config.layer_decay**below}
        new["weight_decay"] = config.weight_decay if decays else 0.0
        found.setdefault((below, decays), new)["params"].append(parameter)
    return list(found.values())


def train(model: Any, dataset: Any, config: Any) -> list[float]:
    """Train `model` in place; the loss of each step."""
    optimizer = torch.optim.AdamW(groups(model, config), lr=0.0, betas=config.betas, fused=True)
    average = copy.deepcopy(model) if config.ema else None
    people = [min(1 + len(dataset.others[ego]), dataset.people) for ego in dataset.egos]
    losses: list[float] = []
    for block in model.blocks:
        block.drop_path = config.drop_path
    for epoch in range(config.epochs):
        model.train()
        dataset.set_epoch(epoch)
        batches = order(people, config.batch_size, config.seed, epoch)
        for rows in batches:
            batch = dataset.batch([dataset.draw(row) for row in rows])
            for group in optimizer.param_groups:
                group["lr"] = rate(config, len(losses), len(batches)) * group["scale"]
            chance = np.random.SeedSequence((config.seed, len(losses), 0)).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(chance))
            optimizer.zero_grad()
            logits = model(batch)
            each = F.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none").mean(-1)
            counts = batch.label_weight * batch.detected
            loss = (each * counts).sum() / counts.sum().clamp(min=1)
            (loss * config.loss_scale).backward()
            if config.clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            losses.append(loss.item())
            if average is not None:
                steps = len(losses)
                decay = min(config.ema, steps / (steps + 10)) if config.ema_warmup else config.ema
                for mean, new in zip(average.parameters(), model.parameters(), strict=True):
                    mean.data.lerp_(new.data, 1 - decay)
    if average is not None:
        model.load_state_dict(average.state_dict())
    model.eval()
    return losses
