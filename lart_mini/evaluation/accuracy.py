"""Top-1 accuracy of videos with one label each, with intervals over takes and seeds.

The unit of resampling is the take, as in intervals.py; a video weighs what its takes weigh in the mean, since
one person may be cast from one take and the next from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from lart_mini.evaluation.intervals import Draws, Estimate, Floats, draw, estimate
from lart_mini.files import BadInput


def draw_takes(takes: Sequence[Sequence[str]], count: int = 1000, seed: int = 0) -> Draws:
    """`count` draws for videos by the takes that each is made of. Raises BadInput where none is named."""
    return draw(
        pl.DataFrame({"take": [take for own in takes for take in own]}, {"take": pl.Utf8}), count, seed
    )


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How often one system, all its seeds, is right under the draws; row 0 is the data as they are."""

    draws: Draws
    top1: Floats  # (S, 1 + R) share of all videos

    def estimate(self) -> Estimate:
        """Top-1 with its interval."""
        return estimate(self.draws.over_seeds(self.top1))

    def minus(self, other: Accuracy) -> Estimate:
        """The difference of two systems, paired: both under the same draws, which BadInput insists on."""
        if self.draws is not other.draws:
            raise BadInput("accuracy", "draws", "the same for both systems", "others")
        return estimate(self.draws.over_seeds(self.top1) - self.draws.over_seeds(other.top1))


def accuracy(
    labels: ArrayLike, guesses: ArrayLike, takes: Sequence[Sequence[str]], classes: int, draws: Draws
) -> Accuracy:
    """A system's accuracy: labels (N,), guesses (S,N) or (N,) class numbers, and the takes of each video.

    Raises BadInput where these do not fit together, and for a video without a take that was drawn.
    """
    truth, guessed = np.asarray(labels), np.atleast_2d(np.asarray(guesses))
    if truth.shape != (guessed.shape[1],) or len(takes) != len(truth):
        found = f"{truth.shape}, {guessed.shape} and {len(takes)}"
        raise BadInput("accuracy", "labels, guesses and takes", "those of the same videos", found)
    for field, numbers in (("labels", truth), ("guesses", guessed)):
        if numbers.size and not (0 <= numbers.min() and numbers.max() < classes):
            found = f"{numbers.min()} to {numbers.max()}"
            raise BadInput("accuracy", field, f"class numbers 0 to {classes - 1}", found)
    weights = draws.weights @ _shares(takes, draws.takes)  # (1 + R, N)
    right = (guessed == truth).astype(np.float64)  # (S, N)
    top1 = np.stack([(weights * one).sum(axis=1) / weights.sum(axis=1) for one in right])
    return Accuracy(draws, top1)


def _shares(takes: Sequence[Sequence[str]], known: Sequence[str]) -> NDArray[np.float64]:
    """(takes, N): the share that a take has in a video; each column sums to 1."""
    number, shares = {take: i for i, take in enumerate(known)}, np.zeros((len(known), len(takes)))
    for video, own in enumerate(takes):
        for take in own:
            if take not in number:
                raise BadInput("accuracy", f"takes of video {video}", "takes that were drawn", take)
            shares[number[take], video] += 1 / len(own)
        if not own:
            raise BadInput("accuracy", f"takes of video {video}", "one or more", "none")
    return shares
