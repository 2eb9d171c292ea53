"""The Video Action Transformer, from top to bottom: a clip to who does what on its key frame (CVPR 2019).

A trunk watches the clip, a region proposal network says where people are on the key frame, and a head asks
for each of them: the person is the query, the whole clip is what it looks at. Where the paper is silent, the
choice is ours and stands beside it. B clips, N boxes, T' x H' x W' cells of the trunk's map, queries of D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.action_transformer.proposals import RPN, Regions, propose
from lart_mini.action_transformer.trunk import I3D, FrozenMaps, Norm, TubeLayers
from lart_mini.files import BadInput
from lart_mini.training.batches import Batch
from lart_mini.training.config import Bounds, check_fields

ROI = 7  # cells of a pooled box, each way; RoIPool samples twice as many (3.4)
RARE = math.log(0.03 / 0.97)  # where every class's bias starts: else the first epochs are spent on finding it
LIMITS: Bounds = {
    "channels": (1, 100_000), "given": (1, 100_000), "scale": (0.01, 1), "width": (1, 100_000),
    "heads": (1, 1000), "layers": (1, 1000), "dropout": (0, 0.99), "classes": (1, 100_000), "nms": (0.01, 1),
    "anchor_scales": (0.001, 10), "anchor_aspects": (0.01, 100), "wide": (0.01, 100), "cells": (1, 100_000),
}  # fmt: skip

# ------------------------------------------------------------------------------------------- input and config


@dataclass(frozen=True, eq=False)
class ClipBatch(Batch):
    """B clips with N slots for people; what stands in empty slots means nothing.

    Boxes are corners x1, y1, x2, y2 on the key frame, frame T // 2 of the clip, as fractions of the picture.
    """

    video: Tensor  # (B,T,3,H,W) frames, uint8; or (B,T,C,H',W') a frozen network's maps of the frames
    box: Tensor  # (B,N,4) where people are
    present: Tensor  # (B,N) bool: is there somebody in the slot
    asked: Tensor  # (B,N,4) the boxes that the head is given: `box`, or shaken in training
    labels: Tensor | None = None  # (B,N,classes) in 0–1

    def weight(self) -> Tensor:
        """(2,): people, clips."""
        return torch.stack([self.present.sum(), self.present.any(1).sum()]).float()

    def ignored(self) -> ClipBatch:
        """The same batch with weight 0."""
        return replace(self, present=torch.zeros_like(self.present))

    def tokens(self) -> Tensor:
        """How many clips there are."""
        return self.weight()[1]


@dataclass(frozen=True)
class ActionTransformerConfig:
    """Sizes of an Action Transformer; what stands here is `mini`. Raises BadInput for what none can have."""

    trunk: Literal["frozen", "I3D"] = "frozen"
    given: int = 152  # channels of frozen maps
    channels: int = 64  # that are made of them
    scale: float = 0.125  # widths of I3D's blocks, in trunk and head, beside the published ones
    norm: Norm = "group"  # "batch" is fixed, as published
    cells: tuple[int, int, int] = (4, 14, 24)  # T', H', W' of the training clips: the unit of places
    location: int = 16  # width of each of the two embeddings of place and time; 0: there are none
    head: Literal["Tx", "I3D", "Tx+I3D"] = "Tx"  # the last: Tx classifies, I3D regresses (4.4)
    query: Literal["high", "low"] = "high"
    kept: int = 16  # channels that HighRes keeps of every cell
    width: int = 64  # D of queries, keys and values
    hidden: int = 64  # of a unit's MLP
    heads: int = 2
    layers: int = 3
    dropout: float = 0.3
    classes: int = 60  # beside the background
    regression: Literal["shared", "by class"] = "shared"  # one box for all classes, or one for each (Table 5)
    proposals: int = 0  # R; 0: the head is given boxes
    nms: float = 0.6  # overlap from which proposals are the same; the published code base: 0.7
    rpn_width: int = 64
    anchor_scales: tuple[float, ...] = (0.13, 0.22, 0.35, 0.54)  # square root of the area, in frame heights
    anchor_aspects: tuple[float, ...] = (0.22, 0.4, 0.8)  # width over height, pixels
    wide: float = 192 / 112  # the picture's width over its height

    def __post_init__(self) -> None:
        check_fields("ActionTransformer", self, LIMITS)


# Sizes of section 3. I3D's channels are not in the paper but I3D's own. Ours: 64 channels for each location
# MLP, D for HighRes, 4·D for the MLP (as in the Transformer), 512 for the RPN, and the API's anchors.
PAPER = ActionTransformerConfig(
    trunk="I3D", scale=1.0, norm="batch", cells=(16, 25, 25), location=64, kept=128, width=128, hidden=512,
    classes=80, proposals=300, rpn_width=512, anchor_scales=(0.16, 0.32, 0.64, 1.28),
    anchor_aspects=(0.5, 1.0, 2.0), wide=1.0, nms=0.7,
)  # fmt: skip
PRESETS = {
    "mini": ActionTransformerConfig(),
    "tiny-I3D": ActionTransformerConfig(trunk="I3D", cells=(2, 14, 24)),  # from scratch, 8 frames
    "paper": PAPER,  # 64 frames of 400x400
}


def preset(name: str, **changes: Any) -> ActionTransformerConfig:
    """One of PRESETS with some fields changed. Raises BadInput."""
    if name not in PRESETS:
        raise BadInput("ActionTransformer", "preset", " | ".join(PRESETS), name)
    return replace(PRESETS[name], **changes)


# ------------------------------------------------------------------------------------------------ the network


class Location(nn.Module):
    """Where and when a cell is, as channels beside the map's: (B,C,T',H',W') -> (B,C+2·width,T',H',W') (3.4).

    [h, w] from the middle of the picture and [t] from the key frame, in halves of a training clip's map; each
    through a two-layer MLP. A longer clip at test has cells further away in the same unit.
    """

    def __init__(self, width: int, cells: tuple[int, int, int]) -> None:
        super().__init__()
        self.halves = [max(count / 2, 1) for count in cells]
        self.space = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        frames, high, wide = x.shape[2:]
        middles = frames // 2, (high - 1) / 2, (wide - 1) / 2
        t, h, w = (
            (torch.arange(count, device=x.device) - middle) / half
            for count, middle, half in zip(x.shape[2:], middles, self.halves, strict=True)
        )
        space = self.space(torch.stack(torch.meshgrid(h, w, indexing="ij"), dim=-1))  # (H',W',width)
        time = self.time(t[:, None])  # (T',width)
        spread = space.expand(frames, -1, -1, -1), time[:, None, None].expand(-1, high, wide, -1)
        where = torch.cat(spread, dim=-1).permute(3, 0, 1, 2).to(x.dtype)  # (2·width,T',H',W')
        return torch.cat([x, where.expand(len(x), -1, -1, -1, -1)], dim=1)


def roi_pool(x: Tensor, boxes: Tensor) -> Tensor:
    """Each box's part of a map: x (B,C,H',W'), boxes (B,N,4) -> (B,N,C,7,7).

    14 x 14 bilinear samples, the middles of equal parts of the box, and the largest of each four:
    "a 14 x 14 output, followed by a max pool to get a 7 x 7 feature map" (3.4). The API's
    crop has its outermost samples on the box's edges; the middle of a part leaves the neighbours out.
    """
    count = 2 * ROI
    share = (torch.arange(count, device=x.device, dtype=boxes.dtype) + 0.5) / count
    across = boxes[..., 0:1] + share * (boxes[..., 2:3] - boxes[..., 0:1])  # (B,N,count)
    down = boxes[..., 1:2] + share * (boxes[..., 3:4] - boxes[..., 1:2])
    grid = torch.stack(
        [across[:, :, None].expand(-1, -1, count, -1), down[..., None].expand(-1, -1, -1, count)], dim=-1
    )  # (B,N,count,count,2)
    rows = 2 * grid.flatten(1, 2) - 1  # a picture from −1 to 1
    found = F.grid_sample(x, rows.to(x.dtype), padding_mode="border", align_corners=False)
    by_box = F.max_pool2d(found.flatten(0, 1).unflatten(1, (-1, count)), 2)  # (B·C,N,7,7)
    return by_box.unflatten(0, x.shape[:2]).transpose(1, 2)


class Query(nn.Module):
    """A person's box of the key frame -> the first query (B,N,D), the "query preprocessor" (3.2).

    low: the mean of the 49 cells, and a linear layer. high: a 1x1 convolution to few channels, the cells side
    by side, and a linear layer: it knows what is where in the box.
    """

    def __init__(self, given: int, config: ActionTransformerConfig) -> None:
        super().__init__()
        self.high = config.query == "high"
        self.reduce = nn.Conv2d(given, config.kept, 1) if self.high else nn.Identity()
        self.linear = nn.Linear(config.kept * ROI * ROI if self.high else given, config.width)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B,N,C,7,7) -> (B,N,D)."""
        if not self.high:
            return self.linear(pooled.mean((-2, -1)))
        return self.linear(self.reduce(pooled.flatten(0, 1)).flatten(1)).unflatten(0, pooled.shape[:2])


class TxUnit(nn.Module):
    """One head of one layer, with keys and values of its own (3.2).

    A = softmax(Q·K / √D) V over all cells; Q' = LN(Q + Dropout(A)); Q'' = LN(Q' + Dropout(FFN(Q'))). Behind
    the first layer a linear layer makes Q of what the heads before found, side by side: `before` numbers.
    """

    def __init__(self, given: int, before: int | None, config: ActionTransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.query = nn.Linear(before, width) if before else nn.Identity()
        self.key = nn.Linear(given, width, bias=False)  # a bias is the same for all cells: softmax drops it
        self.value = nn.Linear(given, width)
        self.ffn = nn.Sequential(nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, found: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """found (B,N,before), the clip's cells (B,M,C) -> Q'' (B,N,D), attention (B,N,M): rows add up to 1.

        Nobody looks at other queries. Neither keys nor values are made for all M cells: Q·(Wx) is (QW)·x and
        Σa·(Wx) is W·(Σa·x), which costs less while people are fewer than D.
        """
        query = self.query(found)
        scores = (query @ self.key.weight) @ memory.transpose(1, 2)
        a = (scores / math.sqrt(query.shape[-1])).softmax(-1)
        query = self.norm1(query + self.drop(self.value(a @ memory)))
        return self.norm2(query + self.drop(self.ffn(query))), a


class TxHead(nn.Module):
    """Layers of units side by side: (B,C,T',H',W'), boxes (B,N,4) -> (B,N,heads·D).

    "Concatenating the output from the multiple heads at a given layer, and using the concatenated feature as
    the next query" (3.2).
    """

    def __init__(self, given: int, config: ActionTransformerConfig) -> None:
        super().__init__()
        self.channels = config.heads * config.width
        self.query = Query(given, config)
        befores = [None] + [self.channels] * (config.layers - 1)
        self.units: Any = nn.ModuleList(
            nn.ModuleList(TxUnit(given, before, config) for _ in range(config.heads)) for before in befores
        )

    def forward(self, x: Tensor, boxes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last layer's queries (B,N,heads·D), and each layer's attention (B,heads,N,T',H',W')."""
        memory, maps = x.flatten(2).transpose(1, 2), []
        found = self.query(roi_pool(x[:, :, x.shape[2] // 2], boxes))
        for units in self.units:
            made = [unit(found, memory) for unit in units]
            found = torch.cat([query for query, _ in made], dim=-1)
            maps.append(torch.stack([a for _, a in made], dim=1).unflatten(-1, x.shape[2:]))
        return found, maps


class I3DHead(nn.Module):
    """The box repeated in time cuts a tube, which I3D's last blocks read: no context (3.3, Figure 3).

    It reads the trunk's own channels, without places: the published blocks' weights fit no others.
    """

    def __init__(self, given: int, config: ActionTransformerConfig) -> None:
        super().__init__()
        self.layers = TubeLayers(given, config.scale, config.norm)
        self.channels, self.drop = self.layers.channels, nn.Dropout(config.dropout)

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        """(B,C,T',H',W'), boxes (B,N,4) -> (B,N,C')."""
        frames = x.shape[2]
        slices = x.transpose(1, 2).flatten(0, 1)  # (B·T',C,H',W')
        pooled = roi_pool(slices, boxes.repeat_interleave(frames, 0)).unflatten(0, (-1, frames))
        tubes = pooled.permute(0, 2, 3, 1, 4, 5)  # (B,N,C,T',7,7)
        return self.drop(self.layers(tubes.flatten(0, 1))).unflatten(0, boxes.shape[:2])


class Output(NamedTuple):
    """What the network says of N boxes of each clip."""

    logits: Tensor  # (B,N,classes + 1); the last is the background, which no box of a person is
    code: Tensor  # (B,N,1 or classes,4) how to get from `boxes` to tighter ones: for all classes, or each
    boxes: Tensor  # (B,N,4) what the head was given
    objectness: Tensor  # (B,N) in 0–1 of proposals; 1 of boxes that are given; 0: no box
    regions: Regions


class ActionTransformer(nn.Module):
    """ClipBatch -> Output."""

    def __init__(self, config: ActionTransformerConfig) -> None:
        super().__init__()
        self.config = config
        if config.trunk == "I3D":
            self.trunk: I3D | FrozenMaps = I3D(config.scale, config.norm)
        else:
            self.trunk = FrozenMaps(config.given, config.channels)
        channels = self.trunk.channels
        self.rpn = RPN(channels, config.rpn_width, config.anchor_scales, config.anchor_aspects, config.wide)
        placed = channels + 2 * config.location
        self.location = Location(config.location, config.cells) if config.location else nn.Identity()
        self.tx = TxHead(placed, config) if "Tx" in config.head else None
        self.i3d = I3DHead(channels, config) if "I3D" in config.head else None
        classifies, regresses = self.tx or self.i3d, self.i3d or self.tx
        assert classifies is not None and regresses is not None
        self.score = nn.Linear(classifies.channels, config.classes + 1)
        codes = config.classes if config.regression == "by class" else 1
        self.code = nn.Linear(regresses.channels, 4 * codes)
        nn.init.constant_(self.score.bias, RARE)
        nn.init.normal_(self.code.weight, std=0.01)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.score.weight.device

    def forward(self, batch: ClipBatch) -> Output:
        """With `config.proposals` the head is given those; in training the people's own boxes before them."""
        given = batch.asked, batch.present.to(batch.asked.dtype)
        if not self.config.proposals:
            return self.look(batch.video, given)
        return self.look(batch.video, given if self.training else None, self.config.proposals)

    def look(self, video: Tensor, given: tuple[Tensor, Tensor] | None = None, proposals: int = 0) -> Output:
        """What it says of `given` boxes (B,N,4), there where (B,N) is 1, and behind them of R `proposals`."""
        x = self.trunk(video)
        regions = self.rpn(x[:, :, x.shape[2] // 2])
        asked = [] if given is None else [given]
        if proposals:
            asked.append(propose(regions, proposals, self.config.nms))
        boxes = torch.cat([one for one, _ in asked], dim=1)
        objectness = torch.cat([one for _, one in asked], dim=1)
        logits, code = self.read(x, boxes)
        return Output(logits, code, boxes, objectness, regions)

    def read(self, x: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The heads on the trunk's map (B,C,T',H',W'), boxes (B,N,4): logits (B,N,classes + 1), code."""
        by_context = None if self.tx is None else self.tx(self.location(x), boxes)[0]
        by_tube = None if self.i3d is None else self.i3d(x, boxes)
        classifies = by_tube if by_context is None else by_context
        code = self.code(by_context if by_tube is None else by_tube)
        return self.score(classifies), code.unflatten(-1, (-1, 4))

    @torch.no_grad()
    def attentions(self, batch: ClipBatch) -> list[Tensor]:
        """How much each person looks at each cell, layer by layer: (B,heads,N,T',H',W')."""
        return self._tx()(self.location(self.trunk(batch.video)), batch.asked)[1]

    @torch.no_grad()
    def keys(self, batch: ClipBatch) -> Tensor:
        """The keys of all units: (B,layers,heads,T',H',W',D). Raises BadInput without a Tx head."""
        units, memory = self._tx().units, self.location(self.trunk(batch.video)).permute(0, 2, 3, 4, 1)
        return torch.stack([torch.stack([one.key(memory) for one in layer], 1) for layer in units], dim=1)

    def _tx(self) -> TxHead:
        if self.tx is None:
            raise BadInput("ActionTransformer", "head", "one that attends (Tx)", self.config.head)
        return self.tx
