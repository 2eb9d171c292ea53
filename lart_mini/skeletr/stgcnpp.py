"""ST-GCN++, the graph network that reads one skeleton sequence (Duan et al., "PYSKL", 2022; SkeleTR, 3.1).

A block mixes a person's joints along a graph that it learns, then frames in six branches side by side. Every
person is a sample of its own: people are folded into the batch, and what is not there is not computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.files import BadInput
from lart_mini.training.config import Bounds, check_fields

# ---------------------------------------------------------------------------------------------------- layouts


@dataclass(frozen=True)
class Layout:
    """The joints of a skeleton: V of them, each with its neighbour nearer to the middle."""

    name: str
    parents: tuple[int, ...]  # (V,) of the graph; the middle is its own
    parts: tuple[tuple[int, ...], ...]  # that joints are pooled to: head, arms, legs; or fingers
    mirrored: tuple[int, ...]  # (V,) each joint's other side; one hand has none

    @property
    def joints(self) -> int:
        """V."""
        return len(self.parents)

    def graphs(self) -> Tensor:
        """A (3,V,V): to itself, inward (from the child to the parent: A[parent, child]), and outward.

        A column's numbers add up to 1, or are all 0; y_w = Σ_v x_v A[k,v,w].
        """
        parents = torch.tensor(self.parents)
        inward = (torch.arange(self.joints)[:, None] == parents).float().fill_diagonal_(0)
        directed = [one / one.sum(0).clamp(min=1) for one in (inward, inward.T)]
        return torch.stack([torch.eye(self.joints), *directed])


def _swapped(joints: int, *pairs: tuple[int, int]) -> tuple[int, ...]:
    other = dict(pairs) | {b: a for a, b in pairs}
    return tuple(other.get(joint, joint) for joint in range(joints))


def _hand() -> Layout:
    """MediaPipe's 21 joints: the wrist, then five fingers of four joints; the wrist goes with the thumb."""
    parents = tuple(0 if joint % 4 == 1 else max(joint - 1, 0) for joint in range(21))
    fingers = [tuple(range(first, first + 4)) for first in range(1, 21, 4)]
    return Layout("hand", parents, ((0, *fingers[0]), *fingers[1:]), tuple(range(21)))


# SkeleTR's five parts are head, arms and legs (section 3.3). It names no joints: the neck goes with the head
# here, and so does NTU's spine.
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "coco",
            (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
            ((0, 1, 2, 3, 4), (5, 7, 9), (6, 8, 10), (11, 13, 15), (12, 14, 16)),
            _swapped(17, *((joint, joint + 1) for joint in range(1, 17, 2))),
        ),
        Layout(
            "nturgb+d",
            (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 7, 7, 11, 11),
            (
                (0, 1, 2, 3, 20), (4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24),
                (12, 13, 14, 15), (16, 17, 18, 19),
            ),
            _swapped(25, *((j, j + 4) for j in (4, 5, 6, 7, 12, 13, 14, 15)), (21, 23), (22, 24)),
        ),
        Layout(
            "openpose",
            (1, 1, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),
            ((0, 1, 14, 15, 16, 17), (5, 6, 7), (2, 3, 4), (11, 12, 13), (8, 9, 10)),
            _swapped(18, *((j, j + 3) for j in (2, 3, 4, 8, 9, 10)), (14, 15), (16, 17)),
        ),
        _hand(),
    )
}  # fmt: skip


# ----------------------------------------------------------------------------------------------------- config

LIMITS: Bounds = {"channels": (1, 64), "widths": (6, 4096), "strides": (1, 8)}


@dataclass(frozen=True)
class STGCNConfig:
    """Sizes of an ST-GCN++; what stands here is the published one. Raises BadInput for what none can have."""

    layout: str = "coco"  # one of LAYOUTS
    channels: int = 3  # of a joint: x, y, score; or x, y, z
    widths: tuple[int, ...] = (64,) * 4 + (128,) * 3 + (256,) * 3  # a number a block
    strides: tuple[int, ...] = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)  # in time, a number a block
    padded: Literal["left out", "zeros"] = "left out"  # empty slots, or as published: seen as zeros

    def __post_init__(self) -> None:
        check_fields("ST-GCN++", self, LIMITS)
        if self.layout not in LAYOUTS:
            raise BadInput("ST-GCN++", "layout", " | ".join(LAYOUTS), self.layout)
        if not self.widths or len(self.widths) != len(self.strides):
            raise BadInput("ST-GCN++", "strides", f"{max(1, len(self.widths))} numbers", self.strides)

    def frames_left(self, frames: int) -> int:
        """T' of T frames: ⌈T / stride⌉ in each block."""
        for stride in self.strides:
            frames = -(-frames // stride)
        return frames


# ------------------------------------------------------------------------------------------------------ model


class Space(nn.Module):
    """ReLU(norm(Σ_k conv_k(x) A_k) + shortcut(x)): joints mixed along three graphs that it learns."""

    def __init__(self, channels: int, width: int, graph: Tensor) -> None:
        super().__init__()
        self.graph = nn.Parameter(graph.clone())  # (3,V,V); all numbers are learnt
        self.conv, self.norm = nn.Conv2d(channels, len(graph) * width, 1), nn.BatchNorm2d(width)
        self.short = nn.Identity() if channels == width else _pointwise(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n,C,T,V) -> (n,C',T,V)."""
        n, _, frames, joints = x.shape
        z = self.conv(x).permute(0, 2, 3, 1)  # (n,T,V,3·C')
        z = z.reshape(n * frames, joints * 3, self.norm.num_features)  # (n·T,V·3,C')
        graph = self.graph.permute(2, 1, 0).flatten(1)  # (V,V·3): y_w = Σ_v Σ_k A[k,v,w] z[k]_v
        y = (graph @ z).unflatten(0, (n, frames)).permute(0, 3, 1, 2)
        return (self.norm(y) + self.short(x)).relu()


class Time(nn.Module):
    """Six branches side by side, put together and mixed; no ReLU follows.

    Four look 1 to 4 frames back and ahead, one takes the largest of three frames, one the frame alone. Each
    has a sixth of the channels, the first what remains.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        sixth = width // 6
        widths = (width - 5 * sixth, sixth, sixth, sixth)
        dilated = [
            nn.Conv2d(own, own, (3, 1), (stride, 1), (dilation, 0), (dilation, 1))
            for dilation, own in enumerate(widths, start=1)
        ]
        self.branches = nn.ModuleList(
            [
                *(_fronted(width, own, conv) for own, conv in zip(widths, dilated, strict=True)),
                _fronted(width, sixth, nn.MaxPool2d((3, 1), (stride, 1), (1, 0))),
                nn.Conv2d(width, sixth, 1, (stride, 1)),
            ]
        )
        conv, norm = nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)
        self.mix = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(n,C,T,V) -> (n,C,T',V). The branches' first 1×1 convolutions are computed as one."""
        branches: list[Any] = list(self.branches)
        *fronted, last = branches
        convs = [branch[0] for branch in fronted]
        if last.stride == (1, 1):
            convs.append(last)
        weight, bias = (torch.cat([getattr(conv, name) for conv in convs]) for name in ("weight", "bias"))
        parts = F.conv2d(x, weight, bias).split([len(conv.bias) for conv in convs], dim=1)
        looked = [branch[1:](part) for branch, part in zip(fronted, parts, strict=False)]
        alone = parts[-1] if len(parts) > len(fronted) else last(x)
        return self.mix(torch.cat([*looked, alone], dim=1))


def _pointwise(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, (stride, 1)), nn.BatchNorm2d(width))


def _fronted(width: int, own: int, last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, own, 1), nn.BatchNorm2d(own), nn.ReLU(), last)


class Block(nn.Module):
    """ReLU(time(space(x)) + residual(x)); the first block has no residual."""

    def __init__(self, channels: int, width: int, graph: Tensor, stride: int, first: bool) -> None:
        super().__init__()
        self.space, self.time, self.first = Space(channels, width, graph), Time(width, stride), first
        changed = not first and (channels != width or stride != 1)
        self.residual = _pointwise(channels, width, stride) if changed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n,C,T,V) -> (n,C',T',V)."""
        y = self.time(self.space(x))
        return (y if self.first else y + self.residual(x)).relu()


class STGCNPP(nn.Module):
    """The backbone: skeletons (N,M,T,V,C) -> features (N,M,width,T',V)."""

    def __init__(self, config: STGCNConfig) -> None:
        super().__init__()
        self.config, graph = config, LAYOUTS[config.layout].graphs()
        self.norm = nn.BatchNorm1d(graph.shape[-1] * config.channels)
        sizes = zip(pairwise((config.channels, *config.widths)), config.strides, strict=True)
        self.blocks = nn.ModuleList(
            Block(*pair, graph, stride, number == 0) for number, (pair, stride) in enumerate(sizes)
        )

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """`present` (N,M): slots that are not give zeros, and nothing of them is computed or counted.

        With `padded="zeros"` what stands in them is computed like all the rest, as published.
        """
        self._check(x)
        if present is None or self.config.padded == "zeros":
            return self.sequences(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        features = self.sequences(x[present])
        return features.new_zeros(*x.shape[:2], *features.shape[1:]).index_put((present,), features)

    def sequences(self, x: Tensor) -> Tensor:
        """One person each: (n,T,V,C) -> (n,width,T',V)."""
        n, frames, joints, channels = x.shape
        x = self.norm(x.reshape(n, frames, joints * channels).transpose(1, 2))  # channel v·C + c
        x = x.view(n, joints, channels, frames).permute(0, 2, 3, 1)
        x = x.contiguous(memory_format=torch.channels_last)  # what mixes channels then needs no copies
        for block in self.blocks:
            x = block(x)
        return x

    def _check(self, x: Tensor) -> None:
        expected: tuple[Any, ...] = (LAYOUTS[self.config.layout].joints, self.config.channels)
        if x.ndim != 5 or x.shape[3:] != expected:
            told = f"shape (N, M, T, {expected[0]}, {expected[1]}) of the layout {self.config.layout}"
            raise BadInput("ST-GCN++", "skeletons", told, f"shape {tuple(x.shape)}")
