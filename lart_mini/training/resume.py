"""The state of a training, kept so that it can be killed at any moment and go on as if it had not been.

A step draws its chance from (seed, step, process) alone, and the data from (seed, epoch, index): so weights,
the optimiser's moments, the moving average and the number of steps done are all that has to be kept.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lart_mini.files import BadInput, atomic_path
from lart_mini.reading.torch_files import load_torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # takes seconds to import

FORMAT = "lart_mini.training.1"
MOMENTS = {  # what an optimizer keeps of a weight
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "SGD": {"momentum_buffer"},
}
PARTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("identity", "model", "optimizer", "average"), (dict,)),
    **dict.fromkeys(("loss", "lr"), (list,)),
    "tokens": (int,),
    "seconds": (float, int),
}
PROBED_ITEMS = 16  # of a data set, for its fingerprint


@dataclass
class TrainingState:
    """What changes while training goes on: the parts that are kept, and how it went so far."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None  # moving average of the weights
    loss: list[float] = field(default_factory=list)  # one a step
    lr: list[float] = field(default_factory=list)  # one a step
    tokens: int = 0  # detected ones seen, over all processes
    seconds: float = 0.0  # of training, over all runs of it

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.loss)

    @property
    def tokens_per_second(self) -> float:
        """Detected tokens a second of training."""
        return self.tokens / max(self.seconds, 1e-9)

    def record(self, loss: float, lr: float, tokens: int, seconds: float) -> None:
        """One more step; `seconds` of training up to its end."""
        self.loss.append(loss)
        self.lr.append(lr)
        self.tokens += tokens
        self.seconds = seconds

    def save(self, path: Path, identity: dict[str, str]) -> None:
        """Write the state whole, or leave the file as it was. Raises BadInput where there is no room."""
        parts = {"model": self.model.state_dict(), "optimizer": self._optimizer()}
        parts["average"] = {} if self.average is None else self.average.state_dict()
        went = {"loss": self.loss, "lr": self.lr, "tokens": self.tokens, "seconds": self.seconds}
        try:
            with atomic_path(path) as temporary:
                torch.save({"format": FORMAT, "identity": identity} | parts | went, temporary)
        except (OSError, RuntimeError) as error:
            raise BadInput(path, "training state", "room and permission to write it", error) from None

    def _optimizer(self) -> dict[str, Any]:
        """The optimizer's state as it is where no step is recorded."""
        parts = self.optimizer.state_dict()
        plain = [
            {**group, "lr": float(group["lr"]), **({"capturable": False} if "capturable" in group else {})}
            for group in parts["param_groups"]
        ]
        return parts | {"param_groups": plain}

    def load(self, path: Path, identity: dict[str, str]) -> None:
        """Go back to a saved state. Raises BadInput for the state of another training, or no state at all."""
        kept = _read(path)
        for key, expected in identity.items():
            if kept["identity"].get(key) != expected:
                found = f"{kept['identity'].get(key)} (remove the file to start anew)"
                raise BadInput(path, key, expected, found)
        # All is looked at before anything is taken over.
        _check_weights(path, "model", kept["model"], self.model.state_dict())
        average = {} if self.average is None else self.average.state_dict()
        _check_weights(path, "average", kept["average"], average)
        _check_optimizer(path, kept["optimizer"], self.optimizer)
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(kept["average"])
        self.loss, self.lr = kept["loss"], kept["lr"]
        self.tokens, self.seconds = kept["tokens"], kept["seconds"]


def _read(path: Path) -> dict[str, Any]:
    """The file's content, read without running anything in it, with every part of the type it should have."""
    kept = load_torch(path, expected="a training state")
    told = kept.get("format") if isinstance(kept, dict) else kept
    if not isinstance(told, str) or told != FORMAT:
        raise BadInput(path, "format", FORMAT, told if isinstance(told, str) else type(told).__name__)
    for part, kind in PARTS.items():
        if type(kept.get(part)) not in kind:
            raise BadInput(path, part, kind[0].__name__, type(kept.get(part)).__name__)
    for part in ("loss", "lr"):
        if not all(type(one) is float for one in kept[part]) or len(kept[part]) != len(kept["loss"]):
            raise BadInput(path, part, "numbers, one a step", "something else, or fewer")
    if not all(type(one) is str for pair in kept["identity"].items() for one in pair):
        raise BadInput(path, "identity", "text", "something else")
    if not (kept["tokens"] >= 0 and 0 <= kept["seconds"] < math.inf):
        raise BadInput(path, "tokens, seconds", "numbers from 0 on", f"{kept['tokens']}, {kept['seconds']}")
    return kept


def _check_weights(path: Path, part: str, found: dict[str, Any], own: Mapping[str, Tensor]) -> None:
    """Names, shapes and types of a module's weights. Raises BadInput."""
    if found.keys() != own.keys():
        names = ", ".join(sorted(map(str, found.keys() ^ own.keys()))[:3])
        raise BadInput(path, part, "the weights of this model", f"more or fewer: {names}")
    for name, value in own.items():
        _check_tensor(path, f"{part}: {name}", found[name], value)


def _check_tensor(path: Path, where: str, found: Any, like: Tensor) -> None:
    told = (tuple(found.shape), found.dtype) if isinstance(found, Tensor) else type(found).__name__
    if told != (tuple(like.shape), like.dtype):
        raise BadInput(path, where, f"{like.dtype} of shape {tuple(like.shape)}", told)
    if found.is_floating_point() and not found.isfinite().all():
        raise BadInput(path, where, "finite numbers", "NaN or infinity")


def _check_optimizer(path: Path, found: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Groups as the optimizer's own but for the rate, and of each weight all moments or none. BadInput."""
    own = optimizer.state_dict()["param_groups"]
    groups, states = found.get("param_groups"), found.get("state")
    if type(groups) is not list or type(states) is not dict or len(groups) != len(own):
        raise BadInput(path, "optimizer", f"{len(own)} groups and a state", "something else")
    for theirs, ours in zip(groups, own, strict=True):
        if type(theirs) is not dict or theirs.keys() != ours.keys() or type(theirs["lr"]) is not float:
            raise BadInput(path, "optimizer", f"groups of {', '.join(ours)}", "something else")
        for key in ours.keys() - {"lr"}:
            if not _same(theirs[key], ours[key]):
                raise BadInput(path, f"optimizer: {key}", ours[key], "something else")
    weights = {
        number: weight
        for ours, group in zip(own, optimizer.param_groups, strict=True)
        for number, weight in zip(ours["params"], group["params"], strict=True)
    }
    kept = MOMENTS[type(optimizer).__name__]
    for number, moments in states.items():
        if number not in weights or type(moments) is not dict or moments.keys() != kept:
            expected = f"{', '.join(sorted(kept))} of each weight"
            raise BadInput(path, "optimizer", expected, "something else")
        for name, value in moments.items():
            like = torch.zeros(()) if name == "step" else weights[number]
            _check_tensor(path, f"optimizer: {name} of weight {number}", value, like)


def _same(found: Any, own: Any) -> bool:
    """Is a plain value, or a list or tuple of such, equal to our own, whatever else may stand in it?"""
    if type(found) is not type(own):
        return False
    if isinstance(own, (list, tuple)):
        return len(found) == len(own) and all(map(_same, found, own))
    return bool(found == own)


class Keeper:
    """Keeps a training's state in a file from time to time; without a path it keeps nothing."""

    def __init__(self, path: str | Path | None, every: float, fabric: Fabric) -> None:
        self.path, self.every, self.fabric = None if path is None else Path(path), every, fabric
        self.identity: dict[str, str] = {}
        self.last = time.monotonic()

    def resume(self, state: TrainingState, identity: Callable[[], dict[str, str]]) -> None:
        """Go on from what an earlier run left. `identity` tells trainings apart; asked only with a path.

        Raises BadInput for a state of another training, or one that only some of the processes see.
        """
        if self.path is None:
            return
        self.identity = identity()
        if self.fabric.is_global_zero:
            # What a killed process was writing.
            for stale in self.path.parent.glob(f".{self.path.name}.*"):
                stale.unlink()
        if self.path.exists():
            state.load(self.path, self.identity)
        steps = self.fabric.all_reduce(torch.tensor(float(state.step), device=self.fabric.device))
        if steps != state.step:
            raise BadInput(self.path, "file", "one that all processes see", "processes that see none")

    def keep(self, state: TrainingState, now: bool = False) -> None:
        """Save the state if `every` seconds have passed, or `now`. One process writes."""
        due = now or time.monotonic() - self.last >= self.every
        if self.path is not None and due and self.fabric.is_global_zero:
            state.save(self.path, self.identity)
            self.last = time.monotonic()


def fingerprint_of_weights(model: nn.Module) -> str:
    """Digest of a model's weights: trainings that start from others are not the same."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def fingerprint_of_data(dataset: Any) -> str:
    """Digest of a data set's size, its items' sizes, and some of its items as they come in epoch 0."""
    dataset.set_epoch(0)
    count = len(dataset)
    digest = hashlib.sha256(np.array([dataset.size(i) for i in range(count)], np.int64).tobytes())
    for index in np.unique(np.linspace(0, count - 1, PROBED_ITEMS).astype(int)).tolist():
        for name, value in dataset[index].tensors().items():
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
