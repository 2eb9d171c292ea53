"""Tokens: the person-vectors of a batch, and the statistics they are normalised by (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lart_mini.files import BadInput, atomic_path
from lart_mini.reading.arrays import read_npy
from lart_mini.tracklets.tracklet import VECTOR_WIDTH, FloatArray, Tracklet
from lart_mini.training.batches import Batch

LabelChoice = Literal["any", "ground truth"]

JOINTS_WIDTH = 135
PUBLISHED_WIDTH = 226  # of mean_std.npy: the person-vector without its place


@dataclass(frozen=True, eq=False)
class Stats:
    """Mean and standard deviation of each number of the person-vector."""

    mean: FloatArray  # (229,)
    std: FloatArray  # (229,)

    def normalise(self, vectors: FloatArray) -> FloatArray:
        """(…, 229) -> (…, 229): (x - mean) / (std + 1e-10), as the released code does."""
        return ((vectors - self.mean) / (self.std + np.float32(1e-10))).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write mean and std as a (2, 229) .npy file."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack([self.mean, self.std]), allow_pickle=False)


def load_stats(path: str | Path) -> Stats:
    """Stats from a .npy file: what `Stats.save` wrote, or LART's published mean_std.npy. Raises BadInput.

    The published (2, 1, 226) says nothing of a person's place, which the released code leaves as it is:
    mean 0 and standard deviation 1.
    """
    shapes, wanted = ((2, VECTOR_WIDTH), (2, 1, PUBLISHED_WIDTH)), "finite numbers, no std below 0,"
    array = read_npy(path, shapes, "f", "stats", wanted)
    if not np.isfinite(array).all() or (array[1] < 0).any():
        expected = f"{wanted} of shape {shapes[0]} or {shapes[1]}"
        raise BadInput(path, "stats", expected, "others among them")
    mean, std = np.zeros(VECTOR_WIDTH, np.float32), np.ones(VECTOR_WIDTH, np.float32)
    given = array.reshape(2, -1)
    mean[: given.shape[1]], std[: given.shape[1]] = given
    return Stats(mean, std)


def stats_of(tracklets: Iterable[Tracklet]) -> Stats:
    """Stats over the detected frames; numbers that never change get std 1, so that they become 0.

    One tracklet is in memory at a time. Raises ValueError where no frame is detected.
    """
    count = 0
    mean, squares = np.zeros(VECTOR_WIDTH), np.zeros(VECTOR_WIDTH)  # squares of distances from the mean
    for tracklet in tracklets:
        rows = tracklet.vector()[tracklet.detected].astype(np.float64)
        if len(rows) == 0:
            continue
        own, before = rows.mean(axis=0), count
        count += len(rows)
        squares += ((rows - own) ** 2).sum(axis=0) + (own - mean) ** 2 * before * len(rows) / count
        mean += (own - mean) * len(rows) / count
    if count == 0:
        raise ValueError("no detected frame to take mean and standard deviation of")
    std = np.sqrt(squares / count)
    # Below float32's own rounding there is nothing to scale up.
    std[std < 1e-6] = 1
    return Stats(mean.astype(np.float32), std.astype(np.float32))


@dataclass(frozen=True, eq=False)
class TokenBatch(Batch):
    """What the model reads and is held to: B samples of P people (ego first) in T frames.

    `present` is True for the ego and for every slot with a detection in the window, whichever profile filled
    the slots. The paper's model may attend to the gaps of present people at test, and a person nobody saw is
    no more than an empty slot; the released model asks only what is `detected`.
    """

    pose: Tensor  # (B, P, T, 229) normalised person-vectors
    present: Tensor  # (B, P) bool: is a person seen in this slot
    detected: Tensor  # (B, P, T) bool
    labels: Tensor  # (B, P, T, 60) evaluated classes, in [0, 1]
    label_weight: Tensor  # (B, P, T) 1 where the loss applies
    joints: Tensor | None = None  # (B, P, T, 135) joints + camera, in metres, not normalised
    appearance: Tensor | None = None  # (B, P, T, D), or (B, P, K, D) with appearance_index
    appearance_index: Tensor | None = None  # (B, P, T) int64 into K, -1 where there is none
    masked: Tensor | None = None  # (B, P, T) bool: training's mask 2; None asks for test semantics
    # What the model computes of it, where that was worked out ahead of the step: model.plan_ahead.
    computed: Tensor | None = None  # (B, L) numbers of the tokens
    real: Tensor | None = None  # (B, L) bool
    attended: Tensor | None = None  # (B, 1, L or 1, K) bool

    def weight(self) -> Tensor:
        """Tokens with a detection and a label: what the loss is a mean over."""
        return (self.label_weight * self.detected).sum()

    def ignored(self) -> TokenBatch:
        """The same batch with nothing to learn."""
        return replace(self, label_weight=torch.zeros_like(self.label_weight))

    def tokens(self) -> Tensor:
        """Detected tokens."""
        return self.detected.sum()

    def with_mask(self, masked: Tensor | None) -> TokenBatch:
        """The same batch with `masked` (B, P, T), for training semantics; None for test semantics."""
        return replace(self, masked=masked)

    def dense(self) -> TokenBatch:
        """The same batch with appearance (B, P, T, D) and no index: zero where the index is -1."""
        if self.appearance is None or self.appearance_index is None:
            return self
        index, width = self.appearance_index, self.appearance.shape[-1]
        index = torch.where(index < 0, self.appearance.shape[2], index)
        padded = F.pad(self.appearance, (0, 0, 0, 1))  # (B, P, K + 1, D), the last all zero
        dense = padded.gather(2, index[..., None].expand(*index.shape, width))
        return replace(self, appearance=dense, appearance_index=None)


def random_mask(detected: Tensor, ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Mask 2 of section C.2: int(ratio * n) of each sample's n detected tokens, at random (B, P, T) bool."""
    lots = torch.rand(detected.shape, generator=generator, dtype=torch.float64)
    return lowest(lots.to(detected.device), detected, ratio)


def lowest(lots: Tensor, detected: Tensor, ratio: float) -> Tensor:
    """The int(ratio * n) of each sample's n detected tokens that drew the lowest of their lots in [0, 1).

    lots (B, P, T), detected (B, P, T) bool -> (B, P, T) bool.
    """
    drawn = lots.masked_fill(~detected, 2).flatten(1)  # (B, N)
    count = (detected.flatten(1).sum(dim=1).double() * ratio).long()
    limit = F.pad(drawn.sort(dim=1).values, (0, 1), value=2).gather(1, count[:, None])
    return (drawn < limit).view_as(detected)
