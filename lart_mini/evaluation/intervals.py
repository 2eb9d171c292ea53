"""How sure a number is, over seeds alone or over takes and seeds: a system's, or the difference of two.

The unit of resampling is the take, since boxes of one take are not independent. Each draw gives every take a
weight (the Bayesian bootstrap, Rubin 1981: no class ever drops out), and draws as many seeds as there are,
with replacement. All systems see the same draws, so that a difference is resampled as one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.evaluation.frame_map import POLICIES, Scored, compare
from lart_mini.files import BadInput, whole_number

MOST_SEEDS = 64
Floats = NDArray[np.float64]


def half_interval(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % t-interval of the mean of two or more values, as of seeds; None of one."""
    from scipy.stats import t as student_t  # takes a second to import

    n = len(values)
    return float(student_t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Draws:
    """What is drawn, the same for all systems; row 0 is the data as they are."""

    takes: tuple[str, ...]  # ascending
    weights: Floats  # (1 + R, takes), each row sums to the number of takes
    seeds: Floats  # (R, MOST_SEEDS) in [0, 1)

    def over_seeds(self, values: Floats) -> Floats:
        """Mean (1 + R,) of values (S, 1 + R) over S seeds; after row 0 over S seeds drawn from them."""
        whole_number("intervals", "seeds", len(values), 1, MOST_SEEDS)
        drawn = (self.seeds[:, : len(values)] * len(values)).astype(np.int64)  # (R, S)
        rows = np.arange(1, values.shape[1])[:, None]
        return np.concatenate([values[:, :1].mean(axis=0), values[drawn, rows].mean(axis=1)])


def draw(groundtruth: pl.DataFrame, count: int = 1000, seed: int = 0) -> Draws:
    """`count` draws for a ground truth with a column `take`. Raises BadInput where it names none."""
    takes = tuple(sorted(groundtruth["take"].drop_nulls().unique().to_list()))
    if not takes:
        raise BadInput("intervals", "take", "a ground truth that names the takes of its boxes", "none")
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(np.ones(len(takes)), count) * len(takes)
    weights = np.concatenate([np.ones((1, len(takes))), drawn])
    return Draws(takes, weights, rng.random((count, MOST_SEEDS)))


def weighted_ap(
    groundtruth: pl.DataFrame, detections: pl.DataFrame, takes: Sequence[str], weights: Floats
) -> Floats:
    """AP (W, 60) of the evaluated classes for each row of weights (W, takes); nan without ground truth.

    Both tables name their boxes' takes in a column `take`; a detection of nobody has none, and weight 1. With
    weight 1 throughout this is `frame_map.evaluate` under its default policy; with whole weights it is that
    of a table in which a take stands so many times.
    """
    number = {take: i for i, take in enumerate(takes)}
    rules = POLICIES["activitynet"]
    counts = pl.col("action").is_in(ava.EVALUATED) & (pl.col("score").fill_null(1) > rules.above)
    detections = detections.filter(counts)  # as Scored counts its rows
    unit, true_unit = _numbers(detections, number), _numbers(groundtruth, number)
    scored = compare(groundtruth, detections, rules)
    true_action = groundtruth["action"].fill_null(0).to_numpy()
    padded = np.concatenate([weights, np.ones((len(weights), 1))], axis=1)  # of nobody's boxes
    found = np.full((len(weights), len(ava.EVALUATED)), math.nan)
    for column, action in enumerate(ava.EVALUATED):
        counted = np.bincount(true_unit[true_action == action], minlength=len(takes) + 1)
        rows, truths = slice(*np.searchsorted(scored.action, [action, action + 1])), padded @ counted
        np.divide(_area(scored, rows, unit, padded), truths, out=found[:, column], where=truths > 0)
    return found


def _numbers(table: pl.DataFrame, number: dict[str, int]) -> NDArray[np.int64]:
    """Number of each row's take (n,); the number of takes for none."""
    return table["take"].replace_strict(number, default=len(number), return_dtype=pl.Int64).to_numpy()


def _area(scored: Scored, rows: slice, unit: NDArray[np.int64], padded: Floats) -> Floats:
    """Area (W,) under a class's interpolated curve, times the weight of its ground truth."""
    own, hits = unit[scored.row[rows]], np.flatnonzero(scored.true_positive[rows])
    # Between two hits precision only falls: it is asked at the hits alone, by how many rows of each take come
    # up to a hit.
    between = np.searchsorted(hits, np.arange(len(own)))  # the next hit from a row on; H after the last
    seen = np.zeros((len(hits) + 1, padded.shape[1]))
    np.add.at(seen, (between, own), 1)
    weight = padded[:, own[hits]]  # (W, H)
    total = padded @ np.cumsum(seen[:-1], axis=0).T  # (W, H)
    gained = np.cumsum(weight, axis=1)
    precision = np.divide(gained, total, out=np.zeros_like(total), where=total > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (weight * envelope).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Resampled:
    """AP of one system, all its seeds, under the draws: ap (S, 1 + R, 60)."""

    draws: Draws
    ap: Floats

    def known(self, classes: Sequence[int]) -> tuple[int, ...]:
        """Those of `classes` that have ground truth."""
        return tuple(one for one in classes if not np.isnan(self.ap[0, 0, ava.EVALUATED.index(one)]))

    def mean_ap(self, classes: Sequence[int] = ava.EVALUATED) -> Floats:
        """mAP (1 + R,) over those of `classes` that have ground truth, mean over seeds. BadInput for none."""
        columns = [ava.EVALUATED.index(action) for action in self.known(classes)]
        if not columns:
            raise BadInput("intervals", "classes", "one with ground truth", "none")
        # Where all of a class's takes are drawn with weight 0, the mean is over the others.
        return self.draws.over_seeds(np.nanmean(self.ap[:, :, columns], axis=2))

    def estimate(self, classes: Sequence[int] = ava.EVALUATED) -> Estimate:
        """mAP with its interval."""
        return estimate(self.mean_ap(classes))

    def minus(self, other: Resampled, classes: Sequence[int] = ava.EVALUATED) -> Estimate:
        """The difference of two systems' mAP with its interval; both under the same draws."""
        if self.draws is not other.draws:
            raise BadInput("intervals", "draws", "the same for both systems", "others")
        return estimate(self.mean_ap(classes) - other.mean_ap(classes))


def resample(groundtruth: pl.DataFrame, by_seed: Sequence[pl.DataFrame], draws: Draws) -> Resampled:
    """A system's AP under the draws; `by_seed`: its detections, with the column `take`, one table a seed."""
    ap = [weighted_ap(groundtruth, one, draws.takes, draws.weights) for one in by_seed]
    return Resampled(draws, np.stack(ap))


def estimate(values: Floats) -> Estimate:
    """Of a statistic (1 + R,): its value on the data, and 2.5 to 97.5 % of the draws, the value included."""
    value = float(values[0])
    low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (value, value)
    return Estimate(value, min(float(low), value), max(float(high), value))
