"""Who attends to whom, and which tokens are worth computing at all (section C.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lart_mini.lart.tokens import TokenBatch


def roles(batch: TokenBatch, gaps_attended: bool = True) -> tuple[Tensor, Tensor]:
    """Which tokens attend, and which are attended to, each (B, P, T) bool; the latter are among the former.

    Training (`batch.masked` given): undetected tokens neither attend nor are attended to (mask 1), masked
    ones attend but are not attended to, by themselves neither (mask 2). Test: only absent people's slots are
    blocked, and missing detections are not attended to unless `gaps_attended`.
    """
    if batch.masked is not None:
        return batch.detected, batch.detected & ~batch.masked
    present = batch.present[:, :, None].expand_as(batch.detected)
    return present, present if gaps_attended else present & batch.detected


def attention_mask(batch: TokenBatch, gaps_attended: bool = True) -> Tensor:
    """(B, N, N) bool, True where row may attend to column; N = P * T, token t of person i at t + i * T.

    Whoever may attend to nothing attends to itself, so that every row has a softmax.
    """
    return pairs(*(role.flatten(1) for role in roles(batch, gaps_attended)))


def pairs(attends: Tensor, attended: Tensor) -> Tensor:
    """attention_mask from flat roles, (B, N) each."""
    allowed = attends[:, :, None] & attended[:, None, :]
    return allowed | torch.diag_embed(~allowed.any(dim=-1))


def rows(x: Tensor, index: Tensor) -> Tensor:
    """Of each sample the rows that index (B, L) names: x (B, N) or (B, N, W) -> (B, L) or (B, L, W)."""
    return x.gather(1, index if x.ndim == 2 else index[..., None].expand(-1, -1, x.shape[-1]))


@dataclass(frozen=True, eq=False)
class Plan:
    """Which tokens a forward pass computes, and which of them each attends to."""

    tokens: Tensor | None = None  # (B, L) numbers of those computed; None: all N, in order
    real: Tensor | None = None  # (B, L) bool, False where a sample with fewer tokens is filled up; None: all
    mask: Tensor | None = None  # (B, 1, L or 1, K <= L) bool: row may attend to column; None: all to all
    uniform: Tensor | None = None  # (B, L) bool: rows that attend to all columns alike

    def take(self, x: Tensor) -> Tensor:
        """(B, N) or (B, N, W) -> (B, L) or (B, L, W): the tokens that are computed."""
        if self.tokens is None:
            return x
        return rows(x, self.tokens)

    def spread(self, x: Tensor, count: int) -> Tensor:
        """(B, L, C) -> (B, N, C): back to their places, with zeros where nothing was computed."""
        if self.tokens is None:
            return x
        if self.real is not None:
            x = x.masked_fill(~self.real[..., None], 0)
        return x.new_zeros(len(x), count, x.shape[-1]).scatter(1, self.tokens[..., None].expand_as(x), x)


def pack(attends: Tensor, attended: Tensor) -> Plan:
    """Only tokens that attend are computed, those attended to first: keys and values are the first K of L.

    attends, attended: (B, N) bool, the latter among the former. L and K are those of the fullest sample;
    where samples differ they are rounded up to a multiple of 8, which suits the kernels.
    """
    count = attends.shape[1]
    keys = attended.sum(dim=1)
    length, most, fewest = torch.stack([attends.sum(dim=1).max(), keys.max(), keys.min()]).tolist()
    if fewest == count:
        return Plan()
    order = (attends.int() + attended.int()).argsort(dim=1, descending=True, stable=True)
    if fewest == length > 0:
        return Plan(order[:, :length])
    length, most = (min(-(-max(1, size) // 8) * 8, count) for size in (length, most))
    tokens = order[:, :length]
    real = attends.gather(1, tokens)
    if fewest == 0:  # some sample has nobody to attend to but oneself
        return Plan(tokens, real, pairs(real, attended.gather(1, tokens))[:, None])
    return Plan(tokens, real, attended.gather(1, tokens[:, :most])[:, None, None])


def every_token(attends: Tensor, attended: Tensor) -> Plan:
    """All tokens are computed, useful or not; who may attend to nothing attends to itself."""
    return Plan(mask=pairs(attends, attended)[:, None])


def every_token_as_released(attends: Tensor, attended: Tensor) -> Plan:
    """All tokens are computed; who may attend to nothing attends to everything alike.

    The released code writes -1000 over scores instead of leaving them out of the softmax: the same, unless
    a row has nothing else.
    """
    allowed = attends[:, :, None] & attended[:, None, :]
    uniform = ~allowed.any(dim=-1)
    return Plan(mask=(allowed | uniform[:, :, None])[:, None], uniform=uniform)
