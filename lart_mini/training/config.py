"""How a stage of training is steered: its settings, the learning rate's course, and what each weight gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from lart_mini.files import BadInput
from lart_mini.lart.model import LART

Source = Literal["paper", "released"]


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained; defaults are Table 7's where it speaks. Raises BadInput for unknown words."""

    epochs: int = 30  # passes over the tracklets
    batch_size: int = 64  # tracklets as ego a step, over all processes and their micro-batches
    accumulate: int = 1  # micro-batches that a process divides its share of a step into
    lr: float = 1e-3  # at the top of the schedule
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW momentum
    weight_decay: float = 0.05  # of what `decayed` names
    decayed: Literal["matrices", "all"] = "matrices"  # matrices: not biases, norms, and the mask token
    warmup_epochs: float = 5.0  # of linear warm-up
    schedule_by: Literal["step", "epoch"] = "step"  # how often the learning rate changes; released: epoch
    mask_ratio: float = 0.4  # share of detected tokens replaced by the mask token
    drop_path: float = 0.0  # chance that a residual branch is skipped
    layer_decay: float = 1.0  # learning rate of each layer relative to the one above it
    layer_decay_as: Source = "paper"  # released: it reaches the encoders only, blocks learn as the head does
    loss_scale: float = 1.0  # factor of the loss that the gradients see, before clipping
    clip: float = 1.0  # gradient norm; 0 for none
    ema: float = 0.0  # decay of the weights' moving average; 0 for none
    ema_warmup: bool = True  # a shorter average at first, so that it forgets the start; released: no
    compile: bool = False  # torch.compile the model
    seed: int = 0  # of masks, dropout, crops and the order of the data

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("accumulate", 1), ("epochs", 0)):
            if getattr(self, name) < least:
                raise BadInput("training", name, f"at least {least}", getattr(self, name))
        for name, known in (
            ("layer_decay_as", ("paper", "released")),
            ("schedule_by", ("step", "epoch")),
            ("decayed", ("matrices", "all")),
        ):
            if getattr(self, name) not in known:
                raise BadInput("training", name, " | ".join(known), getattr(self, name))

    @classmethod
    def pretrain(cls, **changes: Any) -> TrainConfig:
        """Table 7, column Kinetics-400."""
        return cls(**changes)

    @classmethod
    def finetune(cls, **changes: Any) -> TrainConfig:
        """Table 7, column AVA."""
        return cls(**{"mask_ratio": 0.0, "drop_path": 0.1, "layer_decay": 0.9} | changes)

    @classmethod
    def released(cls, stage: str, **changes: Any) -> TrainConfig:
        """What the released scripts of a stage say, where they and Table 7 differ.

        `pretrain`: 64 GPUs of 8 tracklets, all labels, lr 1e-4 for every 256 tracklets of a step.
        `finetune`: 8 GPUs, lr as it stands, layer decay as it took effect.
        """
        common: dict[str, Any] = {"schedule_by": "epoch", "drop_path": 0.4, "loss_scale": 10.0, "clip": 2.0}
        common |= {"ema": 0.9999, "ema_warmup": False}
        if stage == "pretrain":
            batch_size = changes.get("batch_size", 512)
            own = {"batch_size": batch_size, "lr": 1e-4 * batch_size / 256, "decayed": "all"}
        elif stage == "finetune":
            own = {"batch_size": 64, "lr": 7e-4, "mask_ratio": 0.0, "layer_decay": 0.95}
            own |= {"layer_decay_as": "released"}
        else:
            raise BadInput("training", "stage", "pretrain | finetune", stage)
        return cls(**common | own | changes)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate at `step` of `steps`: up a line over `warmup` steps, down half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def schedule_by_epoch(epoch: int, epochs: int, warmup: float) -> float:
    """The released code's course: constant within an epoch, and its last epoch, at 0, teaches nothing."""
    if epoch < warmup:
        return (epoch + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (epoch + 1 - warmup) / max(1, epochs - warmup)))


def rate_factor(config: TrainConfig, step: int, per_epoch: int) -> float:
    """Factor of config.lr at `step`, with `per_epoch` steps an epoch."""
    if config.schedule_by == "epoch":
        return schedule_by_epoch(step // per_epoch, config.epochs, config.warmup_epochs)
    return schedule(step, config.epochs * per_epoch, round(config.warmup_epochs * per_epoch))


def parameter_groups(model: LART, config: TrainConfig) -> list[dict]:
    """AdamW's groups: each with its `scale` of the learning rate and its weight decay.

    scale = layer_decay^(distance from the head). Layer 0 is the encoders, the mask token and a trained
    encoding, layer i the i-th block, the last layer the head (ELECTRA's layer-wise decay, reference [10] of
    the paper). A trained encoding is decayed as matrices are, as in the released code.
    """
    top = len(model.blocks) + 1
    groups: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        layer = _layer(name, top, config.layer_decay_as)
        decays = config.decayed == "all" or (parameter.ndim >= 2 and "token" not in name)
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


def _layer(name: str, top: int, source: Source) -> int:
    """Number of the layer that a parameter belongs to, `top` for the head."""
    if name.startswith("blocks."):
        # The released code looks for blocks under a name that its model does not have.
        return top if source == "released" else int(name.split(".")[1]) + 1
    return top if name.startswith("head") else 0
