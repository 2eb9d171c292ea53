"""How an Action Transformer is trained and asked: losses, boxes that are given or proposed, AVA's rows.

`box_scores` asks it about anybody's boxes, so that it is compared with LART on LART's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.action_transformer.datasets import (
    ClipDataset,
    KeyClip,
    MapsWatched,
    Sampling,
    Watched,
    batch_of,
    key_clips,
    on_picture,
)
from lart_mini.action_transformer.model import (
    PRESETS,
    ActionTransformer,
    ActionTransformerConfig,
    ClipBatch,
    Output,
    preset,
)
from lart_mini.action_transformer.proposals import decode, encode, nms, overlaps, rpn_loss
from lart_mini.action_transformer.trunk import TIME_STRIDE
from lart_mini.appearance.features import rendered_maps
from lart_mini.data.rendered import Rendered, rendered
from lart_mini.evaluation.ava_csv import CORNERS, read_groundtruth
from lart_mini.files import BadInput, shipped
from lart_mini.progress import progress as progress_bar
from lart_mini.training.batches import Batches
from lart_mini.training.checkpoints import Kept, load_checkpoint, save_checkpoint
from lart_mini.training.config import TrainConfig, check_fields
from lart_mini.training.devices import share_of
from lart_mini.training.loop import History, fit

SOMEBODY = 0.5  # overlap from which a proposal is a person's (API)
BOX_WEIGHT, RPN_WEIGHT = 1.0, 0.5  # beside 1 for the classes
WEIGHT_DECAY = 0.02
SAME = 0.5  # overlap from which two found boxes are one person
PICTURE_SIZE = (108, 192)  # height, width of the pictures that the frozen trunk sees
ROWS = 0.001  # scores below are no rows
Scores = NDArray[np.float32]

# ----------------------------------------------------------------------------------------------- one training


@torch.no_grad()
def targets(output: Output, batch: ClipBatch) -> tuple[Tensor, Tensor]:
    """Whose each box is (B,M), −1 nobody's, and which of them are learnt from (B,M).

    Boxes that were given are of the person of their slot; a proposal is of whom it overlaps most, by half.
    """
    slots = batch.box.shape[1]
    who = torch.arange(slots, device=batch.box.device).expand(len(batch.box), -1)
    if output.boxes.shape[1] > slots:
        over = overlaps(output.boxes[:, slots:], batch.box).masked_fill(~batch.present[:, None], 0)
        best, other = over.max(-1)
        who = torch.cat([who, torch.where(best >= SOMEBODY, other, -1)], dim=1)
    return who, (output.objectness > 0) & batch.present.any(1, keepdim=True)


def loss(output: Output, batch: ClipBatch, weight: Tensor | None = None) -> Tensor:
    """Sigmoid cross-entropy of every class + smooth L1 of the box's code + the proposals' two (3.4, 3.5).

    The classes' is a sum over classes; it and the code's are means over people where boxes are given, else of
    each clip's boxes and then over clips. Of codes by class, those of what a person does are learnt, in the
    mean. `weight` (2,): of the whole batch, where `batch` is a part of it.
    """
    weight = (batch.weight() if weight is None else weight).clamp(min=1)
    assert batch.labels is not None
    who, there = targets(output, batch)
    own = who.clamp(min=0)[..., None]  # (B,M,1)
    somebody = (who >= 0)[..., None]
    known = batch.labels.gather(1, own.expand(-1, -1, batch.labels.shape[-1])) * somebody
    by_class = output.code.shape[2] > 1
    share = known / known.sum(-1, keepdim=True).clamp(min=1) if by_class else somebody.float()
    known = torch.cat([known, (~somebody).to(known.dtype)], dim=-1)  # the last class is the background
    each = F.binary_cross_entropy_with_logits(output.logits.float(), known, reduction="none").sum(-1)
    wanted = encode(batch.box.gather(1, own.expand(-1, -1, 4)), output.boxes)[:, :, None]  # (B,M,1,4)
    apart = F.smooth_l1_loss(output.code.float(), wanted.expand_as(output.code), reduction="none").sum(-1)
    boxes = (apart * share).sum(-1)
    each = torch.where(there, each + BOX_WEIGHT * boxes, 0)
    if output.boxes.shape[1] > batch.box.shape[1]:
        by_clip = each.sum(1) / there.sum(1).clamp(min=1)
        total = by_clip.sum() / weight[1]
    else:
        total = each.sum() / weight[0]
    regions = rpn_loss(output.regions, batch.box, batch.present) * batch.present.any(1)
    return total + RPN_WEIGHT * regions.sum() / weight[1]


def adamw(**changes: Any) -> TrainConfig:
    """Ours, for a laptop: AdamW with one warm-up and a cosine. The paper's is `paper_sgd`."""
    usual: dict[str, Any] = {
        "epochs": 30, "batch_size": 8, "lr": 1e-3, "warmup_epochs": 2.0, "clip": 5.0, "record": False,
    }  # fmt: skip
    return TrainConfig(**(usual | changes))


def paper_sgd(**changes: Any) -> TrainConfig:
    """The paper's training (3.5): SGD, 30 clips a step, 0.1 after 1,000 steps of warm-up, a cosine.

    500,000 steps of AVA's 211,000 clips are 71 epochs. It warms up from 0.01, ours from near 0; momentum is
    not named: 0.9, and no decay.
    """
    usual: dict[str, Any] = {
        "optimizer": "SGD", "epochs": 71, "batch_size": 30, "lr": 0.1, "warmup_steps": 1000, "clip": 0.0,
        "record": False,
    }  # fmt: skip
    return TrainConfig(**(usual | changes))


def train(
    model: ActionTransformer, dataset: ClipDataset, config: TrainConfig, progress: bool = True, **kept: Any
) -> History:
    """Train `model` in place; `kept`: fabric, state and log of `training.fit`, and save_every.

    Raises BadInput for clips whose labels are of other classes than the model's.
    """
    for width in {clip.labels.shape[1] for clip in dataset.clips} - {model.config.classes}:
        raise BadInput("clips", "labels", f"{model.config.classes} classes, as the model has", width)
    groups = []
    for many, decay in ((True, WEIGHT_DECAY), (False, 0.0)):  # biases and norms do not decay
        own = [one for one in model.parameters() if (one.ndim > 1) == many and one.requires_grad]
        groups.append({"params": own, "scale": 1.0, "weight_decay": decay, "lr": 0.0})
    batches = Batches(dataset, config.batch_size, seed=config.seed, **share_of(kept.get("fabric")))
    return fit(model, batches, loss, groups, config, progress=progress, **kept)


# ---------------------------------------------------------------------------------------------------- answers


def _batches(
    clips: Sequence[KeyClip], sampling: Sampling, size: int, progress: bool
) -> Iterator[tuple[Sequence[KeyClip], ClipBatch]]:
    for start in progress_bar(range(0, len(clips), size), desc="watching", disable=not progress):
        some = clips[start : start + size]
        yield some, batch_of(some, sampling)


@torch.no_grad()
def box_scores(
    model: ActionTransformer,
    clips: Sequence[KeyClip],
    sampling: Sampling,
    batch_size: int = 8,
    progress: bool = False,
) -> Scores:
    """Scores (N,C) in 0–1 of all clips' boxes, one after another: the boxes are given, none is proposed."""
    model.eval()
    found = [np.zeros((0, model.config.classes), np.float32)]
    for _, batch in _batches(clips, sampling, batch_size, progress):
        batch = batch.to(model.device)
        output = model.look(batch.video, (batch.asked, batch.present.float()))
        found.append(output.logits[batch.present][:, :-1].sigmoid().float().cpu().numpy())
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Detected:
    """The boxes that a network found on the key frames of some clips, best first within each."""

    clip: NDArray[np.int64]  # (K,) number of the clip
    box: NDArray[np.float32]  # (K,4) corners, fractions of the picture
    objectness: NDArray[np.float32]  # (K,)
    scores: Scores  # (K,C) classes x objectness

    def table(self, clips: Sequence[KeyClip]) -> pl.DataFrame:
        """AVA's rows, as `read_detections` gives them; without scores that can change nothing.

        Raises BadInput for scores of other classes than the 60 that AVA evaluates.
        """
        if self.scores.shape[1] != len(ava.EVALUATED):
            expected = f"the {len(ava.EVALUATED)} classes that AVA evaluates"
            raise BadInput("detections", "scores", expected, self.scores.shape[1])
        box, column = np.nonzero(self.scores > ROWS)
        own, corners = [clips[number] for number in self.clip[box].tolist()], self.box[box].astype(np.float64)
        columns: dict[str, Any] = {"video": [one.video for one in own], "second": [one.second for one in own]}
        columns |= {name: corners[:, number].round(4) for number, name in enumerate(CORNERS)}
        score = self.scores[box, column].astype(np.float64)
        return pl.DataFrame(columns | {"action": np.array(ava.EVALUATED)[column], "score": score})


@torch.no_grad()
def detect(
    model: ActionTransformer, clips: Sequence[KeyClip], sampling: Sampling, proposals: int
) -> Detected:
    """Who is where and does what: R proposals, tightened by the head, then one NMS for all classes.

    Where the regression is by class, each class has boxes and an NMS of its own, and a box has a score of its
    class alone. A score is the class's times the objectness; the paper does not say.
    """
    model.eval()
    parts: list[list[Any]] = [[] for _ in range(4)]
    number = 0
    for some, batch in _batches(clips, sampling, 8, False):
        output = model.look(batch.video.to(model.device), None, proposals)
        boxes = decode(output.code, output.boxes[:, :, None])  # (B,N,1 or classes,4)
        scores = output.logits[..., :-1].sigmoid() * output.objectness[..., None]
        count = scores.shape[-1]  # of classes; `told` says which of them each box is of
        told = torch.eye(count) if boxes.shape[2] == count else torch.ones(1, count)
        for place, clip in enumerate(some):
            there = (output.objectness[place] > 0).nonzero()[:, 0]
            for column in range(boxes.shape[2]):
                own = scores[place] * told[column].to(scores)
                rows = there[nms(boxes[place, there, column], own[there].amax(-1), SAME, proposals)]
                parts[0].append(np.full(len(rows), number))
                parts[1].append(on_picture(boxes[place, rows, column].cpu().numpy(), clip.watched))
                parts[2].append(output.objectness[place, rows].cpu().numpy())
                parts[3].append(own[rows].cpu().numpy())
            number += 1
    return Detected(*(np.concatenate(part) for part in parts))


@torch.no_grad()
def proposal_ranks(
    model: ActionTransformer,
    clips: Sequence[KeyClip],
    sampling: Sampling,
    proposals: int,
    threshold: float = 0.5,
) -> NDArray[np.int64]:
    """Of each box of the clips (N,) the place of the first of R proposals that overlaps it so; R for none.

    Recall with the r best proposals, r ≤ R, is the share of places below r.
    """
    model.eval()
    found = [np.zeros(0, np.int64)]
    for _, batch in _batches(clips, sampling, 8, False):
        batch = batch.to(model.device)
        hit = overlaps(batch.box, model.look(batch.video, None, proposals).boxes) >= threshold  # (B,N,R)
        rank = torch.where(hit.any(-1), hit.float().argmax(-1), proposals)
        found.append(rank[batch.present].cpu().numpy())
    return np.concatenate(found)


# ------------------------------------------------------------------------------------- on rendered mini_ava


@dataclass(frozen=True)
class ActionRecipe:
    """All that decides the scores of one Action Transformer on the rendered data. Raises BadInput."""

    size: str = "smoke"  # of rendered mini_ava
    data_seed: int = 0
    folds: int = 0  # K; 0: the single split
    fold: int = 0  # whose takes are held out
    train_videos: int = 0  # of them, the first so many; 0: all
    val_videos: int = 0
    seed: int = 0  # of weights, samples and dropout
    preset: str = "mini"
    head: Literal["Tx", "I3D", "Tx+I3D"] = "Tx"
    query: Literal["high", "low"] = "high"
    location: int = 16
    heads: int = 2  # side by side
    layers: int = 3  # one after another
    regression: Literal["shared", "by class"] = "shared"
    proposals: int = 0  # R in training; 0: true boxes
    dropout: float = 0.3
    frames: int = 8
    mirror: bool = True
    shake: float = 0.08
    epochs: int = 30
    batch_size: int = 8
    lr: float = 1e-3

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise BadInput("recipe", "preset", " | ".join(PRESETS), self.preset)
        if PRESETS[self.preset].trunk != "frozen":
            raise BadInput("recipe", "preset", "one that reads a frozen network's maps", self.preset)
        check_fields("recipe", self, {"dropout": (0, 0.99), "frames": (TIME_STRIDE, 1000)})
        self.config(), self.sampling(), self.training()  # raise BadInput

    def config(self) -> ActionTransformerConfig:
        """The model's."""
        names = ("head", "query", "location", "heads", "layers", "regression", "proposals", "dropout")
        return preset(self.preset, **{name: getattr(self, name) for name in names})

    def sampling(self) -> Sampling:
        """How clips are cut."""
        return Sampling(frames=self.frames, mirror=self.mirror, shake=self.shake)

    def training(self) -> TrainConfig:
        """How it is trained."""
        names = ("epochs", "batch_size", "lr", "seed")
        return adamw(**{name: getattr(self, name) for name in names})

    def data(self) -> Rendered:
        """Composed if it is not in the cache."""
        fold = (self.fold, self.folds) if self.folds else None
        return rendered(self.size, self.data_seed, fold=fold)

    def clips(self, split: str) -> list[KeyClip]:
        """The annotated key frames of a split, with the frozen trunk's maps."""
        data, videos = self.data(), self.train_videos if split == "ava-train" else self.val_videos
        watched = watched_maps(data, split, videos)
        truth = read_groundtruth(data.groundtruth(split))
        return key_clips(truth.filter(pl.col("video").is_in(list(watched))), watched)


def load_shipped() -> ActionTransformer:
    """The preset `mini` that comes along (CPU, eval mode); benchmarks/action_transformer.py trained it."""
    path = shipped("data_samples") / "action_transformer" / "mini.safetensors"
    model, _, _ = load_checkpoint(path, ActionTransformerConfig, ActionTransformer)
    return model.eval()


@lru_cache(maxsize=4)
def watched_maps(data: Rendered, split: str, videos: int = 0) -> dict[str, Watched]:
    """The first `videos` of a split (0: all) by their names, as the frozen trunk sees them.

    Raises BadInput as `rendered_maps` does.
    """
    names = data.videos(split)["video"].to_list()
    chosen = range(min(videos or len(names), len(names)))
    found = rendered_maps(data, split, chosen, size=PICTURE_SIZE, step=Sampling().step)
    return {names[index]: MapsWatched(maps) for index, maps in found.items()}


@dataclass(frozen=True)
class Trained:
    """A model after its training, and how that went."""

    model: ActionTransformer
    history: History


def trained(recipe: ActionRecipe, run_dir: str | Path | None = None, progress: bool = False) -> Trained:
    """An Action Transformer that learnt the recipe's training takes, or the checkpoint it left in `run_dir`.

    What is stopped goes on in `run_dir`.
    """
    config = recipe.config()
    decisive = {"recipe": asdict(recipe), "data": recipe.data().path.name, "model": asdict(config)}
    kept = Kept.of(run_dir, f"action_transformer-{recipe.head}-seed{recipe.seed}", decisive)
    if kept.finished:
        model, _, meta = load_checkpoint(kept.checkpoint or "", ActionTransformerConfig, ActionTransformer)
        return Trained(model, History(**meta["history"]))
    torch.manual_seed(recipe.seed)
    model = ActionTransformer(config)
    dataset = ClipDataset(recipe.clips("ava-train"), recipe.sampling(), recipe.seed)
    history = train(model, dataset, recipe.training(), progress, state=kept.state, log=kept.log)
    if kept.checkpoint is not None:
        meta = kept.decisive | {"history": asdict(history)}
        save_checkpoint(kept.checkpoint, model, config, meta=meta)
        kept.done()
    return Trained(model, history)


def longer(recipe: ActionRecipe, frames: int) -> Sampling:
    """Clips of another length for the test: "96 frames compared to 64 frames at training" (4.5)."""
    return replace(recipe.sampling(), frames=frames)
