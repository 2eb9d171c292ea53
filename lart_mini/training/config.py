"""How a training is steered: its settings, and the learning rate's course."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lart_mini.files import LARGEST_SEED, BadInput, finite_number, whole_number

Bounds = dict[str, tuple[float, float]]  # of a field: least and most


@dataclass(frozen=True)
class TrainConfig:
    """What `loop.fit` asks; a paper's settings extend it. Raises BadInput for what no field can be.

    A field of whole numbers takes no others; what has its bounds in BOUNDS must be finite and keep to them.
    """

    epochs: int = 30  # passes over the data
    batch_size: int = 64  # samples a step, over all processes and their micro-batches
    accumulate: int = 1  # micro-batches that a process divides its share of a step into
    lr: float = 1e-3  # at the top of the schedule
    optimizer: Literal["AdamW", "SGD"] = "AdamW"  # SGD with Nesterov's momentum
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW's momentum
    momentum: float = 0.9  # SGD's
    warmup_epochs: float = 5.0  # of linear warm-up
    warmup_steps: int = 0  # of it, in its stead
    drops: tuple[float, ...] = ()  # shares of the steps after each of which the rate is a tenth; (): a cosine
    schedule_by: Literal["step", "epoch"] = "step"  # how often the learning rate changes
    loss_scale: float = 1.0  # factor of the loss that the gradients see, before clipping
    clip: float = 1.0  # gradient norm; 0 for none
    ema: float = 0.0  # decay of the weights' moving average; 0 for none
    ema_warmup: bool = True  # a shorter average at first, so that it forgets the start
    compile: bool = False  # torch.compile the model
    record: bool = True  # on a single GPU: record a step of each size, and replay it (graphs.py)
    seed: int = 0  # of dropout and the order of the data

    def __post_init__(self) -> None:
        check_fields("training", self, BOUNDS)

    def decisive(self) -> dict[str, Any]:
        """The settings that decide the result: how a step is divided, compiled or recorded does not."""
        plain = {field.name: field.default for field in fields(TrainConfig) if field.name in LATER}
        told = {key: value for key, value in asdict(self).items() if key not in HOW}
        return {key: value for key, value in told.items() if key not in plain or value != plain[key]}


HOW = ("accumulate", "compile", "record")  # fields that change how a step is taken, not what it gives
# Fields that came later: where they are as ever they are not told, so that trainings keep their digests.
LATER = ("optimizer", "momentum", "warmup_steps", "drops")

# Of those fields that may be less than all finite numbers from 0 on: least and most.
BOUNDS: Bounds = {
    "batch_size": (1, math.inf),
    "accumulate": (1, math.inf),
    "seed": (0, LARGEST_SEED),
    "betas": (0, 1),
    "momentum": (0.01, 1),
    "drops": (0, 1),
    "ema": (0, 1),
    "mask_ratio": (0, 1),
    "drop_path": (0, 1),
    "layer_decay": (0, 1),
}


def check_fields(owner: str, settings: Any, bounds: Bounds) -> None:
    """Raise BadInput for a field of a dataclass that is not of its type, or not within its bounds.

    Numbers without bounds are finite and from 0 on; what holds for a tuple's numbers is what holds for one.
    """
    for name, hint in get_type_hints(type(settings)).items():
        least, most = bounds.get(name, (0, math.inf))
        _check(owner, name, getattr(settings, name), hint, least, most)


def _check(owner: str, name: str, value: Any, hint: Any, least: float, most: float) -> None:
    parts = get_args(hint)
    if get_origin(hint) is Literal and value not in parts:
        raise BadInput(owner, name, " | ".join(parts), value)
    if hint is bool and not isinstance(value, bool):
        raise BadInput(owner, name, "True or False", value)
    if hint is int:
        whole_number(owner, name, value, int(least), None if math.isinf(most) else int(most))
    if hint is float:
        finite_number(owner, name, value, least, most)
    if get_origin(hint) is UnionType and value is not None:  # or None
        _check(owner, name, value, parts[0], least, most)
    if get_origin(hint) is tuple:
        kinds = parts[:1] * len(value) if isinstance(value, tuple) and parts[-1] is ... else parts
        if not isinstance(value, tuple) or len(value) != len(kinds):
            expected = "a tuple of numbers" if ... in parts else f"{len(parts)} numbers"
            raise BadInput(owner, name, expected, value)
        for number, kind in zip(value, kinds, strict=True):
            _check(owner, name, number, kind, least, most)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate at `step` of `steps`: up a line over `warmup` steps, down half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def schedule_by_epoch(epoch: int, epochs: int, warmup: float) -> float:
    """The same by whole epochs, as some published code has it: the last epoch, at 0, teaches nothing."""
    if epoch < warmup:
        return min(1.0, (epoch + 1) / warmup)
    return 0.5 * (1 + math.cos(math.pi * (epoch + 1 - warmup) / max(1, epochs - warmup)))


def schedule_by_drops(step: int, steps: int, warmup: int, drops: tuple[float, ...]) -> float:
    """The same in stairs: after each share `drops` of the steps a tenth of what it was before."""
    risen = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return risen * 0.1 ** sum(step >= share * steps for share in drops)


def rate_factor(config: TrainConfig, step: int, per_epoch: int) -> float:
    """Factor of config.lr at `step`, with `per_epoch` steps an epoch."""
    if config.schedule_by == "epoch":
        return schedule_by_epoch(step // per_epoch, config.epochs, config.warmup_epochs)
    warmup = config.warmup_steps or round(config.warmup_epochs * per_epoch)
    if config.drops:
        return schedule_by_drops(step, config.epochs * per_epoch, warmup, config.drops)
    return schedule(step, config.epochs * per_epoch, warmup)
