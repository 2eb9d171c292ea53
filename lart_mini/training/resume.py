"""The state of a training, kept so that it can be killed at any moment and go on as if it had not been.

A step draws its chance from (seed, step, process) alone, and the data from (seed, epoch, index): so weights,
the optimiser's moments, the moving average and the number of steps done are all that has to be kept.
"""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lart_mini.files import BadInput, atomic_path

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # takes seconds to import

FORMAT = "lart_mini.training.1"
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
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        parts["average"] = {} if self.average is None else self.average.state_dict()
        went = {"loss": self.loss, "lr": self.lr, "tokens": self.tokens, "seconds": self.seconds}
        try:
            with atomic_path(path) as temporary:
                torch.save({"format": FORMAT, "identity": identity} | parts | went, temporary)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:80]
            raise BadInput(path, "training state", "room and permission to write it", reason) from None

    def load(self, path: Path, identity: dict[str, str]) -> None:
        """Go back to a saved state. Raises BadInput for the state of another training, or no state at all."""
        kept = _read(path)
        for key, expected in identity.items():
            if kept["identity"].get(key) != expected:
                found = f"{kept['identity'].get(key)} (remove the file to start anew)"
                raise BadInput(path, key, expected, found)
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(kept["average"])
        self.loss, self.lr = kept["loss"], kept["lr"]
        self.tokens, self.seconds = kept["tokens"], kept["seconds"]


def _read(path: Path) -> dict[str, Any]:
    """The file's content, read without running anything in it."""
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise BadInput(path, "file", "a training state", type(error).__name__) from None
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        found = kept.get("format") if isinstance(kept, dict) else type(kept).__name__
        raise BadInput(path, "format", FORMAT, found)
    return kept


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
