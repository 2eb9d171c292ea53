"""Blanks of 04_masked_transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lart_mini.course.check import Blank, Slip, difference, gives
from lart_mini.lart.model import attention_mask, positional_encoding, token_likeness
from lart_mini.lart.tokens import TokenBatch

HERE = "04_masked_transformer"


def _may_attend(detected: Tensor, masked: Tensor) -> Tensor:
    """`attention_mask` of one sample, all of whose people are present: (P, T) bool each -> (N, N) bool."""
    P, T = detected.shape
    nothing = torch.zeros(1, P, T, 1)
    everybody = torch.ones(1, P, dtype=torch.bool)
    batch = TokenBatch(nothing, everybody, detected[None], nothing, nothing[..., 0], masked=masked[None])
    return attention_mask(batch)[0]


def _masks() -> list[tuple[Tensor, Tensor]]:
    """Two people in five frames; in the second example the one who is seen is masked throughout."""
    detected = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]]).bool()
    masked = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]).bool()
    alone = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 0, 1, 0]]).bool()
    return [(detected, masked), (alone, alone)]


def _attend(Q: Tensor, K: Tensor, V: Tensor, allowed: Tensor) -> Tensor:
    """One head of the model's attention: (N, d) each, allowed (N, N) bool -> (N, d)."""
    return F.scaled_dot_product_attention(Q, K, V, attn_mask=allowed)


def _heads() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    Q, K, V = (3 * torch.randn(6, 4, generator=draw) for _ in range(3))
    allowed = torch.rand(6, 6, generator=draw) < 0.6
    return [(Q, K, V, torch.ones(6, 6, dtype=torch.bool)), (Q, K, V, allowed | torch.eye(6).bool())]


def _scores(Q: Tensor, K: Tensor, allowed: Tensor) -> Tensor:
    return (Q @ K.T / Q.shape[-1] ** 0.5).masked_fill(~allowed, -torch.inf)


def _likeness(x: Tensor, real: Tensor) -> Tensor:
    """`token_likeness` of one sample: tokens (N, D), real (N,) bool -> a number."""
    return token_likeness(x[None], real[None])


def _tokens() -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) + 0.5
    return [(x, torch.ones(5, dtype=torch.bool)), (x, torch.tensor([1, 1, 0, 1, 0]).bool())]


def _pairs(real: Tensor) -> int:
    """Ordered pairs of different real tokens."""
    n = int(real.sum())
    return n * (n - 1)


BLANKS = (
    Blank(
        "encode_places",
        HERE,
        positional_encoding,
        lambda: [(3, 5, 16), (1, 2, 8)],
        (
            Slip(
                "the halves have changed places: time t belongs to the first half, track i to the second",
                gives(lambda people, frames, D: positional_encoding(people, frames, D).roll(D // 2, -1)),
            ),
            Slip(
                "sin and cos have changed places: sin stands at the even numbers",
                gives(
                    lambda people, frames, D: (
                        positional_encoding(people, frames, D).unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
                    )
                ),
            ),
            Slip(
                "the exponent: it is 4 r / D, since each half has D / 4 waves",
                lambda got, wanted, people, frames, D: (
                    difference(got[..., :2], wanted[..., :2], 1e-5) is None  # the first wave has r = 0
                ),
            ),
        ),
    ),
    Blank(
        "may_attend",
        HERE,
        _may_attend,
        _masks,
        (
            Slip(
                "a masked token may be read by others; its content is gone, so nobody may attend to it",
                lambda got, wanted, detected, masked: bool(got[~masked.flatten()][:, masked.flatten()].any()),
            ),
            Slip(
                "a masked token may attend to nobody; mask 2 takes its column only: it has to be filled in",
                lambda got, wanted, detected, masked: bool(
                    (got == wanted)[~masked.flatten()].all()
                    and not (got & ~wanted)[:, ~masked.flatten()].any()
                ),
            ),
            Slip(
                "a row without any column: it needs its own diagonal, or softmax divides zero by zero",
                lambda got, wanted, detected, masked: bool((got.sum(dim=-1) == 0).any()),
            ),
            Slip(
                "undetected tokens take part: mask 1 takes their rows and their columns",
                lambda got, wanted, detected, masked: bool((got & ~wanted).any()),
            ),
        ),
    ),
    Blank(
        "attend",
        HERE,
        _attend,
        _heads,
        (
            Slip(
                "the scores are not divided by the square root of d",
                gives(lambda Q, K, V, allowed: torch.softmax(2 * _scores(Q, K, allowed), dim=-1) @ V),
            ),
            Slip(
                "M is not there: -inf has to be added to a score where a row may not attend",
                gives(lambda Q, K, V, allowed: _attend(Q, K, V, torch.ones_like(allowed))),
            ),
            Slip(
                "the softmax runs along the wrong axis: each row, a query, has to sum to 1",
                gives(lambda Q, K, V, allowed: torch.softmax(_scores(Q, K, allowed), dim=0) @ V),
            ),
            Slip(
                "the mask is turned round: True is where a row may attend",
                lambda got, wanted, Q, K, V, allowed: bool(got.isnan().any()),
            ),
        ),
    ),
    Blank(
        "likeness",
        HERE,
        _likeness,
        _tokens,
        (
            Slip(
                "the tokens do not have length 1: a cosine is a product of directions",
                gives(lambda x, real: ((x[real] @ x[real].T).sum() - real.sum()) / _pairs(real)),
            ),
            Slip(
                "each token is compared with itself, which always gives 1",
                gives(lambda x, real: _likeness(x, real) + real.sum() / _pairs(real)),
            ),
            Slip(
                "the number of pairs: n tokens have n (n - 1) of two different ones",
                gives(lambda x, real: _likeness(x, real) * _pairs(real) / real.sum() ** 2),
            ),
            Slip(
                "tokens that are not real are counted",
                gives(lambda x, real: _likeness(x, torch.ones_like(real))),
            ),
        ),
    ),
)
