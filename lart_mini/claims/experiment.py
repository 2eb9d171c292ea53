"""An experiment: parameters → scores at the boxes of one fold, whose takes the model has never seen.

Ladder, hidden frames and all claims are made of these alone. A LART is scored in the window centred on
each box's key frame, pooled over POOLS frames; or, with `hidden`, at the annotations' boxes while the
person's detections are taken away in HIDDEN frames about the key frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.baselines import class_prior, fit_linear
from lart_mini.claims.augment import AugmentedDataset, BurstDataset, mirrored
from lart_mini.claims.direction import both_ways, pieces
from lart_mini.claims.fold_data import Fold, FoldBoxes, first_scenes
from lart_mini.claims.inputs import INPUTS
from lart_mini.claims.looks import LOOKS, WIDTH, looked_at
from lart_mini.claims.skeletons import BESIDE, SKELETRS, skeletr_scores
from lart_mini.data.video_level import VIDEO_SIZES
from lart_mini.evaluation.key_boxes import POOLED_FRAMES, KeyBoxes, key_boxes
from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig, StageConfig, assembly_for, preset
from lart_mini.lart.model import LART
from lart_mini.lart.predict import samples_of
from lart_mini.lart.recipe import key_labels, shuffled_labels, start_head, train, training_set
from lart_mini.lart.rows import Draw
from lart_mini.lart.teacher import fit_teacher, teach
from lart_mini.lart.tokens import Stats, TokenBatch, stats_of
from lart_mini.tracklets.tracklet import Tracklet
from lart_mini.training.config import Bounds, check_fields

POOLS = (POOLED_FRAMES, 1, 2, 6, 24)  # frames about the key frame whose scores are averaged
HIDDEN = (0, 6, 13, 30)  # frames about the key frame in which the person is not detected
WARMUP = 0.15  # share of the steps: Table 7 has 5 of 30 epochs
SHARE = (0.0, 1.0)
LIMITS: Bounds = {"folds": (2, 1000), "burst": (1, 1000)}
LIMITS |= {"mask": SHARE, "pretrain_mask": SHARE, "speed": SHARE}
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Experiment:
    """All that decides the scores of one run; what is not here is the paper's. Raises BadInput."""

    size: str = "smoke"  # of mini_ava
    data_seed: int = 0  # of mini_ava
    folds: int = 4  # K
    fold: int = 0  # whose takes are held out
    seed: int = 0  # of weights, crops, masks, dropout and exchanged labels
    model: Literal["LART", "SkeleTR", "linear", "prior", "true labels"] = "LART"
    skeletr: str = "mix"  # of model SkeleTR: one of SKELETRS; it reads seed, steps and shuffled, nothing else
    task: Literal["actions", "direction"] = "actions"  # what is told of a person
    tracker: str = "lart"  # who links the detections; "perfect": people as they are
    scenes: int = 0  # training videos learnt from, the first so many; 0: all
    inputs: str = "person-vector"  # one of INPUTS
    looks: str = ""  # one of LOOKS: whether, and where, people are looked at
    labels: Literal["second", "key frame"] = "second"  # how far a key frame's labels reach
    shuffled: bool = False  # control: every tracklet learns the labels of another one
    preset: str = "small"  # of the model
    people: int = 3  # most people in a sample, the ego first
    frames: int = 64  # most frames in a sample
    steps: int = 60  # on ground truth
    mask: float = 0.0  # share of tokens masked in them
    pretrain_steps: int = 0  # before them, on the teacher's pseudo labels
    pretrain_mask: float = 0.4  # share of tokens masked in those
    burst: int = 1  # frames that are masked together, in both stages
    mirror: bool = False  # half of the training items are seen in a mirror
    speed: float = 0.0  # training items are played up to this share faster, or as much slower
    batch_size: int = 8  # tracklets a step
    lr: float = 2e-3  # at the top of both schedules
    hidden: bool = False  # score with frames hidden, HIDDEN of them, instead of POOLS

    def __post_init__(self) -> None:
        check_fields("experiment", self, LIMITS)
        if self.inputs not in INPUTS:
            raise BadInput("experiment", "inputs", " | ".join(INPUTS), self.inputs)
        if self.looks not in LOOKS:
            raise BadInput("experiment", "looks", " | ".join(LOOKS), self.looks)
        if LOOKS[self.looks] and (self.model != "LART" or self.pretrain_steps or self.task == "direction"):
            raise BadInput("experiment", "looks", "none but for LART's actions, from scratch", self.looks)
        if self.skeletr not in SKELETRS:
            raise BadInput("experiment", "skeletr", " | ".join(SKELETRS), self.skeletr)
        if self.model == "SkeleTR" and self.skeletr == BESIDE and self.size not in VIDEO_SIZES:
            raise BadInput("experiment", f"size for {BESIDE}", " | ".join(VIDEO_SIZES), self.size)
        if self.task == "direction" and (self.model != "LART" or self.pretrain_steps):
            expected = "actions for baselines and where pseudo labels are learnt"
            raise BadInput("experiment", "task", expected, self.task)
        self.config()

    def config(self) -> LARTConfig:
        """The model's."""
        sizes: Any = {"people": self.people, "frames": self.frames}
        if LOOKS[self.looks]:
            sizes |= {"appearance": WIDTH, "appearance_width": WIDTH}
        return replace(preset(self.preset), **sizes)

    def data(self) -> Fold:
        """The fold."""
        return Fold(self.size, self.data_seed, self.folds, self.fold, self.tracker, self.looks != "")

    def tracklets(self, split: str) -> list[Tracklet]:
        """The fold's of a split, of training the first scenes', with the labels that the task asks for."""
        tracklets: list[Tracklet] = looked_at(self.data(), split, self.looks)
        if split == "ava-train":
            tracklets = first_scenes(tracklets, self.scenes)
        return both_ways(tracklets) if self.task == "direction" else tracklets

    def boxes(self) -> KeyBoxes:
        """The boxes that are scored."""
        scored: FoldBoxes = self.data().scored()
        if self.task == "direction":
            return pieces(scored.boxes, scored.groundtruth, self.tracklets("ava-val"))
        return scored.annotated if self.hidden else scored.boxes

    def variants(self) -> tuple[int, ...]:
        """Frames pooled, or frames hidden, of each set of scores; just one set where nothing is trained."""
        return HIDDEN if self.hidden else POOLS if self.model == "LART" else POOLS[:1]


def run(experiment: Experiment) -> tuple[Scores, int]:
    """Scores (variants, N, 60) in 0–1 of the experiment's boxes, and the steps that its model took."""
    if experiment.model == "SkeleTR":
        fold = experiment.data()
        settings = (experiment.skeletr, experiment.seed, experiment.steps, experiment.shuffled)
        scores, steps = skeletr_scores(fold, *settings)
        return scores[None], steps
    held_out, boxes = _given(experiment, experiment.tracklets("ava-val")), experiment.boxes()
    if experiment.model == "LART":
        model, stats, steps = trained(experiment)
        return centred_scores(model, stats, held_out, boxes, experiment.hidden), steps
    learnt = _given(experiment, experiment.tracklets("ava-train"))
    if experiment.model == "true labels":
        pairs = zip(boxes.tracklet, boxes.t, strict=True)
        scores = ava.to_evaluated(np.stack([held_out[i].labels[t] for i, t in pairs]))
    elif experiment.model == "prior":
        scores = np.tile(class_prior(learnt, key_boxes(learnt)), (len(boxes.table), 1))
    else:
        scores = fit_linear(learnt, key_boxes(learnt), stats_of(learnt)).scores(held_out, boxes)
    return scores[None].astype(np.float32), 0


def _given(experiment: Experiment, tracklets: list[Tracklet]) -> list[Tracklet]:
    return [INPUTS[experiment.inputs](tracklet) for tracklet in tracklets]


# ------------------------------------------------------------------------------------------------- training


def trained(experiment: Experiment) -> tuple[LART, Stats, int]:
    """A LART trained on the fold's other takes, its statistics, and the steps that it took in all."""
    torch.manual_seed(experiment.seed)
    learnt = experiment.tracklets("ava-train")
    model, stats, taken = LART(experiment.config()), stats_of(_given(experiment, learnt)), 0
    if experiment.pretrain_steps:
        taken += _stage(experiment, model, stats, _taught(experiment.data(), experiment.scenes), "pretrain")
    if experiment.steps:
        if experiment.labels == "key frame":
            learnt = key_labels(learnt)
        if experiment.shuffled:
            learnt = shuffled_labels(learnt, experiment.seed)
        taken += _stage(experiment, model, stats, learnt, "finetune")
    return model, stats, taken


@lru_cache(maxsize=1)
def _taught(fold: Fold, scenes: int) -> list[Tracklet]:
    """The fold's training tracklets and pre-training clips, with pseudo labels of the fold's own teacher."""
    learnt = first_scenes(fold.tracklets("ava-train"), scenes)
    return teach(fit_teacher(learnt), learnt + fold.data().tracklets("kinetics-train"))


def _stage(experiment: Experiment, model: LART, stats: Stats, tracklets: list[Tracklet], stage: str) -> int:
    """Train the model in place, for the whole number of epochs that is nearest to the steps wanted."""
    first = stage == "pretrain"
    wanted, mask = (
        (experiment.pretrain_steps, experiment.pretrain_mask)
        if first
        else (experiment.steps, experiment.mask)
    )
    common: Any = {"batch_size": experiment.batch_size, "lr": experiment.lr, "seed": experiment.seed}
    settings = StageConfig.of(stage, mask_ratio=mask, **common)
    if experiment.mirror:
        tracklets = [*tracklets, *map(mirrored, tracklets)]
    given = _given(experiment, tracklets)
    dataset = training_set(given, stats, model.config, stage, settings, _kind(experiment))
    epochs = max(1, round(wanted / -(-len(dataset) // experiment.batch_size)))
    settings = replace(settings, epochs=epochs, warmup_epochs=WARMUP * epochs)
    if first or not experiment.pretrain_steps:
        start_head(model, dataset)
    return len(train(model, dataset, settings, progress=False).loss)


def _kind(experiment: Experiment) -> Callable[..., BurstDataset] | None:
    """What draws the training items; None: the package's own data set, which draws as the paper does."""
    burst, mirror, speed = experiment.burst, experiment.mirror, experiment.speed
    if mirror or speed:
        return partial(AugmentedDataset, burst=burst, mirror=mirror, speed=speed)
    return partial(BurstDataset, burst=burst) if burst > 1 else None


# -------------------------------------------------------------------------------------------------- scoring


@torch.no_grad()
def centred_scores(
    model: LART,
    stats: Stats,
    tracklets: list[Tracklet],
    boxes: KeyBoxes,
    hidden: bool = False,
    batch_size: int = 16,
) -> Scores:
    """Scores (POOLS or HIDDEN, N, 60) in 0–1 of key boxes, each read in the window centred on its key frame.

    At a tracklet's ends the window stays inside it. `hidden`: pooled over 12 frames, with the ego's
    detections taken away in so many frames about the key frame; the box stays, as an annotation's would.
    """
    config = model.config
    samples = samples_of(tracklets, config, stats, assembly_for(config))
    lengths = np.array(samples.lengths)[boxes.tracklet]
    starts = (boxes.t - config.frames // 2).clip(0, np.maximum(lengths - config.frames, 0))
    at = boxes.t - starts  # the key frame's place in its window
    variants = HIDDEN if hidden else POOLS
    found = np.zeros((len(variants), len(boxes.t), len(ava.EVALUATED)), np.float32)
    # Batches of boxes with equally many people waste nothing on empty slots.
    order = np.argsort([len(samples.others[i]) for i in boxes.tracklet], kind="stable")
    model.eval()
    device = next(model.parameters()).device
    for rows in np.split(order, range(batch_size, len(order), batch_size)):
        egos = boxes.tracklet[rows].tolist()
        draws = [
            Draw(i, samples.others[i], int(starts[row]), None) for i, row in zip(egos, rows, strict=True)
        ]
        batch = samples.batch(draws).to(device)
        for number, amount in enumerate(variants):
            if number == 0 or hidden:
                seen = hide(batch, at[rows], amount) if hidden else batch
                scores = model(seen)[:, 0].sigmoid().float().cpu().numpy()  # (B, T, 60)
            frames = POOLED_FRAMES if hidden else amount
            found[number, rows] = [_about(one, t, frames) for one, t in zip(scores, at[rows], strict=True)]
    return found


def hide(batch: TokenBatch, at: Sequence[int] | NDArray[np.int64], frames: int) -> TokenBatch:
    """The batch without the egos' detections in `frames` frames about frame `at` (B,) of each window."""
    since = torch.arange(batch.detected.shape[2]) - torch.as_tensor(at)[:, None]  # (B, T)
    gone = (since >= -(frames // 2)) & (since < frames - frames // 2)
    detected = batch.detected.clone()
    detected[:, 0] &= ~gone.to(detected.device)
    return replace(batch, detected=detected, pose=batch.pose * detected[..., None])


def _about(scores: Scores, t: int, frames: int) -> Scores:
    """Mean (60,) of scores (T, 60) over `frames` frames about t, as `key_boxes.pooled`; 1: frame t alone."""
    first = max(0, t - frames // 2)
    return scores[first : max(t + frames // 2, t + 1)].mean(axis=0)
