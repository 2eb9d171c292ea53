"""The two stages on a store of converted tracklets, of any size and on any number of devices."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from lart_mini.checkpoints import read_model
from lart_mini.errors import BadInput
from lart_mini.model import LART, LARTConfig
from lart_mini.resume import fingerprint_of_weights
from lart_mini.stages import PRESETS, Trained, assembly_for, trained_once
from lart_mini.store import Store, StoreDataset
from lart_mini.tokens import Stats, load_stats, stats_of
from lart_mini.train import TrainConfig, fit

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
        history = fit(
            model, dataset, config, progress, fabric=fabric, checkpoint=state, workers=workers
        )
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
