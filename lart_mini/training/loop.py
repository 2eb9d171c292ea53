"""One loop for all models: AdamW or SGD, a rate that warms up and falls, accumulation, averaged weights.

`fit` knows batches, a loss and groups of parameters, and nothing of the model. Lightning Fabric brings the
devices: bf16 on CUDA, plain float32 on a CPU, any number of processes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lart_mini.files import BadInput, locked
from lart_mini.progress import progress as progress_bar
from lart_mini.training.batches import Batch, Batches
from lart_mini.training.config import TrainConfig, rate_factor
from lart_mini.training.devices import choose_fabric, rounded, summed
from lart_mini.training.graphs import Results, recorded
from lart_mini.training.metrics import Metrics
from lart_mini.training.resume import Keeper, TrainingState, fingerprint_of_weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # takes seconds to import

# loss(output, batch, weight): the mean over the whole batch, whose weight is `weight` (or a sum of means, one
# for each weight); `batch` may be a part of it: the parts' losses then add up to the mean.
Loss = Callable[[Any, Any, Tensor], Tensor]
Work = Callable[[Any], Results]  # a step on a batch: loss, norm of the gradient, tokens
REPORT_EVERY = 25  # steps, on a GPU


@dataclass(frozen=True)
class History:
    """What training reported: one entry a step of loss and learning rate, and the rate it ran at."""

    loss: list[float]
    lr: list[float]
    steps_per_epoch: int
    seconds: float
    tokens_per_second: float


def fit(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    groups: list[dict[str, Any]],
    config: TrainConfig,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    state: str | Path | None = None,
    save_every: float = 300.0,
    log: str | Path | None = None,
    report_every: int | None = None,
) -> History:
    """Train `model` in place; with `config.ema` it ends with the averaged weights.

    `model(batch)` gives what `loss` takes; `groups` are the optimizer's, each with its `scale` of the rate.
    All chance comes from `config.seed` and the batches': two runs are equal. In the file `state` the
    training is kept every `save_every` seconds and after each epoch, and a call that finds one goes on from
    it: killed and resumed, a run on a CPU ends with the same bits. `log`: a CSV file of each step, for
    TensorBoard too where that is installed. `fabric`: the devices (devices.choose_fabric), else one; the
    batches must be made for its processes. `report_every`: steps between two looks at what a step gave, which
    a GPU has to be waited for; by default each on a CPU.

    Raises BadInput for no batches, for the state of another training, while another process trains the same,
    where a GPU's memory is too small, and where loss or gradient is not finite: weights stay as they were
    before that step then, and so does what `state` holds.
    """
    if len(batches) == 0:
        raise BadInput("training", "dataset", "a sample with something to learn", "none")
    fabric = fabric or choose_fabric(devices=1)
    on_cpu = fabric.device.type == "cpu"
    every = (1 if on_cpu else REPORT_EVERY) if report_every is None else report_every
    with _alone(state, fabric), rounded(fabric):
        optimizer = _optimizer(groups, config)
        average = copy.deepcopy(model).to(fabric.device).eval() if config.ema else None
        if config.compile:
            model.compile(dynamic=True)  # sizes depend on the data
        learner, stepper = fabric.setup(_FromTensors(model), optimizer)
        vars(optimizer)["found_inf"] = torch.zeros((), device=fabric.device)
        went = TrainingState(model, optimizer, average)
        keeper = Keeper(state, save_every, fabric)
        keeper.resume(went, lambda: _identity(model, batches, config))
        metrics = Metrics(log if fabric.is_global_zero else None, went.step)
        per_epoch, began = len(batches), time.perf_counter() - went.seconds
        shown = progress and fabric.is_global_zero
        steps, taken = config.epochs * per_epoch, []
        learner.train()
        bare: Work = partial(_step, fabric, learner, stepper, loss, config)
        bar_of_steps = progress_bar(total=steps, initial=went.step, desc="training", disable=not shown)
        with closing(metrics), bar_of_steps as bar, _as_chosen(bare, optimizer, fabric, config) as work:
            for step, batch in enumerate(batches.steps(went.step, steps, fabric.device), went.step):
                rate = config.lr * rate_factor(config, step, per_epoch)
                torch.manual_seed(_chance(config.seed, step, fabric.global_rank))
                _set_rate(optimizer, rate)
                with _memory_told(config, fabric.device):
                    taken.append(Taken(rate, *work(batch)))
                if average is not None:
                    _average(average, model, _decay(config, step + 1))
                epoch_done = (step + 1) % per_epoch == 0
                if len(taken) < every and not epoch_done:
                    continue
                _report(taken, went, metrics, per_epoch, began)
                keeper.keep(went, now=epoch_done)
                bar.update(len(taken))
                bar.set_postfix(loss=f"{went.loss[-1]:.4f}", tokens_s=f"{went.tokens_per_second:,.0f}")
                taken.clear()
        if average is not None:
            model.load_state_dict(average.state_dict())
        model.eval()
        return History(went.loss, went.lr, per_epoch, went.seconds, went.tokens_per_second)


def _optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """In one kernel, which leaves the weights as they are where `found_inf` is not 0."""
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, momentum=config.momentum, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, betas=config.betas, fused=True)


@contextmanager
def _alone(state: str | Path | None, fabric: Fabric) -> Iterator[None]:
    """No other process may keep its training in the same file meanwhile."""
    if state is None or not fabric.is_global_zero:
        yield
        return
    with locked(Path(state).parent, "training", f"lock-{Path(state).name}"):
        yield


@contextmanager
def _memory_told(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """A GPU's memory that is too small, as one line."""
    try:
        yield
    except torch.OutOfMemoryError:
        held = torch.cuda.max_memory_allocated(device) / 2**30
        total = torch.cuda.get_device_properties(device).total_memory / 2**30
        wanted = f"more than {held:.1f} GiB for a batch of {config.batch_size}"
        advice = f"or --accumulate {2 * config.accumulate}"
        raise BadInput("training", "memory of the GPU", f"{wanted}, {advice}", f"{total:.1f} GiB") from None


class _FromTensors(nn.Module):
    """A model that takes a batch's tensors by name: Fabric's mixed precision refuses a frozen dataclass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, kind: type[Batch], **tensors: Tensor) -> Any:
        return self.model(kind(**tensors))


@dataclass(frozen=True)
class Taken:
    """What a step gave, still on its device."""

    rate: float
    loss: Tensor  # mean over the whole batch
    norm: Tensor  # of the gradient, before clipping
    tokens: Tensor  # of the whole batch


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        own = rate * group["scale"]
        if isinstance(group["lr"], Tensor):  # where recorded steps look for it
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def _as_chosen(
    work: Work, optimizer: torch.optim.Optimizer, fabric: Fabric, config: TrainConfig
) -> AbstractContextManager[Work]:
    """The work, on a single GPU recorded and replayed if the config wants that."""
    if config.record and fabric.device.type == "cuda" and fabric.world_size == 1:
        return recorded(work, optimizer, fabric.device)
    return nullcontext(work)


def _step(
    fabric: Fabric, learner: Any, optimizer: Any, loss: Loss, config: TrainConfig, batch: Batch
) -> Results:
    """One step on this process's share of a batch, without waiting for what it gives: loss, norm, tokens.

    The loss is the mean over the whole batch, however it is divided among processes and micro-batches. Where
    loss or gradient are not finite, in this step or an earlier one, no process's weights change.
    """
    optimizer.zero_grad()
    own = batch.weight()
    told = summed(fabric, torch.cat([own.reshape(-1), batch.tokens().reshape(1)]))
    weight, tokens = told[:-1].view(own.shape), told[-1]
    size = -(-config.batch_size // (fabric.world_size * config.accumulate))
    starts = range(0, len(batch), size)
    total = torch.zeros((), device=fabric.device)
    for start in starts:
        part = batch[start : start + size]
        # Gradients travel between processes once a step, and arrive as their mean.
        with fabric.no_backward_sync(learner, enabled=start != starts[-1]):
            mean = loss(learner(type(part), **part.tensors()), part, weight)
            fabric.backward(mean * config.loss_scale * fabric.world_size)
        total += mean.detach()
    most = config.clip or math.inf  # the norm is asked for in any case
    norm: Any = fabric.clip_gradients(learner, optimizer, max_norm=most, error_if_nonfinite=False)
    total = summed(fabric, total)
    ruined = (~(total.isfinite() & norm.isfinite())).float()
    # The optimizer's kernel leaves the weights where this is not 0, as torch.amp uses it; nobody has to wait.
    found = optimizer.optimizer.found_inf
    found.copy_(torch.maximum(ruined, found))
    optimizer.step()
    return total, norm, tokens


def _report(taken: list[Taken], went: TrainingState, metrics: Metrics, per_epoch: int, began: float) -> None:
    """Read what steps gave, and record it. Raises BadInput for the first that would have ruined weights."""
    rows = torch.stack([torch.stack([one.loss, one.norm, one.tokens]) for one in taken]).tolist()
    seconds = time.perf_counter() - began
    for one, (value, norm, tokens) in zip(taken, rows, strict=True):
        if not math.isfinite(value) or not math.isfinite(norm):
            wanted = "a finite loss and gradient (with a lower rate, lr, perhaps)"
            found = f"loss {value:g}, gradient norm {norm:g}"
            raise BadInput("training", f"step {went.step} at rate {one.rate:g}", wanted, found)
        metrics.add(went.step, went.step // per_epoch, value, one.rate, int(tokens), seconds)
        went.record(value, one.rate, int(tokens), seconds)


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


def _identity(model: nn.Module, batches: Batches, config: TrainConfig) -> dict[str, str]:
    """What tells trainings apart. How a step is divided or compiled may change between two runs of one."""
    parts: dict[str, Any] = {f"training.{key}": value for key, value in config.decisive().items()}
    settings = getattr(model, "config", None)
    if is_dataclass(settings) and not isinstance(settings, type):
        parts |= {f"model.{key}": value for key, value in asdict(settings).items()}
    parts |= {"weights": fingerprint_of_weights(model), "data": batches.fingerprint()}
    return {key: str(value) for key, value in parts.items()}
