"""SkeleTR, from top to bottom: skeletons of many short sequences to scores of three tasks (ICCV 2023).

A graph network reads each sequence alone. Mix Pooling makes L features of what it found, a place and a time
are added, and a transformer lets all features of all sequences look at each other. One model, three heads:
who does what (detection), what a video shows, what a group does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.files import BadInput
from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, Layout, STGCNConfig
from lart_mini.training.batches import Batch
from lart_mini.training.config import Bounds, check_fields

POOLINGS = ("1x1", "Tx1", "1xP", "1xV", "TxP")  # frames x joints that are left of T' x V
LIMITS: Bounds = {"depth": (0, 1000), "heads": (1, 1000), "dropout": (0, 0.99), "head_ratio": (0.01, 100)}
RARE = math.log(0.01 / 0.99)  # where the detection head's bias starts: every class at 1 %

# ------------------------------------------------------------------------------------------- input and config


@dataclass(frozen=True, eq=False)
class SkeletonBatch(Batch):
    """B samples (videos, or windows of them) of M slots; what stands in empty ones means nothing."""

    keypoint: Tensor  # (B,M,T,V,C)
    present: Tensor  # (B,M) bool: is there a sequence in the slot
    box: Tensor  # (B,M,4) x1, y1, x2, y2 of the centre skeleton, fractions of the frame
    time: Tensor  # (B,M) of the centre skeleton, from 0 to 1 in the window or the video
    labels: Tensor | None = None  # (B,M,classes) in 0–1, for the detection head
    label_weight: Tensor | None = None  # (B,M) 1 where labels are known
    target: Tensor | None = None  # (B,2) int64: class of the video and of the group, −1 for none

    def weight(self) -> Tensor:
        """(3,): labelled sequences, labelled videos, labelled groups."""
        none = self.time.new_zeros(())
        sequences = none if self.label_weight is None else (self.label_weight * self.present).sum()
        whole = [none, none] if self.target is None else (self.target >= 0).sum(0).to(none.dtype)
        return torch.stack([sequences, *whole])

    def ignored(self) -> SkeletonBatch:
        """The same batch with weight 0."""
        weight = None if self.label_weight is None else torch.zeros_like(self.label_weight)
        target = None if self.target is None else torch.full_like(self.target, -1)
        return replace(self, label_weight=weight, target=target)

    def tokens(self) -> Tensor:
        """How many sequences there are."""
        return self.present.sum().to(self.time.dtype)


@dataclass(frozen=True)
class SkeleTRConfig:
    """Sizes of a SkeleTR: what stands here is SkeleTR-S. Raises BadInput for what none can have.

    The paper's appendix is not public. Widths of heads and hidden layers are those that reproduce the costs
    in its Table 5, blocks and widths of S those that reproduce Tables 2 and 6 (`cost`).
    """

    layout: str = "coco"  # one of LAYOUTS
    channels: int = 3  # of a joint: x, y, score; or x, y, z
    widths: tuple[int, ...] = (64,) * 5 + (128,)  # of the graph network's blocks; the last is the model's, d
    strides: tuple[int, ...] = (1,) * 5 + (2,)  # of the blocks, in time
    padded: Literal["left out", "zeros"] = (
        "left out"  # what the graph network sees of empty slots (STGCNConfig)
    )
    pooling: tuple[str, ...] = ("1x1", "Tx1", "1xP")  # Mix Pooling; each one of POOLINGS
    depth: int = 2  # encoder blocks; 0: the graph network alone
    heads: int = 8
    head_ratio: float = 0.5  # of d: so that eight heads have an inner width of 4 d
    hidden_ratio: float = 2.0  # of d
    dropout: float = 0.1
    embed: bool = True  # do features know the place and time of their sequence
    classes: int = 60  # of the detection head
    video_classes: int = 0  # of the video head; 0: there is none
    group_classes: int = 0  # of the group head; 0: there is none

    def __post_init__(self) -> None:
        check_fields("SkeleTR", self, LIMITS)
        if not self.pooling or not set(self.pooling) <= set(POOLINGS):
            raise BadInput("SkeleTR", "pooling", f"one or more of {', '.join(POOLINGS)}", self.pooling)
        if not self.classes + self.video_classes + self.group_classes:
            raise BadInput("SkeleTR", "classes", "a head", "none")
        self.backbone()  # raises BadInput

    def backbone(self) -> STGCNConfig:
        """The graph network's part."""
        return STGCNConfig(self.layout, self.channels, self.widths, self.strides, self.padded)

    @property
    def width(self) -> int:
        """d."""
        return self.widths[-1]

    def features(self, frames: int) -> int:
        """L of a sequence of `frames` frames."""
        layout, left = LAYOUTS[self.layout], self.backbone().frames_left(frames)
        sizes = {"1": 1, "T": left, "P": len(layout.parts), "V": layout.joints}
        return sum(sizes[one[0]] * sizes[one[2]] for one in self.pooling)


PUBLISHED = STGCNConfig()
PRESETS = {
    "mini": SkeleTRConfig(widths=(24, 24, 48), strides=(1, 1, 2)),  # for a laptop's CPU
    "S": SkeleTRConfig(),
    "L": SkeleTRConfig(widths=PUBLISHED.widths, strides=PUBLISHED.strides),
}


def preset(name: str, **changes: Any) -> SkeleTRConfig:
    """One of PRESETS with some fields changed. Raises BadInput."""
    if name not in PRESETS:
        raise BadInput("SkeleTR", "preset", " | ".join(PRESETS), name)
    return replace(PRESETS[name], **changes)


# ------------------------------------------------------------------------------------------------ the network


class Encoder(nn.Module):
    """Attention, then two layers, each followed by its norm ("post-layernorm style", 3.3)."""

    def __init__(self, config: SkeleTRConfig) -> None:
        super().__init__()
        d = config.width
        self.heads, inner = config.heads, round(d * config.head_ratio) * config.heads
        hidden = round(d * config.hidden_ratio)
        self.qkv, self.out = nn.Linear(d, 3 * inner, bias=False), nn.Linear(inner, d)
        self.mlp = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))
        self.norm1, self.norm2, self.drop = nn.LayerNorm(d), nn.LayerNorm(d), nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B,S,d) and which of them may be looked at (B,S) -> (B,S,d)."""
        q, k, v = self._split(x)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        x = self.norm1(x + self.drop(self.out(y.transpose(1, 2).flatten(2))))
        return self.norm2(x + self.drop(self.mlp(x)))

    def attention(self, x: Tensor, mask: Tensor) -> Tensor:
        """Who looks at whom: (B,heads,S,S), rows add up to 1."""
        q, k, _ = self._split(x)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~mask[:, None, None], -math.inf).softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        """q, k and v: (3,B,heads,S,width of a head)."""
        return self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)


class Logits(NamedTuple):
    """What the heads say; None where there is no such head."""

    detection: Tensor | None  # (B,M,classes) of each sequence
    video: Tensor | None  # (B,video_classes)
    group: Tensor | None  # (B,group_classes)


class SkeleTR(nn.Module):
    """SkeletonBatch -> Logits."""

    parts: Tensor  # (V,P) what a joint counts for in the mean of each part

    def __init__(self, config: SkeleTRConfig) -> None:
        super().__init__()
        self.config, d = config, config.width
        self.backbone = STGCNPP(config.backbone())
        if config.depth:
            self.place, self.norm = nn.Linear(5, d), nn.LayerNorm(d)
        self.encoder = nn.ModuleList(Encoder(config) for _ in range(config.depth))
        self.detection = nn.Linear(d, config.classes) if config.classes else None
        self.video = nn.Linear(d, config.video_classes) if config.video_classes else None
        self.group = nn.Linear(d, config.group_classes) if config.group_classes else None
        if self.detection is not None:
            nn.init.constant_(self.detection.bias, RARE)
        parts = [torch.eye(LAYOUTS[config.layout].joints)[list(p)] for p in LAYOUTS[config.layout].parts]
        self.register_buffer("parts", torch.stack([part.mean(0) for part in parts], 1), persistent=False)

    @property
    def layout(self) -> Layout:
        """Of the skeletons that it reads."""
        return LAYOUTS[self.config.layout]

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.parts.device

    def forward(self, batch: SkeletonBatch) -> Logits:
        """The heads read the sequences' features, or the mean of a sample's."""
        features = self.relate(self.pooled(batch.keypoint, batch.present), batch)
        return self.scored(features, batch.present)

    def pooled(self, keypoint: Tensor, present: Tensor) -> Tensor:
        """The graph network and Mix Pooling: (B,M,T,V,C), (B,M) -> (B,M,L,d), zeros in empty slots."""
        if self.config.padded == "zeros":
            return self.mix(self.backbone.sequences(keypoint.flatten(0, 1))).unflatten(0, present.shape)
        tokens = self.mix(self.backbone.sequences(keypoint[present]))  # (n,L,d)
        return tokens.new_zeros(*present.shape, *tokens.shape[1:]).index_put((present,), tokens)

    def mix(self, x: Tensor) -> Tensor:
        """Mix Pooling (3.3): (n,d,T',V) -> (n,L,d), its streams one after another."""
        streams = []
        for one in self.config.pooling:
            y = x.mean(2, keepdim=True) if one[0] == "1" else x  # frames
            if one[2] == "1":  # joints
                y = y.mean(3, keepdim=True)
            elif one[2] == "P":
                y = y @ self.parts
            streams.append(y.flatten(2))
        return torch.cat(streams, dim=2).transpose(1, 2)

    def relate(self, tokens: Tensor, batch: SkeletonBatch) -> Tensor:
        """The sequences' features (B,M,L,d), placed and related, a mean each: (B,M,d)."""
        if not self.config.depth:
            return tokens.mean(2)
        x, mask = self.placed(tokens, batch), seen(batch.present, tokens.shape[2])
        for block in self.encoder:
            x = block(x, mask)
        return x.view(tokens.shape).mean(2)

    def placed(self, tokens: Tensor, batch: SkeletonBatch) -> Tensor:
        """Features (B,M,L,d) with the embedding of box and time, one for a whole sequence: (B,M·L,d)."""
        if self.config.embed:
            where = torch.cat([batch.box, batch.time[..., None]], dim=-1)  # (B,M,5)
            tokens = tokens + self.place(where)[:, :, None]
        return self.norm(tokens).flatten(1, 2)

    def scored(self, features: Tensor, present: Tensor) -> Logits:
        """The heads on features (B,M,d); video and group read the mean of the sequences that are there."""
        there = present[..., None].to(features.dtype)
        mean = (features * there).sum(1) / there.sum(1).clamp(min=1)
        return Logits(
            None if self.detection is None else self.detection(features),
            None if self.video is None else self.video(mean),
            None if self.group is None else self.group(mean),
        )

    @torch.no_grad()
    def attentions(self, batch: SkeletonBatch) -> list[Tensor]:
        """Who looks at whom in each encoder block: (B,heads,M·L,M·L)."""
        tokens = self.pooled(batch.keypoint, batch.present)
        x, mask, found = self.placed(tokens, batch), seen(batch.present, tokens.shape[2]), []
        for block in self.encoder:
            found.append(block.attention(x, mask))  # type: ignore[operator]
            x = block(x, mask)
        return found


def seen(present: Tensor, features: int) -> Tensor:
    """Which features (B,M·L) may be looked at: present sequences'; where there are none, all."""
    return (present | ~present.any(1, keepdim=True)).repeat_interleave(features, 1)


# ------------------------------------------------------------------------------------------------------ costs


class Cost(NamedTuple):
    """Numbers that are learnt, heads left out, and multiplications of one sample, norms left out."""

    parameters: int
    backbone: int
    encoder: int


def cost(config: SkeleTRConfig, sequences: int, frames: int) -> Cost:
    """Of `sequences` sequences of `frames` frames each; the paper's M and G are 2^20 and 2^30 of these.

    What Tables 2, 5 and 6 count is not written in them; multiplications alone fit.
    """
    model = SkeleTR(config)
    heads = sum(p.numel() for head in (model.detection, model.video, model.group) if head is not None
                for p in head.parameters())  # fmt: skip
    parameters = sum(p.numel() for p in model.parameters()) - heads
    d, tokens = config.width, sequences * config.features(frames)
    inner, hidden = round(d * config.head_ratio) * config.heads, round(d * config.hidden_ratio)
    encoder = tokens * d * (4 * inner + 2 * hidden) + 2 * tokens**2 * inner
    return Cost(parameters, sequences * _one_sequence(config.backbone(), frames), config.depth * encoder)


def _one_sequence(config: STGCNConfig, frames: int) -> int:
    """Multiplications of the graph network."""
    joints, total = LAYOUTS[config.layout].joints, 0
    for number, ((c, width), stride) in enumerate(
        zip(pairwise((config.channels, *config.widths)), config.strides, strict=True)
    ):
        left, sixth = -(-frames // stride), width // 6
        space = 3 * c * width + 3 * joints * width + (c != width) * c * width
        fronts = width * (width - sixth)
        dilated = 3 * ((width - 5 * sixth) ** 2 + 3 * sixth**2)
        residual = number > 0 and (c != width or stride != 1)
        total += joints * frames * (space + fronts)
        total += joints * left * (dilated + width * sixth + width * width + residual * c * width)
        frames = left
    return total
