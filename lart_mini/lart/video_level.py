"""LART at video level: one label a video, read off a class token that goes through the blocks with
everybody's.

The paper scores people; Kinetics labels videos. The released code has a head for them, on a class token that
is put behind the blocks' output: the head reads a constant and never sees the input. Here the token goes in
before the blocks and attends to all who are detected. `class_token="after"` is the released way, to be looked
at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig, StageConfig, assembly_for
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.model import LART, Plan
from lart_mini.lart.recipe import train
from lart_mini.lart.rows import Draw
from lart_mini.lart.tokens import Stats, TokenBatch
from lart_mini.tracklets.tracklet import Tracklet
from lart_mini.training.devices import usual_device
from lart_mini.training.loop import History

ClassToken = Literal["before", "after"]


# -------------------------------------------------------------------------------------------------- the model


class VideoLART(LART):
    """A TokenBatch of B videos, up to P people in T frames -> logits (B, classes) of `config.classes`."""

    def __init__(self, config: LARTConfig, class_token: ClassToken = "before") -> None:
        if class_token not in get_args(ClassToken):
            raise BadInput("model", "class_token", " | ".join(get_args(ClassToken)), class_token)
        super().__init__(config)
        self.where = class_token
        self.class_token = nn.Parameter(torch.randn(config.width) * 0.02)
        nn.init.zeros_(self.head.bias)  # one class is true, not 1 % of them

    def forward(self, batch: TokenBatch) -> Tensor:
        """Logits (B, classes); raises BadInput for a batch that does not fit the config."""
        self.check(batch)
        plan = self.plan(batch)
        x = self.tokens(batch, plan)
        token = self.class_token.to(x.dtype).expand(len(x), 1, -1)  # (B, 1, D)
        mask, uniform = plan.mask, plan.uniform
        if self.where == "before":
            x, mask, uniform = torch.cat([token, x], dim=1), with_class_row(plan), with_class_token(uniform)
        for block in self.blocks:
            x = block(x, mask, uniform)
        if self.where == "after":
            x = torch.cat([token, x], dim=1)
        return self.head(x[:, 0])

    def check(self, batch: TokenBatch) -> None:
        """As LART's; labels are the videos', not the tokens'."""
        super().check(batch.with_mask(None))


def with_class_token(uniform: Tensor | None) -> Tensor | None:
    """Plan.uniform (B, L) with the class token before all others: it never attends to all alike."""
    return None if uniform is None else F.pad(uniform, (1, 0), value=False)


def with_class_row(plan: Plan) -> Tensor | None:
    """The plan's mask (B, 1, L or 1, K) with the class token before all others, as row and as column.

    All may attend to it, and it attends to itself and to whomever any real token attends to.
    """
    if plan.mask is None:
        return None
    rows = plan.mask
    if rows.shape[2] > 1:
        counts = torch.ones_like(rows[:, 0, :, 0]) if plan.real is None else plan.real
        if plan.uniform is not None:
            counts = counts & ~plan.uniform
        own = (rows & counts[:, None, :, None]).any(dim=2, keepdim=True)
        rows = torch.cat([own, rows], dim=2)
    return F.pad(rows, (1, 0), value=True)


# ------------------------------------------------------------------------------------------------ its samples


@dataclass(frozen=True, eq=False)
class VideoBatch(TokenBatch):
    """B videos and what each shows."""

    label: Tensor | None = None  # (B,) class numbers, −1 where nothing is to be learnt

    def weight(self) -> Tensor:
        """Videos with a label: what the loss is a mean over."""
        assert self.label is not None
        return (self.label >= 0).sum().float()

    def ignored(self) -> VideoBatch:
        """The same batch with nothing to learn."""
        assert self.label is not None
        return VideoBatch(**self.tensors() | {"label": torch.full_like(self.label, -1)})


class VideoDataset(TrackletDataset):
    """Every video once, a sample of its people in its first frames; an item is a VideoBatch of one.

    Training: people take the slots in random order, and `mask_ratio` of the detected tokens are masked. Test:
    whoever is detected most comes first. Raises BadInput for a video without any tracklet or with those of
    several scenes, and for labels that are not one a video.
    """

    def __init__(
        self,
        videos: Sequence[Sequence[Tracklet]],
        labels: NDArray[np.int64],
        *,
        stats: Stats,
        config: LARTConfig,
        train: bool,
        seed: int = 0,
        mask_ratio: float = 0.0,
    ) -> None:
        members = [tracklet for tracklets in videos for tracklet in tracklets]
        super().__init__(
            members,
            stats=stats,
            train=train,
            profile=assembly_for(config, train=train),
            frames=config.frames,
            people=config.people,
            seed=seed,
            mask_ratio=mask_ratio,
        )
        if len(labels) != len(videos):
            raise BadInput("video level", "labels", f"{len(videos)}, one a video", len(labels))
        self.label, self.people_of, first = torch.as_tensor(labels), [], 0
        for number, tracklets in enumerate(videos):
            if not tracklets:
                raise BadInput("video level", f"video {number}", "a tracklet", "none")
            scenes = sorted({one.scene for one in tracklets})
            if len(scenes) > 1:
                raise BadInput("video level", f"video {number}", "tracklets of one scene", scenes)
            seen = [-int(one.detected.sum()) for one in tracklets]
            self.people_of.append((first + np.argsort(seen, kind="stable")).tolist())
            first += len(tracklets)
        self.egos = [people[0] for people in self.people_of]

    def draw(self, index: int) -> Draw:
        """What item `index` is made of."""
        people = self.people_of[index]
        if not self.train:
            return Draw(people[0], people[1:], 0, None)
        generator = self.chance.of(index)
        mixed = [people[k] for k in generator.permutation(len(people))]
        return Draw(mixed[0], mixed[1:], 0, generator.random((self.people, self.frames)))

    def load(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """As EgoDataset's, the labels among it."""
        return super().load(indices) | {"label": self.label[list(indices)]}

    def place(self, loaded: dict[str, Tensor], device: torch.device) -> VideoBatch:
        """As EgoDataset's."""
        label = loaded.pop("label").to(device)
        return VideoBatch(**super().place(loaded, device).tensors(), label=label)

    def __getitem__(self, index: int) -> VideoBatch:
        return self.place(self.load([index]), torch.device("cpu"))


# ---------------------------------------------------------------------------------------- training and scores


def video_loss(logits: Tensor, batch: VideoBatch, weight: Tensor) -> Tensor:
    """Cross-entropy of logits (B, C), the mean over the labelled videos of the whole batch."""
    assert batch.label is not None
    return F.cross_entropy(logits.float(), batch.label, ignore_index=-1, reduction="sum") / weight.clamp(
        min=1
    )


def train_on_videos(
    model: VideoLART, dataset: VideoDataset, config: StageConfig, progress: bool = True, **how: Any
) -> History:
    """Train `model` in place, as `train` does; `how`: its fabric and workers, and the files it takes."""
    return train(model, dataset, config, progress, loss=video_loss, **how)


@torch.no_grad()
def video_scores(model: VideoLART, dataset: VideoDataset, batch_size: int = 32) -> NDArray[np.float32]:
    """Probabilities (N, classes) of the videos of a test data set, in its order."""
    model = model.to(usual_device()).eval()
    device, found = model.class_token.device, []
    for first in range(0, len(dataset), batch_size):
        numbers = range(first, min(first + batch_size, len(dataset)))
        found.append(model(dataset.place(dataset.load(numbers), device)).softmax(dim=-1).float().cpu())
    model.cpu()
    return torch.cat(found).numpy()
