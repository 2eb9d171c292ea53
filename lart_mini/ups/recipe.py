"""How UPS is trained: one task an iteration in rotation, or each by itself; what is kept of it.

Section 3.5: lifting → 2D action → early prediction → 3D action → …; section 4: AdamW, a rate that falls to 0.
Where UPS is compared, steps are equal: a model of all tasks takes `rotations` steps of each, UPS_separate is
four models of `rotations` steps, and fine-tuning adds its own.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lart_mini.files import LARGEST_SEED, BadInput, finite_number, whole_number
from lart_mini.training.batches import Batches
from lart_mini.training.checkpoints import Kept, load_checkpoint, save_checkpoint
from lart_mini.training.config import TrainConfig
from lart_mini.training.devices import share_of
from lart_mini.training.loop import History, Loss, fit
from lart_mini.ups.config import UPSConfig
from lart_mini.ups.model import UPS, PoseBatch, sentence_loss
from lart_mini.ups.tasks import Filming, Views, Windows, training_views
from lart_mini.ups.vocabulary import TASKS, Vocabulary, check_task

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # takes seconds to import

Watch = Callable[[int], None]  # is told the number of each step before it is taken
Draw = Callable[[str, np.random.Generator, int], Views]  # a task's batch of so many windows


@dataclass(frozen=True)
class Recipe:
    """How one model is trained. Raises BadInput for what no field can be."""

    tasks: tuple[str, ...] = TASKS  # in the order of rotation
    rotations: int = 1000  # steps of each task
    lifting_batch: int = 64  # windows a step; the paper has 1,024
    action_batch: int = 32  # of each of the other tasks
    lr: float = 2e-3  # at the top; the paper's 1e-2 goes with its batch
    warmup: float = 0.05  # share of the steps (open in the paper)
    weight_decay: float = 5e-4  # section 4
    seed: int = 0  # of weights, views, dropout and routes

    def __post_init__(self) -> None:
        for task in self.tasks:
            check_task(task)
        if not self.tasks:
            raise BadInput("recipe", "tasks", "one or more", "none")
        for name in ("rotations", "lifting_batch", "action_batch"):
            whole_number("recipe", name, getattr(self, name), 1)
        whole_number("recipe", "seed", self.seed, 0, LARGEST_SEED)
        finite_number("recipe", "warmup", self.warmup, 0, 1)
        finite_number("recipe", "weight_decay", self.weight_decay, 0)
        finite_number("recipe", "lr", self.lr, 0)

    @property
    def steps(self) -> int:
        """Steps of all tasks together."""
        return self.rotations * len(self.tasks)

    def batch_size(self, task: str) -> int:
        """Windows of one step of a task."""
        return self.lifting_batch if task == "lifting" else self.action_batch

    def training(self) -> TrainConfig:
        """What `training.fit` asks; on a GPU no step is recorded: it could be, but no card has tried."""
        size = max(self.batch_size(task) for task in self.tasks)
        how: dict[str, Any] = {"betas": (0.9, 0.999), "warmup_epochs": self.warmup, "record": False}
        return TrainConfig(epochs=1, batch_size=size, lr=self.lr, seed=self.seed, **how)


class Rotation(Batches):
    """Batches of one task after another, drawn anew at each step from (seed, step) alone.

    `source`: windows to film, or what draws a user's own (`tasks.skeleton_views` helps).

    `watch` is told each step before it is taken: a place to look at routes, or to score, meanwhile.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Windows | Draw,
        vocabulary: Vocabulary,
        filming: Filming | None = None,
        watch: Watch | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.recipe, self.source, self.vocabulary = recipe, source, vocabulary
        self.filming, self.watch, self.share = filming or Filming(), watch, slice(rank, None, world)

    def __len__(self) -> int:
        """Steps of the whole training."""
        return self.recipe.steps

    def batch(self, step: int) -> PoseBatch:
        """The windows of a step; with several processes, this one's share."""
        task = self.recipe.tasks[step % len(self.recipe.tasks)]
        rng = np.random.default_rng((self.recipe.seed, step))
        size = self.recipe.batch_size(task)
        if isinstance(self.source, Windows):
            drawn = training_views(task, self.source, rng, size, self.filming)
        else:
            drawn = self.source(task, rng, size)
        return to_batch(drawn, self.vocabulary)[self.share]

    def steps(self, first: int, last: int, device: torch.device) -> Iterator[PoseBatch]:
        """The batches of steps `first` to `last` - 1 on a device."""
        for step in range(first, last):
            if self.watch is not None:
                self.watch(step)
            yield self.batch(step).to(device)

    def fingerprint(self) -> str:
        """Digest of what is trained on."""
        return _digest(self.source, self.vocabulary, self.filming, self.recipe)


def _digest(source: Windows | Draw, vocabulary: Vocabulary, filming: Filming, recipe: Recipe) -> str:
    if not isinstance(source, Windows):
        raise BadInput("ups", "source", "windows, to keep a training in a file", "a function that draws")
    told = f"{vocabulary.digest}{filming}{recipe}{list(source.take)}{source.label.tolist()}"
    return hashlib.sha256(told.encode() + np.ascontiguousarray(source.joints).tobytes()).hexdigest()[:16]


def to_batch(seen: Views, vocabulary: Vocabulary) -> PoseBatch:
    """A task's views as tensors, and its sentences (B, K)."""
    task = torch.full((len(seen.pose),), TASKS.index(seen.task))
    target = torch.from_numpy(vocabulary.sentences(seen.task, seen.wanted))
    goal = torch.from_numpy(seen.goal) if seen.task == "lifting" else None
    return PoseBatch(torch.from_numpy(seen.pose), torch.from_numpy(seen.seen), task, target, goal)


def new_model(config: UPSConfig, vocabulary: Vocabulary, seed: int = 0) -> UPS:
    """A model with the weights that `seed` gives; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UPS(config, vocabulary)


def train(
    model: nn.Module,
    vocabulary: Vocabulary,
    source: Windows | Draw,
    recipe: Recipe,
    *,
    filming: Filming | None = None,
    watch: Watch | None = None,
    loss: Loss = sentence_loss,
    fabric: Fabric | None = None,
    progress: bool = True,
    **kept: Any,
) -> History:
    """Train a model in place; `kept`: state and log of `training.fit`. Raises BadInput as that does."""
    batches = Rotation(recipe, source, vocabulary, filming, watch, **share_of(fabric))
    groups = [
        {"params": list(model.parameters()), "scale": 1.0, "weight_decay": recipe.weight_decay, "lr": 0.0}
    ]
    return fit(model, batches, loss, groups, recipe.training(), fabric=fabric, progress=progress, **kept)


# ------------------------------------------------------------------------------------------ what is compared


@dataclass(frozen=True, eq=False)
class Trained:
    """Models by task (one for all, or one each), and the steps that each task's answers rest on."""

    models: dict[str, UPS]
    steps: dict[str, int]
    history: tuple[History, ...]


def unified(
    config: UPSConfig,
    vocabulary: Vocabulary,
    source: Windows,
    recipe: Recipe,
    run_dir: str | Path | None = None,
    **how: Any,
) -> Trained:
    """One model of all the recipe's tasks, trained, or read from what the same call left in `run_dir`.

    `how`: filming, watch, fabric and progress of `train`.
    """
    decisive = {"model": asdict(config), "recipe": asdict(recipe)}
    decisive["data"] = {"digest": _digest(source, vocabulary, how.get("filming") or Filming(), recipe)}
    kept = Kept.of(run_dir, "ups", decisive)
    if kept.finished and kept.checkpoint is not None:
        model, _, _ = load_ups(kept.checkpoint, vocabulary)
        history: tuple[History, ...] = ()
    else:
        model = new_model(config, vocabulary, recipe.seed)
        history = (train(model, vocabulary, source, recipe, state=kept.state, log=kept.log, **how),)
        if kept.checkpoint is not None:
            save_ups(kept.checkpoint, model, vocabulary)
            kept.done()
    return Trained(dict.fromkeys(recipe.tasks, model), dict.fromkeys(recipe.tasks, recipe.steps), history)


def separate(
    config: UPSConfig,
    vocabulary: Vocabulary,
    source: Windows,
    recipe: Recipe,
    equal: str = "task",
    **how: Any,
) -> Trained:
    """UPS_separate: one model a task, without routing, since there is nobody to share with.

    Equal steps by `task`: each model takes as many as its task has in rotation. By `all`: each takes as many
    as the unified model has of all tasks together, three of which are nearly one.
    """
    if equal not in ("task", "all"):
        raise BadInput("ups", "equal", "task | all", equal)
    alone = replace(config, blocks=1, routes=None)
    rotations = recipe.rotations if equal == "task" else recipe.steps
    parts = [
        unified(alone, vocabulary, source, replace(recipe, tasks=(task,), rotations=rotations), **how)
        for task in recipe.tasks
    ]
    models = {task: part.models[task] for task, part in zip(recipe.tasks, parts, strict=True)}
    return Trained(models, dict.fromkeys(recipe.tasks, rotations), sum((part.history for part in parts), ()))


def finetuned(
    trained: Trained, vocabulary: Vocabulary, source: Windows, recipe: Recipe, steps: int, **how: Any
) -> Trained:
    """Each task's model trained on by itself for `steps` steps, as section 5 says of "UPS"; they are counted.

    The paper says neither how long nor at what rate: here a tenth of the recipe's. Batches come from another
    seed than the recipe's, LARGEST_SEED less that: by its own, every fourth would be one of joint training.
    """
    whole_number("ups", "steps of fine-tuning", steps, 1)
    models, history = {}, list(trained.history)
    anew = replace(recipe, rotations=steps, lr=recipe.lr / 10, seed=LARGEST_SEED - recipe.seed)
    for task, model in trained.models.items():
        own = replace(anew, tasks=(task,))
        models[task] = copy.deepcopy(model)
        history.append(train(models[task], vocabulary, source, own, **how))
    return Trained(models, {task: n + steps for task, n in trained.steps.items()}, tuple(history))


class RouteLog:
    """A `watch` that keeps each task's route and scores every so many steps, to be drawn over training."""

    def __init__(self, model: UPS, every: int = 20) -> None:
        self.model, self.every = model, every
        self.steps: list[int] = []
        self.routes: list[list[list[int]]] = []  # by step, task and layer
        self.scores: list[np.ndarray] = []  # (M, L, H) of equation 1, by step

    def __call__(self, step: int) -> None:
        if step % self.every == 0:
            self.steps.append(step)
            self.routes.append(self.model.encoder.routes())
            self.scores.append(self.model.encoder.scores().detach().cpu().numpy().copy())


def random_routes(config: UPSConfig, seed: int) -> tuple[int, ...]:
    """Routes drawn once and kept: the control for learnt ones.

    Drawn again where each task keeps one block through all layers, which parts whole encoders, as by hand.
    """
    rng, shape = np.random.default_rng(seed), (len(TASKS), config.encoder_layers)
    drawn = rng.integers(0, config.blocks, shape)
    while min(config.blocks, config.encoder_layers) > 1 and (drawn == drawn[:, :1]).all():
        drawn = rng.integers(0, config.blocks, shape)
    return tuple(drawn.ravel().tolist())


def routes_by_hand(config: UPSConfig) -> tuple[int, ...]:
    """Routes that part the tasks that see 2D from those that see 3D, in every layer."""
    return tuple(int(task in ("lifting", "action2d")) for task in TASKS for _ in range(config.encoder_layers))


# ----------------------------------------------------------------------------------------------- checkpoints


def save_ups(path: str | Path, model: UPS, vocabulary: Vocabulary) -> None:
    """Write weights, config and vocabulary, which stays with its model."""
    told = {"actions": list(vocabulary.actions), "reach": vocabulary.reach, "vocabulary": vocabulary.digest}
    save_checkpoint(path, model, model.config, meta=told)


def load_ups(
    path: str | Path, vocabulary: Vocabulary | None = None
) -> tuple[UPS, Vocabulary, dict[str, Any]]:
    """A model (CPU, eval mode), its vocabulary, and the file's notes.

    Raises BadInput for anything but such a checkpoint, and for one of another vocabulary than `vocabulary`.
    """
    model, _, meta = load_checkpoint(path, UPSConfig, lambda config: UPS(config, _blank(config)))
    actions, reach = meta.get("actions"), meta.get("reach")
    named = isinstance(actions, list) and all(isinstance(name, str) for name in actions)
    if not named or not isinstance(reach, float):
        raise BadInput(path, "vocabulary", "the names of its actions and its reach", "others, or none")
    try:
        own = Vocabulary(tuple(actions or ()), model.config.bins, model.table.numpy(), reach)
    except BadInput as error:
        raise BadInput(path, f"vocabulary's {error.field}", error.expected, error.found) from None
    wanted = meta.get("vocabulary") if vocabulary is None else vocabulary.digest
    if own.digest != wanted:
        raise BadInput(path, "vocabulary", f"that with digest {wanted}", f"{own.digest}, another one")
    return model, own, meta


def _blank(config: UPSConfig) -> Vocabulary:
    """A vocabulary of the config's size, to be filled with a checkpoint's."""
    table = np.zeros((config.words, config.text_width), np.float32)
    table[:, 0] = 1
    return Vocabulary(tuple(map(str, range(config.actions))), config.bins, table)
