"""How a SkeleTR is trained and asked: losses, joint training, and AVA's rows for LART's own boxes.

`scores(SkeletonRecipe(...))` is all that a comparison needs: the same boxes, the same evaluator and the same
folds as everybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.data.labelled_videos import LabelledVideos
from lart_mini.data.mini_ava import MiniAva, mini_ava
from lart_mini.data.skeletons import KINDS, Kind, Links, Skeletons, mini_skeletons
from lart_mini.evaluation.ava_csv import read_groundtruth
from lart_mini.evaluation.key_boxes import KeyBoxes, key_boxes
from lart_mini.files import BadInput
from lart_mini.progress import progress as progress_bar
from lart_mini.skeletr.datasets import (
    Clip,
    JointDataset,
    Sampling,
    SkeletonDataset,
    Stream,
    batch_of,
    clip_of,
    whole,
    window_time,
    within,
)
from lart_mini.skeletr.model import PRESETS, Logits, SkeletonBatch, SkeleTR, SkeleTRConfig, preset
from lart_mini.tracklets.tracklet import Tracklet
from lart_mini.training.batches import Batches
from lart_mini.training.checkpoints import Kept, load_checkpoint, save_checkpoint
from lart_mini.training.config import TrainConfig
from lart_mini.training.devices import share_of
from lart_mini.training.loop import History, fit

BCE_SCALE = 100  # of the detection loss (4.2)
WEIGHT_DECAY = 5e-4  # pyskl's; the paper names none
Scores = NDArray[np.float32]

# ----------------------------------------------------------------------------------------------- one training


def loss(logits: Logits, batch: SkeletonBatch, weight: Tensor | None = None) -> Tensor:
    """100 x binary cross-entropy of sequences + cross-entropy of videos + that of groups (4.2).

    Each is a mean over what is labelled, the first over classes too; joint training is this sum. `weight`
    (3,): of the whole batch, where `batch` is a part of it.
    """
    weight = (batch.weight() if weight is None else weight).clamp(min=1)
    total = batch.time.new_zeros(())
    if logits.detection is not None and batch.labels is not None and batch.label_weight is not None:
        said, known = logits.detection[batch.present].float(), batch.labels[batch.present]
        each = F.binary_cross_entropy_with_logits(said, known, reduction="none").mean(-1)
        total = total + BCE_SCALE * (each * batch.label_weight[batch.present]).sum() / weight[0]
    for number, said_of_all in enumerate((logits.video, logits.group)):
        if said_of_all is not None and batch.target is not None:
            target = batch.target[:, number]
            each = F.cross_entropy(said_of_all.float(), target, ignore_index=-1, reduction="sum")
            total = total + each / weight[1 + number]
    return total


def sgd(**changes: Any) -> TrainConfig:
    """The paper's training (4.2), for batches of 16 instead of 128: the rate goes with their size.

    SGD, the rate a tenth after 30 and 35 of 40 epochs (AVA, Volleyball; Posetics and NTU: after 70 and 85 of
    100). Momentum, its kind and the decay are pyskl's; warm-up of 24 steps and a gradient of at most 40 ours.
    """
    usual: dict[str, Any] = {
        "optimizer": "SGD", "epochs": 40, "batch_size": 16, "lr": 0.0125, "warmup_epochs": 0.0,
        "warmup_steps": 24, "drops": (0.75, 0.875), "clip": 40.0, "record": False,
    }  # fmt: skip
    return TrainConfig(**(usual | changes))


def train(
    model: SkeleTR, dataset: SkeletonDataset, config: TrainConfig, progress: bool = True, **kept: Any
) -> History:
    """Train `model` in place; `kept`: fabric, state and log of `training.fit`, and save_every.

    A step is not divided (`accumulate`): batch norm would see other batches. Raises BadInput for that, and
    where nothing is labelled.
    """
    if config.accumulate != 1:
        raise BadInput("training", "accumulate", "1, since batch norm sees whole batches", config.accumulate)
    group = {"params": list(model.parameters()), "scale": 1.0, "weight_decay": WEIGHT_DECAY, "lr": 0.0}
    batches = Batches(dataset, config.batch_size, seed=config.seed, **share_of(kept.get("fabric")))
    return fit(model, batches, loss, [group], config, progress=progress, **kept)


# ----------------------------------------------------------------------------------------------------- scores


@torch.no_grad()
def sequence_scores(model: SkeleTR, clip: Clip, sampling: Sampling) -> Scores:
    """Scores (S,60) in 0–1 of every sequence of a long video: the mean over all test windows that hold it.

    A window each second (4.2). Probabilities are averaged, not logits. Attention is masked, so that a window
    may have any number of sequences.
    """
    model.eval()
    layout, keys = model.layout, np.arange(ava.keyframe(ava.FIRST_SECOND), clip.frame.max(initial=0) + 1, 30)
    windows = [(int(key), within(clip, int(key), sampling.window)) for key in keys]
    windows = [(key, rows) for key, rows in windows if len(rows)]
    total, count = np.zeros((len(clip), model.config.classes)), np.zeros((len(clip), 1))
    if windows:
        everything = batch_of([whole(clip)], sampling, layout).to(model.device)
        tokens = model.pooled(everything.keypoint, everything.present)[0]  # (S,L,d), once for all windows
        slots = np.zeros((len(windows), max(len(rows) for _, rows in windows)), np.int64)
        when = np.zeros(slots.shape, np.float32)
        for number, (key, rows) in enumerate(windows):
            slots[number, : len(rows)] = rows
            when[number, : len(rows)] = window_time(clip, rows, key, sampling.window)
        lengths = np.array([len(rows) for _, rows in windows])
        present = np.arange(slots.shape[1]) < lengths[:, None]
        at = torch.from_numpy(slots).to(model.device)
        batch = SkeletonBatch(
            keypoint=everything.keypoint[:0],
            present=torch.from_numpy(present).to(model.device),
            box=everything.box[0][at],
            time=torch.from_numpy(when).to(model.device),
        )
        logits = model.scored(model.relate(tokens[at], batch), batch.present).detection
        assert logits is not None
        probabilities = logits.sigmoid().float().cpu().numpy()
        np.add.at(total, slots[present], probabilities[present])
        np.add.at(count, slots[present], 1)
    return (total / np.maximum(count, 1)).astype(np.float32)


def box_scores(
    model: SkeleTR,
    clips: Sequence[Clip],
    tracklets: Sequence[Tracklet],
    boxes: KeyBoxes,
    sampling: Sampling,
    progress: bool = False,
) -> Scores:
    """Scores (N,60) of key boxes: each is the centre of one sequence, which is found by frame and exact box.

    A box that two overlapping tracklets hold is scored for both, as LART does it. Raises BadInput where no
    skeleton has the box.
    """
    by_video = {clip.skeletons.video: clip for clip in clips}
    wanted = [tracklets[i].video for i in boxes.tracklet.tolist()]
    scored: dict[str, tuple[dict[tuple[float, ...], int], Scores]] = {}
    for video in progress_bar(list(dict.fromkeys(wanted)), desc="predicting", disable=not progress):
        if video not in by_video:
            raise BadInput("skeletons", "video", f"skeletons of {video}", "none")
        clip = by_video[video]
        corners = clip.skeletons.box[clip.found.centre].tolist()
        row = {
            (int(f), *box): number for number, (f, box) in enumerate(zip(clip.frame, corners, strict=True))
        }
        scored[video] = row, sequence_scores(model, clip, sampling)
    found = np.zeros((len(wanted), model.config.classes), np.float32)
    for number, (video, i, t) in enumerate(zip(wanted, boxes.tracklet, boxes.t, strict=True)):
        rows, scores = scored[video]
        key = (int(tracklets[i].frame[t]), *tracklets[i].box[t].tolist())
        if key not in rows:
            raise BadInput("skeletons", f"box of {video}", f"a skeleton with the box {key[1:]}", "none")
        found[number] = scores[rows[key]]
    return found


@torch.no_grad()
def video_scores(
    model: SkeleTR,
    clips: Sequence[Clip],
    sampling: Sampling,
    task: Literal["video", "group"] = "video",
    batch_size: int = 32,
) -> Scores:
    """Scores (N, classes) of whole videos, adding up to 1: all sequences at once.

    Raises BadInput for a video without anybody, and for a head that the model does not have.
    """
    model.eval()
    for clip in clips:
        if not len(clip):
            raise BadInput(clip.skeletons.video or "video", "skeletons", "a person", "none")
    found = []
    for start in range(0, len(clips), batch_size):
        drawn = [whole(clip) for clip in clips[start : start + batch_size]]
        logits = getattr(model(batch_of(drawn, sampling, model.layout).to(model.device)), task)
        if logits is None:
            raise BadInput("SkeleTR", "head", f"one for the task {task}", "none")
        found.append(logits.softmax(-1).float().cpu().numpy())
    return np.concatenate(found)


# ------------------------------------------------------------------------------------ detection on mini_ava


@dataclass(frozen=True)
class SkeletonRecipe:
    """All that decides the scores of one SkeleTR on mini_ava's detection task. Raises BadInput."""

    size: str = "smoke"  # of mini_ava
    data_seed: int = 0  # of mini_ava
    folds: int = 0  # K; 0: the single split
    fold: int = 0  # whose takes are held out
    seed: int = 0  # of weights, samples and dropout
    preset: str = "mini"  # of the model
    pooling: tuple[str, ...] = ("1x1", "Tx1", "1xP")
    depth: int = 2  # encoder blocks; 0: the graph network alone
    embed: bool = True
    keypoints: Kind = "2d"
    unit: Literal["box", "frame"] = "box"
    stream: Stream = "joint"
    links: Links = "overlap"
    frames: int = 10
    step: int = 3
    window: int = 150
    most: int = 20
    mirror: bool = False
    speed: float = 0.0
    shuffled: bool = False  # control: every labelled sequence learns the labels of another one
    epochs: int = 16  # of one window of each video
    batch_size: int = 16
    lr: float = 0.0125
    drops: tuple[float, ...] = (0.75, 0.875)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise BadInput("recipe", "preset", " | ".join(PRESETS), self.preset)
        if self.keypoints not in KINDS:
            raise BadInput("recipe", "keypoints", " | ".join(KINDS), self.keypoints)
        self.config(), self.training()  # raise BadInput
        stride = self.sampling().stride
        if ava.FRAMES_PER_SECOND % stride:  # AVA's key frames, which have the labels, would be left out
            expected = f"half of their product to divide a second's {ava.FRAMES_PER_SECOND} frames"
            found = f"{self.frames} x {self.step}, a stride of {stride}"
            raise BadInput("recipe", "frames and step", expected, found)

    def config(self, **heads: int) -> SkeleTRConfig:
        """The model's; `heads`: classes, video_classes and group_classes."""
        own: Any = {"pooling": self.pooling, "depth": self.depth, "embed": self.embed}
        return preset(self.preset, **own, **heads)

    def sampling(self) -> Sampling:
        """How sequences are made."""
        names = Sampling.__dataclass_fields__
        return Sampling(**{name: value for name, value in asdict(self).items() if name in names})

    def training(self) -> TrainConfig:
        """How it is trained."""
        names = ("epochs", "batch_size", "lr", "drops", "seed")
        return sgd(**{name: getattr(self, name) for name in names})

    def parts(self) -> tuple[int, int] | None:
        """The fold, as `mini_ava` takes it."""
        return (self.fold, self.folds) if self.folds else None

    def data(self) -> MiniAva:
        """Composed if it is not in the cache."""
        return mini_ava(self.size, self.data_seed, fold=self.parts())


@dataclass(frozen=True)
class Trained:
    """A model after its training, and how that went."""

    model: SkeleTR
    history: History


def clips_of(recipe: SkeletonRecipe, split: str) -> list[Clip]:
    """The videos of a split of mini_ava, those of training with their labels."""
    return _clips(recipe.data(), split, recipe.keypoints, recipe.sampling(), recipe.size, recipe.data_seed,
                  recipe.parts())  # fmt: skip


@lru_cache(maxsize=4)
def _clips(
    data: MiniAva,
    split: str,
    kind: Kind,
    sampling: Sampling,
    size: str,
    seed: int,
    fold: tuple[int, int] | None,
) -> list[Clip]:
    truth = read_groundtruth(data.groundtruth(split)) if split == "ava-train" else None
    videos = mini_skeletons(split, size, seed, kind=kind, fold=fold)
    return [clip_of(video, sampling, truth) for video in videos]


def shuffled_labels(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """The clips with the labels of their labelled sequences exchanged at random: a control."""
    labels = np.concatenate([clip.labels[clip.known] for clip in clips])
    labels = np.random.default_rng(seed).permutation(labels)
    exchanged, first = [], 0
    for clip in clips:
        own = clip.labels.copy()
        own[clip.known] = labels[first : first + clip.known.sum()]
        first += int(clip.known.sum())
        exchanged.append(replace(clip, labels=own))
    return exchanged


def labelled_clips(
    videos: Sequence[Skeletons],
    labels: Sequence[int] | NDArray[np.int64],
    sampling: Sampling,
    task: Literal["video", "group"] = "video",
) -> list[Clip]:
    """Whole videos, each with its class (N,), for the video or the group head."""
    targets = [(int(label), -1) if task == "video" else (-1, int(label)) for label in labels]
    return [clip_of(video, sampling, target=own) for video, own in zip(videos, targets, strict=True)]


def trained(
    recipe: SkeletonRecipe,
    run_dir: str | Path | None = None,
    progress: bool = False,
    beside: Sequence[Clip] = (),
    **heads: int,
) -> Trained:
    """A SkeleTR that learnt the recipe's detection task, or the checkpoint that it left in `run_dir`.

    `beside`: `labelled_clips` of another task to be learnt at once (joint training, 3.4), with its head in
    `heads`: video_classes or group_classes. What is stopped goes on in `run_dir`.
    """
    config, sampling = recipe.config(**heads), recipe.sampling()
    decisive = {
        "recipe": asdict(recipe),
        "data": recipe.data().path.name,
        "model": asdict(config),
        "beside": [[clip.skeletons.video, *clip.target, clip.digest()] for clip in beside],
    }
    kept = Kept.of(run_dir, f"skeletr-seed{recipe.seed}", decisive)
    if kept.finished:
        model, _, meta = load_checkpoint(kept.checkpoint or "", SkeleTRConfig, SkeleTR)
        return Trained(model, History(**meta["history"]))
    torch.manual_seed(recipe.seed)
    model = SkeleTR(config)
    clips = clips_of(recipe, "ava-train")
    if recipe.shuffled:
        clips = shuffled_labels(clips, recipe.seed)
    dataset = SkeletonDataset(clips, sampling, config.layout, recipe.seed)
    if beside:
        dataset = JointDataset(dataset, SkeletonDataset(beside, sampling, config.layout, recipe.seed))
    history = train(model, dataset, recipe.training(), progress, state=kept.state, log=kept.log)
    if kept.checkpoint is not None:
        meta = kept.decisive | {"history": asdict(history)}
        save_checkpoint(kept.checkpoint, model, config, meta=meta)
        kept.done()
    return Trained(model, history)


def scores(
    recipe: SkeletonRecipe, run_dir: str | Path | None = None, beside: Sequence[Clip] = (), **heads: int
) -> Scores:
    """Scores (N,60) in 0–1 of the boxes that LART is scored at, `key_boxes` of ava-val's tracklets."""
    model = trained(recipe, run_dir, False, beside, **heads).model
    tracklets = recipe.data().tracklets("ava-val")
    sampling = replace(recipe.sampling(), speed=0.0, mirror=False)
    held_out = clips_of(replace(recipe, speed=0.0, mirror=False), "ava-val")
    return box_scores(model, held_out, tracklets, key_boxes(tracklets), sampling)


def task_scores(
    data: LabelledVideos,
    labels: Sequence[int] | NDArray[np.int64],
    task: Literal["video", "group"],
    config: SkeleTRConfig,
    sampling: Sampling,
    training: TrainConfig,
) -> Scores:
    """Scores (N,classes) in 0–1 of the validation videos of a task with one label a video (3.4).

    The model of `config`, which has a head for the task, reads 2D skeletons, and learns that the training
    videos show `labels` (N,).
    """
    torch.manual_seed(training.seed)
    model = SkeleTR(config)
    learnt = labelled_clips(data.skeletons("train"), labels, sampling, task)
    train(model, SkeletonDataset(learnt, sampling, config.layout, training.seed), training, progress=False)
    plain = replace(sampling, speed=0.0, mirror=False)
    held_out = labelled_clips(data.skeletons("val"), data.labels("val"), plain, task)
    return video_scores(model, held_out, plain, task)
