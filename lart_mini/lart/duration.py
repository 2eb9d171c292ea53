"""How long a training will take, from steps that are measured before it begins."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from lart_mini.data.mini_ava import SIZES
from lart_mini.files import BadInput
from lart_mini.lart.config import PRESETS
from lart_mini.lart.model import LART, plan_ahead
from lart_mini.lart.recipe import Recipe, masked_bce
from lart_mini.lart.tokens import TokenBatch, random_mask
from lart_mini.tracklets.tracklet import VECTOR_WIDTH
from lart_mini.training.devices import usual_device

LABELLED = 2.6  # tracklets with labels in a window of mini_ava's training part, at all sizes
TRACKS = 3.2  # tracklets in a clip without labels
SEEN = 0.5  # share of a sample's tokens that are detected
STEPS = 5  # measured after two that do not count


@dataclass(frozen=True)
class Forecast:
    """What a stage of a recipe will take."""

    steps: int
    step_seconds: float  # measured now, on what it will run on

    @property
    def seconds(self) -> float:
        """Of training; composing and scoring are not in it."""
        return self.steps * self.step_seconds

    def __str__(self) -> str:
        took = f"{self.seconds / 60:.0f} min" if self.seconds > 90 else f"{self.seconds:.0f} s"
        return f"{self.steps:,} steps of {1000 * self.step_seconds:.0f} ms (measured now), about {took}"


def forecast(recipe: Recipe, stage: str) -> Forecast:
    """Steps of a stage, `pretrain` or `finetune`, by the size of its data, and what one takes here.

    Raises BadInput for a size that mini_ava does not have.
    """
    return Forecast(recipe.stage(stage).epochs * steps_an_epoch(recipe, stage), step_seconds(recipe))


def steps_an_epoch(recipe: Recipe, stage: str) -> int:
    """About how many steps an epoch of a stage has: the data need not be there."""
    if recipe.size not in SIZES:
        raise BadInput("recipe", "size", " | ".join(SIZES), recipe.size)
    size = SIZES[recipe.size]
    tracklets = LABELLED * size.train * size.windows
    if stage == "pretrain":
        tracklets += TRACKS * size.kinetics
    return -(-round(tracklets) // recipe.batch_size)


def step_seconds(recipe: Recipe) -> float:
    """Seconds of a training step on made-up numbers, on the device and in the precision of a training."""
    config, device = PRESETS[recipe.preset](), usual_device()
    generator = torch.Generator().manual_seed(0)
    shape = (recipe.batch_size, config.people, config.frames)
    detected = torch.rand(shape, generator=generator) < SEEN
    batch = TokenBatch(
        pose=torch.randn(*shape, VECTOR_WIDTH, generator=generator),
        present=detected.any(dim=2),
        detected=detected,
        labels=torch.zeros(*shape, config.classes),
        label_weight=detected.float(),
        masked=random_mask(detected, recipe.stage("pretrain").mask_ratio, generator),
    )
    batch = TokenBatch(**plan_ahead(batch.tensors(), config)).to(device)
    model = LART(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(batch)
        masked_bce(logits, batch).backward()
        optimizer.step()

    for number in range(STEPS + 2):
        if number == 2:
            began = _now(device)
        step()
    return (_now(device) - began) / STEPS


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
