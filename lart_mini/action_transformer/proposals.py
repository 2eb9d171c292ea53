"""Where people may be: anchors, a region proposal network on the key frame, box coding, NMS (3.1).

Boxes are corners x1, y1, x2, y2 as fractions of the frame. The paper builds on TensorFlow's object detection
API without saying its settings: where it is silent they are that API's defaults for Faster R-CNN (API).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CODE_SCALES = (10.0, 10.0, 5.0, 5.0)  # of centre and size in a box's code (API)
LARGEST = 4.0  # of a coded size: a box is at most e⁴ times its anchor
POSITIVE, NEGATIVE = 0.7, 0.3  # overlap of an anchor with a person, to be one or to be none (API)
CANDIDATES = 400  # of the highest objectness, that NMS looks at


def sizes(boxes: Tensor) -> Tensor:
    """Widths and heights (…,2)."""
    return boxes[..., 2:] - boxes[..., :2]


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """How to get from anchors to boxes (…,4): moves in sizes of the anchor, logarithms of growth; scaled."""
    size = sizes(anchors).clamp(min=1e-6)
    move = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / 2 / size
    growth = (sizes(boxes).clamp(min=1e-6) / size).log()
    return torch.cat([move, growth], dim=-1) * boxes.new_tensor(CODE_SCALES)


def decode(code: Tensor, anchors: Tensor) -> Tensor:
    """The boxes (…,4) that a code makes of anchors, cut at the frame's edges."""
    code = code / code.new_tensor(CODE_SCALES)
    centre = (anchors[..., :2] + anchors[..., 2:]) / 2 + code[..., :2] * sizes(anchors)
    half = sizes(anchors) * code[..., 2:].clamp(max=LARGEST).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1).clamp(0, 1)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (…,N,4) with others (…,M,4): (…,N,M); 0 where neither has an area."""
    a, b = boxes[..., :, None, :], others[..., None, :, :]
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    area = shared.prod(-1)
    union = sizes(a).prod(-1) + sizes(b).prod(-1) - area
    return torch.where(union > 0, area / union.clamp(min=1e-12), 0.0)


@torch.no_grad()
def nms(boxes: Tensor, scores: Tensor, threshold: float, most: int) -> Tensor:
    """Numbers of the boxes that are kept, best first: (N,4), (N,) -> (K,), K ≤ `most`.

    A box goes that overlaps a better one, which was kept, by more than `threshold`. Of equal scores the first
    counts as better.
    """
    order = scores.argsort(descending=True, stable=True)
    over = (overlaps(boxes[order], boxes[order]) > threshold).cpu().numpy()
    gone, kept = np.zeros(len(over), bool), list[int]()
    for place in range(len(over)):
        if len(kept) == most:
            break
        if not gone[place]:
            kept.append(place)
            gone |= over[place]
    return order[kept]


def anchor_boxes(cells: tuple[int, int], shapes: Tensor) -> Tensor:
    """Anchors of every cell of a map: (H',W'), widths and heights (K,2) -> (H'·W'·K,4), around its middle."""
    y, x = ((torch.arange(count, device=shapes.device, dtype=shapes.dtype) + 0.5) / count for count in cells)
    middle = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[:, :, None]  # (H',W',1,2)
    return torch.cat([middle - shapes / 2, middle + shapes / 2], dim=-1).reshape(-1, 4)


class Regions(NamedTuple):
    """What the network says of every anchor."""

    objectness: Tensor  # (B,A) logits
    code: Tensor  # (B,A,4)
    anchors: Tensor  # (A,4)


class RPN(nn.Module):
    """On the temporally central slice: is there a person, and how is each anchor to be changed?

    A 3x3 convolution, then two of 1x1 (Faster R-CNN). `scales`: square roots of the anchors' areas, in
    heights of the frame; `aspects`: width over height, in pixels; `wide`: the frame's width over its height.
    """

    shapes: Tensor  # (K,2) widths and heights, fractions

    def __init__(
        self,
        channels: int,
        width: int,
        scales: tuple[float, ...],
        aspects: tuple[float, ...],
        wide: float,
    ) -> None:
        super().__init__()
        shapes = [(scale * aspect**0.5 / wide, scale / aspect**0.5) for scale in scales for aspect in aspects]
        self.register_buffer("shapes", torch.tensor(shapes), persistent=False)
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.person, self.code = nn.Conv2d(width, len(shapes), 1), nn.Conv2d(width, 4 * len(shapes), 1)
        nn.init.constant_(self.person.bias, -3.0)  # type: ignore[arg-type]  # few anchors hold somebody
        nn.init.normal_(self.code.weight, std=0.01)

    def forward(self, slice_: Tensor) -> Regions:
        """(B,C,H',W') -> Regions of A = H'·W'·K anchors."""
        x = self.conv(slice_).relu()
        person = self.person(x).permute(0, 2, 3, 1).flatten(1)
        code = self.code(x).unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
        return Regions(person, code, anchor_boxes((x.shape[2], x.shape[3]), self.shapes))


@torch.no_grad()
def propose(regions: Regions, count: int, threshold: float) -> tuple[Tensor, Tensor]:
    """The `count` best boxes of each clip after NMS: (B,R,4), and their objectness in 0–1 (B,R).

    Where fewer are left the places behind them are boxes without an area, of objectness 0.
    """
    boxes = regions.anchors.new_zeros(len(regions.code), count, 4)
    objectness = boxes.new_zeros(boxes.shape[:2])
    for clip, (logits, code) in enumerate(zip(regions.objectness, regions.code, strict=True)):
        score, best = logits.float().topk(min(CANDIDATES, len(logits)))
        found = decode(code[best].float(), regions.anchors[best])
        kept = nms(found, score, threshold, count)
        boxes[clip, : len(kept)], objectness[clip, : len(kept)] = found[kept], score[kept].sigmoid()
    return boxes, objectness


def matched(anchors: Tensor, people: Tensor) -> Tensor:
    """Who an anchor (A,4) is for among people (P,4): their number (A,), −1 for nobody, −2 for undecided.

    An anchor is somebody's with an overlap of POSITIVE, nobody's below NEGATIVE; each person gets the anchors
    that overlap it best, however little that is.
    """
    if not len(people):
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    over = overlaps(anchors, people)
    best, who = over.max(1)
    who = torch.where(best >= POSITIVE, who, torch.where(best < NEGATIVE, -1, -2))
    own = (over == over.amax(0)) & (over > 0)  # (A,P)
    return torch.where(own.any(1), own.float().argmax(1), who)


def rpn_loss(regions: Regions, people: Tensor, present: Tensor, samples: int = 64) -> Tensor:
    """Of each clip (B,): cross-entropy of `samples` anchors, half of them somebody's or all there are, and
    smooth L1 of the code of those that are (API: 256 anchors of a larger map, weights 1 and 1).

    people (B,N,4), present (B,N) bool: who is there.
    """
    losses = []
    for objectness, code, boxes, there in zip(regions.objectness, regions.code, people, present, strict=True):
        who = matched(regions.anchors, boxes[there])
        positive, negative = (who >= 0).nonzero()[:, 0], (who == -1).nonzero()[:, 0]
        positive = positive[torch.randperm(len(positive), device=who.device)[: samples // 2]]
        negative = negative[torch.randperm(len(negative), device=who.device)[: samples - len(positive)]]
        chosen = torch.cat([positive, negative])
        truth = (who[chosen] >= 0).to(objectness.dtype)
        loss = F.binary_cross_entropy_with_logits(objectness[chosen], truth)
        if len(positive):
            wanted = encode(boxes[there][who[positive]], regions.anchors[positive])
            loss = loss + F.smooth_l1_loss(code[positive], wanted, reduction="sum") / samples
        losses.append(loss)
    return torch.stack(losses)
