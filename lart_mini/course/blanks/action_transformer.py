"""Blanks of 10_action_transformer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.action_transformer.model import TxUnit, preset, roi_pool
from lart_mini.action_transformer.proposals import encode, nms, overlaps
from lart_mini.course.check import Blank, Slip, draw, gives

HERE = "10_action_transformer"


# ------------------------------------------------------------------------------------------------ RoI queries


def _roi_cells(x: Tensor, box: Tensor) -> Tensor:
    """`roi_pool` of one box: a map (C,H,W), a box (4,) in fractions -> (C,7,7)."""
    return roi_pool(x[None], box[None, None])[0, 0]


def _sampled(x: Tensor, box: Tensor, count: int, ends: bool = False) -> Tensor:
    """Samples (C,count,count) of a box: of equal parts the middles, or from edge to edge."""
    share = torch.linspace(0, 1, count) if ends else (torch.arange(count) + 0.5) / count
    across, down = box[0] + share * (box[2] - box[0]), box[1] + share * (box[3] - box[1])
    grid = torch.stack([across.expand(count, -1), down[:, None].expand(-1, count)], dim=-1)
    return F.grid_sample(x[None], 2 * grid[None] - 1, padding_mode="border", align_corners=False)[0]


def _maps() -> list[tuple[Tensor, Tensor]]:
    return [
        (draw(2, 6, 8), torch.tensor([0.25, 0.1, 0.75, 0.9])),
        (draw(3, 14, 24, seed=1), torch.tensor([0.6, 0.3, 0.72, 1.0])),
    ]


@torch.no_grad()
def _high_query(cells: Tensor, W_r: Tensor, W_q: Tensor) -> Tensor:
    """HighRes without biases: cells (C,7,7), W_r (C,k), W_q (49·k,D) -> (D,)."""
    return (W_r.T @ cells.flatten(1)).flatten() @ W_q


def _cells() -> list[tuple[Tensor, Tensor, Tensor]]:
    return [
        (draw(5, 7, 7), draw(5, 2, seed=1), draw(98, 4, seed=2)),
        (draw(3, 7, 7, seed=3), draw(3, 4, seed=4), draw(196, 6, seed=5)),
    ]


# -------------------------------------------------------------------------------------------------- attention


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def _unit(given: int, width: int, hidden: int = 1) -> TxUnit:
    return TxUnit(given, None, preset("mini", width=width, hidden=hidden, dropout=0.0)).eval()


@torch.no_grad()
def _ask_the_clip(Q: Tensor, X: Tensor, W_k: Tensor, W_v: Tensor) -> tuple[Tensor, Tensor]:
    """What `TxUnit` adds to its queries: Q (N,D), cells X (M,C), two (C,D) -> A (N,D), a (N,M)."""
    unit = _unit(*W_k.shape)
    unit.key.weight.copy_(W_k.T)
    unit.value.weight.copy_(W_v.T)
    unit.value.bias.zero_()
    unit.norm1, unit.norm2, unit.ffn = nn.Identity(), nn.Identity(), nn.Sequential(_Nothing())  # type: ignore
    changed, a = unit(Q[None], X[None])
    return changed[0] - Q, a[0]


def _attended(dim: int, scale: bool, swap: bool = False) -> Callable[..., tuple[Tensor, Tensor]]:
    def answer(Q: Tensor, X: Tensor, W_k: Tensor, W_v: Tensor) -> tuple[Tensor, Tensor]:
        scores = Q @ (X @ W_k).T / (math.sqrt(Q.shape[1]) if scale else 1)
        a = scores.softmax(dim)
        return a @ (X @ (W_k if swap else W_v)), a

    return answer


def _looks() -> list[tuple[Tensor, ...]]:
    return [
        (draw(2, 4), draw(5, 3, seed=1), draw(3, 4, seed=2), draw(3, 4, seed=3)),
        (draw(3, 6, seed=4), draw(12, 5, seed=5), draw(5, 6, seed=6), draw(5, 6, seed=7)),
    ]


@torch.no_grad()
def _updated(Q: Tensor, A: Tensor, W_1: Tensor, W_2: Tensor) -> Tensor:
    """The rest of `TxUnit`, norms that change no scale: Q, A (D,), W_1 (D,F), W_2 (F,D) -> Q'' (D,)."""
    unit = _unit(1, len(Q), W_1.shape[1])
    unit.value.weight.zero_()
    unit.value.bias.copy_(A)  # shares add up to 1: so A is found, whatever is looked at
    for layer, weight in ((unit.ffn[0], W_1), (unit.ffn[2], W_2)):
        layer.weight.copy_(weight.T)  # type: ignore[operator]
        layer.bias.zero_()  # type: ignore[operator]
    return unit(Q[None, None], torch.zeros(1, 1, 1))[0][0, 0]


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape)


def _pre_norm(Q: Tensor, A: Tensor, W_1: Tensor, W_2: Tensor) -> Tensor:
    Q = Q + A
    return Q + (_norm(Q) @ W_1).relu() @ W_2


def _queries() -> list[tuple[Tensor, ...]]:
    return [
        (draw(4), draw(4, seed=1), draw(4, 6, seed=2), draw(6, 4, seed=3)),
        (draw(8, seed=4), draw(8, seed=5), draw(8, 8, seed=6), draw(8, 8, seed=7)),
    ]


# ------------------------------------------------------------------------------------------------------ boxes


def _box_code(box: Sequence[float], anchor: Sequence[float]) -> list[float]:
    """`encode` of one box."""
    return encode(torch.tensor(box).double(), torch.tensor(anchor).double()).tolist()


def _coded(box: Any, anchor: Any, by: Any, corner: bool = False, log: bool = True) -> list[float]:
    (x, y, w, h), (x_a, y_a, w_a, h_a) = (
        (
            one[0] if corner else (one[0] + one[2]) / 2,
            one[1] if corner else (one[1] + one[3]) / 2,
            one[2] - one[0],
            one[3] - one[1],
        )
        for one in (box, anchor)
    )
    growth = [math.log(a / b) if log else a / b for a, b in ((w, w_a), (h, h_a))]
    width, height = by[2] - by[0], by[3] - by[1]
    return [10 * (x - x_a) / width, 10 * (y - y_a) / height, 5 * growth[0], 5 * growth[1]]


def _pairs() -> list[tuple[list[float], list[float]]]:
    return [([0.3, 0.2, 0.5, 0.8], [0.25, 0.25, 0.5, 0.75]), ([0.1, 0.4, 0.2, 0.9], [0.05, 0.5, 0.25, 1.0])]


def _suppress(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """`nms` without a limit: boxes (N,4), scores (N,) -> numbers of those that are kept, best first."""
    return nms(boxes, scores, threshold, len(boxes)).tolist()


def _also_dropped(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """A box goes that overlaps any better one, though that one has gone itself."""
    order = scores.argsort(descending=True, stable=True)
    over = overlaps(boxes[order], boxes[order]).triu(1) > threshold
    return order[~over.any(0)].tolist()


def _crowd() -> list[tuple[Tensor, Tensor, float]]:
    chain = torch.tensor([[x, 0.1, x + 0.2, 0.9] for x in (0.1, 0.15, 0.2, 0.6, 0.25)])
    corners = torch.rand(12, 2, 2, generator=torch.Generator().manual_seed(3))
    boxes = torch.cat([corners.amin(1), corners.amax(1) + 0.3], dim=1)
    return [
        (chain, torch.tensor([0.7, 0.9, 0.5, 0.3, 0.4]), 0.5),
        (boxes, draw(12, seed=4).sigmoid(), 0.3),
    ]


BLANKS = (
    Blank(
        "roi_cells",
        HERE,
        _roi_cells,
        _maps,
        (
            Slip(
                "the samples stand on the edges of the parts: each is the middle of one of 14 equal parts",
                gives(lambda x, box: F.max_pool2d(_sampled(x, box, 14, ends=True), 2)),
            ),
            Slip(
                "a mean of each four samples: RoIPool takes the largest",
                gives(lambda x, box: F.avg_pool2d(_sampled(x, box, 14), 2)),
            ),
            Slip(
                "7 x 7 samples: take 14 x 14, and of each four the largest",
                gives(lambda x, box: _sampled(x, box, 7)),
            ),
            Slip(
                "x and y have changed places: grid_sample wants x, which runs along the last axis, first",
                gives(lambda x, box: F.max_pool2d(_sampled(x.mT, box, 14), 2), 1e-4),
            ),
            Slip(
                "the whole map, not the box's part: places go from box[0] to box[2], box[1] to box[3]",
                gives(
                    lambda x, box: F.max_pool2d(_sampled(x, torch.tensor([0.0, 0.0, 1.0, 1.0]), 14), 2), 1e-4
                ),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "high_query",
        HERE,
        _high_query,
        _cells,
        (
            Slip(
                "the cells are averaged: that is LowRes; here each keeps its place",
                lambda got, wanted, cells, W_r, W_q: bool(
                    torch.allclose(got, (W_r.T @ cells.mean((1, 2))).repeat_interleave(49) @ W_q, atol=1e-3)
                ),
            ),
            Slip(
                "cells stand side by side channel by channel: all 49 of the first channel, then the second's",
                gives(lambda cells, W_r, W_q: (W_r.T @ cells.flatten(1)).T.flatten() @ W_q, 1e-4),
            ),
            Slip(
                "a ReLU between the two: none is in the paper's text",
                gives(lambda cells, W_r, W_q: (W_r.T @ cells.flatten(1)).relu().flatten() @ W_q, 1e-4),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "ask_the_clip",
        HERE,
        _ask_the_clip,
        _looks,
        (
            Slip("the scores are not divided by the square root of D", gives(_attended(-1, False), 1e-4)),
            Slip(
                "the softmax runs over people: each person's shares, over the cells, add up to 1",
                gives(_attended(0, True), 1e-4),
            ),
            Slip(
                "the keys are added up: keys say where to look, values what is taken from there",
                gives(_attended(-1, True, True), 1e-4),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "updated",
        HERE,
        _updated,
        _queries,
        (
            Slip(
                "what was found replaces the query: it is added to it",
                gives(lambda Q, A, W_1, W_2: _updated(torch.zeros_like(Q), A, W_1, W_2), 1e-4),
            ),
            Slip("the norms come first: here they come last, after each sum", gives(_pre_norm, 1e-4)),
            Slip(
                "the ReLU between the two layers is missing",
                gives(lambda Q, A, W_1, W_2: _norm(_norm(Q + A) + _norm(Q + A) @ W_1 @ W_2), 1e-4),
            ),
            Slip(
                "the second residual is missing: Q' is added to what the two layers make of it",
                gives(lambda Q, A, W_1, W_2: _norm((_norm(Q + A) @ W_1).relu() @ W_2), 1e-4),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "box_code",
        HERE,
        _box_code,
        _pairs,
        (
            Slip(
                "moves are measured in the anchor's size: the box's own is what is asked for",
                gives(lambda box, anchor: _coded(box, anchor, box)),
            ),
            Slip(
                "corners are compared: the first two numbers move the centre",
                gives(lambda box, anchor: _coded(box, anchor, anchor, corner=True)),
            ),
            Slip(
                "growth is a ratio: take its logarithm, so that twice and half are equally far from 0",
                gives(lambda box, anchor: _coded(box, anchor, anchor, log=False)),
            ),
            Slip(
                "the scales 10, 10, 5, 5 are missing",
                gives(
                    lambda box, anchor: [
                        one / scale
                        for one, scale in zip(_coded(box, anchor, anchor), (10, 10, 5, 5), strict=True)
                    ]
                ),
            ),
        ),
    ),
    Blank(
        "suppress",
        HERE,
        _suppress,
        _crowd,
        (
            Slip(
                "a box that has gone still drives others away: only those that are kept do",
                gives(_also_dropped),
            ),
            Slip(
                "the worst comes first: begin with the highest score",
                gives(lambda boxes, scores, threshold: _suppress(boxes, -scores, threshold)),
            ),
            Slip(
                "in the order of the list: begin with the highest score",
                gives(
                    lambda boxes, scores, threshold: _suppress(boxes, -torch.arange(len(boxes)), threshold)
                ),
            ),
        ),
    ),
)
