"""Intervals over takes and seeds: the evaluator's own numbers, and what resampling must not depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini import ava
from lart_mini.evaluation import intervals
from lart_mini.evaluation.frame_map import evaluate
from lart_mini.evaluation.intervals import Draws, Resampled, draw, estimate, resample, weighted_ap
from lart_mini.files import BadInput

ACTIONS = (1, 12, 14, 79)
SEEDS = st.integers(0, 2**32 - 1)


def made(seed: int, takes: int = 6, frames: int = 3, noise: float = 1.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ground truth and detections: a video a take, up to three people a frame, some boxes of nobody."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for take in range(takes):
        for second in range(902, 902 + frames):
            for person in range(rng.integers(1, 4)):
                corner = np.array([0.3 * person, 0.1])
                box = [*corner, corner[0] + 0.2, corner[1] + 0.6]
                actions = rng.choice(ACTIONS, rng.integers(1, 3), replace=False)
                truth += [
                    (f"v{take:010d}", second, *box, int(action), person, f"take {take}") for action in actions
                ]
                if rng.random() < 0.9:
                    moved = np.array(box) + rng.uniform(-0.03, 0.03, 4)
                    for action in ACTIONS:
                        score = float(action in actions) + noise * rng.normal()
                        found.append((f"v{take:010d}", second, *moved, action, score, f"take {take}"))
            if rng.random() < 0.3:
                found += [
                    (f"v{take:010d}", second, 0.9, 0.7, 0.99, 0.95, a, rng.normal(), None) for a in ACTIONS
                ]
    head = ["video", "second", "x1", "y1", "x2", "y2", "action"]
    return (
        pl.DataFrame(truth, schema=[*head, "person", "take"], orient="row"),
        pl.DataFrame(found, schema=[*head, "score", "take"], orient="row", infer_schema_length=None),
    )


def packages(truth: pl.DataFrame, found: pl.DataFrame) -> np.ndarray:
    """AP (60,) as the package's evaluator gives it."""
    per_class = evaluate(truth, found).per_class
    return np.array([per_class[action] for action in ava.EVALUATED])


@given(seed=SEEDS)
@settings(max_examples=20)
def test_weight_one_is_the_evaluator(seed: int) -> None:
    truth, found = made(seed)
    draws = draw(truth, 3)
    ap = weighted_ap(truth, found, draws.takes, draws.weights)
    np.testing.assert_allclose(ap[0], packages(truth, found), atol=1e-9, rtol=0)
    assert ap.shape == (4, 60) and np.isnan(ap[:, ava.EVALUATED.index(80)]).all()


@given(seed=SEEDS, times=st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
@settings(max_examples=20)
def test_whole_weights_are_a_table_with_takes_so_many_times(seed: int, times: list[int]) -> None:
    truth, found = made(seed, takes=4)
    # Boxes of nobody stand once, whatever is drawn: they are left out, as are scores that two rows share.
    found = found.drop_nulls("take")
    # Scores as a network's, in (0, 1); one class has none.
    found = found.with_columns(score=1 / (1 + (-4 * pl.col("score")).exp())).filter(pl.col("action") != 14)

    def repeated(table: pl.DataFrame) -> pl.DataFrame:
        copies = [
            table.filter(pl.col("take") == f"take {take}").with_columns(video=pl.col("video") + f" {copy}")
            for take, count in enumerate(times)
            for copy in range(count)
        ]
        return pl.concat(copies)

    many = repeated(found)
    if many.is_empty():
        return
    weighted = weighted_ap(truth, found, [f"take {i}" for i in range(4)], np.array([times], float))[0]
    expected = packages(repeated(truth), many)
    shown = ~np.isnan(expected)
    if all(times):
        np.testing.assert_array_equal(np.isnan(weighted), ~shown)
    # Copies of one row have one score: the evaluator lets them in one by one, weights let them in at once.
    # The envelope hides the difference: precision rises within the copies of a hit, and the last counts.
    np.testing.assert_allclose(weighted[shown], expected[shown], atol=1e-9, rtol=0)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_a_system_minus_itself_is_nothing(seed: int) -> None:
    truth, found = made(seed)
    draws = draw(truth, 50, seed)
    one = resample(truth, [found, made(seed, noise=2)[1]], draws)
    again = resample(truth, [found, made(seed, noise=2)[1]], draws)
    difference = one.minus(again)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_an_interval_holds_its_point_and_the_point_is_the_mean_over_seeds(seed: int) -> None:
    truth, first = made(seed)
    second = made(seed, noise=0.3)[1]
    resampled = resample(truth, [first, second], draw(truth, 100))
    found = resampled.estimate()
    assert found.low <= found.value <= found.high and found.low < found.high
    expected = np.mean([evaluate(truth, one).mean_ap for one in (first, second)])
    assert found.value == pytest.approx(expected, abs=1e-9)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_order_of_boxes_does_not_matter(seed: int) -> None:
    truth, found = made(seed)
    mixed = [table.sample(fraction=1, shuffle=True, seed=seed % 1000) for table in (truth, found)]
    # Rows of a frame stay together: the evaluators' own order decides between equal scores, and none are.
    one, other = (resample(a, [b], draw(a, 50)) for a, b in ((truth, found), mixed))
    np.testing.assert_allclose(one.mean_ap(), other.mean_ap(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_more_takes_make_it_narrower(seed: int) -> None:
    def copies(table: pl.DataFrame, count: int) -> pl.DataFrame:
        return pl.concat(
            table.with_columns(video=pl.col("video") + f" {i}", take=pl.col("take") + f" {i}")
            for i in range(count)
        )

    truth, found = made(seed, takes=8)
    widths = []
    for count in (1, 4, 16):
        own = copies(truth, count)
        one = resample(own, [copies(found, count)], draw(own, 400)).estimate()
        widths.append(one.high - one.low)
    assert widths[0] > widths[1] > widths[2] and widths[2] == pytest.approx(widths[0] / 4, rel=0.35)


@pytest.mark.parametrize("seed", range(5))
def test_what_all_systems_share_cancels_in_a_difference(seed: int) -> None:
    truth, worse = made(seed, takes=12)
    better = worse.with_columns(score=pl.col("score") + 1e-3 * (pl.col("action") == 12))
    draws = draw(truth, 200)
    one, other = (resample(truth, [table], draws) for table in (worse, better))
    difference, alone = other.minus(one), one.estimate()
    assert difference.high - difference.low < 0.2 * (alone.high - alone.low)


def test_seeds_are_drawn_too() -> None:
    draws = Draws(("a",), np.ones((2001, 1)), np.random.default_rng(0).random((2000, intervals.MOST_SEEDS)))
    values = np.repeat([[0.2], [0.4], [0.9]], 2001, axis=1)
    means = draws.over_seeds(values)
    assert means[0] == pytest.approx(0.5) and means[1:].mean() == pytest.approx(0.5, abs=0.02)
    spread = values[:, 0].std() / np.sqrt(3)  # of a mean of three drawn with replacement
    assert means[1:].std() == pytest.approx(spread, rel=0.05)
    np.testing.assert_array_equal(draws.over_seeds(values[:1]), 0.2)


def test_the_interval_is_that_of_the_draws() -> None:
    found = estimate(np.concatenate([[0.5], np.linspace(0, 1, 1001)]))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.025, 0.975))
    skewed = estimate(np.concatenate([[0.5], np.linspace(0.6, 1, 1001)]))
    assert skewed.low == skewed.value == 0.5


def test_draws_are_of_whole_takes_and_sum_to_their_number() -> None:
    truth, _ = made(0)
    draws = draw(truth, 500)
    assert draws.takes == tuple(f"take {i}" for i in range(6)) and draws.weights.shape == (501, 6)
    np.testing.assert_allclose(draws.weights.sum(axis=1), 6)
    assert (draws.weights[0] == 1).all() and (draws.weights > 0).all()
    np.testing.assert_allclose(draws.weights[1:].var(axis=0), 5 / 7, rtol=0.3)  # of a Dirichlet's shares


def test_what_cannot_be_judged_is_one_line() -> None:
    truth, found = made(0)
    draws = draw(truth, 5)
    resampled = resample(truth, [found], draws)
    with pytest.raises(BadInput, match="classes: expected one with ground truth"):
        resampled.estimate([80])
    with pytest.raises(BadInput, match="the same for both systems"):
        resampled.minus(resample(truth, [found], draw(truth, 5)))
    with pytest.raises(BadInput, match="takes of its boxes"):
        draw(truth.with_columns(take=pl.lit(None, pl.String)))
    with pytest.raises(BadInput, match="seeds: expected a whole number from 1 to 64"):
        Resampled(draws, np.repeat(resampled.ap, 65, axis=0)).estimate()


def test_a_class_without_weight_is_left_out_of_its_draws() -> None:
    truth, found = made(0)
    draws = replace(draw(truth, 1), weights=np.array([[1.0] * 6, [6.0, 0, 0, 0, 0, 0]]))
    one = resample(truth.filter((pl.col("action") != 79) | (pl.col("take") != "take 0")), [found], draws)
    values: Sequence[float] = one.mean_ap([12, 79])
    assert values[1] == pytest.approx(one.mean_ap([12])[1])
