"""Blanks of 12_unified_pose_sequence."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lart_mini.course.check import Blank, Slip, draw, gives
from lart_mini.ups.config import UPSConfig
from lart_mini.ups.model import UPS, Attention
from lart_mini.ups.recipe import new_model
from lart_mini.ups.vocabulary import Vocabulary, load_vocabulary

HERE = "12_unified_pose_sequence"
Words = NDArray[np.int64]
Pose = NDArray[np.float32]


# --------------------------------------------------------------------------------------- a pose as a sentence


def _vocabulary(first: int, bins: int) -> Vocabulary:
    """One whose first coordinate is word `first`."""
    table = np.zeros((first + 3 * bins + 3, 2), np.float32)
    table[:, 0] = 1
    return Vocabulary(tuple(map(str, range(first))), bins, table)


def _write_pose(pose: Pose, bins: int, first: int) -> Words:
    return _vocabulary(first, bins).pose_words(pose)


def _read_pose(words: Words, bins: int, first: int) -> Pose:
    return _vocabulary(first, bins).pose_of(words)


def _poses() -> list[tuple[Pose, int, int]]:
    """Two joints by hand; then many, some of them beyond the reach."""
    hand = np.array([[0.0, 0.0, 0.0], [-0.9, 0.3, 0.8]], np.float32)
    many = np.random.default_rng(0).normal(0, 0.6, (17, 3)).astype(np.float32)
    return [(hand, 4, 2), (many, 64, 17)]


def _sentences() -> list[tuple[Words, int, int]]:
    return [(_write_pose(*given), *given[1:]) for given in _poses()]


def _by_axis(pose: Pose, bins: int, first: int) -> Words:
    """All x, then all y, then all z."""
    return _write_pose(pose, bins, first).reshape(-1, 3).T.ravel()


# ----------------------------------------------------------------------------------------------------- routes


def _routed(scores: Tensor, noise: Tensor, temperature: float, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """What `Encoder` does with Gumbel's noise (a test holds it against torch's gumbel_softmax)."""
    scores = scores.clone().requires_grad_()
    soft = ((scores + noise) / temperature).softmax(dim=-1)
    hard = F.one_hot(soft.argmax(), len(soft)).to(soft)
    gate = hard - soft.detach() + soft
    y = (gate[:, None] * outputs).sum(dim=0)
    return y.detach(), torch.autograd.grad(y.sum(), scores)[0]


def _draws() -> list[tuple[Tensor, Tensor, float, Tensor]]:
    """Two blocks, of which noise takes the one with the lower score; then three at a temperature of ½."""
    two = torch.tensor([0.4, 0.1]), torch.tensor([-0.3, 1.2]), 1.0, draw(2, 3)
    return [two, (draw(3, seed=1), draw(3, seed=2), 0.5, draw(3, 4, seed=3))]


def _soft(scores: Tensor, noise: Tensor, temperature: float, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """A mixture of all blocks."""
    scores = scores.clone().requires_grad_()
    y = (((scores + noise) / temperature).softmax(dim=-1)[:, None] * outputs).sum(dim=0)
    return y.detach(), torch.autograd.grad(y.sum(), scores)[0]


# -------------------------------------------------------------------------------------------- word after word


@torch.no_grad()
def _look_back(
    x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One head of `Attention`, with what a layer keeps: x (B,D), kept (B,k,D) -> (B,D), twice (B,k+1,D)."""
    width = x.shape[1]
    attention = Attention(width, 1)
    for linear, weight in ((attention.query, W_q), (attention.out, torch.eye(width))):
        linear.weight.copy_(weight.T)
        linear.bias.zero_()
    attention.key_value.weight.copy_(torch.cat([W_k, W_v], dim=1).T)
    attention.key_value.bias.zero_()
    new = attention.keys(x[:, None])  # (2,B,1,1,D)
    kept = torch.cat([torch.stack([keys, values])[:, :, None], new], dim=3)
    return attention(x[:, None], kept)[:, 0], kept[0, :, 0], kept[1, :, 0]


def _words_before() -> list[tuple[Tensor, ...]]:
    """The first word, before which there is none; then a fifth."""
    own = [draw(4, 4, seed=seed) for seed in (1, 2, 3)]
    return [
        (draw(2, 4), *own, torch.zeros(2, 0, 4), torch.zeros(2, 0, 4)),
        (draw(3, 4, seed=4), *own, draw(3, 4, 4, seed=5), draw(3, 4, 4, seed=6)),
    ]


def _looking(scale: float | None = None, itself: bool = True) -> Any:
    """`look_back` with mistakes: scores divided by another `scale`, or its own key joined too late."""

    def look_back(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, keys: Tensor, values: Tensor) -> Any:
        keys, values = (torch.cat([old, (x @ W)[:, None]], dim=1) for old, W in ((keys, W_k), (values, W_v)))
        count = keys.shape[1] - (not itself)
        scores = (keys[:, :count] @ (x @ W_q)[..., None])[..., 0] / (scale or math.sqrt(x.shape[1]))
        return (scores.softmax(-1)[:, None] @ values[:, :count])[:, 0], keys, values

    return gives(look_back, 1e-4)


def _steps() -> list[tuple[UPS, Tensor, Tensor, Tensor, int]]:
    """A small model that has learnt nothing, its looks back made loud; of two samples one is cut short."""
    vocabulary = load_vocabulary(["walk", "sit"], bins=5)
    sizes: dict[str, Any] = {"frames": 3, "joint_width": 4, "width": 16, "heads": 2, "frame_heads": 2}
    config = UPSConfig.mini(vocabulary, encoder_layers=1, place_width=2, **sizes)
    model = new_model(config, vocabulary, seed=3).eval()
    seen = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    with torch.no_grad():
        for layer in model.layers:
            layer.own.out.weight.mul_(6)  # type: ignore[union-attr, operator]
        memory, mask = model.memory(draw(2, 3, 17, 3, seed=1), seen, 0)
    return [(model, memory, mask, model.start[0].detach().expand(2, 1, -1), count) for count in (5, 9)]


@torch.no_grad()
def _write_words(
    model: UPS, memory: Tensor, mask: Tensor, first: Tensor, count: int, mistake: str = ""
) -> Tensor:
    """The loop of `UPS.decode`, whose encoder has run (a test holds them together); or with a mistake."""
    layers: Any = model.layers
    cross = [layer.cross.keys(memory) for layer in layers]
    past: list[list[Tensor]] = [[] for _ in layers]
    x, said = first, []
    for k in range(count):
        h = x + model.position[0 if mistake == "one place" else k]
        for layer, keys, own in zip(layers, cross, past, strict=True):
            h = layer(h, keys, mask, [] if mistake == "nothing kept" else own)
        said.append(model.logits(h).argmax(dim=-1))
        x = first if mistake == "nothing told" else model.read(model.table[said[-1]])
    return torch.cat(said, dim=1)


def _wrongly(mistake: str) -> Any:
    return gives(partial(_write_words, mistake=mistake))


BLANKS = (
    Blank(
        "write_pose",
        HERE,
        _write_pose,
        _poses,
        (
            Slip(
                "the axes share their words: those of y stand after those of x, and those of z last",
                gives(
                    lambda pose, bins, first: _write_pose(pose, bins, first) - np.arange(pose.size) % 3 * bins
                ),
            ),
            Slip(
                "the first coordinate is word number `first`, after the actions",
                gives(lambda pose, bins, first: _write_pose(pose, bins, first) - first),
            ),
            Slip("a sentence goes joint by joint: x, y, z of one, then of the next", gives(_by_axis)),
            Slip(
                "what lies beyond one metre takes the outermost bin: clip the bins",
                lambda got, wanted, pose, bins, first: bool(
                    (got == wanted)[np.abs(pose).ravel() < 1].all() and (got != wanted).any()
                ),
            ),
        ),
    ),
    Blank(
        "read_pose",
        HERE,
        _read_pose,
        _sentences,
        (
            Slip(
                "it gives a bin's edge: its middle is half a bin further",
                gives(lambda words, bins, first: _read_pose(words, bins, first) - np.float32(1 / bins)),
            ),
            Slip(
                "it gives shares of the reach from 0 to 1: the bins go from -1 to 1 metre",
                gives(lambda words, bins, first: (_read_pose(words, bins, first) + 1) / 2),
            ),
            Slip(
                "the words stand joint by joint: every third word is an x",
                gives(
                    lambda words, bins, first: (
                        (words.reshape(3, -1).T - first - np.arange(3) * bins + 0.5) / bins * 2 - 1
                    )
                ),
            ),
        ),
    ),
    Blank(
        "route",
        HERE,
        _routed,
        _draws,
        (
            Slip("it is a mixture: forwards one block alone counts, with 1", gives(_soft)),
            Slip(
                "the noise is missing: without it the same block wins each time, and no other is ever tried",
                gives(lambda scores, noise, t, outputs: _routed(scores, noise * 0, t, outputs)),
            ),
            Slip(
                "the temperature is missing: scores and noise are divided by it",
                gives(lambda scores, noise, t, outputs: _routed(scores, noise, 1.0, outputs)),
            ),
            Slip(
                "the forward pass is right, the gradient is not: it is that of `soft`",
                lambda got, wanted, *rest: bool(torch.allclose(got[0], wanted[0])),
            ),
        ),
    ),
    Blank(
        "look_back",
        HERE,
        _look_back,
        _words_before,
        (
            Slip(
                "the word does not look at itself: its key and value are joined before it looks",
                _looking(itself=False),
            ),
            Slip(
                "the scores are not divided by the square root of D",
                _looking(scale=1.0),
            ),
            Slip(
                "nothing is kept: the next word needs the keys and values of this one, too",
                lambda got, wanted, x, *rest: got[1].shape == rest[3].shape,
            ),
            Slip(
                "keys and values have changed places",
                lambda got, wanted, *rest: bool(torch.allclose(got[1], wanted[2], atol=1e-4)),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "write_words",
        HERE,
        _write_words,
        _steps,
        (
            Slip("every word stands at place 0: word k has position k", _wrongly("one place")),
            Slip(
                "the words before are forgotten: each layer keeps its list from word to word",
                _wrongly("nothing kept"),
            ),
            Slip(
                "the word just said is not told: the next step reads its embedding", _wrongly("nothing told")
            ),
        ),
    ),
)
