"""The two stages of the paper, as notebooks and command line run them: pre-train, then fine-tune.

On mini_ava a `Recipe` says all that decides a result. Each stage writes a checkpoint that carries its recipe;
asked again for the same one, it is read instead of trained, and a notebook that stands alone trains what is
not there. A stage that is stopped leaves its state beside its checkpoint, and goes on from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from lart_mini import ava
from lart_mini.data.mini_ava import MiniAva, mini_ava
from lart_mini.files import BadInput
from lart_mini.lart.assembly import Profile, assembly_for
from lart_mini.lart.datasets import StoreDataset, TrackletDataset
from lart_mini.lart.model import LART, LARTConfig
from lart_mini.lart.predict import dense_scores, samples_of
from lart_mini.lart.published import read_model
from lart_mini.lart.teacher import Teacher, fit_teacher, teach
from lart_mini.lart.tokens import Stats, load_stats, stats_of
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import NO_LABEL, Tracklet
from lart_mini.training.checkpoints import load_checkpoint, save_checkpoint
from lart_mini.training.config import TrainConfig
from lart_mini.training.loop import History, fit
from lart_mini.training.resume import fingerprint_of_weights

# The released code's model of pose alone: no other input, tokens of 128, and its MLP stays 512 wide.
POSE_ALONE = {"joints_width": 0, "appearance": 0, "appearance_width": 0, "width": 128, "mlp_ratio": 4.0}
PRESETS: dict[str, Callable[..., LARTConfig]] = {
    "mini": LARTConfig.mini,
    "small": partial(LARTConfig.mini, people=3, frames=64, width=64, pose_width=64),  # many are compared
    "paper": LARTConfig.paper,
    "released": partial(LARTConfig.released, **POSE_ALONE),
}


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


def from_scratch(recipe: Recipe, tracklets: list[Tracklet], progress: bool = True) -> Trained:
    """Train on the ground truth of these tracklets, without pre-training; the recipe's data is not read."""
    torch.manual_seed(recipe.seed)
    model, stats = LART(PRESETS[recipe.preset]()), stats_of(tracklets)
    dataset = training_set(tracklets, stats, model.config, recipe.seed, "finetune")
    return Trained(model, stats, fit(model, dataset, recipe.train_config("finetune"), progress))


def shuffled_labels(tracklets: list[Tracklet], seed: int) -> list[Tracklet]:
    """The tracklets with their labels exchanged at random: the control that must fall to chance."""
    order = np.random.default_rng(seed).permutation(len(tracklets))
    return [
        dataclasses.replace(t, labels=tracklets[i].labels, label_source=tracklets[i].label_source)
        for t, i in zip(tracklets, order, strict=True)
    ]


def key_labels(tracklets: list[Tracklet]) -> list[Tracklet]:
    """The tracklets with labels at AVA's key frames alone: nothing carries them to the second about."""
    seconds = [tracklet.frame % ava.FRAMES_PER_SECOND == 0 for tracklet in tracklets]
    return [
        dataclasses.replace(t, label_source=np.where(key, t.label_source, NO_LABEL).astype(np.int8))
        for t, key in zip(tracklets, seconds, strict=True)
    ]


def pretrain(
    recipe: Recipe, run_dir: str | Path | None = None, progress: bool = True, fabric: Fabric | None = None
) -> Trained:
    """Train from scratch on pseudo labels, or read the checkpoint in `run_dir` that the same recipe left.

    `fabric`: the devices, from train.choose_fabric; else one.
    """
    return _stage("pretrain", recipe, run_dir, progress, fabric)


def finetune(
    recipe: Recipe, run_dir: str | Path | None = None, progress: bool = True, fabric: Fabric | None = None
) -> Trained:
    """Train on the ground truth, from what `pretrain` gives, or read the checkpoint in `run_dir`."""
    return _stage("finetune", recipe, run_dir, progress, fabric)


def _stage(
    stage: str, recipe: Recipe, run_dir: str | Path | None, progress: bool, fabric: Fabric | None
) -> Trained:
    data, _, _ = labelled(recipe.size, recipe.data_seed)
    path = None if run_dir is None else Path(run_dir) / checkpoint_name(stage, recipe)
    meta = {"stage": stage, "recipe": _decisive(stage, recipe), "data": data.path.name}
    config = PRESETS[recipe.preset]()

    def train(state: Path | None) -> Trained:
        model, tracklets, stats = _material(stage, recipe, run_dir, progress, fabric)
        dataset = training_set(tracklets, stats, config, recipe.seed, stage)
        history = fit(model, dataset, recipe.train_config(stage), progress, fabric=fabric, checkpoint=state)
        return Trained(model, stats, history)

    return trained_once(path, meta, config, train, fabric)


def trained_once(
    path: Path | None,
    meta: dict[str, Any],
    config: LARTConfig,
    train: Callable[[Path | None], Trained],
    fabric: Fabric | None = None,
) -> Trained:
    """What `path` holds if it is of this `meta` and `config`, else what `train` gives, kept there.

    `train` gets the path of the file in which to keep its state, removed once the checkpoint is written.
    """
    meta = json.loads(json.dumps(meta))
    if path is not None and path.exists():
        model, stats, found = load_checkpoint(path)
        if {key: found.get(key) for key in meta} == meta and model.config == config:
            return Trained(model, stats, History(**found["history"]))
    if path is None:
        return train(None)
    told = json.dumps([meta, asdict(config)], sort_keys=True)
    trained = train(path.with_name(f"{path.stem}.{hashlib.sha256(told.encode()).hexdigest()[:8]}.state"))
    if fabric is None or fabric.is_global_zero:
        save_checkpoint(path, trained.model.cpu(), trained.stats, meta | {"history": asdict(trained.history)})
        for state in path.parent.glob(f"{path.stem}.*.state"):
            state.unlink()
    if fabric is not None:
        fabric.barrier()
    return trained


def checkpoint_name(stage: str, recipe: Recipe) -> str:
    """`<stage>-seed<n>.safetensors`, with `-shuffled` for the control."""
    return f"{stage}-seed{recipe.seed}{'-shuffled' if recipe.shuffled else ''}.safetensors"


def _decisive(stage: str, recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields that the stage's result depends on."""
    later = {"finetune_epochs", "shuffled"} if stage == "pretrain" else set()
    return {key: value for key, value in asdict(recipe).items() if key not in later}


def _material(
    stage: str, recipe: Recipe, run_dir: str | Path | None, progress: bool, fabric: Fabric | None
) -> tuple[LART, list[Tracklet], Stats]:
    """The model that a stage starts from, its tracklets, and their statistics."""
    _, tracklets, stats = labelled(recipe.size, recipe.data_seed)
    if stage == "pretrain":
        torch.manual_seed(recipe.seed)
        return LART(PRESETS[recipe.preset]()), taught(recipe.size, recipe.data_seed)[1], stats
    plain = dataclasses.replace(recipe, shuffled=False)
    model = pretrain(plain, run_dir, progress, fabric).model
    return model, shuffled_labels(tracklets, recipe.seed) if recipe.shuffled else tracklets, stats


def training_set(
    tracklets: list[Tracklet],
    stats: Stats,
    config: LARTConfig,
    seed: int,
    stage: str,
    profile: Profile | None = None,
) -> TrackletDataset:
    """Every tracklet once an epoch as ego, put together as `profile` says, else as the model asks."""
    return TrackletDataset(
        tracklets,
        frames=config.frames,
        people=config.people,
        stats=stats,
        train=True,
        labels="any" if stage == "pretrain" else "ground truth",
        profile=profile or assembly_for(config, train=True),
        seed=seed,
    )


def scores_of(
    trained: Trained, tracklets: list[Tracklet], progress: bool = True, profile: Profile | None = None
) -> list[np.ndarray]:
    """Dense scores (T, 60) of each tracklet: all of it as ego, the others of its window beside it."""
    config = trained.model.config
    samples = samples_of(tracklets, config, trained.stats, profile or assembly_for(config, train=False))
    return dense_scores(trained.model, samples, progress=progress)


STAGES = ("pretrain", "finetune")
MEASURED_TRACKLETS = 20_000  # for statistics; more would not change their third digit


def stats_of_store(store: Store, most: int = MEASURED_TRACKLETS) -> Stats:
    """Stats of `most` tracklets, evenly spread over the store; one is in memory at a time."""
    chosen = np.unique(np.linspace(0, len(store) - 1, min(most, len(store))).astype(int))
    try:
        return stats_of(store.tracklet(i) for i in chosen.tolist())
    except ValueError as error:
        raise BadInput(store.path, "detections", "some to take statistics of", error) from None


def preset_for(preset: str, appearance: int) -> LARTConfig:
    """The preset for appearance vectors of that width; 0: pose alone."""
    if preset not in PRESETS:
        raise BadInput("training", "preset", " | ".join(PRESETS), preset)
    if appearance == 0:
        return PRESETS[preset]()
    if preset == "released":
        return LARTConfig.released(appearance=appearance)
    return PRESETS[preset](appearance=appearance, appearance_width=256)


def train_config(stage: str, profile: str, **changes: Any) -> TrainConfig:
    """A stage's settings as the `paper` or the `released` code has them."""
    for field, value, known in (("stage", stage, STAGES), ("profile", profile, ("paper", "released"))):
        if value not in known:
            raise BadInput("training", field, " | ".join(known), value)
    if profile == "released":
        return TrainConfig.released(stage, **changes)
    return TrainConfig.pretrain(**changes) if stage == "pretrain" else TrainConfig.finetune(**changes)


def train_on_store(
    stage: str,
    store: Store,
    out: Path,
    start: tuple[LART, Stats],
    config: TrainConfig,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    workers: int = 0,
) -> Trained:
    """Train the model of `start` in place, or read `out`/<stage>.safetensors if the same training wrote it.

    Pre-training learns from every label, ground truth before pseudo labels; fine-tuning from ground truth
    alone. Samples are put together as the model's config asks. Raises BadInput for a store without labels of
    the wanted source.
    """
    model, stats = start
    dataset = StoreDataset(
        store,
        frames=model.config.frames,
        people=model.config.people,
        stats=stats,
        train=True,
        labels="any" if stage == "pretrain" else "ground truth",
        profile=assembly_for(model.config, train=True),
        seed=config.seed,
    )
    if len(dataset) == 0:
        wanted = "some" if stage == "pretrain" else "some of ground truth"
        raise BadInput(store.path, "labels", wanted, "none")
    decisive = {key: value for key, value in asdict(config).items() if key not in ("accumulate", "compile")}
    names = hashlib.sha256("\n".join(store.index["name"]).encode()).hexdigest()[:16]
    meta = {"stage": stage, "store": names, "training": decisive, "start": fingerprint_of_weights(model)}

    def train(state: Path | None) -> Trained:
        history = fit(model, dataset, config, progress, fabric=fabric, checkpoint=state, workers=workers)
        return Trained(model, stats, history)

    return trained_once(out / f"{stage}.safetensors", meta, model.config, train, fabric)


def start_of(
    stage: str, store: Store, out: Path, preset: str, pose_only: bool, seed: int, stats: Path | None
) -> tuple[LART, Stats]:
    """What a stage starts from when nothing else is said: new weights, or what pre-training left in `out`."""
    if stage == "finetune":
        before = out / "pretrain.safetensors"
        if not before.exists():
            raise BadInput(before, "file", "the checkpoint of pretrain, or --start", "none")
        return read_model(before)
    torch.manual_seed(seed)
    model = LART(preset_for(preset, 0 if pose_only else store.appearance_width))
    return model, stats_of_store(store) if stats is None else load_stats(stats)
