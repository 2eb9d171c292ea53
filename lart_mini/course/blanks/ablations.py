"""Blanks of 08_ablations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.ava import nearest_keyframe
from lart_mini.claims import experiment
from lart_mini.course.check import Blank, Slip, gives
from lart_mini.evaluation.intervals import estimate
from lart_mini.lart.tokens import TokenBatch

HERE = "08_ablations"
Floats = NDArray[np.float64]
Labels = NDArray[np.float32]


def _carry(frame: NDArray[np.int64], actions: Mapping[int, Labels]) -> tuple[Labels, NDArray[np.bool_]]:
    """(T,) frame numbers and (C,) labels by key frame -> each frame's (T, C), and whether told (T,)."""
    key = nearest_keyframe(frame)
    told = np.isin(key, list(actions))
    nothing = np.zeros_like(next(iter(actions.values())))
    return np.stack([actions.get(int(one), nothing) for one in key]), told


def _carried() -> list[tuple[NDArray[np.int64], dict[int, Labels]]]:
    """A track across three key frames, the second of which was not annotated; one that begins late."""
    stand, walk = np.array([1, 0, 0], np.float32), np.array([0, 1, 1], np.float32)
    return [(np.arange(20, 110), {30: stand, 90: walk}), (np.arange(44, 76), {30: stand, 60: 0 * stand})]


def _symmetric(frame: NDArray[np.int64], actions: Mapping[int, Labels]) -> tuple[Labels, NDArray[np.bool_]]:
    """The second's last frame belongs to it, too: one frame too many."""
    labels, told = _carry(frame, actions)
    late = np.isin(frame - 15, list(actions))
    for t in np.flatnonzero(late):
        labels[t], told[t] = actions[int(frame[t]) - 15], True
    return labels, told


def _forwards(frame: NDArray[np.int64], actions: Mapping[int, Labels]) -> tuple[Labels, NDArray[np.bool_]]:
    """Labels that do not reach back before their key frame."""
    labels, told = _carry(frame, actions)
    after = frame >= nearest_keyframe(frame)
    return labels * after[:, None], told & after


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


BLANKS = (
    Blank(
        "carry_labels",
        HERE,
        _carry,
        _carried,
        (
            Slip(
                "the frame fifteen after a key frame belongs to the next second: a second has thirty frames",
                gives(_symmetric),
            ),
            Slip(
                "an annotated key frame at which nobody did anything tells something, too",
                lambda got, wanted, frame, actions: bool(
                    (got[1] == got[0].any(axis=1)).all() and (got[0] == wanted[0]).all()
                ),
            ),
            Slip(
                "labels go back as well as forth: they hold for the half second before the key frame, too",
                gives(_forwards),
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
