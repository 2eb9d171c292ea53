"""Blanks of 05_pretrain."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lart_mini.course.check import Blank, Slip, gives
from lart_mini.lart.recipe import masked_bce
from lart_mini.lart.tokens import TokenBatch
from lart_mini.training.config import schedule

HERE = "05_pretrain"


def _masked_loss(z: Tensor, y: Tensor, detected: Tensor, weight: Tensor) -> Tensor:
    """`masked_bce` of a batch of these labels; see 05."""
    nothing = torch.zeros(*detected.shape, 1)
    batch = TokenBatch(nothing, detected.any(dim=-1), detected, labels=y, label_weight=weight)
    return masked_bce(z, batch)


def _of_a_token(z: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(dim=-1)


def _tokens() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """All tokens count; then gaps; then gaps, and frames without a label."""
    draw = torch.Generator().manual_seed(0)
    z, y = torch.randn(2, 2, 4, 3, generator=draw), torch.rand(2, 2, 4, 3, generator=draw)
    everything = torch.ones(2, 2, 4)
    detected, labelled = (torch.rand(2, 2, 4, generator=draw) < 0.6 for _ in range(2))
    return [
        (z, y, everything.bool(), everything),
        (z, y, detected, everything),
        (z, y, detected, labelled.float()),
    ]


def _loss_at_start(bias: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of a head that gives its bias whatever it reads: bias (C,), y (N, C)."""
    return F.binary_cross_entropy_with_logits(bias.expand_as(y), y)


def _heads() -> list[tuple[Tensor, Tensor]]:
    y = torch.rand(6, 3, generator=torch.Generator().manual_seed(2)) ** 4
    return [(torch.zeros(3), y), (torch.full((3,), -4.6), y), (torch.tensor([-4.6, 0.0, 2.0]), y)]


BLANKS = (
    Blank(
        "masked_loss",
        HERE,
        _masked_loss,
        _tokens,
        (
            Slip(
                "the classes are summed; the formula has 1 / C, their mean",
                gives(lambda z, y, detected, weight: z.shape[-1] * _masked_loss(z, y, detected, weight)),
            ),
            Slip(
                "undetected tokens are counted: mask 1 gives them no loss",
                gives(lambda z, y, detected, weight: _masked_loss(z, y, torch.ones_like(detected), weight)),
            ),
            Slip(
                "frames without a label are counted",
                gives(lambda z, y, detected, weight: _masked_loss(z, y, detected, torch.ones_like(weight))),
            ),
            Slip(
                "divided by all tokens, not by those that count: gaps would make the loss smaller",
                gives(lambda z, y, detected, weight: (_of_a_token(z, y) * weight * detected).mean()),
            ),
        ),
    ),
    Blank(
        "loss_at_start",
        HERE,
        _loss_at_start,
        _heads,
        (
            Slip(
                "the bias is a logit, no probability: first the sigmoid",
                lambda got, wanted, bias, y: bool(
                    torch.as_tensor(got).isnan() | torch.as_tensor(got).isinf()
                ),
            ),
            Slip(
                "half of it: where a class is absent, log(1 - s) counts too",
                gives(lambda bias, y: -(y * F.logsigmoid(bias)).mean()),
            ),
            Slip(
                "the classes are summed; the loss is their mean",
                gives(lambda bias, y: bias.shape[0] * _loss_at_start(bias, y)),
            ),
        ),
    ),
    Blank(
        "rate_at",
        HERE,
        schedule,
        lambda: [(0, 300, 50), (49, 300, 50), (50, 300, 50), (200, 300, 50)],
        (
            Slip(
                "the first step would learn nothing: step s is number s + 1 of the warm-up",
                lambda got, wanted, s, S, W: abs(got - s / W) < 1e-9,
            ),
            Slip(
                "1 + cos runs from 2 to 0: the half of it is meant",
                gives(lambda s, S, W: 1 + math.cos(math.pi * (s - W) / (S - W))),
            ),
            Slip(
                "the cosine has to begin where the warm-up ends, with S - W steps for its half turn",
                lambda got, wanted, s, S, W: s >= W,
            ),
        ),
    ),
)
