"""The two stages of the paper on mini_ava, as notebooks and command line run them: pre-train, then fine-tune.

A `Recipe` says all that decides a result. Each stage writes a checkpoint that carries its recipe; asked again
for the same one, it is read instead of trained, and a notebook that stands alone trains what is not there.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lart_mini.checkpoints import load_checkpoint, save_checkpoint
from lart_mini.errors import BadInput
from lart_mini.mini_ava import MiniAva, mini_ava
from lart_mini.model import LART, LARTConfig
from lart_mini.predict import dense_scores
from lart_mini.teacher import Teacher, fit_teacher, teach
from lart_mini.tokens import LabelChoice, Stats, TrackletDataset, stats_of
from lart_mini.tracklets import Tracklet
from lart_mini.train import History, TrainConfig, fit

PRESETS = {"mini": LARTConfig.mini, "paper": LARTConfig.paper}


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights of one seed; what is not here is the paper's (TrainConfig, LARTConfig)."""

    size: str = "smoke"  # of mini_ava
    data_seed: int = 0  # of mini_ava
    seed: int = 0  # of weights, crops, masks and dropout
    preset: str = "mini"  # of the model
    pretrain_epochs: int = 8  # on pseudo labels
    finetune_epochs: int = 10  # on ground truth
    batch_size: int = 8  # tracklets a step
    lr: float = 1e-3  # of both stages, as in Table 7
    warmup: float = 0.15  # share of the epochs: Table 7 has 5 of 30
    shuffled: bool = False  # control: every tracklet gets the labels of another one

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise BadInput("recipe", "preset", " | ".join(PRESETS), self.preset)

    def epochs(self, stage: str) -> int:
        """Passes over the data in a stage."""
        return self.pretrain_epochs if stage == "pretrain" else self.finetune_epochs

    def train_config(self, stage: str) -> TrainConfig:
        """Table 7's column for the stage, with this recipe's size of work."""
        make = TrainConfig.pretrain if stage == "pretrain" else TrainConfig.finetune
        epochs = self.epochs(stage)
        warmup = self.warmup * epochs
        return make(
            epochs=epochs, batch_size=self.batch_size, lr=self.lr, warmup_epochs=warmup, seed=self.seed
        )


@dataclass(frozen=True)
class Trained:
    """A model after a stage, the statistics its input is normalised by, and how its training went."""

    model: LART
    stats: Stats
    history: History


@lru_cache(maxsize=1)
def labelled(size: str, data_seed: int) -> tuple[MiniAva, list[Tracklet], Stats]:
    """mini_ava, its labelled training tracklets, and their statistics."""
    data = mini_ava(size, data_seed)
    tracklets = data.tracklets("ava-train")
    return data, tracklets, stats_of(tracklets)


@lru_cache(maxsize=1)
def taught(size: str, data_seed: int) -> tuple[Teacher, list[Tracklet]]:
    """The teacher, fitted on the labelled part, and all training tracklets with its pseudo labels alone."""
    data, tracklets, _ = labelled(size, data_seed)
    teacher = fit_teacher(tracklets)
    return teacher, teach(teacher, tracklets + data.tracklets("kinetics-train"))


def shuffled_labels(tracklets: list[Tracklet], seed: int) -> list[Tracklet]:
    """The tracklets with their labels exchanged at random: the control that must fall to chance."""
    order = np.random.default_rng(seed).permutation(len(tracklets))
    return [
        dataclasses.replace(t, labels=tracklets[i].labels, label_source=tracklets[i].label_source)
        for t, i in zip(tracklets, order, strict=True)
    ]


def pretrain(recipe: Recipe, run_dir: str | Path | None = None, progress: bool = True) -> Trained:
    """Train from scratch on pseudo labels, or read the checkpoint in `run_dir` that the same recipe left."""
    return _stage("pretrain", recipe, run_dir, progress)


def finetune(recipe: Recipe, run_dir: str | Path | None = None, progress: bool = True) -> Trained:
    """Train on the ground truth, from what `pretrain` gives, or read the checkpoint in `run_dir`."""
    return _stage("finetune", recipe, run_dir, progress)


def _stage(stage: str, recipe: Recipe, run_dir: str | Path | None, progress: bool) -> Trained:
    path = None if run_dir is None else Path(run_dir) / checkpoint_name(stage, recipe)
    data, _, _ = labelled(recipe.size, recipe.data_seed)
    meta = {"stage": stage, "recipe": _decisive(stage, recipe), "data": data.path.name}
    if path is not None and path.exists():
        model, stats, found = load_checkpoint(path)
        known = {key: found.get(key) for key in meta} == json.loads(json.dumps(meta))
        if known and model.config == PRESETS[recipe.preset]():
            return Trained(model, stats, History(**found["history"]))
    trained = _train(stage, recipe, run_dir, progress)
    if path is not None:
        save_checkpoint(path, trained.model.cpu(), trained.stats, meta | {"history": asdict(trained.history)})
    return trained


def checkpoint_name(stage: str, recipe: Recipe) -> str:
    """`<stage>-seed<n>.safetensors`, with `-shuffled` for the control."""
    return f"{stage}-seed{recipe.seed}{'-shuffled' if recipe.shuffled else ''}.safetensors"


def _decisive(stage: str, recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields that the stage's result depends on."""
    later = {"finetune_epochs", "shuffled"} if stage == "pretrain" else set()
    return {key: value for key, value in asdict(recipe).items() if key not in later}


def _train(stage: str, recipe: Recipe, run_dir: str | Path | None, progress: bool) -> Trained:
    _, tracklets, stats = labelled(recipe.size, recipe.data_seed)
    if stage == "pretrain":
        torch.manual_seed(recipe.seed)
        model = LART(PRESETS[recipe.preset]())
        _, tracklets = taught(recipe.size, recipe.data_seed)
    else:
        plain = dataclasses.replace(recipe, shuffled=False)
        model = pretrain(plain, run_dir, progress).model
        if recipe.shuffled:
            tracklets = shuffled_labels(tracklets, recipe.seed)
    dataset = training_set(tracklets, stats, model.config, recipe.seed, stage)
    return Trained(model, stats, fit(model, dataset, recipe.train_config(stage), progress))


def training_set(
    tracklets: list[Tracklet], stats: Stats, config: LARTConfig, seed: int, stage: str
) -> TrackletDataset:
    """Every tracklet once an epoch as ego, a random window, others in random order."""
    wanted: LabelChoice = "any" if stage == "pretrain" else "ground truth"
    frames, people = config.frames, config.people
    return TrackletDataset(
        tracklets, frames=frames, people=people, stats=stats, train=True, labels=wanted, seed=seed
    )


def scores_of(trained: Trained, tracklets: list[Tracklet], progress: bool = True) -> list[np.ndarray]:
    """Dense scores (T, 60) of each tracklet: all of it as ego, the others of its window beside it."""
    config = trained.model.config
    dataset = TrackletDataset(
        tracklets, frames=config.frames, people=config.people, stats=trained.stats, train=False
    )
    return dense_scores(trained.model, dataset, progress=progress)
