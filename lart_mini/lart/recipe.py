"""How a LART is trained: its loss, its two stages on mini_ava as a recipe says, and the same on a store.

A `Recipe` says all that decides a result on mini_ava. Each stage leaves a checkpoint whose name carries a
digest of it; asked again for the same one, it is read instead of trained, and a notebook that stands alone
trains what is not there. A stage that is stopped leaves its state beside its checkpoint, and goes on from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.data.mini_ava import MiniAva, mini_ava
from lart_mini.files import LARGEST_SEED, BadInput, whole_number
from lart_mini.lart.config import (
    PRESETS,
    STAGES,
    LARTConfig,
    Source,
    StageConfig,
    assembly_for,
    preset,
)
from lart_mini.lart.datasets import EgoDataset, TrackletDataset
from lart_mini.lart.model import LART, plan_ahead
from lart_mini.lart.predict import dense_scores, samples_of
from lart_mini.lart.store_dataset import StoreDataset
from lart_mini.lart.teacher import Teacher, fit_teacher, teach
from lart_mini.lart.tokens import Stats, TokenBatch, load_stats, stats_of
from lart_mini.lart.weights import load_model, read_model, save_model
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import NO_LABEL, Tracklet
from lart_mini.training.batches import Batches
from lart_mini.training.checkpoints import Kept
from lart_mini.training.devices import choose_fabric, share_of, usual_device, usual_workers
from lart_mini.training.loop import History, Loss, fit
from lart_mini.training.resume import fingerprint_of_weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # takes seconds to import

MEASURED_TRACKLETS = 20_000  # of a store, for statistics; more would not change their third digit

# ---------------------------------------------------------------------------------------------- one training


def masked_bce(logits: Tensor, batch: TokenBatch, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over classes and over tokens that have a detection and a label.

    logits (B,P,T,C). Masked tokens count, undetected ones do not (supplement C.2); others count as the ego
    does, as in the released code. Where `batch` is a part of a larger one, `weight` is that of the
    whole: the parts' losses then add up to the whole's mean.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="none").mean(-1)
    counts = batch.label_weight * batch.detected
    return (loss * counts).sum() / (counts.sum() if weight is None else weight).clamp(min=1)


def train(
    model: LART,
    dataset: EgoDataset,
    config: StageConfig,
    progress: bool = True,
    *,
    loss: Loss = masked_bce,
    fabric: Fabric | None = None,
    workers: int | None = None,
    **kept: Any,
) -> History:
    """Train `model` in place on `dataset`; `kept`: the files state and log of `training.fit`, and save_every.

    `fabric`: the devices, from training.choose_fabric; else one. `workers`: processes that load data, by
    default some for a GPU. Raises BadInput for a data set without labels, or with another share of masked
    tokens than `config` says.
    """
    if dataset.mask_ratio != config.mask_ratio:
        raise BadInput("training", "mask_ratio of the data set", config.mask_ratio, dataset.mask_ratio)
    fabric = fabric or choose_fabric(devices=1)
    workers = usual_workers(fabric.device) if workers is None else workers
    model.set_drop_path(config.drop_path)
    how: Any = {"workers": workers, "prepare": partial(plan_ahead, config=model.config)}
    batches = Batches(dataset, config.batch_size, seed=config.seed, **how, **share_of(fabric))
    groups = parameter_groups(model, config)
    return fit(model, batches, loss, groups, config, fabric=fabric, progress=progress, **kept)


def parameter_groups(model: LART, config: StageConfig) -> list[dict[str, Any]]:
    """AdamW's groups: each with its `scale` of the learning rate and its weight decay.

    scale = layer_decay^(distance from the head). Layer 0 is the encoders, the mask token and a trained
    encoding, layer i the i-th block, the last layer the head (ELECTRA's layer-wise decay, reference [10] of
    the paper). A trained encoding is decayed as matrices are, as in the released code.
    """
    top = len(model.blocks) + 1
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
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


# ------------------------------------------------------------------------------------- the stages on mini_ava


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights of one seed; what is not here is the paper's (StageConfig, LARTConfig)."""

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
        whole_number("recipe", "data_seed", self.data_seed, 0, LARGEST_SEED)
        for name in STAGES:
            self.stage(name)  # raises BadInput for numbers that no training can have

    def stage(self, name: str) -> StageConfig:
        """Table 7's column for the stage, with this recipe's size of work."""
        epochs = self.pretrain_epochs if name == "pretrain" else self.finetune_epochs
        size: Any = {"epochs": epochs, "warmup_epochs": self.warmup * epochs, "batch_size": self.batch_size}
        return StageConfig.of(name, lr=self.lr, seed=self.seed, **size)


@dataclass(frozen=True)
class Trained:
    """A model after a stage, the statistics its input is normalised by, and how its training went."""

    model: LART
    stats: Stats
    history: History
    checkpoint: Path | None = None  # where it is kept


def pretrain(
    recipe: Recipe,
    run_dir: str | Path | None = None,
    progress: bool = True,
    fabric: Fabric | None = None,
    *,
    workers: int | None = None,
    **how: Any,
) -> Trained:
    """Train from scratch on pseudo labels, or read the checkpoint in `run_dir` that the same recipe left.

    `fabric` and `workers` as in `train`; `how`: accumulate and compile of StageConfig, which do not decide
    the result.
    """
    data, _, stats = labelled(recipe.size, recipe.data_seed)
    kept = _kept("pretrain", recipe, data, run_dir)
    if kept.finished:
        return _read(kept)
    torch.manual_seed(recipe.seed)
    model, settings = LART(preset(recipe.preset)), dataclasses.replace(recipe.stage("pretrain"), **how)
    _, tracklets = taught(recipe.size, recipe.data_seed)
    dataset = training_set(tracklets, stats, model.config, "pretrain", settings)
    start_head(model, dataset)
    return _trained(kept, model, stats, dataset, settings, progress, fabric, workers)


def finetune(
    recipe: Recipe,
    run_dir: str | Path | None = None,
    progress: bool = True,
    fabric: Fabric | None = None,
    *,
    workers: int | None = None,
    **how: Any,
) -> Trained:
    """Train on the ground truth, from what `pretrain` gives, or read the checkpoint in `run_dir`."""
    data, tracklets, stats = labelled(recipe.size, recipe.data_seed)
    kept = _kept("finetune", recipe, data, run_dir)
    if kept.finished:
        return _read(kept)
    plain = dataclasses.replace(recipe, shuffled=False)
    model = pretrain(plain, run_dir, progress, fabric, workers=workers, **how).model
    settings = dataclasses.replace(recipe.stage("finetune"), **how)
    if recipe.shuffled:
        tracklets = shuffled_labels(tracklets, recipe.seed)
    dataset = training_set(tracklets, stats, model.config, "finetune", settings)
    return _trained(kept, model, stats, dataset, settings, progress, fabric, workers)


def from_scratch(recipe: Recipe, tracklets: list[Tracklet], progress: bool = True) -> Trained:
    """Train on the ground truth of these tracklets, without pre-training; the recipe's data is not read."""
    torch.manual_seed(recipe.seed)
    model, stats, settings = LART(preset(recipe.preset)), stats_of(tracklets), recipe.stage("finetune")
    dataset = training_set(tracklets, stats, model.config, "finetune", settings)
    start_head(model, dataset)
    return Trained(model, stats, train(model, dataset, settings, progress))


def scores_of(trained: Trained, tracklets: list[Tracklet], progress: bool = True) -> list[np.ndarray]:
    """Dense scores (T, 60) of each tracklet: all of it as ego, the others of its window beside it."""
    config = trained.model.config
    samples = samples_of(tracklets, config, trained.stats, assembly_for(config))
    scores = dense_scores(trained.model.to(usual_device()), samples, progress=progress)
    trained.model.cpu()
    return scores


def training_set(
    members: list[Tracklet] | Store,
    stats: Stats,
    config: LARTConfig,
    stage: str,
    settings: StageConfig,
    kind: Callable[..., EgoDataset] | None = None,
) -> EgoDataset:
    """Every tracklet once an epoch as ego, put together as the model asks.

    Pre-training learns from every label, ground truth before pseudo labels; fine-tuning from ground truth
    alone. `kind`: the data set's class, if not the members' usual one.
    """
    usual: Any = StoreDataset if isinstance(members, Store) else TrackletDataset
    return (kind or usual)(
        members,
        stats=stats,
        train=True,
        labels="any" if stage == "pretrain" else "ground truth",
        profile=assembly_for(config, train=True),
        frames=config.frames,
        people=config.people,
        seed=settings.seed,
        mask_ratio=settings.mask_ratio,
    )


def start_head(model: LART, dataset: EgoDataset) -> None:
    """Where the model's config wants it, start its head at the class shares of a training set."""
    if model.config.head_start == "class shares" and len(dataset):
        model.start_head(class_shares(dataset))


def class_shares(dataset: EgoDataset, most: int = 512) -> Tensor:
    """Mean label (classes,) of the labelled tokens of `most` items, evenly spread over a training set."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).astype(int)).tolist()
    total, count = torch.zeros(()), torch.zeros(())
    for index in chosen:
        item = dataset.batch([dataset.draw(index)])
        total = total + (item.labels * item.label_weight[..., None]).sum(dim=(0, 1, 2))
        count = count + item.label_weight.sum()
    return total / count.clamp(min=1)


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


def key_labels(tracklets: list[Tracklet]) -> list[Tracklet]:
    """The tracklets with labels at AVA's key frames alone: nothing carries them to the second about."""
    seconds = [tracklet.frame % ava.FRAMES_PER_SECOND == 0 for tracklet in tracklets]
    return [
        dataclasses.replace(t, label_source=np.where(key, t.label_source, NO_LABEL).astype(np.int8))
        for t, key in zip(tracklets, seconds, strict=True)
    ]


def _kept(stage: str, recipe: Recipe, data: MiniAva, run_dir: str | Path | None) -> Kept:
    """Where a stage is kept: `<stage>-seed<n>-<digest>`, with `-shuffled` for the control."""
    later = {"finetune_epochs", "shuffled"} if stage == "pretrain" else set()
    made = {key: value for key, value in asdict(recipe).items() if key not in later}
    model = asdict(preset(recipe.preset))
    name = f"{stage}-seed{recipe.seed}{'-shuffled' if made.get('shuffled') else ''}"
    return Kept.of(run_dir, name, {"stage": stage, "recipe": made, "data": data.path.name, "model": model})


def _read(kept: Kept) -> Trained:
    assert kept.checkpoint is not None
    model, stats, found = load_model(kept.checkpoint)
    if {key: found.get(key) for key in kept.decisive} != kept.decisive:
        raise BadInput(kept.checkpoint, "recipe", "the one that the file's name is a digest of", "another")
    return Trained(model, stats, History(**found["history"]), kept.checkpoint)


def _trained(
    kept: Kept,
    model: LART,
    stats: Stats,
    dataset: EgoDataset,
    settings: StageConfig,
    progress: bool,
    fabric: Fabric | None,
    workers: int | None,
) -> Trained:
    """Train, write the checkpoint, and remove the state that it makes needless. One process writes."""
    files: Any = {"state": kept.state, "log": kept.log}
    history = train(model, dataset, settings, progress, fabric=fabric, workers=workers, **files)
    if kept.checkpoint is not None:
        if fabric is None or fabric.is_global_zero:
            save_model(kept.checkpoint, model.cpu(), stats, kept.decisive | {"history": asdict(history)})
            kept.done()
        if fabric is not None:
            fabric.barrier()
    return Trained(model, stats, history, kept.checkpoint)


# -------------------------------------------------------------------------------------- the stages on a store


def train_on_store(
    stage: str,
    store: Store,
    out: Path,
    start: tuple[LART, Stats],
    settings: StageConfig,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> Trained:
    """Train the model of `start` in place, or read the checkpoint in `out` that the same training wrote.

    Raises BadInput for a store without labels of the wanted source.
    """
    model, stats = start
    content = store.index.select("name", "checksum").write_csv().encode()
    measured = np.stack([stats.mean, stats.std]).tobytes()
    decisive: dict[str, Any] = {"stage": stage, "training": settings.decisive()}
    decisive |= {"store": hashlib.sha256(content).hexdigest()[:16]}
    decisive |= {"stats": hashlib.sha256(measured).hexdigest()[:16]}
    decisive |= {"start": fingerprint_of_weights(model), "model": asdict(model.config)}
    kept = Kept.of(out, stage, decisive)
    if kept.finished:
        return _read(kept)
    dataset = training_set(store, stats, model.config, stage, settings)
    if len(dataset) == 0:
        wanted = "some" if stage == "pretrain" else "some of ground truth"
        raise BadInput(store.path, "labels", wanted, "none")
    return _trained(kept, model, stats, dataset, settings, progress, fabric, workers)


def new_model(
    store: Store, name: str, pose_only: bool, seed: int, stats: Path | None = None
) -> tuple[LART, Stats]:
    """A model of the preset `name` with new weights for a store's tracklets, and their statistics."""
    torch.manual_seed(seed)
    model = LART(preset(name, 0 if pose_only else store.appearance_width))
    taken = stats_of_store(store) if stats is None else load_stats(stats)
    start_head(model, training_set(store, taken, model.config, "pretrain", StageConfig.pretrain()))
    return model, taken


def pretrained(out: Path) -> tuple[LART, Stats]:
    """What pre-training left in `out`. Raises BadInput where there is no checkpoint of it, or several."""
    found = sorted(out.glob("pretrain-*.safetensors"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadInput(out, "checkpoint", "one pretrain-….safetensors, or --start", names)
    return read_model(found[0])


def stats_of_store(store: Store, most: int = MEASURED_TRACKLETS) -> Stats:
    """Stats of `most` tracklets, evenly spread over the store; one is in memory at a time."""
    chosen = np.unique(np.linspace(0, len(store) - 1, min(most, len(store))).astype(int))
    try:
        return stats_of(store.tracklet(i) for i in chosen.tolist())
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(store.path, "detections", "some to take statistics of", error) from None
