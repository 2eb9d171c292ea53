"""Blanks of 08_ablations."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.claims import experiment
from lart_mini.claims.answers import Answer
from lart_mini.course.check import Blank, Slip, gives
from lart_mini.evaluation.intervals import Estimate, estimate
from lart_mini.lart.tokens import TokenBatch

HERE = "08_ablations"
Floats = NDArray[np.float64]


def _paired_interval(ours: Floats, theirs: Floats, weights: Floats) -> tuple[float, float, float]:
    """Scores by take (K,), weights (R, K) -> the mean difference, 2.5 % and 97.5 % of the draws'."""
    every = np.concatenate([np.ones((1, len(ours))), weights])
    found = estimate(every @ (ours - theirs) / every.sum(axis=1))
    return found.value, found.low, found.high


def _scores() -> list[tuple[Floats, Floats, Floats]]:
    """Two systems that find the same takes hard."""
    rng = np.random.default_rng(0)
    hard, few = rng.normal(50, 20, 8), rng.normal(50, 20, 3)
    draws = rng.dirichlet(np.ones(8), 400) * 8
    return [(hard + rng.normal(2, 1, 8), hard, draws), (few, few + 1, rng.dirichlet(np.ones(3), 99))]


def _apart(ours: Floats, theirs: Floats, weights: Floats) -> tuple[float, float, float]:
    """Each system resampled for itself: the ends of one interval minus the other ends of the other."""
    mean = [weights @ one / weights.sum(axis=1) for one in (ours, theirs)]
    ends = [np.quantile(one, [0.025, 0.975]) for one in mean]
    return float(np.mean(ours - theirs)), ends[0][0] - ends[1][1], ends[0][1] - ends[1][0]


def _hide(detected: Tensor, at: int, frames: int) -> Tensor:
    """`claims.hide` of one sample: (P, T) bool, the ego first -> (P, T) bool."""
    P, T = detected.shape
    nothing = torch.zeros(1, P, T, 1)
    everybody = torch.ones(1, P, dtype=torch.bool)
    batch = TokenBatch(nothing, everybody, detected[None], nothing, nothing[..., 0])
    return experiment.hide(batch, [at], frames).detected[0]


def _windows() -> list[tuple[Tensor, int, int]]:
    seen = torch.ones(2, 12, dtype=torch.bool)
    gap = seen.clone()
    gap[:, 3] = False
    return [(seen, 6, 4), (gap, 5, 5), (seen, 1, 6), (seen, 6, 0)]


def _verdict(low: float, high: float, rests: bool) -> str:
    """`Answer.verdict` of a difference with this interval, in a scope that rests on enough takes or not."""
    return Answer("", "", "other", "", Estimate((low + high) / 2, low, high), rests=rests).verdict


BLANKS = (
    Blank(
        "verdict",
        HERE,
        _verdict,
        lambda: [(0.2, 3.0, True), (-3.0, -0.1, True), (-1.0, 4.0, True), (1.0, 2.0, False)],
        (
            Slip(
                "0 lies in the interval, so both signs are possible: not settled, whatever the middle is",
                lambda got, wanted, low, high, rests: low <= 0 <= high,
            ),
            Slip(
                "a scope that rests on too few takes cannot be asked, however clear its number looks",
                lambda got, wanted, low, high, rests: not rests,
            ),
            Slip(
                "the whole interval below 0 says that the claim does not hold",
                lambda got, wanted, low, high, rests: high < 0,
            ),
        ),
    ),
    Blank(
        "paired_interval",
        HERE,
        _paired_interval,
        _scores,
        (
            Slip(
                "the systems are resampled apart; take the difference first, then one weight a take for both",
                gives(_apart),
            ),
            Slip(
                "a 95 % interval leaves out 2.5 % at either end",
                lambda got, wanted, *_: got[0] == wanted[0] and wanted[1] < got[1] and got[2] < wanted[2],
            ),
            Slip(
                "the weights of a draw do not sum to 1: divide by their sum",
                gives(
                    lambda ours, theirs, weights: (
                        float(np.mean(ours - theirs)),
                        *np.quantile(weights @ (ours - theirs), [0.025, 0.975]).tolist(),
                    )
                ),
            ),
        ),
    ),
    Blank(
        "hide",
        HERE,
        _hide,
        _windows,
        (
            Slip(
                "the other people are hidden, too; row 0 alone is the ego",
                lambda got, wanted, *_: bool((got != wanted)[1:].any()),
            ),
            Slip(
                "a window that would begin before the first frame: a negative index counts from the end",
                lambda got, wanted, detected, at, frames: at < frames // 2,
            ),
            Slip(
                "the wrong number of frames is hidden",
                lambda got, wanted, *_: int(got.sum()) != int(wanted.sum()),
            ),
            Slip(
                "the frames do not lie about the key frame: half of them, rounded down, stand before it",
                lambda got, wanted, *_: int(got.sum()) == int(wanted.sum()),
            ),
        ),
    ),
)
