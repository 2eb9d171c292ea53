"""Blanks of 11_skeletr."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lart_mini.boxes import overlap
from lart_mini.course.check import Blank, Slip, draw, gives
from lart_mini.data.skeletons import Skeletons, sequences
from lart_mini.evaluation.fusion import fuse_files
from lart_mini.skeletr.model import Encoder, SkeleTR, SkeleTRConfig, preset, seen
from lart_mini.skeletr.stgcnpp import LAYOUTS, Space, Time

HERE = "11_skeletr"
Scored = dict[tuple[int, int], float]  # (box, class) → score


# ------------------------------------------------------------------------------------------ the graph network


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> float:
        return 0.0


@torch.no_grad()
def _graph_convolution(x: Tensor, A: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """`Space` without its norm and its shortcut: (T,V,C), (3,V,V), (3,C,D), (3,D) -> (T,V,D)."""
    space = Space(W.shape[1], W.shape[2], A)
    space.norm, space.short = nn.BatchNorm2d(W.shape[2], eps=0.0), nn.Sequential(_Nothing())
    space.eval()  # a norm of mean 0 and variance 1 changes nothing
    space.conv.weight.copy_(W.transpose(1, 2).flatten(0, 1)[..., None, None])
    space.conv.bias.copy_(b.flatten())  # type: ignore[union-attr]
    y: Tensor = space(x.permute(2, 0, 1)[None])
    return y[0].permute(1, 2, 0)


def _graphs() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """A chain of four joints; then COCO's graph with all its numbers changed, as after a training."""
    chain = torch.zeros(3, 4, 4)
    chain[0] = torch.eye(4)
    for child in range(1, 4):
        chain[1, child - 1, child] = chain[2, child, child - 1] = 1
    coco = LAYOUTS["coco"].graphs()
    learned = coco + 0.1 * draw(*coco.shape, seed=1)
    return [
        (draw(2, 4, 2), chain, draw(3, 2, 3, seed=2), torch.zeros(3, 3)),
        (draw(3, 17, 3, seed=3), learned, draw(3, 3, 4, seed=4), draw(3, 4, seed=5)),
    ]


@torch.no_grad()
def _dilated(x: Tensor, kernel: Tensor, bias: Tensor, dilation: int, stride: int) -> Tensor:
    """The last layer of a branch of `Time`: (T,V,C), (3,C,C), (C,) -> (T',V,C)."""
    C = x.shape[2]
    last: Any = Time(6 * C, stride).branches[dilation - 1][3]  # type: ignore[index]
    last.weight.copy_(kernel.permute(2, 1, 0)[..., None])
    last.bias.copy_(bias)
    y: Tensor = last(x.permute(2, 0, 1)[None])
    return y[0].permute(1, 2, 0)


def _looked_ahead(x: Tensor, kernel: Tensor, bias: Tensor, dilation: int, stride: int) -> Tensor:
    """All three places at t and after it."""
    longer = torch.cat([x, torch.zeros_like(x[:dilation])])
    return _dilated(longer, kernel, bias, dilation, 1)[dilation::stride]


def _clamped(x: Tensor, kernel: Tensor, bias: Tensor, dilation: int, stride: int) -> Tensor:
    """The first and the last frame repeated beyond the ends."""
    padded = torch.cat([x[:1].expand(dilation, -1, -1), x, x[-1:].expand(dilation, -1, -1)])
    return _dilated(padded, kernel, bias, dilation, 1)[dilation:-dilation:stride]


# -------------------------------------------------------------------------------------------- short sequences


def _link(boxes: Sequence[NDArray[np.float32]], row: int, least: float = 0.3) -> NDArray[np.int64]:
    """`sequences` about one box of the middle frame: (P,4) x, y, w, h of each of T frames -> (T,)."""
    half, counts = len(boxes) // 2, np.array([len(one) for one in boxes])
    box = np.concatenate(boxes).astype(np.float32)
    n, first = len(box), np.cumsum(counts) - counts
    blank = np.zeros((n, 1), np.float32)
    frame = np.repeat(np.arange(len(boxes)), counts)
    video = Skeletons(frame, box, blank[..., None], blank, np.array([100, 100]), np.zeros(n, np.int64))
    found = sequences(video, len(boxes), 1, stride=half, least=least)
    index = found.index[found.centre == first[half] + row][0]
    return np.where(index >= 0, index - first, -1)


def _outwards(
    boxes: Sequence[NDArray[np.float32]], row: int, least: float, keeps: bool, turns_back: bool, waits: bool
) -> NDArray[np.int64]:
    """Links with mistakes: `keeps` the centre's box for all, does not `turn back` for the second half."""
    half = len(boxes) // 2
    found, last = np.full(len(boxes), -1), boxes[half][row]
    found[half] = row
    for frames in (range(half - 1, -1, -1), range(half + 1, len(boxes))):
        last = boxes[half][row] if turns_back else last
        for t in frames:
            shares = overlap(boxes[t], last)
            if len(shares) and shares.max() >= least:
                found[t] = shares.argmax()
                last = last if keeps else boxes[t][found[t]]
            elif not waits:
                break
    return found


def _walks() -> list[tuple[list[NDArray[np.float32]], int, float]]:
    """One walks past another, who stands; then two who walk, of whom one is not seen for a while."""

    def people(places: Sequence[Sequence[float]]) -> list[NDArray[np.float32]]:
        return [np.array([[x, 10, 10, 30] for x in xs], np.float32).reshape(-1, 4) for xs in places]

    past = people([(4 * t, 30) if t % 2 else (30, 4 * t) for t in range(6)])
    gaps = people([(70, 0), (2,), (4, 70), (), (70, 8), (10,), (70,), (14,), (16, 70)])
    return [(past, 0, 0.3), (gaps, 1, 0.3), (gaps, 0, 0.3)]


# ------------------------------------------------------------------------------------------ between sequences


@torch.no_grad()
def _mix_pooling(x: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """`SkeleTR.mix` of the layout with these parts: (d,T',V) -> (1 + T' + P,d)."""
    layout = next(name for name, one in LAYOUTS.items() if one.parts == tuple(map(tuple, parts)))
    pooled: Tensor = SkeleTR(preset("mini", layout=layout)).mix(x[None])
    return pooled[0]


def _features() -> list[tuple[Tensor, tuple[tuple[int, ...], ...]]]:
    return [
        (draw(2, 3, 17), LAYOUTS["coco"].parts),
        (draw(4, 5, 25, seed=1), LAYOUTS["nturgb+d"].parts),
    ]


@torch.no_grad()
def _look_across(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, present: Tensor) -> Tensor:
    """One head of `Encoder`: features (M,L,d), three (d,d), present (M,) bool -> (M,L,d)."""
    M, L, d = x.shape
    config = SkeleTRConfig(widths=(d,), strides=(1,), heads=1, head_ratio=1.0)
    encoder = Encoder(config)
    encoder.qkv.weight.copy_(torch.cat([W_q.T, W_k.T, W_v.T]))
    tokens = x.flatten(0, 1)[None]
    weights = encoder.attention(tokens, seen(present[None], L))[0, 0]
    return (weights @ (tokens[0] @ W_v)).unflatten(0, (M, L))


def _people() -> list[tuple[Tensor, ...]]:
    own = [draw(6, 6, seed=seed) / 2 for seed in (1, 2, 3)]
    everybody, some = torch.ones(3).bool(), torch.tensor([1, 0, 1, 1]).bool()
    return [(draw(3, 2, 6), *own, everybody), (draw(4, 3, 6, seed=4), *own, some)]


def _attended(
    x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, columns: Tensor, scale: float | None = None
) -> Tensor:
    tokens = x.flatten(0, 1)
    scores = (tokens @ W_q) @ (tokens @ W_k).T / (scale or math.sqrt(x.shape[2]))
    weights = scores.masked_fill(~columns, -math.inf).softmax(-1)
    return (weights @ (tokens @ W_v)).view(x.shape)


def _alone(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, present: Tensor) -> Tensor:
    """Each sequence looks at its own features only."""
    own = torch.eye(len(x)).bool().repeat_interleave(x.shape[1], 0).repeat_interleave(x.shape[1], 1)
    return _attended(x, W_q, W_k, W_v, own)


# ----------------------------------------------------------------------------------------------------- fusion


def _fuse(first: Scored, second: Scored, weights: tuple[float, float]) -> Scored:
    """`fuse_files` of two files with these rows: {(box, class): score} each -> the same."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, rows in (("first", first), ("second", second)):
            lines = [
                f"video,902,0.1,0.1,{0.2 + box / 1000:.3f},0.9,{action},{score!r}"
                for (box, action), score in rows.items()
            ]
            paths.append(Path(folder) / f"{name}.csv")
            paths[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
        table = fuse_files(paths[0], paths[1], weights)
    return {
        (round((x2 - 0.2) * 1000), action): score
        for x2, action, score in table.select("x2", "action", "score").iter_rows()
    }


def _rows() -> list[tuple[Scored, Scored, tuple[float, float]]]:
    both = {(0, 12): 0.9, (1, 12): 0.3}, {(0, 12): 0.3, (1, 12): 0.6}
    some = {(0, 12): 0.9, (0, 80): 0.5, (1, 14): 0.2}, {(0, 12): 0.6, (0, 14): 0.4, (1, 14): 0.8}
    return [(*both, (2.0, 1.0)), (*some, (2.0, 1.0)), (*some, (1.0, 3.0))]


def _common(first: Scored, second: Scored, weights: tuple[float, float]) -> Scored:
    return {
        key: score for key, score in _fuse(first, second, weights).items() if key in first and key in second
    }


BLANKS = (
    Blank(
        "graph_convolution",
        HERE,
        _graph_convolution,
        _graphs,
        (
            Slip(
                "A[k, v, w] is turned round: v is the joint that gives, w the joint that gets",
                gives(lambda x, A, W, b: _graph_convolution(x, A.transpose(1, 2), W, b)),
            ),
            Slip(
                "all three graphs use the same W: each has weights of its own",
                gives(lambda x, A, W, b: _graph_convolution(x, A, W[:1].expand_as(W), b)),
            ),
            Slip(
                "the biases are missing: b[k] is added before the joints are mixed",
                gives(lambda x, A, W, b: _graph_convolution(x, A, W, torch.zeros_like(b))),
            ),
            Slip(
                "negative numbers are left: the ReLU is the last step",
                lambda got, wanted, x, A, W, b: bool((got < 0).any()),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "dilated",
        HERE,
        _dilated,
        lambda: [
            (draw(6, 2, 2), draw(3, 2, 2, seed=1), torch.zeros(2), 1, 1),
            (draw(9, 2, 3, seed=2), draw(3, 3, 3, seed=3), draw(3, seed=4), 3, 1),
            (draw(9, 2, 3, seed=2), draw(3, 3, 3, seed=3), draw(3, seed=4), 2, 2),
        ],
        (
            Slip("it looks at t and ahead only: the middle of the kernel stands on t", gives(_looked_ahead)),
            Slip(
                "the dilation: the outer places are `dilation` frames away from t",
                gives(lambda x, kernel, bias, dilation, stride: _dilated(x, kernel, bias, 1, stride)),
            ),
            Slip("beyond the ends stand zeros, not the first and the last frame again", gives(_clamped)),
            Slip(
                "the stride: with 2 every other frame is computed",
                lambda got, wanted, x, *rest: len(got) == len(x) != len(wanted),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "link",
        HERE,
        _link,
        _walks,
        (
            Slip(
                "every frame is compared with the centre's box: a link goes on from the box found last",
                gives(lambda boxes, row, least: _outwards(boxes, row, least, True, True, True)),
            ),
            Slip(
                "the second half goes on where the first one ended: both begin at the centre",
                gives(lambda boxes, row, least: _outwards(boxes, row, least, False, False, True)),
            ),
            Slip(
                "a gap ends the sequence: the last box is kept for the next frame",
                gives(lambda boxes, row, least: _outwards(boxes, row, least, False, True, False)),
            ),
            Slip(
                "boxes that hardly overlap are linked: `least` is asked for",
                gives(lambda boxes, row, least: _outwards(boxes, row, -1.0, False, True, True)),
            ),
        ),
    ),
    Blank(
        "mix_pooling",
        HERE,
        _mix_pooling,
        _features,
        (
            Slip(
                "parts stand before frames: the order is whole, frames, parts",
                lambda got, wanted, x, parts: bool(
                    torch.allclose(got[0], wanted[0]) and torch.allclose(got[-1], wanted[x.shape[1]])
                ),
            ),
            Slip(
                "the whole comes last: it is the first feature",
                lambda got, wanted, x, parts: bool(
                    torch.allclose(got[-1], wanted[0]) and torch.allclose(got[0], wanted[1])
                ),
            ),
            Slip(
                "sums instead of means: a long sequence would count for more than a short one",
                lambda got, wanted, x, parts: bool(
                    torch.allclose(got[0], wanted[0] * x[0].numel(), atol=1e-4)
                ),
            ),
            Slip(
                "a part's feature is its mean over the frames, too",
                lambda got, wanted, x, parts: bool(
                    torch.allclose(got[: 1 + x.shape[1]], wanted[: 1 + x.shape[1]], atol=1e-5)
                ),
            ),
        ),
    ),
    Blank(
        "look_across",
        HERE,
        _look_across,
        _people,
        (
            Slip(
                "each sequence looks at itself only: the features of all sequences go into one row",
                gives(_alone, 1e-4),
            ),
            Slip(
                "the scores are not divided by the square root of d",
                gives(
                    lambda x, q, k, v, here: _attended(x, q, k, v, here.repeat_interleave(x.shape[1]), 1.0),
                    1e-4,
                ),
            ),
            Slip(
                "the mask is in another order than the features: a sequence's L features stand side by side",
                gives(lambda x, q, k, v, here: _attended(x, q, k, v, here.repeat(x.shape[1])), 1e-4),
            ),
            Slip(
                "absent sequences are looked at: their columns have to be -inf before the softmax",
                gives(lambda x, q, k, v, here: _look_across(x, q, k, v, torch.ones_like(here)), 1e-4),
            ),
            Slip(
                "whole rows are masked: the mask takes columns, who looks may be anybody",
                lambda got, wanted, *rest: bool(got.isnan().any()),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "fuse",
        HERE,
        _fuse,
        _rows,
        (
            Slip(
                "the weights have changed places: the first belongs to the first model",
                gives(lambda first, second, weights: _fuse(first, second, weights[::-1])),
            ),
            Slip(
                "a class that only one model scores is lost: the other gives 0 there",
                gives(_common),
            ),
            Slip(
                "a sum instead of a mean: divide by the weights' sum, so that scores stay within 0 to 1",
                gives(
                    lambda first, second, weights: {
                        key: score * sum(weights) for key, score in _fuse(first, second, weights).items()
                    }
                ),
            ),
        ),
    ),
)
